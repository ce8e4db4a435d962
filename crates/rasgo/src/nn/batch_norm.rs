//! Batch normalisation.

use rasgo_core::ops::{BatchNormOptions, PoolAfter};
use rasgo_core::{DType, Result, Tensor};
use rasgo_derive::Module;

use super::module::{Kind, Module, NormReluPool};
use super::parameter::{LayerName, Mode, Parameter, State};
use crate::init::Init;

/// Batch normalisation of (N, C, …), as `torch.nn.BatchNorm1d`, `BatchNorm2d`, `BatchNorm3d`.
///
/// `y = (x - mean) / sqrt(var + eps) * weight + bias`, with the batch's mean and biased variance in training and the
/// running ones in evaluation. The running variance is the unbiased one, and
/// `running = (1 - momentum) running + momentum batch`.
#[derive(Clone, Debug, Module)]
pub struct BatchNorm<const D: usize> {
    /// (C)
    pub weight: Parameter,
    /// (C)
    pub bias: Parameter,
    /// (C)
    pub running_mean: State,
    /// (C)
    pub running_var: State,
    /// Training forwards so far, as PyTorch counts them.
    pub num_batches_tracked: State,
    name: LayerName,
    mode: Mode,
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
    /// A normalisation with PyTorch's defaults: eps 1e-5, momentum 0.1.
    pub fn new(channels: usize) -> Self {
        BatchNorm {
            weight: Parameter::new([channels], Init::Ones),
            bias: Parameter::new([channels], Init::Zeros),
            running_mean: State::new([channels], 0.0, DType::F32),
            running_var: State::new([channels], 1.0, DType::F32),
            num_batches_tracked: State::new([], 0.0, DType::I64),
            name: LayerName::new(["BatchNorm1d", "BatchNorm2d", "BatchNorm3d"][D - 1]),
            mode: Mode::default(),
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

    fn normalize(&self, x: &Tensor, relu: bool, pool: Option<PoolAfter>) -> Result<Tensor> {
        let options = BatchNormOptions { eps: self.eps, relu, pool };
        let (weight, bias) = (self.weight.tensor(), self.bias.tensor());
        if !self.mode.is_training() || x.is_shape_only() {
            let (mean, var) = (self.running_mean.get(), self.running_var.get());
            return x.batch_norm_with(&weight, &bias, &mean, &var, options);
        }
        let _claim = self.num_batches_tracked.claim().map_err(|error| error.layer(&*self.name.path()))?;
        let output = x.batch_norm(&weight, &bias, options)?;
        let count = self.num_batches_tracked.get().item::<i64>()? + 1;
        self.num_batches_tracked.set(Tensor::scalar(count));
        let share = self.momentum.unwrap_or(1.0 / count as f64) as f32;
        let values = (x.shape().elements() / x.shape()[1].max(1)) as f32;
        blend(&self.running_mean, &output.mean, share, 1.0)?;
        blend(&self.running_var, &output.var, share, values / (values - 1.0).max(1.0))?;
        Ok(output.output)
    }
}

/// running = (1 - share) running + share * factor * batch
fn blend(running: &State, batch: &Tensor, share: f32, factor: f32) -> Result<()> {
    let before = running.get();
    let (old, new) = (before.as_slice::<f32>()?, batch.as_slice::<f32>()?);
    running.set(Tensor::from_fn(before.shape().clone(), |dst: &mut [f32]| {
        for (i, dst) in dst.iter_mut().enumerate() {
            *dst = (1.0 - share) * old[i] + share * (new[i] * factor);
        }
    }));
    Ok(())
}

impl<const D: usize> Module for BatchNorm<D> {
    fn forward(&self, x: Tensor) -> Result<Tensor> {
        self.name.run(|| self.normalize(&x, false, None))
    }

    fn kind(&self) -> Kind<'_> {
        Kind::Norm(self)
    }
}

impl<const D: usize> NormReluPool for BatchNorm<D> {
    fn forward_relu_pool(&self, x: Tensor, relu: bool, pool: Option<PoolAfter>) -> Result<Tensor> {
        let _scope = self.name.enter();
        self.normalize(&x, relu, pool)
    }
}
