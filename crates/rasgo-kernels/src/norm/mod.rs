//! Batch normalisation of channels-last maps `[rows, c]`, with ReLU and max pooling fused into its passes; and
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
