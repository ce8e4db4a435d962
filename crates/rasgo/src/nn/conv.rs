//! Convolutions.

use rasgo_core::ops::{Activation, ConvOptions, PadMode};
use rasgo_core::{Result, Shape, Tensor};
use rasgo_derive::Module;

use super::fuse::{Affine, fold_into};
use super::module::{Kind, KindMut, Module, Sums};
use super::parameter::{LayerName, Parameter};
use super::size::{Size, expect_spatial};
use crate::init::Init;

/// Cells around the input of a convolution: zeros, unless it has another padding mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding<const D: usize> {
    /// As many on both sides of each axis.
    Each(Size<D>),
    /// (before, after) of each axis.
    Sides([(usize, usize); D]),
    /// As many as keep the size (stride 1 only); of an odd number the end gets one more, as in PyTorch.
    Same,
}

impl<const D: usize> From<usize> for Padding<D> {
    fn from(value: usize) -> Self {
        Padding::Each(value.into())
    }
}

impl From<(usize, usize)> for Padding<2> {
    fn from(values: (usize, usize)) -> Self {
        Padding::Each(values.into())
    }
}

impl From<(usize, usize, usize)> for Padding<3> {
    fn from(values: (usize, usize, usize)) -> Self {
        Padding::Each(values.into())
    }
}

impl<const D: usize> From<[usize; D]> for Padding<D> {
    fn from(values: [usize; D]) -> Self {
        Padding::Each(values.into())
    }
}

impl<const D: usize> From<[(usize, usize); D]> for Padding<D> {
    fn from(sides: [(usize, usize); D]) -> Self {
        Padding::Sides(sides)
    }
}

/// Convolution (cross-correlation) of (N, in, …) to (N, out, …), as `torch.nn.Conv1d`, `Conv2d`, `Conv3d`.
///
/// Parameters: `weight` (out, in / groups, kernel…) and `bias` (out). For each spatial axis
/// `out = floor((in + 2 padding - dilation (kernel - 1) - 1) / stride) + 1`.
///
/// ```
/// use rasgo::prelude::*;
/// let conv = nn::Conv2d::new(3, 16, (5, 3)).stride((2, 1)).padding((2, 1)).bias(false);
/// assert_eq!(**conv.forward(Tensor::rand([1, 3, 32, 20]))?.shape(), [1, 16, 16, 20]);
/// let conv = nn::Conv3d::new(1, 4, (3, 5, 5)).padding((1, 2, 2));
/// assert_eq!(**conv.forward(Tensor::rand([1, 1, 6, 8, 8]))?.shape(), [1, 4, 6, 8, 8]);
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
    mode: PadMode,
    #[module(skip)]
    dilation: Size<D>,
}

/// The channels and the kernel of a convolution or its transpose.
#[derive(Clone, Copy, Debug)]
pub(super) struct Channels<const D: usize> {
    pub(super) input: usize,
    pub(super) output: usize,
    pub(super) kernel: Size<D>,
    pub(super) groups: usize,
    pub(super) transposed: bool,
}

impl<const D: usize> Channels<D> {
    fn weight_shape(&self) -> Shape {
        let (first, second) =
            if self.transposed { (self.input, self.output) } else { (self.output, self.input) };
        let per_group = second.checked_div(self.groups).unwrap_or(0);
        [first, per_group].into_iter().chain(self.kernel.0).collect()
    }

    /// PyTorch takes the fan of a transposed weight as if it were an ordinary one.
    fn bias_init(&self) -> Init {
        Init::torch_bias(
            self.weight_shape()[1..].iter().fold(1, |product: usize, &size| product.saturating_mul(size)),
        )
    }

    pub(super) fn weight(&self) -> Parameter {
        Parameter::new(self.weight_shape(), Init::TORCH_WEIGHT)
    }

    pub(super) fn bias(&self) -> Parameter {
        Parameter::new([self.output], self.bias_init())
    }

