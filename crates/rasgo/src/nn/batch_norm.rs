//! Batch normalisation.

use rasgo_core::ops::{Activation, BatchNormOptions, PoolAfter};
use rasgo_core::{DType, Error, ErrorKind, Result, Tensor};
use rasgo_derive::Module;

use super::fuse::Affine;
use super::module::{Kind, KindMut, Module, Norm};
use super::parameter::{Folded, LayerName, Mode, Parameter, State};
use super::size::expect_ranks;
use crate::init::Init;

/// Batch normalisation of (N, C, …), as `torch.nn.BatchNorm1d`, `BatchNorm2d`, `BatchNorm3d`.
///
/// `y = (x - mean) / sqrt(var + eps) * weight + bias`, with the batch's mean and biased variance in training and the
/// running ones in evaluation. The running variance is the unbiased one, and
/// `running = (1 - momentum) running + momentum batch`.
///
/// ```
/// use rasgo::prelude::*;
/// let norm = nn::BatchNorm1d::new(3).momentum(None);
/// norm.forward(Tensor::rand([4, 3]))?;
/// assert_eq!(norm.num_batches_tracked.as_ref().unwrap().get().item::<i64>()?, 1);
/// # Ok::<(), rasgo::Error>(())
/// ```
#[derive(Clone, Debug, Module)]
pub struct BatchNorm<const D: usize> {
    /// (C); `None` without `affine`.
    pub weight: Option<Parameter>,
    /// (C); `None` without `affine`.
    pub bias: Option<Parameter>,
    /// (C); `None` without `track_running_stats`.
    pub running_mean: Option<State>,
    /// (C); `None` without `track_running_stats`.
    pub running_var: Option<State>,
    /// Training forwards so far, as PyTorch counts them.
    pub num_batches_tracked: Option<State>,
    name: LayerName,
    mode: Mode,
    folded: Folded,
    #[module(skip)]
    channels: usize,
    #[module(skip)]
    eps: f64,
    #[module(skip)]
    momentum: Option<f64>,
}

/// Normalises (N, C) or (N, C, L).
pub type BatchNorm1d = BatchNorm<1>;
/// Normalises (N, C, H, W).
pub type BatchNorm2d = BatchNorm<2>;
/// Normalises (N, C, D, H, W).
pub type BatchNorm3d = BatchNorm<3>;

impl<const D: usize> BatchNorm<D> {
    /// A normalisation with PyTorch's defaults: eps 1e-5, momentum 0.1, affine, with running statistics.
    pub fn new(num_features: usize) -> Self {
        BatchNorm {
            weight: Some(Parameter::new([num_features], Init::Ones)),
            bias: Some(Parameter::new([num_features], Init::Zeros)),
            running_mean: Some(State::new([num_features], 0.0, DType::F32)),
            running_var: Some(State::new([num_features], 1.0, DType::F32)),
            num_batches_tracked: Some(State::new([], 0.0, DType::I64)),
            name: LayerName::new(["BatchNorm1d", "BatchNorm2d", "BatchNorm3d"][D - 1]),
            mode: Mode::default(),
            folded: Folded::default(),
            channels: num_features,
            eps: 1e-5,
            momentum: Some(0.1),
        }
    }

    /// What is added to the variance.
    pub fn eps(mut self, eps: f64) -> Self {
        self.eps = eps;
        self
    }

    /// The share of the batch in the running statistics; `None` is the plain mean over all batches.
    pub fn momentum(mut self, momentum: impl Into<Option<f64>>) -> Self {
        self.momentum = momentum.into();
        self
    }

    /// Whether there are weight and bias.
    pub fn affine(mut self, affine: bool) -> Self {
        self.weight = affine.then(|| self.weight.unwrap_or(Parameter::new([self.channels], Init::Ones)));
        self.bias = affine.then(|| self.bias.unwrap_or(Parameter::new([self.channels], Init::Zeros)));
        self
    }

    /// Whether running statistics are kept; without them, evaluation too takes the batch's.
    pub fn track_running_stats(mut self, track: bool) -> Self {
        let new = |shape: &[usize], fill, dtype| track.then(|| State::new(shape, fill, dtype));
        self.running_mean = new(&[self.channels], 0.0, DType::F32);
        self.running_var = new(&[self.channels], 1.0, DType::F32);
        self.num_batches_tracked = new(&[], 0.0, DType::I64);
        self.mode.set_of_batch(!track);
        self
    }

