//! Dropout.

use rasgo_core::random::{Key, next_key};
use rasgo_core::{Result, Tensor};
use rasgo_derive::Module;

use super::module::Module;
use super::parameter::{Counter, LayerName, Mode};

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
