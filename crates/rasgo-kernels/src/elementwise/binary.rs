//! Functions of two arrays of one shape, and of an array and a number.

use super::map::{InFirst, InPlace, Into, Into2, Place, Place2};
use super::number::Number;
use crate::Float;
use crate::buffer::Element;
use crate::rows::CHUNK;
use crate::threads::parallel_chunks;

/// A function of two arguments. A NaN on either side gives NaN, but for powers as C has them (1^NaN, NaN^0).
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
    /// `a` to the power `b`.
    Pow,
}

/// `dst = op(a, b)`
pub fn binary<T: Number>(op: Binary, a: &[T], b: &[T], dst: &mut [T]) {
    apply(op, Into2 { a, b, dst });
}

/// `a = op(a, b)`
pub fn binary_in_place<T: Number>(op: Binary, a: &mut [T], b: &[T]) {
    apply(op, InFirst { a, b });
}

/// The side of a number beside an array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// `op(number, x)`
    Left,
    /// `op(x, number)`
    Right,
}

/// `dst = op(src, number)`, or with the number on the left.
pub fn with_number<T: Number>(op: Binary, side: Side, src: &[T], number: T, dst: &mut [T]) {
    number_apply(op, side, number, Into { src, dst });
}

/// As [`with_number`], in place.
pub fn with_number_in_place<T: Number>(op: Binary, side: Side, number: T, dst: &mut [T]) {
    number_apply(op, side, number, InPlace { dst });
}

fn number_apply<T: Number>(op: Binary, side: Side, number: T, place: impl Place<T>) {
    apply(op, Beside { side, number, place });
}

/// A place for functions of one argument, as a place for those of two of which one is a number.
struct Beside<T, P> {
    side: Side,
    number: T,
    place: P,
}

impl<T: Number, P: Place<T>> Place2<T> for Beside<T, P> {
    fn apply(self, f: impl Fn(T, T) -> T + Sync) {
        let number = self.number;
        match self.side {
            Side::Left => self.place.apply(|x| f(number, x)),
            Side::Right => self.place.apply(|x| f(x, number)),
        }
    }
}

/// `dst += src`
pub fn accumulate<T: Float + Element>(dst: &mut [T], src: &[T]) {
    binary_in_place(Binary::Add, dst, src);
}

/// `dst = value`
pub fn fill<T: Copy + Send + Sync>(dst: &mut [T], value: T) {
    parallel_chunks(dst, CHUNK, |_, dst| dst.fill(value));
}

pub(super) fn apply<T: Number>(op: Binary, place: impl Place2<T>) {
    match op {
        Binary::Add => place.apply(T::plus),
        Binary::Sub => place.apply(T::minus),
        Binary::Mul => place.apply(T::times),
        Binary::Div => place.apply(T::over),
        Binary::Max => place.apply(|a, b| if b > a || b.is_nan_number() { b } else { a }),
        Binary::Min => place.apply(|a, b| if b < a || b.is_nan_number() { b } else { a }),
        Binary::Pow => place.apply(T::power),
    }
}
