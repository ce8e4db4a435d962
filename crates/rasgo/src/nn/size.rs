//! One number for all axes, or one for each; how many axes an input has.

use std::ops::RangeInclusive;

use rasgo_core::{Error, Result, Tensor};

/// A value for each of `D` spatial axes, as an array or tuple; a single number stands for all of them.
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

impl From<(usize, usize)> for Size<2> {
    fn from(values: (usize, usize)) -> Self {
        Size(values.into())
    }
}

impl From<(usize, usize, usize)> for Size<3> {
    fn from(values: (usize, usize, usize)) -> Self {
        Size(values.into())
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
///
/// ```
/// use rasgo::prelude::*;
/// let x = Tensor::rand([1, 2, 9, 12]);
/// assert_eq!(**nn::AdaptiveAvgPool2d::new((3, 4)).forward(x.clone())?.shape(), [1, 2, 3, 4]);
/// assert_eq!(**nn::AdaptiveAvgPool2d::new((None, Some(4))).forward(x)?.shape(), [1, 2, 9, 4]);
/// # Ok::<(), rasgo::Error>(())
/// ```
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

impl From<(usize, usize)> for AdaptiveSize<2> {
    fn from(values: (usize, usize)) -> Self {
        <[usize; 2]>::from(values).into()
    }
}

impl From<(usize, usize, usize)> for AdaptiveSize<3> {
    fn from(values: (usize, usize, usize)) -> Self {
        <[usize; 3]>::from(values).into()
    }
}

impl From<(Option<usize>, Option<usize>)> for AdaptiveSize<2> {
    fn from(values: (Option<usize>, Option<usize>)) -> Self {
        AdaptiveSize(values.into())
    }
}

impl From<(Option<usize>, Option<usize>, Option<usize>)> for AdaptiveSize<3> {
    fn from(values: (Option<usize>, Option<usize>, Option<usize>)) -> Self {
        AdaptiveSize(values.into())
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
    expect_ranks(x, D + 2..=D + 2)
}

/// Refuses an input with another number of axes than a layer of (N, C, …) takes.
pub(super) fn expect_ranks(x: &Tensor, ranks: RangeInclusive<usize>) -> Result<()> {
    let rank = x.shape().len();
    if ranks.contains(&rank) {
        return Ok(());
    }
    let shapes = ["(N, C)", "(N, C, L)", "(N, C, H, W)", "(N, C, D, H, W)"];
    let wanted: Vec<&str> = ranks.clone().map(|rank| shapes[rank - 2]).collect();
    let counts: Vec<String> = ranks.map(|rank| rank.to_string()).collect();
    let text = format!("input {} has {rank} axes, not {}", x.shape(), counts.join(" or "));
    Err(Error::shape(text).hint(format!("give {}; add the batch axis with .reshape", wanted.join(" or "))))
}
