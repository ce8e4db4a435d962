//! Layers of a model file that change spatial sizes: transposed convolutions, interpolation, shuffles, paddings.

use rasgo_core::ops::InterpolateMode;
use rasgo_core::{Error, Result};
use serde::{Deserialize, Serialize};

use super::layer::{Axes, for_each_axis};
use crate::nn::{self, Module};

/// The options of a transposed convolution, under PyTorch's names; `in_channels` follows from the input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConvTransposeSpec {
    /// Output channels.
    pub out_channels: usize,
    /// Cells of the kernel.
    pub kernel_size: Axes,
    /// Step over the result.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub stride: Option<Axes>,
    /// Cells cut from both ends of the result.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub padding: Option<Axes>,
    /// Cells added at the end of the result.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub output_padding: Option<Axes>,
    /// Distance of the kernel's cells.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub dilation: Option<Axes>,
    /// Groups of channels.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub groups: Option<usize>,
    /// Whether there is a bias; true by default.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub bias: Option<bool>,
}

impl ConvTransposeSpec {
    pub(super) fn build<const D: usize>(&self, channels: usize) -> Result<Box<dyn Module>> {
        let kernel = self.kernel_size.size("kernel_size")?;
        let mut layer = nn::ConvTranspose::<D>::new(channels, self.out_channels, kernel);
        if let Some(stride) = &self.stride {
            layer = layer.stride(stride.size("stride")?);
        }
        if let Some(padding) = &self.padding {
            layer = layer.padding(padding.size("padding")?);
        }
        if let Some(output_padding) = &self.output_padding {
            layer = layer.output_padding(output_padding.size("output_padding")?);
        }
        if let Some(dilation) = &self.dilation {
            layer = layer.dilation(dilation.size("dilation")?);
        }
        if let Some(groups) = self.groups {
            layer = layer.groups(groups);
        }
        Ok(Box::new(layer.bias(self.bias.unwrap_or(true))))
    }
}

/// A factor for all axes, or one for each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Factors {
    /// For all axes.
    One(f64),
    /// For each axis.
    Each(Vec<f64>),
}

/// The options of an interpolation, under PyTorch's names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpsampleSpec {
    /// Output size; this or `scale_factor`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub size: Option<Axes>,
    /// Output size as a multiple of the input's.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub scale_factor: Option<Factors>,
    /// `nearest` (the default), `nearest-exact`, `linear`, `bilinear`, `bicubic`, `trilinear` or `area`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub mode: Option<String>,
    /// Whether the centres of the first and last cells meet; false by default.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub align_corners: Option<bool>,
    /// Whether places follow from the sizes although a factor is given; false by default.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub recompute_scale_factor: Option<bool>,
}

impl UpsampleSpec {
    /// The layer for an input of so many axes.
    pub(super) fn build(&self, rank: usize) -> Result<Box<dyn Module>> {
        match rank {
            3 => self.of::<1>(),
            4 => self.of::<2>(),
            5 => self.of::<3>(),
            _ => {
                Err(Error::config(format!("an input of {} axes after the channels", rank.saturating_sub(2)))
                    .hint("Upsample takes 1 to 3; put it before Flatten"))
            }
        }
    }

    fn of<const D: usize>(&self) -> Result<Box<dyn Module>> {
        let layer = match (&self.size, &self.scale_factor) {
            (Some(size), None) => nn::Upsample::<D>::to_size(size.size("size")?),
            (None, Some(Factors::One(factor))) => nn::Upsample::by_factor(*factor),
            (None, Some(Factors::Each(factors))) => {
                nn::Upsample::by_factors(for_each_axis(factors, "scale_factor")?)
            }
            _ => return Err(Error::config("size or scale_factor, one of them must be given")),
        };
        let mode = InterpolateMode::named(self.mode.as_deref().unwrap_or("nearest"), D)?;
        if self.align_corners.is_some() && !mode.has_corners() {
            return Err(Error::config(format!("align_corners with mode {mode:?}"))
                .hint("it belongs to linear, bilinear, bicubic and trilinear"));
        }
        let layer = layer.mode(mode).align_corners(self.align_corners.unwrap_or(false));
        Ok(Box::new(layer.recompute_scale_factor(self.recompute_scale_factor.unwrap_or(false))))
    }
}

/// The factor of a pixel shuffle.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PixelShuffleSpec {
    /// Pixels that one becomes, along each axis.
    pub upscale_factor: usize,
}

/// The factor of a pixel unshuffle.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PixelUnshuffleSpec {
    /// Pixels that become one, along each axis.
    pub downscale_factor: usize,
}

/// Cells around a map: a number for all sides, or `[before, after]` for each axis in the order of the axes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum SidesSpec {
    /// On all sides.
    One(i32),
    /// On each side of each axis.
    Each(Vec<(i32, i32)>),
}

impl SidesSpec {
    fn sides<const D: usize>(&self) -> Result<nn::Sides<D>> {
        let sides = match self {
            SidesSpec::One(all) => [(*all, *all); D],
            SidesSpec::Each(sides) => for_each_axis(sides, "padding")?,
        };
        Ok(nn::Sides(sides.map(|(before, after)| (before as isize, after as isize))))
    }
}

/// A padding.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PadSpec {
    /// Cells around the map; negative numbers cut off.
    pub padding: SidesSpec,
}

/// A padding with a value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConstantPadSpec {
    /// Cells around the map; negative numbers cut off.
    pub padding: SidesSpec,
    /// What stands in them.
    pub value: f64,
}

impl PadSpec {
    pub(super) fn zero<const D: usize>(&self) -> Result<Box<dyn Module>> {
        Ok(Box::new(nn::ZeroPad::<D>::new(self.padding.sides()?)))
    }

    pub(super) fn reflection<const D: usize>(&self) -> Result<Box<dyn Module>> {
        Ok(Box::new(nn::ReflectionPad::<D>::new(self.padding.sides()?)))
    }

    pub(super) fn replication<const D: usize>(&self) -> Result<Box<dyn Module>> {
        Ok(Box::new(nn::ReplicationPad::<D>::new(self.padding.sides()?)))
    }

    pub(super) fn circular<const D: usize>(&self) -> Result<Box<dyn Module>> {
        Ok(Box::new(nn::CircularPad::<D>::new(self.padding.sides()?)))
    }
}

impl ConstantPadSpec {
    pub(super) fn build<const D: usize>(&self) -> Result<Box<dyn Module>> {
        Ok(Box::new(nn::ConstantPad::<D>::new(self.padding.sides()?, self.value)))
    }
}