    /// Whether it is the identity, in evaluation: the layer before it has taken its affine map.
    pub(super) fn is_folded(&self) -> bool {
        self.folded.0 && !self.mode.is_training()
    }

    /// act(norm(x) + shortcut)
    pub(super) fn forward_add(
        &self,
        x: &Tensor,
        shortcut: &Tensor,
        activation: Activation,
    ) -> Result<Tensor> {
        let _scope = self.name.enter();
        self.normalize(x, Some(shortcut), activation, None)
    }

    fn normalize(
        &self,
        x: &Tensor,
        shortcut: Option<&Tensor>,
        activation: Activation,
        pool: Option<PoolAfter>,
    ) -> Result<Tensor> {
        expect_ranks(x, if D == 1 { 2..=3 } else { D + 2..=D + 2 })?;
        if self.folded.0 {
            // Nothing is left to do, and so nothing was asked for besides.
            return match self.mode.is_training() {
                false => Ok(x.clone()),
                true => Err(Error::new(
                    ErrorKind::State,
                    "this normalisation is folded into the layer before it, and has nothing to train",
                )
                .layer(&*self.name.path())
                .hint("a model is fused for inference; make it again and load its weights to train it")),
            };
        }
        let options = BatchNormOptions { eps: self.eps, activation, pool };
        let [weight, bias] = [&self.weight, &self.bias].map(|p| p.as_ref().map(Parameter::tensor));
        let (weight, bias) = (weight.as_ref(), bias.as_ref());
        let normalize = || match shortcut {
            Some(shortcut) => x.batch_norm_add(weight, bias, shortcut, options),
            None => x.batch_norm(weight, bias, options),
        };
        let normalize_with = |mean: &Tensor, var: &Tensor| match shortcut {
            Some(shortcut) => x.batch_norm_add_with(weight, bias, mean, var, shortcut, options),
            None => x.batch_norm_with(weight, bias, mean, var, options),
        };
        let running = self.running_mean.as_ref().zip(self.running_var.as_ref());
        if x.is_shape_only() {
            // A summary asks with one sample.
            let statistic = Tensor::shape_only([self.channels], x.dtype());
            return normalize_with(&statistic, &statistic);
        }
        let (Some((mean, var)), Some(tracked)) = (running, &self.num_batches_tracked) else {
            return Ok(normalize()?.output);
        };
        if !self.mode.is_training() {
            return normalize_with(&mean.get(), &var.get());
        }
        let _claim = tracked.claim().map_err(|error| error.layer(&*self.name.path()))?;
        let batch = normalize()?;
        let count = tracked.get().item::<i64>()? + 1;
        tracked.set(Tensor::scalar(count));
        let momentum = self.momentum.unwrap_or(1.0 / count as f64);
        let (mean_after, var_after) = batch.running((&mean.get(), &var.get()), momentum)?;
        mean.set(mean_after);
        var.set(var_after);
        Ok(batch.output)
    }
}

impl<const D: usize> Module for BatchNorm<D> {
    fn forward(&self, x: Tensor) -> Result<Tensor> {
        self.name.run(|| self.normalize(&x, None, Activation::None, None))
    }

    fn kind(&self) -> Kind<'_> {
        if self.is_folded() { Kind::Folded } else { Kind::Norm(self) }
    }

    fn kind_mut(&mut self) -> KindMut<'_> {
        KindMut::Norm(self)
    }
}

impl<const D: usize> Norm for BatchNorm<D> {
    fn affine(&self) -> Result<Option<Affine>> {
        let (Some(mean), Some(var)) = (&self.running_mean, &self.running_var) else { return Ok(None) };
        let values = |tensor: Tensor| tensor.to_f64_vec();
        let parameter = |given: &Option<Parameter>, missing: f64| match given {
            Some(parameter) => values(parameter.tensor()),
            None => Ok(vec![missing; self.channels]),
        };
        let (mean, var) = (values(mean.get())?, values(var.get())?);
        let (weight, bias) = (parameter(&self.weight, 1.0)?, parameter(&self.bias, 0.0)?);
        let scale: Vec<f64> = weight.iter().zip(var).map(|(w, var)| w / (var + self.eps).sqrt()).collect();
        let shift = bias.iter().zip(mean).zip(&scale).map(|((b, mean), scale)| b - mean * scale).collect();
        Ok(Some(Affine { scale, shift }))
    }

