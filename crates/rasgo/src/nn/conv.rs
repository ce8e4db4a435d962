//! Convolutions.

use rasgo_core::ops::ConvOptions;
use rasgo_core::{Error, Result, Shape, Tensor};
use rasgo_derive::Module;

use super::module::{ConvRelu, Kind, Module};
use super::parameter::{LayerName, Parameter};
use super::size::Size;
use crate::init::Init;

/// Zeros around the input of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding<const D: usize> {
    /// As many on both sides of each axis.
    Each(Size<D>),
    /// As many as keep the size (stride 1 only); of an odd number the end gets one more, as in PyTorch.
    Same,
}

impl<const D: usize> From<usize> for Padding<D> {
    fn from(value: usize) -> Self {
        Padding::Each(value.into())
    }
}

impl<const D: usize> From<[usize; D]> for Padding<D> {
    fn from(values: [usize; D]) -> Self {
        Padding::Each(values.into())
    }
}

/// Convolution (cross-correlation) of (N, in, …) to (N, out, …), as `torch.nn.Conv1d`, `Conv2d`, `Conv3d`.
///
/// Parameters: `weight` (out, in / groups, kernel…) and `bias` (out). For each spatial axis
/// `out = floor((in + 2 padding - dilation (kernel - 1) - 1) / stride) + 1`.
///
/// ```
/// use rasgo::prelude::*;
/// let conv = nn::Conv2d::new(3, 16, [5, 3]).stride([2, 1]).padding([2, 1]).bias(false);
/// assert_eq!(**conv.forward(Tensor::rand([1, 3, 32, 20]))?.shape(), [1, 16, 16, 20]);
/// # Ok::<(), rasgo::Error>(())
/// ```
#[derive(Clone, Debug, Module)]
pub struct Conv<const D: usize> {
    /// (out, in / groups, kernel…)
    pub weight: Parameter,
    /// (out)
    pub bias: Option<Parameter>,
    name: LayerName,
    #[module(skip)]
    shape: Channels<D>,
    #[module(skip)]
    stride: Size<D>,
    #[module(skip)]
    padding: Padding<D>,
    #[module(skip)]
    dilation: Size<D>,
}

#[derive(Clone, Copy, Debug)]
struct Channels<const D: usize> {
    input: usize,
    output: usize,
    kernel: Size<D>,
    groups: usize,
}

impl<const D: usize> Channels<D> {
    fn weight(&self) -> Shape {
        let per_group = self.input.checked_div(self.groups).unwrap_or(0);
        [self.output, per_group].into_iter().chain(self.kernel.0).collect()
    }

    fn fan_in(&self) -> usize {
        self.weight()[1..].iter().fold(1, |product: usize, &size| product.saturating_mul(size))
    }
}

/// Convolution of (N, C, L).
pub type Conv1d = Conv<1>;
/// Convolution of (N, C, H, W).
pub type Conv2d = Conv<2>;
/// Convolution of (N, C, D, H, W).
pub type Conv3d = Conv<3>;

impl<const D: usize> Conv<D> {
    /// A convolution with PyTorch's defaults: stride 1, no padding, dilation 1, one group, a bias.
    pub fn new(in_channels: usize, out_channels: usize, kernel_size: impl Into<Size<D>>) -> Self {
        let shape =
            Channels { input: in_channels, output: out_channels, kernel: kernel_size.into(), groups: 1 };
        Conv {
            weight: Parameter::new(shape.weight(), Init::TORCH_WEIGHT),
            bias: Some(Parameter::new([out_channels], Init::torch_bias(shape.fan_in()))),
            name: LayerName::new(["Conv1d", "Conv2d", "Conv3d"][D - 1]),
            shape,
            stride: 1.into(),
            padding: 0.into(),
            dilation: 1.into(),
        }
    }

    /// The step of the window.
    pub fn stride(mut self, stride: impl Into<Size<D>>) -> Self {
        self.stride = stride.into();
        self
    }

    /// Zeros around the input.
    pub fn padding(mut self, padding: impl Into<Padding<D>>) -> Self {
        self.padding = padding.into();
        self
    }

    /// The distance of the kernel's cells.
    pub fn dilation(mut self, dilation: impl Into<Size<D>>) -> Self {
        self.dilation = dilation.into();
        self
    }

    /// Groups of channels that do not see each other.
    pub fn groups(mut self, groups: usize) -> Self {
        self.shape.groups = groups;
        self.weight = self.weight.reshaped(self.shape.weight(), Init::TORCH_WEIGHT);
        let init = Init::torch_bias(self.shape.fan_in());
        self.bias = self.bias.map(|bias| bias.reshaped([self.shape.output], init));
        self
    }

    /// Whether there is a bias.
    pub fn bias(mut self, bias: bool) -> Self {
        if !bias {
            self.bias = None;
        } else if self.bias.is_none() {
            self.bias = Some(Parameter::new([self.shape.output], Init::torch_bias(self.shape.fan_in())));
        }
        self
    }

    fn options(&self, relu: bool) -> Result<ConvOptions> {
        let (stride, dilation) = (self.stride.on_three_axes(1), self.dilation.on_three_axes(1));
        let padding = match self.padding {
            Padding::Each(size) => size.on_three_axes(0).map(|both| (both, both)),
            Padding::Same => {
                if self.stride.0.iter().any(|&stride| stride != 1) {
                    return Err(Error::argument(format!("padding=same with stride {:?}", self.stride.0))
                        .hint("'same' keeps the size, so it needs stride 1; give the padding in numbers"));
                }
                let kernel = self.shape.kernel.on_three_axes(1);
                std::array::from_fn(|axis| {
                    let total = dilation[axis] * kernel[axis].saturating_sub(1);
                    (total / 2, total - total / 2)
                })
            }
        };
        Ok(ConvOptions { stride, padding, dilation, groups: self.shape.groups, relu })
    }

    fn convolve(&self, x: &Tensor, relu: bool) -> Result<Tensor> {
        if x.shape().len() != D + 2 {
            return Err(Error::shape(format!(
                "input {} has {} axes, not {}",
                x.shape(),
                x.shape().len(),
                D + 2
            ))
            .op(["conv1d", "conv2d", "conv3d"][D - 1])
            .layer(&*self.name.path())
            .hint("give (N, C, L), (N, C, H, W) or (N, C, D, H, W); add the batch axis with .reshape"));
        }
        let bias = self.bias.as_ref().map(Parameter::tensor);
        x.conv(&self.weight.tensor(), bias.as_ref(), &self.options(relu)?)
    }
}

impl<const D: usize> Module for Conv<D> {
    fn forward(&self, x: Tensor) -> Result<Tensor> {
        self.name.run(|| self.convolve(&x, false))
    }

    fn kind(&self) -> Kind<'_> {
        Kind::Conv(self)
    }
}

impl<const D: usize> ConvRelu for Conv<D> {
    fn forward_relu(&self, x: Tensor) -> Result<Tensor> {
        let _scope = self.name.enter();
        self.convolve(&x, true)
    }
}
