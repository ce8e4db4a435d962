//! Functions of one and two arrays, element by element, and copies between layouts.
//!
//! All are cut into fixed chunks and hold no fused multiply-adds: the bits are the same at any number of threads
//! and on every instruction set.

mod binary;
mod compare;
mod function;
mod map;
mod number;
mod select;
mod strided;
#[cfg(test)]
mod tests;
mod unary;
mod unary_grad;

pub use binary::{
    Binary, Side, accumulate, binary, binary_in_place, fill, with_number, with_number_in_place,
};
pub use compare::{Compare, compare, compare_broadcast};
pub use function::{Function, function, function_in_place};
pub use number::Number;
pub use select::{Strided, select};
pub use strided::{binary_broadcast, copy_strided};
pub use unary::{SELU_ALPHA, SELU_SCALE, Unary, unary, unary_in_place};
pub use unary_grad::{GradReads, unary_grad, unary_grad_in_place};
