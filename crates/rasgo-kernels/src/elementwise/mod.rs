//! Functions of one and two arrays, element by element, and copies between layouts.
//!
//! All are cut into fixed chunks and hold no fused multiply-adds: the bits are the same at any number of threads
//! and on every instruction set.

mod binary;
mod map;
mod strided;
#[cfg(test)]
mod tests;
mod unary;
mod unary_grad;

pub use binary::{Binary, accumulate, binary, binary_in_place, fill};
pub use strided::{binary_broadcast, copy_strided};
pub use unary::{SELU_ALPHA, SELU_SCALE, Unary, unary, unary_in_place};
pub use unary_grad::{GradReads, unary_grad, unary_grad_in_place};