    fn set_folded(&mut self) {
        (self.weight, self.bias) = (None, None);
        (self.running_mean, self.running_var, self.num_batches_tracked) = (None, None, None);
        self.folded = Folded(true);
    }

    fn forward_act_pool(&self, x: Tensor, activation: Activation, pool: Option<PoolAfter>) -> Result<Tensor> {
        let _scope = self.name.enter();
        self.normalize(&x, None, activation, pool)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::ModuleExt;

    fn x() -> Tensor {
        Tensor::from_vec(vec![1.0f32, 2.0, 4.0, 8.0, 16.0, 40.0], [3, 2]).unwrap()
    }

    fn names(layer: &BatchNorm1d) -> Vec<String> {
        layer.state_dict().into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn running_statistics_follow_momentum_or_are_the_mean_over_the_batches() {
        // torch.nn.BatchNorm1d(2, momentum=0.3) and (2, momentum=None), after x and after x + 1.
        for (momentum, first, second) in [
            (Some(0.3), [2.1, 5.0, 19.6, 125.9], [3.87, 8.8, 32.62, 213.33]),
            (None, [7.0, 50.0 / 3.0, 63.0, 417.333_33], [7.5, 17.166_667, 63.0, 417.333_33]),
        ] {
            let layer = BatchNorm1d::new(2).momentum(momentum);
            let mut found = Vec::new();
            for step in [0.0, 1.0] {
                layer.forward(x().add_scalar(step).unwrap()).unwrap();
                let [mean, var] =
                    [&layer.running_mean, &layer.running_var].map(|s| s.as_ref().unwrap().get());
                found.push([mean.to_vec::<f32>().unwrap(), var.to_vec::<f32>().unwrap()].concat());
            }
            for (found, wanted) in found.iter().zip([first, second]) {
                assert!(
                    found.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-4 * b),
                    "{found:?} {wanted:?}"
                );
            }
        }
    }

    #[test]
    fn names_are_pytorchs_with_and_without_parameters_and_statistics() {
        let all = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"];
        assert_eq!(names(&BatchNorm1d::new(2)), all);
        assert_eq!(names(&BatchNorm1d::new(2).affine(false)), all[2..]);
        assert_eq!(
            names(&BatchNorm1d::new(2).affine(false).affine(true).track_running_stats(false)),
            all[..2]
        );
    }

    #[test]
    fn without_running_statistics_evaluation_takes_the_batchs() {
        let mut layer = BatchNorm1d::new(2).track_running_stats(false).affine(false);
        let trained = layer.forward(x()).unwrap().to_vec::<f32>().unwrap();
        layer.eval();
        assert_eq!(layer.forward(x()).unwrap().to_vec::<f32>().unwrap(), trained);
    }

    #[test]
    fn another_number_of_axes_is_refused_and_1d_takes_two() {
        let x = |shape: &[usize]| Tensor::ones(shape, DType::F32).unwrap();
        assert!(BatchNorm1d::new(2).forward(x(&[3, 2])).is_ok());
        assert!(BatchNorm1d::new(2).forward(x(&[3, 2, 4])).is_ok());
        for error in [
            BatchNorm1d::new(2).forward(x(&[3, 2, 4, 5])).unwrap_err(),
            BatchNorm2d::new(2).forward(x(&[3, 2, 4])).unwrap_err(),
            BatchNorm3d::new(2).forward(x(&[3, 2, 4, 5])).unwrap_err(),
        ] {
            assert!(error.to_string().contains("give (N, C"), "{error}");
        }
    }

    #[test]
    fn one_value_for_each_channel_is_an_error_in_training_and_fine_in_evaluation() {
        let mut layer = BatchNorm2d::new(2);
        let x = || Tensor::ones([1, 2, 1, 1], DType::F32).unwrap();
        let error = layer.forward(x()).unwrap_err();
        assert!(error.to_string().contains("no variance"), "{error}");
        assert_eq!(layer.num_batches_tracked.as_ref().unwrap().get().item::<i64>().unwrap(), 0);
        layer.eval();
        assert!(layer.forward(x()).is_ok());
    }
}
