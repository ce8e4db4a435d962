//! One number for all axes, or one for each; how many axes an input has.

use std::ops::RangeInclusive;

use rasgo_core::{Error, Result, Tensor};

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

/// Refuses an input with another number of axes than a layer of (N, C, …) takes.
pub(super) fn expect_spatial(x: &Tensor, ranks: RangeInclusive<usize>, kind: &str) -> Result<()> {
    let rank = x.shape().len();
    if ranks.contains(&rank) {
        return Ok(());
    }
    let shapes = ["(N, C)", "(N, C, L)", "(N, C, H, W)", "(N, C, D, H, W)"];
    let wanted: Vec<&str> = ranks.map(|rank| shapes[rank - 2]).collect();
    let text = format!("{kind} takes {}, not an input {} with {rank} axes", wanted.join(" or "), x.shape());
    Err(Error::shape(text).hint("add the missing axis with .reshape, the batch first"))
}
