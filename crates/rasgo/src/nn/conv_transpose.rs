//! Transposed convolutions.

use rasgo_core::ops::ConvTransposeOptions;
use rasgo_core::{Result, Tensor};
use rasgo_derive::Module;

use super::conv::Channels;
use super::module::Module;
use super::parameter::{LayerName, Parameter};
use super::size::{Size, expect_spatial};

/// Transposed convolution of (N, in, …) to (N, out, …), as `torch.nn.ConvTranspose1d`, `ConvTranspose2d`,
/// `ConvTranspose3d`: the sizes of a convolution the other way round.
///
/// Parameters: `weight` (in, out / groups, kernel…) and `bias` (out). For each spatial axis
/// `out = (in - 1) stride - 2 padding + dilation (kernel - 1) + 1 + output_padding`.
///
/// ```
/// use rasgo::prelude::*;
/// let up = nn::ConvTranspose2d::new(16, 3, 3).stride(2).padding(1).output_padding(1);
/// assert_eq!(**up.forward(Tensor::rand([1, 16, 8, 10]))?.shape(), [1, 3, 16, 20]);
/// assert_eq!(**up.forward_to_size(Tensor::rand([1, 16, 8, 10]), [15, 20])?.shape(), [1, 3, 15, 20]);
/// # Ok::<(), rasgo::Error>(())
/// ```
#[derive(Clone, Debug, Module)]
pub struct ConvTranspose<const D: usize> {
    /// (in, out / groups, kernel…)
    pub weight: Parameter,
    /// (out)
    pub bias: Option<Parameter>,
    name: LayerName,
    #[module(skip)]
    shape: Channels<D>,
    #[module(skip)]
    options: ConvTransposeOptions,
}

/// Transposed convolution of (N, C, L).
pub type ConvTranspose1d = ConvTranspose<1>;
/// Transposed convolution of (N, C, H, W).
pub type ConvTranspose2d = ConvTranspose<2>;
/// Transposed convolution of (N, C, D, H, W).
pub type ConvTranspose3d = ConvTranspose<3>;

impl<const D: usize> ConvTranspose<D> {
    /// A transposed convolution with PyTorch's defaults: stride 1, no padding, dilation 1, one group, a bias.
    pub fn new(in_channels: usize, out_channels: usize, kernel_size: impl Into<Size<D>>) -> Self {
        let shape = Channels {
            input: in_channels,
            output: out_channels,
            kernel: kernel_size.into(),
            groups: 1,
            transposed: true,
        };
        ConvTranspose {
            weight: shape.weight(),
            bias: Some(shape.bias()),
            name: LayerName::new(["ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d"][D - 1]),
            shape,
            options: ConvTransposeOptions::default(),
        }
    }

    /// The step of the window over the result.
    pub fn stride(mut self, stride: impl Into<Size<D>>) -> Self {
        self.options.stride = stride.into().on_three_axes(1);
        self
    }

    /// Cells cut from both ends of the result.
    pub fn padding(mut self, padding: impl Into<Size<D>>) -> Self {
        self.options.padding = padding.into().on_three_axes(0);
        self
    }

    /// Cells added at the end of the result; less than the stride or the dilation.
    pub fn output_padding(mut self, output_padding: impl Into<Size<D>>) -> Self {
        self.options.output_padding = output_padding.into().on_three_axes(0);
        self
    }

    /// The distance of the kernel's cells.
    pub fn dilation(mut self, dilation: impl Into<Size<D>>) -> Self {
        self.options.dilation = dilation.into().on_three_axes(1);
        self
    }

    /// Groups of channels that do not see each other.
    pub fn groups(mut self, groups: usize) -> Self {
        self.shape.regroup(groups, &mut self.weight, &mut self.bias);
        self.options.groups = groups;
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

    /// The forward to one of the sizes that the stride joins, instead of `output_padding`: PyTorch's
    /// `forward(x, output_size)`.
    #[track_caller]
    pub fn forward_to_size(&self, x: Tensor, output_size: impl Into<Size<D>>) -> Result<Tensor> {
        let output_size = Some(output_size.into().on_three_axes(1));
        self.run(&x, &ConvTransposeOptions { output_size, ..self.options.clone() })
    }

    #[track_caller]
    fn run(&self, x: &Tensor, options: &ConvTransposeOptions) -> Result<Tensor> {
        self.name.run(|| {
            expect_spatial::<D>(x).map_err(|error| {
                error.op(["conv_transpose1d", "conv_transpose2d", "conv_transpose3d"][D - 1])
            })?;
            x.conv_transpose(
                &self.weight.tensor(),
                self.bias.as_ref().map(Parameter::tensor).as_ref(),
                options,
            )
        })
    }
}

impl<const D: usize> Module for ConvTranspose<D> {
    fn forward(&self, x: Tensor) -> Result<Tensor> {
        self.run(&x, &self.options)
    }
}
