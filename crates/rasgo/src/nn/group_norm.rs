//! Normalisations within a sample: group, layer and instance normalisation.

use rasgo_core::{DType, Result, Shape, Tensor};
use rasgo_derive::Module;

use super::module::Module;
use super::parameter::{LayerName, Mode, Parameter, State};
use super::size::expect_spatial;
use crate::init::Init;

/// Normalises groups of channels of (N, C, …), as `torch.nn.GroupNorm`.
///
/// ```
/// use rasgo::prelude::*;
/// let norm = nn::GroupNorm::new(2, 6);
/// assert_eq!(**norm.forward(Tensor::rand([3, 6, 4, 5]))?.shape(), [3, 6, 4, 5]);
/// # Ok::<(), rasgo::Error>(())
/// ```
#[derive(Clone, Debug, Module)]
pub struct GroupNorm {
    /// (C); `None` without `affine`.
    pub weight: Option<Parameter>,
    /// (C); `None` without `affine`.
    pub bias: Option<Parameter>,
    name: LayerName,
    #[module(skip)]
    num_groups: usize,
    #[module(skip)]
    eps: f64,
}

fn affine(shape: impl Into<Shape>) -> (Option<Parameter>, Option<Parameter>) {
    let shape = shape.into();
    (Some(Parameter::new(shape.clone(), Init::Ones)), Some(Parameter::new(shape, Init::Zeros)))
}

fn tensors(parameters: [&Option<Parameter>; 2]) -> [Option<Tensor>; 2] {
    parameters.map(|parameter| parameter.as_ref().map(Parameter::tensor))
}

impl GroupNorm {
    /// A normalisation with PyTorch's defaults: eps 1e-5, affine. The groups must divide the channels.
    pub fn new(num_groups: usize, num_channels: usize) -> Self {
        let (weight, bias) = affine([num_channels]);
        GroupNorm { weight, bias, name: LayerName::new("GroupNorm"), num_groups, eps: 1e-5 }
    }

    /// What is added to the variance.
    pub fn eps(mut self, eps: f64) -> Self {
        self.eps = eps;
        self
    }

    /// Whether there are weight and bias.
    pub fn affine(mut self, keep: bool) -> Self {
        (self.weight, self.bias) = (self.weight.filter(|_| keep), self.bias.filter(|_| keep));
        self
    }
}

impl Module for GroupNorm {
    fn forward(&self, x: Tensor) -> Result<Tensor> {
        self.name.run(|| {
            let [weight, bias] = tensors([&self.weight, &self.bias]);
            x.group_norm(self.num_groups, weight.as_ref(), bias.as_ref(), self.eps)
        })
    }
}

/// Normalises over the last axes, as `torch.nn.LayerNorm`.
///
/// ```
/// use rasgo::prelude::*;
/// let norm = nn::LayerNorm::new([4, 5]);
/// assert_eq!(**norm.forward(Tensor::rand([3, 6, 4, 5]))?.shape(), [3, 6, 4, 5]);
/// # Ok::<(), rasgo::Error>(())
/// ```
#[derive(Clone, Debug, Module)]
pub struct LayerNorm {
    /// The normalized shape; `None` without `elementwise_affine`.
    pub weight: Option<Parameter>,
    /// The normalized shape; `None` without `elementwise_affine` or `bias`.
    pub bias: Option<Parameter>,
    name: LayerName,
    #[module(skip)]
    normalized_shape: Shape,
    #[module(skip)]
    eps: f64,
}

impl LayerNorm {
    /// A normalisation with PyTorch's defaults: eps 1e-5, elementwise affine.
    pub fn new(normalized_shape: impl Into<Shape>) -> Self {
        let normalized_shape = normalized_shape.into();
        let (weight, bias) = affine(normalized_shape.clone());
        LayerNorm { weight, bias, name: LayerName::new("LayerNorm"), normalized_shape, eps: 1e-5 }
    }

    /// What is added to the variance.
    pub fn eps(mut self, eps: f64) -> Self {
        self.eps = eps;
        self
    }

    /// Whether there are weight and bias.
    pub fn elementwise_affine(mut self, keep: bool) -> Self {
        (self.weight, self.bias) = (self.weight.filter(|_| keep), self.bias.filter(|_| keep));
        self
    }

    /// Whether there is a bias.
    pub fn bias(mut self, keep: bool) -> Self {
        self.bias = self.bias.filter(|_| keep);
        self
    }
}

impl Module for LayerNorm {
    fn forward(&self, x: Tensor) -> Result<Tensor> {
        self.name.run(|| {
            let [weight, bias] = tensors([&self.weight, &self.bias]);
            x.layer_norm(self.normalized_shape.clone(), weight.as_ref(), bias.as_ref(), self.eps)
        })
    }
}

/// Normalises each channel of each sample, as `torch.nn.InstanceNorm1d`, `InstanceNorm2d`, `InstanceNorm3d`: by default
/// without parameters and running statistics.
///
/// ```
/// use rasgo::prelude::*;
/// let norm = nn::InstanceNorm2d::new(6).affine(true);
/// assert_eq!(**norm.forward(Tensor::rand([3, 6, 4, 5]))?.shape(), [3, 6, 4, 5]);
/// # Ok::<(), rasgo::Error>(())
/// ```
#[derive(Clone, Debug, Module)]
pub struct InstanceNorm<const D: usize> {
    /// (C); `None` without `affine`.
    pub weight: Option<Parameter>,
    /// (C); `None` without `affine`.
    pub bias: Option<Parameter>,
    /// (C); `None` without `track_running_stats`.
    pub running_mean: Option<State>,
    /// (C); `None` without `track_running_stats`.
    pub running_var: Option<State>,
    /// PyTorch keeps it and does not count.
    pub num_batches_tracked: Option<State>,
    name: LayerName,
    mode: Mode,
    #[module(skip)]
    channels: usize,
    #[module(skip)]
    eps: f64,
    #[module(skip)]
    momentum: f64,
}

