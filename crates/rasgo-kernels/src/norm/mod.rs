//! Batch normalisation of channels-last maps `[rows, c]`, with what follows it, an activation, a shortcut or
//! a max pooling, fused into its passes; and
//! normalisation of groups within a sample.
//!
//! Training forward of batch normalisation is [`stats`], [`scale_shift`] and [`normalize`] (or [`normalize_relu_max_pool`]); training
//! backward is [`grad_sums`] and [`grad_input`] (or their pooled forms). All of them compute the value before the
//! activation by one expression, `(src - mean) * scale + shift`, so that the fused passes agree with the separate ones
//! to the bit, and backward's mask with forward's. What the mean loses when it is rounded to `T` goes into `shift`, so
//! that a mean far from 0 costs no digits.

mod apply;
mod fused_pool;
mod fused_pool_grad;
mod grad;
mod grouped;
mod stats;
#[cfg(test)]
mod tests;

pub use apply::{normalize, scale_shift};
pub use fused_pool::normalize_relu_max_pool;
pub use fused_pool_grad::{pooled_grad_input, pooled_grad_sums};
pub use grad::{NormGrad, grad_input, grad_input_eval, grad_sums};
pub use grouped::{GroupStats, Groups, group_affine_sums, group_grad_input, group_normalize, group_stats};
pub use stats::stats;

use crate::Float;

/// ReLU, with a NaN kept; the one that the fused passes and `Unary::Relu` have in common.
#[inline(always)]
fn relu<T: Float>(x: T) -> T {
    x.max(T::ZERO)
}

/// An [`Activation`](crate::Activation) as a type, so that each has loops of its own.
trait Act {
    /// f(x)
    fn apply<T: Float>(x: T) -> T;
    /// Whether f has a slope at x; its gradient is 0 elsewhere.
    fn passes<T: Float>(x: T) -> bool;
}

/// x
struct Plain;

impl Act for Plain {
    #[inline(always)]
    fn apply<T: Float>(x: T) -> T {
        x
    }
    #[inline(always)]
    fn passes<T: Float>(_: T) -> bool {
        true
    }
}

/// max(x, 0)
struct Relu;

impl Act for Relu {
    #[inline(always)]
    fn apply<T: Float>(x: T) -> T {
        relu(x)
    }
    /// As of `Unary::Relu`, at NaN too.
    #[inline(always)]
    fn passes<T: Float>(x: T) -> bool {
        let dead = x <= T::ZERO;
        !dead
    }
}

/// min(max(x, 0), 6)
struct Relu6;

impl Act for Relu6 {
    #[inline(always)]
    fn apply<T: Float>(x: T) -> T {
        relu(x).min(T::from_f64(6.0))
    }
    /// As of `Unary::Relu6`, neither at the bounds nor at NaN.
    #[inline(always)]
    fn passes<T: Float>(x: T) -> bool {
        (x > T::ZERO) & (x < T::from_f64(6.0))
    }
}

/// Runs a body with `A` bound to the type of an activation.
macro_rules! with_act {
    ($activation:expr, $A:ident => $body:expr) => {
        match $activation {
            crate::Activation::None => {
                type $A = super::Plain;
                $body
            }
            crate::Activation::Relu => {
                type $A = super::Relu;
                $body
            }
            crate::Activation::Relu6 => {
                type $A = super::Relu6;
                $body
            }
        }
    };
}
use with_act;
