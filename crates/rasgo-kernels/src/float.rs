//! The two floating-point types that kernels compute in.

use std::fmt::{Debug, Display};
use std::ops::{Add, AddAssign, Div, Mul, Neg, Sub};

use crate::Stored;
use crate::transcendental as fast;

/// `f32` (fast) or `f64` (for checking gradients).
///
/// The transcendental functions come from the `libm` crate, which is the same code on every platform; the
/// platform's own would make weights depend on the machine's C library. For `f32`, `exp`, `exp_m1`, `tanh` and
/// `normal_cdf` are polynomials of our own, which vectorise; their errors are a few units of the last place.
pub trait Float:
    Stored<Wide = Self>
    + Copy
    + Default
    + Debug
    + Display
    + PartialOrd
    + PartialEq
    + Send
    + Sync
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + AddAssign
    + 'static
{
    /// 0
    const ZERO: Self;
    /// 1
    const ONE: Self;
    /// Minus infinity.
    const NEG_INFINITY: Self;
    /// Not a number.
    const NAN: Self;
    /// Rounds an `f64`.
    fn from_f64(x: f64) -> Self;
    /// Widens (or keeps) the value.
    fn to_f64(self) -> f64;
    /// The larger of two; a NaN on the right is ignored.
    fn max(self, other: Self) -> Self;
    /// The smaller of two; a NaN on the right is ignored.
    fn min(self, other: Self) -> Self;
    /// Absolute value.
    fn abs(self) -> Self;
    /// Square root, correctly rounded.
    fn sqrt(self) -> Self;
    /// e to the power.
    fn exp(self) -> Self;
    /// e to the power, less 1, without cancellation near 0.
    fn exp_m1(self) -> Self;
    /// Natural logarithm.
    fn ln(self) -> Self;
    /// ln(1 + x)
    fn ln_1p(self) -> Self;
    /// Logarithm to base 2.
    fn log2(self) -> Self;
    /// Logarithm to base 10.
    fn log10(self) -> Self;
    /// Sine of radians.
    fn sin(self) -> Self;
    /// Cosine of radians.
    fn cos(self) -> Self;
    /// The next whole number below.
    fn floor(self) -> Self;
    /// The next whole number above.
    fn ceil(self) -> Self;
    /// The nearest whole number, the even one of two.
    fn round(self) -> Self;
    /// The whole part.
    fn trunc(self) -> Self;
    /// Hyperbolic tangent.
    fn tanh(self) -> Self;
    /// Error function.
    fn erf(self) -> Self;
    /// The normal distribution function, `(1 + erf(x / sqrt 2)) / 2`.
    fn normal_cdf(self) -> Self;
    /// `(1 + tanh x) / 2`, the logistic function of `2 x`.
    fn half_tanh(self) -> Self;
    /// Power.
    fn powf(self, exponent: Self) -> Self;
    /// Whether the value is NaN.
    fn is_nan(self) -> bool;
    /// `Some` if `Self` is `f32`: the way from generic code to the f32 kernels.
    fn as_f32(slice: &[Self]) -> Option<&[f32]>;
    /// `Some` if `Self` is `f32`.
    fn as_f32_mut(slice: &mut [Self]) -> Option<&mut [f32]>;
}

macro_rules! float {
    ($t:ident, $as_f32:expr, $as_f32_mut:expr, $exp:path, $exp_m1:path, $ln:path, $ln_1p:path, $tanh:path, $erf:path, $cdf:path, $half_tanh:path, $pow:path, $log2:path, $log10:path, $sin:path, $cos:path) => {
        impl Float for $t {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            const NEG_INFINITY: Self = $t::NEG_INFINITY;
            const NAN: Self = $t::NAN;
            #[inline(always)]
            fn from_f64(x: f64) -> Self {
                x as $t
            }
            #[inline(always)]
            fn to_f64(self) -> f64 {
                self as f64
            }
            #[inline(always)]
            fn max(self, other: Self) -> Self {
                if other > self { other } else { self }
            }
            #[inline(always)]
            fn min(self, other: Self) -> Self {
                if other < self { other } else { self }
            }
            #[inline(always)]
            fn abs(self) -> Self {
                $t::abs(self)
            }
            #[inline(always)]
            fn sqrt(self) -> Self {
                $t::sqrt(self)
            }
            #[inline(always)]
            fn exp(self) -> Self {
                $exp(self)
            }
            #[inline(always)]
            fn exp_m1(self) -> Self {
                $exp_m1(self)
            }
            #[inline(always)]
            fn ln(self) -> Self {
                $ln(self)
            }
            #[inline(always)]
            fn ln_1p(self) -> Self {
                $ln_1p(self)
            }
            #[inline(always)]
            fn tanh(self) -> Self {
                $tanh(self)
            }
            #[inline(always)]
            fn erf(self) -> Self {
                $erf(self)
            }
            #[inline(always)]
            fn normal_cdf(self) -> Self {
                $cdf(self)
            }
            #[inline(always)]
            fn half_tanh(self) -> Self {
                $half_tanh(self)
            }
            #[inline(always)]
            fn powf(self, exponent: Self) -> Self {
                $pow(self, exponent)
            }
            #[inline(always)]
            fn log2(self) -> Self {
                $log2(self)
            }
            #[inline(always)]
            fn log10(self) -> Self {
                $log10(self)
            }
            #[inline(always)]
            fn sin(self) -> Self {
                $sin(self)
            }
            #[inline(always)]
            fn cos(self) -> Self {
                $cos(self)
            }
            // Exact, so the same from everywhere.
            #[inline(always)]
            fn floor(self) -> Self {
                $t::floor(self)
            }
            #[inline(always)]
            fn ceil(self) -> Self {
                $t::ceil(self)
            }
            #[inline(always)]
            fn round(self) -> Self {
                $t::round_ties_even(self)
            }
            #[inline(always)]
            fn trunc(self) -> Self {
                $t::trunc(self)
            }
            #[inline(always)]
            fn is_nan(self) -> bool {
                $t::is_nan(self)
            }
            #[inline(always)]
            fn as_f32(slice: &[Self]) -> Option<&[f32]> {
                $as_f32(slice)
            }
            #[inline(always)]
            fn as_f32_mut(slice: &mut [Self]) -> Option<&mut [f32]> {
                $as_f32_mut(slice)
            }
        }
    };
}

float!(
    f32,
    Some,
    Some,
    fast::exp,
    fast::exp_m1,
    libm::logf,
    libm::log1pf,
    fast::tanh,
    libm::erff,
    fast::normal_cdf,
    fast::half_tanh,
    libm::powf,
    libm::log2f,
    libm::log10f,
    libm::sinf,
    libm::cosf
);
float!(
    f64,
    |_| None,
    |_| None,
    libm::exp,
    libm::expm1,
    libm::log,
    libm::log1p,
    libm::tanh,
    libm::erf,
    normal_cdf_f64,
    half_tanh_f64,
    libm::pow,
    libm::log2,
    libm::log10,
    libm::sin,
    libm::cos
);

/// As PyTorch computes it, so that far below 0, where the sum cancels, the two agree.
#[inline(always)]
fn normal_cdf_f64(x: f64) -> f64 {
    0.5 * (1.0 + libm::erf(x * std::f64::consts::FRAC_1_SQRT_2))
}

/// As PyTorch computes it; see above.
#[inline(always)]
fn half_tanh_f64(x: f64) -> f64 {
    0.5 * (1.0 + libm::tanh(x))
}
