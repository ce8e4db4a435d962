//! The types that arithmetic exists for: floats, in memory too as bfloat16, and 64-bit integers.

use crate::buffer::Element;
use crate::{Bf16, Float, Stored};

/// Arithmetic as PyTorch does it: of integers it wraps, of floats a NaN on either side gives NaN.
pub trait Number: Element + PartialOrd + Default {
    /// 1
    const UNIT: Self;
    /// Rounded to the type; towards zero for integers.
    fn rounded(x: f64) -> Self;
    /// Whether the value is NaN, which no integer is.
    fn is_nan_number(self) -> bool;
    /// `self + other`
    fn plus(self, other: Self) -> Self;
    /// `self - other`
    fn minus(self, other: Self) -> Self;
    /// `self * other`
    fn times(self, other: Self) -> Self;
    /// `self / other`; of integers towards zero, and 0 for a divisor of 0.
    fn over(self, other: Self) -> Self;
    /// `self` to the power; of integers to a negative one it is what is left of the fraction: 0, or 1 and -1 of those.
    fn power(self, exponent: Self) -> Self;
}

impl<T: Float + Element> Number for T {
    const UNIT: Self = T::ONE;
    #[inline(always)]
    fn rounded(x: f64) -> Self {
        T::from_f64(x)
    }
    #[inline(always)]
    fn is_nan_number(self) -> bool {
        self.is_nan()
    }
    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        self + other
    }
    #[inline(always)]
    fn minus(self, other: Self) -> Self {
        self - other
    }
    #[inline(always)]
    fn times(self, other: Self) -> Self {
        self * other
    }
    #[inline(always)]
    fn over(self, other: Self) -> Self {
        self / other
    }
    #[inline(always)]
    fn power(self, exponent: Self) -> Self {
        self.powf(exponent)
    }
}

/// Computed in f32; each result is rounded.
impl Number for Bf16 {
    const UNIT: Self = Bf16::from_bits(0x3f80);
    #[inline(always)]
    fn rounded(x: f64) -> Self {
        Bf16::from_f32(x as f32)
    }
    #[inline(always)]
    fn is_nan_number(self) -> bool {
        self.wide().is_nan()
    }
    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        Self::narrow(self.wide() + other.wide())
    }
    #[inline(always)]
    fn minus(self, other: Self) -> Self {
        Self::narrow(self.wide() - other.wide())
    }
    #[inline(always)]
    fn times(self, other: Self) -> Self {
        Self::narrow(self.wide() * other.wide())
    }
    #[inline(always)]
    fn over(self, other: Self) -> Self {
        Self::narrow(self.wide() / other.wide())
    }
    #[inline(always)]
    fn power(self, exponent: Self) -> Self {
        Self::narrow(self.wide().powf(exponent.wide()))
    }
}

impl Number for i64 {
    const UNIT: Self = 1;
    fn rounded(x: f64) -> Self {
        x as i64
    }
    #[inline(always)]
    fn is_nan_number(self) -> bool {
        false
    }
    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        self.wrapping_add(other)
    }
    #[inline(always)]
    fn minus(self, other: Self) -> Self {
        self.wrapping_sub(other)
    }
    #[inline(always)]
    fn times(self, other: Self) -> Self {
        self.wrapping_mul(other)
    }
    #[inline(always)]
    fn over(self, other: Self) -> Self {
        if other == 0 { 0 } else { self.wrapping_div(other) }
    }
    fn power(self, exponent: Self) -> Self {
        let odd = exponent & 1 == 1;
        match (self, exponent) {
            (1, _) => 1,
            (-1, _) => 1 - 2 * i64::from(odd),
            (_, ..0) => 0,
            _ => {
                let (mut result, mut square, mut rest) = (1i64, self, exponent);
                while rest > 0 {
                    if rest & 1 == 1 {
                        result = result.wrapping_mul(square);
                    }
                    square = square.wrapping_mul(square);
                    rest >>= 1;
                }
                result
            }
        }
    }
}
