//! Dropout.

use rasgo_core::random::{Key, next_key};
use rasgo_core::{Result, Tensor};
use rasgo_derive::Module;

use super::module::Module;
use super::parameter::{Counter, LayerName, Mode};
use super::size::expect_spatial;

/// Sets each element to zero with probability p in training, and scales the others by 1 / (1 - p), as
/// `torch.nn.Dropout`. The mask follows from the layer's key and how often it has run.
#[derive(Clone, Debug, Module)]
pub struct Dropout {
    counter: Counter,
    name: LayerName,
    mode: Mode,
    #[module(skip)]
    p: f64,
    #[module(skip)]
    key: Key,
}

impl Dropout {
    /// A dropout with probability p.
    pub fn new(p: f64) -> Self {
        let name = LayerName::new("Dropout");
        Dropout { counter: Counter::default(), name, mode: Mode::default(), p, key: next_key() }
    }
}

impl Module for Dropout {
    fn forward(&self, x: Tensor) -> Result<Tensor> {
        self.name.run(|| {
            if !self.mode.is_training() || self.p == 0.0 || x.is_shape_only() {
                return Ok(x);
            }
            x.dropout(self.p, self.key.child(self.counter.next()))
        })
    }
}

/// Sets whole channels of (N, C, …) to zero with probability p in training, and scales the others by 1 / (1 - p), as
/// `torch.nn.Dropout1d`, `Dropout2d`, `Dropout3d`: neighbouring pixels say much the same, so dropping single ones drops
/// little.
#[derive(Clone, Debug, Module)]
pub struct ChannelDropout<const D: usize> {
    counter: Counter,
    name: LayerName,
    mode: Mode,
    #[module(skip)]
    p: f64,
    #[module(skip)]
    key: Key,
}

/// Drops channels of (N, C, L).
pub type Dropout1d = ChannelDropout<1>;
/// Drops channels of (N, C, H, W).
pub type Dropout2d = ChannelDropout<2>;
/// Drops channels of (N, C, D, H, W).
pub type Dropout3d = ChannelDropout<3>;

impl<const D: usize> ChannelDropout<D> {
    /// A dropout with probability p.
    pub fn new(p: f64) -> Self {
        let name = LayerName::new(["Dropout1d", "Dropout2d", "Dropout3d"][D - 1]);
        ChannelDropout { counter: Counter::default(), name, mode: Mode::default(), p, key: next_key() }
    }
}

impl<const D: usize> Module for ChannelDropout<D> {
    fn forward(&self, x: Tensor) -> Result<Tensor> {
        self.name.run(|| {
            expect_spatial::<D>(&x)?;
            if !self.mode.is_training() || self.p == 0.0 || x.is_shape_only() {
                return Ok(x);
            }
            x.dropout_channels(self.p, self.key.child(self.counter.next()))
        })
    }
}

#[cfg(test)]
mod tests {
    use rasgo_core::DType;

    use super::*;
    use crate::nn::ModuleExt;

    #[test]
    fn evaluation_is_the_identity_and_training_drops_anew_each_time() {
        let x = || Tensor::ones([4, 16, 2, 3], DType::F32).unwrap();
        let mut layer = Dropout2d::new(0.5);
        let run = |layer: &Dropout2d| layer.forward(x()).unwrap().to_vec::<f32>().unwrap();
        let (first, second) = (run(&layer), run(&layer));
        assert_ne!(first, second);
        assert!(first.chunks(6).all(|plane| plane == [0.0; 6] || plane == [2.0; 6]));
        layer.eval();
        assert!(run(&layer).iter().all(|&y| y == 1.0));
        let error = layer.forward(Tensor::ones([4, 16, 2], DType::F32).unwrap()).unwrap_err();
        assert!(error.to_string().contains("Dropout2d"), "{error}");
    }
}
