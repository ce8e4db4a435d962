//! One number for all axes, or one for each; how many axes an input has.

use rasgo_core::{Error, Result, Tensor, scope};

/// A value for each of `D` spatial axes; a single number stands for all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size<const D: usize>(pub [usize; D]);

impl<const D: usize> From<usize> for Size<D> {
    fn from(value: usize) -> Self {
        Size([value; D])
    }
}

impl<const D: usize> From<[usize; D]> for Size<D> {
    fn from(values: [usize; D]) -> Self {
        Size(values)
    }
}

impl<const D: usize> Size<D> {
    /// The values as the last of three axes, the missing ones filled.
    pub(crate) fn on_three_axes(self, fill: usize) -> [usize; 3] {
        let mut axes = [fill; 3];
        axes[3 - D..].copy_from_slice(&self.0);
        axes
    }
}

/// The size that an adaptive pooling makes of each of `D` spatial axes; `None` keeps the input's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdaptiveSize<const D: usize>(pub [Option<usize>; D]);

impl<const D: usize> From<usize> for AdaptiveSize<D> {
    fn from(value: usize) -> Self {
        AdaptiveSize([Some(value); D])
    }
}

impl<const D: usize> From<[usize; D]> for AdaptiveSize<D> {
    fn from(values: [usize; D]) -> Self {
        AdaptiveSize(values.map(Some))
    }
}

impl<const D: usize> From<[Option<usize>; D]> for AdaptiveSize<D> {
    fn from(values: [Option<usize>; D]) -> Self {
        AdaptiveSize(values)
    }
}

impl<const D: usize> AdaptiveSize<D> {
    /// The values as the last of three axes, the missing ones kept.
    pub(crate) fn on_three_axes(self) -> [Option<usize>; 3] {
        let mut axes = [None; 3];
        axes[3 - D..].copy_from_slice(&self.0);
        axes
    }
}

/// Refuses what is not (N, C, …) with `D` spatial axes.
pub(super) fn expect_spatial<const D: usize>(x: &Tensor) -> Result<()> {
    let rank = x.shape().len();
    if rank == D + 2 {
        return Ok(());
    }
    let wanted = ["(N, C, L)", "(N, C, H, W)", "(N, C, D, H, W)"][D - 1];
    let error = Error::shape(format!("input {} has {rank} axes, not {}", x.shape(), D + 2));
    Err(scope::annotate(error.hint(format!("give {wanted}; add the batch axis with .reshape"))))
}
