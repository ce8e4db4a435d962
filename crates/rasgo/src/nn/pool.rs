//! Poolings.

use rasgo_core::ops::{AvgPoolOptions, MaxPoolOptions, PoolAfter};
use rasgo_core::{Result, Tensor};
use rasgo_derive::Module;

use super::module::{Kind, Module};
use super::parameter::LayerName;
use super::size::{AdaptiveSize, Size, expect_spatial};

/// The largest value of each window, as `torch.nn.MaxPool1d`, `MaxPool2d`, `MaxPool3d`.
///
/// Without [`stride`](Self::stride) windows lie side by side. Padding counts as minus infinity.
#[derive(Clone, Debug, Module)]
pub struct MaxPool<const D: usize> {
    name: LayerName,
    #[module(skip)]
    options: MaxPoolOptions,
}

/// Pools (N, C, L).
pub type MaxPool1d = MaxPool<1>;
/// Pools (N, C, H, W).
pub type MaxPool2d = MaxPool<2>;
/// Pools (N, C, D, H, W).
pub type MaxPool3d = MaxPool<3>;

/// The options that both poolings of a window have.
macro_rules! windowed {
    ($name:ident, $options:ident, $kinds:expr) => {
        impl<const D: usize> $name<D> {
            /// Windows of that size side by side.
            pub fn new(kernel_size: impl Into<Size<D>>) -> Self {
                let options = $options::new(kernel_size.into().on_three_axes(1));
                $name { name: LayerName::new($kinds[D - 1]), options }
            }

            /// The step of the window.
            pub fn stride(mut self, stride: impl Into<Size<D>>) -> Self {
                self.options.stride = stride.into().on_three_axes(1);
                self
            }

            /// Cells added on both sides, at most half the kernel.
            pub fn padding(mut self, padding: impl Into<Size<D>>) -> Self {
                self.options.padding = padding.into().on_three_axes(0);
                self
            }

            /// Whether a last, incomplete window counts.
            pub fn ceil_mode(mut self, ceil_mode: bool) -> Self {
                self.options.ceil_mode = ceil_mode;
                self
            }
        }
    };
}

impl<const D: usize> MaxPool<D> {
    /// The distance of the window's cells.
    pub fn dilation(mut self, dilation: impl Into<Size<D>>) -> Self {
        self.options.dilation = dilation.into().on_three_axes(1);
        self
    }

    /// The maxima and their flat positions in the input's planes, as `return_indices=True`.
    #[track_caller]
    pub fn forward_with_indices(&self, x: Tensor) -> Result<(Tensor, Tensor)> {
        self.name.run_with(|| {
            expect_spatial::<D>(&x)?;
            x.max_pool_with_indices(&self.options)
        })
    }
}

windowed!(MaxPool, MaxPoolOptions, ["MaxPool1d", "MaxPool2d", "MaxPool3d"]);

impl<const D: usize> Module for MaxPool<D> {
    fn forward(&self, x: Tensor) -> Result<Tensor> {
        self.name.run(|| {
            expect_spatial::<D>(&x)?;
            x.max_pool(&self.options)
        })
    }

    fn kind(&self) -> Kind<'_> {
        let options = &self.options;
        let cells = options.kernel.iter().fold(1usize, |cells, &size| cells.saturating_mul(size));
        let side_by_side = *options == MaxPoolOptions::new(options.kernel);
        if side_by_side && cells <= 256 {
            Kind::MaxPool(PoolAfter { kernel: options.kernel })
        } else {
            Kind::Other
        }
    }
}

/// The mean of each window, as `torch.nn.AvgPool1d`, `AvgPool2d`, `AvgPool3d`. Padding counts as
/// zeros. It has no dilation.
#[derive(Clone, Debug, Module)]
pub struct AvgPool<const D: usize> {
    name: LayerName,
    #[module(skip)]
    options: AvgPoolOptions,
}

/// Pools (N, C, L).
pub type AvgPool1d = AvgPool<1>;
/// Pools (N, C, H, W).
pub type AvgPool2d = AvgPool<2>;
/// Pools (N, C, D, H, W).
pub type AvgPool3d = AvgPool<3>;

impl<const D: usize> AvgPool<D> {
    /// Whether padding counts in the divisor (it does by default).
    pub fn count_include_pad(mut self, include: bool) -> Self {
        self.options.count_include_pad = include;
        self
    }

    /// What each sum is divided by, instead of the number of its cells; not 0, and not in one dimension.
    pub fn divisor_override(mut self, divisor: i64) -> Self {
        self.options.divisor_override = Some(divisor);
        self
    }
}

windowed!(AvgPool, AvgPoolOptions, ["AvgPool1d", "AvgPool2d", "AvgPool3d"]);

impl<const D: usize> Module for AvgPool<D> {
    fn forward(&self, x: Tensor) -> Result<Tensor> {
        self.name.run(|| {
            expect_spatial::<D>(&x)?;
            x.avg_pool(&self.options)
        })
    }
}

macro_rules! adaptive {
    ($name:ident, $kinds:expr, $method:ident, $what:literal, [$one:ident, $two:ident, $three:ident]) => {
        #[doc = $what]
        ///
        /// Window i of an axis is floor(i in / out) .. ceil((i + 1) in / out).
        #[derive(Clone, Debug, Module)]
        pub struct $name<const D: usize> {
            name: LayerName,
            #[module(skip)]
            output: AdaptiveSize<D>,
        }

        /// Pools (N, C, L).
        pub type $one = $name<1>;
        /// Pools (N, C, H, W).
        pub type $two = $name<2>;
        /// Pools (N, C, D, H, W).
        pub type $three = $name<3>;

        impl<const D: usize> $name<D> {
            /// A pooling to that size, whatever the input's; it may be larger, and `None` keeps an axis.
            pub fn new(output_size: impl Into<AdaptiveSize<D>>) -> Self {
                $name { name: LayerName::new($kinds[D - 1]), output: output_size.into() }
            }
        }

        impl<const D: usize> Module for $name<D> {
            fn forward(&self, x: Tensor) -> Result<Tensor> {
                self.name.run(|| {
                    expect_spatial::<D>(&x)?;
                    x.$method(self.output.on_three_axes())
                })
            }
        }
    };
}

adaptive!(
    AdaptiveAvgPool,
    ["AdaptiveAvgPool1d", "AdaptiveAvgPool2d", "AdaptiveAvgPool3d"],
    adaptive_avg_pool,
    "The mean of windows that cover the input, as `torch.nn.AdaptiveAvgPool1d`, `2d`, `3d`.",
    [AdaptiveAvgPool1d, AdaptiveAvgPool2d, AdaptiveAvgPool3d]
);
adaptive!(
    AdaptiveMaxPool,
    ["AdaptiveMaxPool1d", "AdaptiveMaxPool2d", "AdaptiveMaxPool3d"],
    adaptive_max_pool,
    "The largest value of windows that cover the input, as `torch.nn.AdaptiveMaxPool1d`, `2d`, `3d`.",
    [AdaptiveMaxPool1d, AdaptiveMaxPool2d, AdaptiveMaxPool3d]
);

impl<const D: usize> AdaptiveMaxPool<D> {
    /// The maxima and their flat positions in the input's planes, as `return_indices=True`.
    #[track_caller]
    pub fn forward_with_indices(&self, x: Tensor) -> Result<(Tensor, Tensor)> {
        self.name.run_with(|| {
            expect_spatial::<D>(&x)?;
            x.adaptive_max_pool_with_indices(self.output.on_three_axes())
        })
    }
}