/// Normalises (N, C, L).
pub type InstanceNorm1d = InstanceNorm<1>;
/// Normalises (N, C, H, W).
pub type InstanceNorm2d = InstanceNorm<2>;
/// Normalises (N, C, D, H, W).
pub type InstanceNorm3d = InstanceNorm<3>;

impl<const D: usize> InstanceNorm<D> {
    /// A normalisation with PyTorch's defaults: eps 1e-5, momentum 0.1, no parameters, no running statistics.
    pub fn new(num_features: usize) -> Self {
        InstanceNorm {
            weight: None,
            bias: None,
            running_mean: None,
            running_var: None,
            num_batches_tracked: None,
            name: LayerName::new(["InstanceNorm1d", "InstanceNorm2d", "InstanceNorm3d"][D - 1]),
            mode: Mode::default(),
            channels: num_features,
            eps: 1e-5,
            momentum: 0.1,
        }
    }

    /// What is added to the variance.
    pub fn eps(mut self, eps: f64) -> Self {
        self.eps = eps;
        self
    }

    /// The share of the batch in the running statistics.
    pub fn momentum(mut self, momentum: f64) -> Self {
        self.momentum = momentum;
        self
    }

    /// Whether there are weight and bias.
    pub fn affine(mut self, keep: bool) -> Self {
        (self.weight, self.bias) = if keep { affine([self.channels]) } else { (None, None) };
        self
    }

    /// Whether running statistics are kept, and used in evaluation.
    pub fn track_running_stats(mut self, track: bool) -> Self {
        let new = |shape: &[usize], fill, dtype| track.then(|| State::new(shape, fill, dtype));
        self.running_mean = new(&[self.channels], 0.0, DType::F32);
        self.running_var = new(&[self.channels], 1.0, DType::F32);
        self.num_batches_tracked = new(&[], 0.0, DType::I64);
        self
    }

    fn normalize(&self, x: &Tensor) -> Result<Tensor> {
        expect_spatial::<D>(x)?;
        let [weight, bias] = tensors([&self.weight, &self.bias]);
        let (weight, bias) = (weight.as_ref(), bias.as_ref());
        let (Some(mean), Some(var)) = (&self.running_mean, &self.running_var) else {
            return x.instance_norm(weight, bias, self.eps);
        };
        if x.is_shape_only() {
            // The running ones are not made for a shape.
            let statistic = Tensor::shape_only([self.channels], x.dtype());
            return x.instance_norm_with((&statistic, &statistic), weight, bias, self.eps);
        }
        if !self.mode.is_training() {
            return x.instance_norm_with((&mean.get(), &var.get()), weight, bias, self.eps);
        }
        let _claim = mean.claim().map_err(|error| error.layer(&*self.name.path()))?;
        let before = (&mean.get(), &var.get());
        let (y, after) = x.instance_norm_running(before, weight, bias, self.momentum, self.eps)?;
        mean.set(after.0);
        var.set(after.1);
        Ok(y)
    }
}

impl<const D: usize> Module for InstanceNorm<D> {
    fn forward(&self, x: Tensor) -> Result<Tensor> {
        self.name.run(|| self.normalize(&x))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::ModuleExt;

    fn names(layer: &impl Module) -> Vec<String> {
        layer.state_dict().into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn names_are_pytorchs_with_its_defaults() {
        assert_eq!(names(&GroupNorm::new(2, 4)), ["weight", "bias"]);
        assert!(names(&GroupNorm::new(2, 4).affine(false)).is_empty());
        assert_eq!(names(&LayerNorm::new([4])), ["weight", "bias"]);
        assert_eq!(names(&LayerNorm::new([4]).bias(false)), ["weight"]);
        assert!(names(&LayerNorm::new([4]).elementwise_affine(false)).is_empty());
        assert!(names(&InstanceNorm1d::new(4)).is_empty());
        let all = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"];
        assert_eq!(names(&InstanceNorm1d::new(4).affine(true).track_running_stats(true)), all);
    }

    #[test]
    fn instance_norm_takes_its_running_statistics_in_evaluation() {
        let x = || Tensor::from_vec(vec![1.0f32, 3.0, 10.0, 30.0], [1, 2, 2]).unwrap();
        let mut layer = InstanceNorm1d::new(2).track_running_stats(true).momentum(1.0).eps(1e-12);
        assert_eq!(layer.forward(x()).unwrap().to_vec::<f32>().unwrap(), [-1.0, 1.0, -1.0, 1.0]);
        layer.eval();
        // The running variance is the unbiased one: 2 and 200.
        let y = layer.forward(x()).unwrap().to_vec::<f32>().unwrap();
        let half = 0.5f32.sqrt();
        assert!(y.iter().zip([-half, half, -half, half]).all(|(a, b)| (a - b).abs() < 1e-6), "{y:?}");
    }

    #[test]
    fn groups_that_do_not_divide_are_named_with_the_layer() {
        let error = GroupNorm::new(3, 4).forward(Tensor::ones([2, 4, 5], DType::F32).unwrap()).unwrap_err();
        assert!(error.to_string().contains("4 channels of input [2, 4, 5] in 3 groups"), "{error}");
        assert!(error.layer_path().is_some());
    }
}
