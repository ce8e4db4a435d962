//! Layers of a model file with windows and weights: convolutions, transposed convolutions, unfolding.

use rasgo_core::ops::PadMode;
use rasgo_core::{Error, Result};

use super::axes::{Axes, PaddingSpec};
use super::options::{options, with_axes, with_values};
use crate::nn::{self, Module};

options! {
    /// The options of a convolution, under PyTorch's names; `in_channels` follows from the input.
    ConvSpec {
        required {
            /// Output channels.
            out_channels: usize,
            /// Cells of the kernel.
            kernel_size: Axes,
        }
        optional {
            /// Step.
            stride: Axes,
            /// Cells around the input.
            padding: PaddingSpec,
            /// What stands in them: `zeros` (the default), `reflect`, `replicate` or `circular`.
            padding_mode: String,
            /// Distance of the kernel's cells.
            dilation: Axes,
            /// Groups of channels.
            groups: usize,
            /// Whether there is a bias; true by default.
            bias: bool,
        }
    }
    /// The options of a transposed convolution, under PyTorch's names; `in_channels` follows from the input.
    ConvTransposeSpec {
        required {
            /// Output channels.
            out_channels: usize,
            /// Cells of the kernel.
            kernel_size: Axes,
        }
        optional {
            /// Step over the result.
            stride: Axes,
            /// Cells cut from both ends of the result.
            padding: Axes,
            /// Cells added at the end of the result.
            output_padding: Axes,
            /// Distance of the kernel's cells.
            dilation: Axes,
            /// Groups of channels.
            groups: usize,
            /// Whether there is a bias; true by default.
            bias: bool,
        }
    }
    /// A convolution with a table of connections.
    ConnectedSpec {
        required {
            /// The input maps that each output map sees.
            connections: Vec<Vec<usize>>,
            /// Cells of the kernel along both axes.
            kernel_size: usize,
        }
        optional {}
    }
    /// The options of an unfolding, under PyTorch's names.
    UnfoldSpec {
        required {
            /// Cells of the window.
            kernel_size: Axes,
        }
        optional {
            /// Distance of the window's cells.
            dilation: Axes,
            /// Zeros added on both sides of the map.
            padding: Axes,
            /// Step of the window.
            stride: Axes,
        }
    }
    /// The options of a folding, under PyTorch's names.
    FoldSpec {
        required {
            /// Height and width of the map.
            output_size: Axes,
            /// Cells of the window.
            kernel_size: Axes,
        }
        optional {
            /// Distance of the window's cells.
            dilation: Axes,
            /// Zeros added on both sides of the map.
            padding: Axes,
            /// Step of the window.
            stride: Axes,
        }
    }
}

impl ConvSpec {
    pub(super) fn build<const D: usize>(&self, channels: usize) -> Result<Box<dyn Module>> {
        let kernel_size = self.kernel_size.size("kernel_size")?;
        let mut layer = nn::Conv::<D>::new(channels, self.out_channels, kernel_size);
        if let Some(padding) = &self.padding {
            layer = layer.padding(padding.padding()?);
        }
        if let Some(mode) = &self.padding_mode {
            layer = layer.padding_mode(PadMode::named(mode, 0.0)?);
        }
        let layer = with_axes!(layer, self, stride dilation);
        Ok(Box::new(with_values!(layer, self, groups bias)))
    }
}

impl ConvTransposeSpec {
    pub(super) fn build<const D: usize>(&self, channels: usize) -> Result<Box<dyn Module>> {
        let kernel_size = self.kernel_size.size("kernel_size")?;
        let layer = nn::ConvTranspose::<D>::new(channels, self.out_channels, kernel_size);
        let layer = with_axes!(layer, self, stride padding output_padding dilation);
        Ok(Box::new(with_values!(layer, self, groups bias)))
    }
}

impl ConnectedSpec {
    pub(super) fn build(&self, channels: usize) -> Result<Box<dyn Module>> {
        if !(1..=1 << 16).contains(&self.kernel_size) {
            return Err(Error::config(format!("kernel_size {}", self.kernel_size)).hint("give 1 or more"));
        }
        if let Some(map) = self.connections.iter().flatten().find(|&&map| map >= channels) {
            return Err(Error::config(format!("a connection to map {map} of {channels}")));
        }
        Ok(Box::new(nn::historic::ConnectedConv2d::new(channels, &self.connections, self.kernel_size)))
    }
}

impl UnfoldSpec {
    pub(super) fn build(&self) -> Result<Box<dyn Module>> {
        let layer = nn::Unfold::new(self.kernel_size.size("kernel_size")?);
        Ok(Box::new(with_axes!(layer, self, dilation padding stride)))
    }
}

impl FoldSpec {
    pub(super) fn build(&self) -> Result<Box<dyn Module>> {
        let output_size = self.output_size.size("output_size")?;
        let layer = nn::Fold::new(output_size, self.kernel_size.size("kernel_size")?);
        Ok(Box::new(with_axes!(layer, self, dilation padding stride)))
    }
}
