//! Losses, and how a loss of many elements becomes one number.

mod classes;
mod cross_entropy;
mod nll;
mod pair;
mod segmentation;

pub use cross_entropy::CrossEntropyOptions;
pub use nll::NllLossOptions;
pub use pair::{BceWithLogitsOptions, KlDivOptions, LossOptions};
pub use segmentation::{DiceLossOptions, FocalLossOptions};

use crate::error::Result;
use crate::tensor::Tensor;

/// What becomes of the losses of single elements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reduction {
    /// They stay.
    None,
    /// Their mean; NaN of nothing, as in PyTorch.
    #[default]
    Mean,
    /// Their sum.
    Sum,
}

impl Reduction {
    #[track_caller]
    fn reduce(self, losses: Tensor) -> Result<Tensor> {
        match self {
            Reduction::None => Ok(losses),
            Reduction::Mean => losses.mean(),
            Reduction::Sum => losses.sum(),
        }
    }
}
