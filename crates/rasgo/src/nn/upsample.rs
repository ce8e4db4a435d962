//! Other spatial sizes: interpolation, and channels that become pixels.

use rasgo_core::ops::{InterpolateMode, InterpolateOptions, InterpolateTo};
use rasgo_core::{Result, Tensor};
use rasgo_derive::Module;

use super::module::Module;
use super::parameter::LayerName;
use super::size::{Size, expect_spatial};

/// Interpolation of (N, C, …) to another size, as `torch.nn.Upsample`: nearest neighbours unless a
/// [`mode`](Self::mode) is set.
///
/// ```
/// use rasgo::prelude::*;
/// use rasgo::ops::InterpolateMode;
/// let up = nn::Upsample2d::by_factor(2.0).mode(InterpolateMode::Linear);
/// assert_eq!(**up.forward(Tensor::rand([1, 3, 4, 5]))?.shape(), [1, 3, 8, 10]);
/// let to = nn::Upsample2d::to_size([7, 9]);
/// assert_eq!(**to.forward(Tensor::rand([1, 3, 4, 5]))?.shape(), [1, 3, 7, 9]);
/// # Ok::<(), rasgo::Error>(())
/// ```
#[derive(Clone, Debug, Module)]
pub struct Upsample<const D: usize> {
    name: LayerName,
    #[module(skip)]
    options: InterpolateOptions,
}

/// Interpolates (N, C, L).
pub type Upsample1d = Upsample<1>;
/// Interpolates (N, C, H, W).
pub type Upsample2d = Upsample<2>;
/// Interpolates (N, C, D, H, W).
pub type Upsample3d = Upsample<3>;

impl<const D: usize> Upsample<D> {
    fn new(to: InterpolateTo) -> Self {
        let options = InterpolateOptions::new(to, InterpolateMode::Nearest);
        Upsample { name: LayerName::new("Upsample"), options }
    }

    /// To a size in cells.
    pub fn to_size(size: impl Into<Size<D>>) -> Self {
        Self::new(InterpolateTo::Size(size.into().on_three_axes(1)))
    }

    /// By one factor for all axes.
    pub fn by_factor(scale_factor: f64) -> Self {
        Self::new(InterpolateTo::ScaleFactor([scale_factor; 3]))
    }

    /// By a factor for each axis.
    pub fn by_factors(scale_factor: [f64; D]) -> Self {
        let mut factors = [1.0; 3];
        factors[3 - D..].copy_from_slice(&scale_factor);
        Self::new(InterpolateTo::ScaleFactor(factors))
    }

    /// How values between cells are found.
    pub fn mode(mut self, mode: InterpolateMode) -> Self {
        self.options.mode = mode;
        self
    }

    /// Whether the centres of the first and last cells meet, not their outer edges.
    pub fn align_corners(mut self, align_corners: bool) -> Self {
        self.options.align_corners = align_corners;
        self
    }

    /// Whether places follow from the sizes although a factor is given.
    pub fn recompute_scale_factor(mut self, recompute: bool) -> Self {
        self.options.recompute_scale_factor = recompute;
        self
    }
}

impl<const D: usize> Module for Upsample<D> {
    fn forward(&self, x: Tensor) -> Result<Tensor> {
        self.name.run(|| {
            expect_spatial::<D>(&x).map_err(|error| error.op("interpolate"))?;
            x.interpolate(&self.options)
        })
    }
}

/// (…, C * r², H, W) to (…, C, H * r, W * r), as `torch.nn.PixelShuffle`: after a convolution, an upsampling that learns.
///
/// ```
/// use rasgo::prelude::*;
/// let shuffle = nn::PixelShuffle::new(3);
/// assert_eq!(**shuffle.forward(Tensor::rand([1, 18, 4, 5]))?.shape(), [1, 2, 12, 15]);
/// # Ok::<(), rasgo::Error>(())
/// ```
#[derive(Clone, Debug, Module)]
pub struct PixelShuffle {
    name: LayerName,
    #[module(skip)]
    upscale_factor: usize,
}

impl PixelShuffle {
    /// A shuffle of that factor.
    pub fn new(upscale_factor: usize) -> Self {
        PixelShuffle { name: LayerName::new("PixelShuffle"), upscale_factor }
    }
}

impl Module for PixelShuffle {
    fn forward(&self, x: Tensor) -> Result<Tensor> {
        self.name.run(|| x.pixel_shuffle(self.upscale_factor))
    }
}

/// (…, C, H * r, W * r) to (…, C * r², H, W), as `torch.nn.PixelUnshuffle`.
#[derive(Clone, Debug, Module)]
pub struct PixelUnshuffle {
    name: LayerName,
    #[module(skip)]
    downscale_factor: usize,
}

impl PixelUnshuffle {
    /// The inverse of a shuffle of that factor.
    pub fn new(downscale_factor: usize) -> Self {
        PixelUnshuffle { name: LayerName::new("PixelUnshuffle"), downscale_factor }
    }
}

impl Module for PixelUnshuffle {
    fn forward(&self, x: Tensor) -> Result<Tensor> {
        self.name.run(|| x.pixel_unshuffle(self.downscale_factor))
    }
}
