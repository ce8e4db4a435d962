//! Comparisons: arrays of 0 and 1.

use super::map::{Into2, Place2};
use super::strided::{Broadcast, Walk};
use crate::buffer::Element;

/// A question about two values, whose answer is 1 or 0. A NaN is unequal to all, and neither less nor more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compare {
    /// `a == b`
    Eq,
    /// `a != b`
    Ne,
    /// `a < b`
    Lt,
    /// `a <= b`
    Le,
    /// `a > b`
    Gt,
    /// `a >= b`
    Ge,
    /// Neither is 0.
    And,
    /// Not both are 0.
    Or,
    /// Just one is 0.
    Xor,
}

/// `dst = op(a, b)`
pub fn compare<T: Element + PartialOrd + Default>(op: Compare, a: &[T], b: &[T], dst: &mut [u8]) {
    apply(op, Into2 { a, b, dst });
}

/// `dst[shape] = op(a, b)`, the operands read with their strides, as in [`super::binary_broadcast`].
pub fn compare_broadcast<T: Element + PartialOrd + Default>(
    op: Compare,
    shape: &[usize],
    a: &[T],
    a_strides: &[usize],
    b: &[T],
    b_strides: &[usize],
    dst: &mut [u8],
) {
    let walk = Walk::new(shape, [a_strides, b_strides]);
    walk.check([a.len(), b.len()], dst.len());
    apply(op, Broadcast { walk, a, b, dst });
}

fn apply<T: Element + PartialOrd + Default>(op: Compare, place: impl Place2<T, u8>) {
    let zero = T::default();
    match op {
        Compare::Eq => place.apply(|a, b| u8::from(a == b)),
        Compare::Ne => place.apply(|a, b| u8::from(a != b)),
        Compare::Lt => place.apply(|a, b| u8::from(a < b)),
        Compare::Le => place.apply(|a, b| u8::from(a <= b)),
        Compare::Gt => place.apply(|a, b| u8::from(a > b)),
        Compare::Ge => place.apply(|a, b| u8::from(a >= b)),
        Compare::And => place.apply(|a, b| u8::from((a != zero) & (b != zero))),
        Compare::Or => place.apply(|a, b| u8::from((a != zero) | (b != zero))),
        Compare::Xor => place.apply(|a, b| u8::from((a != zero) ^ (b != zero))),
    }
}
