//! Blocks of a model file: several layers under one name.

use rasgo_core::{Error, Result};

use super::options::options;
use crate::nn::{self, Function, Module};

options! {
    /// The options of `torchvision.ops.Conv2dNormActivation`: convolution, batch normalisation, activation.
    ConvNormActSpec {
        required {
            /// Output channels.
            out_channels: usize,
        }
        optional {
            /// Cells of the kernel along both axes; 3 by default. The padding is half of it, rounded down.
            kernel_size: usize,
            /// Step; 1 by default.
            stride: usize,
            /// Groups of channels; 1 by default.
            groups: usize,
            /// `"ReLU"`, the default, `"ReLU6"`, `"SiLU"`, `"Hardswish"` or `"none"`.
            activation_layer: String,
        }
    }
    /// The options of a residual block.
    ResidualSpec {
        required {
            /// Output channels; of a bottleneck, four times the width within.
            out_channels: usize,
        }
        optional {
            /// Step of the block; 1 by default.
            stride: usize,
        }
    }
    /// The options of a block of MobileNetV2.
    InvertedResidualSpec {
        required {
            /// Output channels.
            out_channels: usize,
        }
        optional {
            /// Step of the block; 1 by default.
            stride: usize,
            /// Channels within, as a multiple of those that come in; 6 by default.
            expand_ratio: usize,
        }
    }
}

impl ConvNormActSpec {
    pub(super) fn build(&self, channels: usize) -> Result<Box<dyn Module>> {
        let kernel_size = self.kernel_size.unwrap_or(3);
        let function = match self.activation_layer.as_deref() {
            None | Some("ReLU") => Some(Function::ReLU),
            Some("ReLU6") => Some(Function::ReLU6),
            Some("SiLU") => Some(Function::SiLU),
            Some("Hardswish") => Some(Function::Hardswish),
            Some("none") => None,
            Some(other) => {
                return Err(Error::config(format!("activation_layer {other:?}"))
                    .hint("give \"ReLU\", \"ReLU6\", \"SiLU\", \"Hardswish\" or \"none\""));
            }
        };
        let layer = nn::ConvNormAct::<2>::new(channels, self.out_channels, kernel_size).activation(function);
        // As many as keep the size at stride 1.
        let padding = kernel_size.saturating_sub(1) / 2;
        Ok(Box::new(layer.conv(|conv| {
            conv.stride(self.stride.unwrap_or(1)).padding(padding).groups(self.groups.unwrap_or(1))
        })))
    }
}

impl ResidualSpec {
    pub(super) fn basic(&self, channels: usize) -> Box<dyn Module> {
        Box::new(nn::BasicBlock::new(channels, self.out_channels, self.stride.unwrap_or(1)))
    }

    pub(super) fn bottleneck(&self, channels: usize) -> Result<Box<dyn Module>> {
        if !self.out_channels.is_multiple_of(4) {
            return Err(Error::config(format!("out_channels {} is no multiple of 4", self.out_channels))
                .hint("give four times the width of the 3x3 convolution"));
        }
        Ok(Box::new(nn::Bottleneck::new(channels, self.out_channels, self.stride.unwrap_or(1))))
    }
}

impl InvertedResidualSpec {
    pub(super) fn build(&self, channels: usize) -> Box<dyn Module> {
        let (stride, expand_ratio) = (self.stride.unwrap_or(1), self.expand_ratio.unwrap_or(6));
        Box::new(nn::InvertedResidual::new(channels, self.out_channels, stride, expand_ratio))
    }
}
