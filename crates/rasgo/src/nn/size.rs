//! One number for all axes, or one for each.

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

/// Checks that x has a batch, channels and `D` spatial axes.
pub(crate) fn expect_spatial<const D: usize>(x: &Tensor, op: &'static str) -> Result<()> {
    let rank = x.shape().len();
    if rank == D + 2 {
        return Ok(());
    }
    let error = Error::shape(format!("input {} has {rank} axes, not {}", x.shape(), D + 2));
    Err(scope::annotate(error.op(op).hint(format!(
        "give {}; add the batch axis with .reshape",
        ["(N, C, L)", "(N, C, H, W)", "(N, C, D, H, W)"][D - 1]
    ))))
}