    /// Changes the groups, and the parameters with them.
    pub(super) fn regroup(&mut self, groups: usize, weight: &mut Parameter, bias: &mut Option<Parameter>) {
        self.groups = groups;
        *weight = weight.reshaped(self.weight_shape(), Init::TORCH_WEIGHT);
        *bias = bias.take().map(|bias| bias.reshaped([self.output], self.bias_init()));
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
        let shape = Channels {
            input: in_channels,
            output: out_channels,
            kernel: kernel_size.into(),
            groups: 1,
            transposed: false,
        };
        Conv {
            weight: shape.weight(),
            bias: Some(shape.bias()),
            name: LayerName::new(["Conv1d", "Conv2d", "Conv3d"][D - 1]),
            shape,
            stride: 1.into(),
            padding: 0.into(),
            mode: PadMode::Constant(0.0),
            dilation: 1.into(),
        }
    }

    /// The step of the window.
    pub fn stride(mut self, stride: impl Into<Size<D>>) -> Self {
        self.stride = stride.into();
        self
    }

    /// Cells around the input.
    pub fn padding(mut self, padding: impl Into<Padding<D>>) -> Self {
        self.padding = padding.into();
        self
    }

    /// What stands in the padding: zeros by default.
    pub fn padding_mode(mut self, mode: PadMode) -> Self {
        self.mode = mode;
        self
    }

    /// The distance of the kernel's cells.
    pub fn dilation(mut self, dilation: impl Into<Size<D>>) -> Self {
        self.dilation = dilation.into();
        self
    }

    /// Groups of channels that do not see each other.
    pub fn groups(mut self, groups: usize) -> Self {
        self.shape.regroup(groups, &mut self.weight, &mut self.bias);
        self
    }

    /// Whether there is a bias.
    pub fn bias(mut self, bias: bool) -> Self {
        if !bias {
            self.bias = None;
        } else if self.bias.is_none() {
            self.bias = Some(self.shape.bias());
        }
        self
    }

    fn options(&self, activation: Activation) -> Result<ConvOptions> {
        let mut options = ConvOptions {
            stride: self.stride.on_three_axes(1),
            dilation: self.dilation.on_three_axes(1),
            groups: self.shape.groups,
            activation,
            ..ConvOptions::default()
        };
        match self.padding {
            Padding::Each(size) => options.padding = size.on_three_axes(0).map(|both| (both, both)),
            Padding::Sides(sides) => options.padding[3 - D..].copy_from_slice(&sides),
            Padding::Same => return options.same(&self.shape.kernel.0),
        }
        Ok(options)
    }

    fn convolve(&self, x: &Tensor, shortcut: Option<&Tensor>, activation: Activation) -> Result<Tensor> {
        expect_spatial::<D>(x).map_err(|error| error.op(["conv1d", "conv2d", "conv3d"][D - 1]))?;
        let bias = self.bias.as_ref().map(Parameter::tensor);
        let mut options = self.options(activation)?;
        let padded;
        let mut x = x;
        if self.mode != PadMode::Constant(0.0) {
            let sides = std::mem::take(&mut options.padding).map(|(before, after)| {
                // Beyond a word is beyond what padding takes, and refused there.
                (isize::try_from(before).unwrap_or(isize::MAX), isize::try_from(after).unwrap_or(isize::MAX))
            });
            padded = x.pad(&sides[3 - D..], self.mode)?;
            x = &padded;
        }
        match shortcut {
            Some(shortcut) => x.conv_add(&self.weight.tensor(), bias.as_ref(), shortcut, &options),
            None => x.conv(&self.weight.tensor(), bias.as_ref(), &options),
        }
    }

    /// act(conv(x) + shortcut)
    pub(super) fn forward_add(
        &self,
        x: Tensor,
        shortcut: Option<&Tensor>,
        activation: Activation,
    ) -> Result<Tensor> {
        let _scope = self.name.enter();
        self.convolve(&x, shortcut, activation)
    }
}

impl<const D: usize> Module for Conv<D> {
    fn forward(&self, x: Tensor) -> Result<Tensor> {
        self.name.run(|| self.convolve(&x, None, Activation::None))
    }

    fn kind(&self) -> Kind<'_> {
        Kind::Sums(self)
    }

    fn kind_mut(&mut self) -> KindMut<'_> {
        KindMut::Sums(self)
    }
}

impl<const D: usize> Sums for Conv<D> {
    fn forward_act(&self, x: Tensor, activation: Activation) -> Result<Tensor> {
        self.forward_add(x, None, activation)
    }

    fn fold(&mut self, affine: &Affine) -> Result<()> {
        fold_into(affine, &mut self.weight, &mut self.bias)
    }
}
