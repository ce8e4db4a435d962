//! Max unpooling.

use rasgo_core::ops::MaxUnpoolOptions;
use rasgo_core::{Result, Tensor};
use rasgo_derive::Module;

use super::parameter::LayerName;
use super::size::{Size, expect_spatial};

/// The inverse of a max pooling, as `torch.nn.MaxUnpool1d`, `MaxUnpool2d`, `MaxUnpool3d`: each maximum goes back to
/// where it was, all else is 0. Its options are the pooling's.
///
/// It has two inputs, so it does not stand in a `Sequential`.
///
/// ```
/// use rasgo::prelude::*;
/// let pool = nn::MaxPool2d::new(2);
/// let (y, indices) = pool.forward_with_indices(Tensor::rand([1, 3, 5, 6]))?;
/// let unpool = nn::MaxUnpool2d::new(2);
/// assert_eq!(**unpool.forward(&y, &indices)?.shape(), [1, 3, 4, 6]);
/// assert_eq!(**unpool.forward_to(&y, &indices, [5, 6])?.shape(), [1, 3, 5, 6]);
/// # Ok::<(), rasgo::Error>(())
/// ```
#[derive(Clone, Debug, Module)]
pub struct MaxUnpool<const D: usize> {
    name: LayerName,
    #[module(skip)]
    options: MaxUnpoolOptions,
}

/// Unpools (N, C, L).
pub type MaxUnpool1d = MaxUnpool<1>;
/// Unpools (N, C, H, W).
pub type MaxUnpool2d = MaxUnpool<2>;
/// Unpools (N, C, D, H, W).
pub type MaxUnpool3d = MaxUnpool<3>;

impl<const D: usize> MaxUnpool<D> {
    /// The inverse of a pooling of windows of that size side by side.
    pub fn new(kernel_size: impl Into<Size<D>>) -> Self {
        let options = MaxUnpoolOptions::new(kernel_size.into().on_three_axes(1));
        MaxUnpool { name: LayerName::new(["MaxUnpool1d", "MaxUnpool2d", "MaxUnpool3d"][D - 1]), options }
    }

    /// The step of the pooling's window.
    pub fn stride(mut self, stride: impl Into<Size<D>>) -> Self {
        self.options.stride = stride.into().on_three_axes(1);
        self
    }

    /// Cells that the pooling added on both sides.
    pub fn padding(mut self, padding: impl Into<Size<D>>) -> Self {
        self.options.padding = padding.into().on_three_axes(0);
        self
    }

    /// The maxima at their places, in the smallest map that the pooling can have had.
    #[track_caller]
    pub fn forward(&self, x: &Tensor, indices: &Tensor) -> Result<Tensor> {
        self.unpool(x, indices, &self.options)
    }

    /// As [`forward`](Self::forward) to a map of the given size, the pooling's input.
    #[track_caller]
    pub fn forward_to(
        &self,
        x: &Tensor,
        indices: &Tensor,
        output_size: impl Into<Size<D>>,
    ) -> Result<Tensor> {
        let output_size = Some(output_size.into().on_three_axes(1));
        self.unpool(x, indices, &MaxUnpoolOptions { output_size, ..self.options.clone() })
    }

    #[track_caller]
    fn unpool(&self, x: &Tensor, indices: &Tensor, options: &MaxUnpoolOptions) -> Result<Tensor> {
        self.name.run(|| {
            expect_spatial::<D>(x)?;
            x.max_unpool(indices, options)
        })
    }
}
