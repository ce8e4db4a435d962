//! Pooling layers of a model file.

use rasgo_core::Result;

use super::axes::{AdaptiveAxes, Axes};
use super::options::{options, with_axes, with_values};
use crate::nn::{self, Module};

options! {
    /// The options of a max pooling, under PyTorch's names.
    MaxPoolSpec {
        required {
            /// Cells of the window.
            kernel_size: Axes,
        }
        optional {
            /// Step; the window's size by default.
            stride: Axes,
            /// Cells added on both sides.
            padding: Axes,
            /// Whether a last, incomplete window counts; false by default.
            ceil_mode: bool,
            /// Distance of the window's cells.
            dilation: Axes,
        }
    }
    /// The options of an average pooling, under PyTorch's names.
    AvgPoolSpec {
        required {
            /// Cells of the window.
            kernel_size: Axes,
        }
        optional {
            /// Step; the window's size by default.
            stride: Axes,
            /// Cells added on both sides.
            padding: Axes,
            /// Whether a last, incomplete window counts; false by default.
            ceil_mode: bool,
            /// Whether padding counts in the divisor; true by default.
            count_include_pad: bool,
            /// What each sum is divided by, instead of the number of its cells; not in one dimension.
            divisor_override: i64,
        }
    }
    /// The size that an adaptive pooling makes.
    AdaptiveSpec {
        required {
            /// Output size; `"none"` keeps an axis.
            output_size: AdaptiveAxes,
        }
        optional {}
    }
}

impl MaxPoolSpec {
    pub(super) fn build<const D: usize>(&self) -> Result<Box<dyn Module>> {
        let layer = nn::MaxPool::<D>::new(self.kernel_size.size("kernel_size")?);
        let layer = with_axes!(layer, self, stride padding dilation);
        Ok(Box::new(with_values!(layer, self, ceil_mode)))
    }
}

impl AvgPoolSpec {
    pub(super) fn build<const D: usize>(&self) -> Result<Box<dyn Module>> {
        let layer = nn::AvgPool::<D>::new(self.kernel_size.size("kernel_size")?);
        let layer = with_axes!(layer, self, stride padding);
        Ok(Box::new(with_values!(layer, self, ceil_mode count_include_pad divisor_override)))
    }
}

impl AdaptiveSpec {
    pub(super) fn average<const D: usize>(&self) -> Result<Box<dyn Module>> {
        Ok(Box::new(nn::AdaptiveAvgPool::<D>::new(self.output_size.size()?)))
    }

    pub(super) fn max<const D: usize>(&self) -> Result<Box<dyn Module>> {
        Ok(Box::new(nn::AdaptiveMaxPool::<D>::new(self.output_size.size()?)))
    }
}
