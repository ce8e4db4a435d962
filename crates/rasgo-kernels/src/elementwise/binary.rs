//! Functions of two arrays of one shape.

use super::map::{InFirst, Into2, Place2};
use crate::Float;
use crate::rows::CHUNK;
use crate::threads::parallel_chunks;

/// A function of two arguments. A NaN on either side gives NaN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binary {
    /// `a + b`
    Add,
    /// `a - b`
    Sub,
    /// `a * b`
    Mul,
    /// `a / b`
    Div,
    /// The larger.
    Max,
    /// The smaller.
    Min,
}

/// `dst = op(a, b)`
pub fn binary<T: Float>(op: Binary, a: &[T], b: &[T], dst: &mut [T]) {
    apply(op, Into2 { a, b, dst });
}

/// `a = op(a, b)`
pub fn binary_in_place<T: Float>(op: Binary, a: &mut [T], b: &[T]) {
    apply(op, InFirst { a, b });
}

/// `dst += src`
pub fn accumulate<T: Float>(dst: &mut [T], src: &[T]) {
    binary_in_place(Binary::Add, dst, src);
}

/// `dst = value`
pub fn fill<T: Copy + Send + Sync>(dst: &mut [T], value: T) {
    parallel_chunks(dst, CHUNK, |_, dst| dst.fill(value));
}

pub(super) fn apply<T: Float>(op: Binary, place: impl Place2<T>) {
    match op {
        Binary::Add => place.apply(|a, b| a + b),
        Binary::Sub => place.apply(|a, b| a - b),
        Binary::Mul => place.apply(|a, b| a * b),
        Binary::Div => place.apply(|a, b| a / b),
        Binary::Max => place.apply(|a, b| if b > a || b.is_nan() { b } else { a }),
        Binary::Min => place.apply(|a, b| if b < a || b.is_nan() { b } else { a }),
    }
}
