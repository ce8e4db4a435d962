//! Layers of a model file that change spatial sizes without weights: interpolation, shuffles, paddings.

use rasgo_core::ops::InterpolateMode;
use rasgo_core::{Error, Result};

use super::axes::{Axes, Factors, SidesSpec, for_each_axis};
use super::options::options;
use crate::nn::{self, Module};

options! {
    /// The options of an interpolation, under PyTorch's names.
    UpsampleSpec {
        required {}
        optional {
            /// Output size; this or `scale_factor`.
            size: Axes,
            /// Output size as a multiple of the input's.
            scale_factor: Factors,
            /// `nearest` (the default), `nearest-exact`, `linear`, `bilinear`, `bicubic`, `trilinear` or `area`.
            mode: String,
            /// Whether the centres of the first and last cells meet; false by default.
            align_corners: bool,
            /// Whether places follow from the sizes although a factor is given; false by default.
            recompute_scale_factor: bool,
        }
    }
    /// The factor of a pixel shuffle.
    PixelShuffleSpec {
        required {
            /// Pixels that one becomes, along each axis.
            upscale_factor: usize,
        }
        optional {}
    }
    /// The factor of a pixel unshuffle.
    PixelUnshuffleSpec {
        required {
            /// Pixels that become one, along each axis.
            downscale_factor: usize,
        }
        optional {}
    }
    /// A padding.
    PadSpec {
        required {
            /// Cells around the map; negative numbers cut off.
            padding: SidesSpec,
        }
        optional {}
    }
    /// A padding with a value.
    ConstantPadSpec {
        required {
            /// Cells around the map; negative numbers cut off.
            padding: SidesSpec,
            /// What stands in them.
            value: f64,
        }
        optional {}
    }
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
        let named = self.mode.as_deref().unwrap_or("nearest");
        let mode = InterpolateMode::named(named, D)?;
        if self.align_corners.is_some() && !mode.has_corners() {
            return Err(Error::config(format!("align_corners with mode {named}"))
                .hint("it belongs to linear, bilinear, bicubic and trilinear"));
        }
        let layer = layer.mode(mode).align_corners(self.align_corners.unwrap_or(false));
        Ok(Box::new(layer.recompute_scale_factor(self.recompute_scale_factor.unwrap_or(false))))
    }
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
