//! Functions of one argument.

use std::f64::consts::FRAC_2_PI;

use super::map::{InPlace, Into, Maps, Place};
use crate::{Float, Stored};

/// A function of one argument. A NaN gives NaN.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Unary {
    /// `max(x, 0)`
    Relu,
    /// `min(max(x, 0), 6)`
    Relu6,
    /// `x` if positive, else `slope * x`
    LeakyRelu(f64),
    /// `x` if positive, else `alpha * (e^x - 1)`
    Elu(f64),
    /// `SELU_SCALE` times `Elu(SELU_ALPHA)`
    Selu,
    /// `x` if positive, else `alpha * (e^(x / alpha) - 1)`
    Celu(f64),
    /// `x / 2 * (1 + erf(x / sqrt 2))`
    Gelu,
    /// `x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))`
    GeluTanh,
    /// `x * sigmoid(x)`
    Silu,
    /// `x * min(max(x + 3, 0), 6) / 6`
    Hardswish,
    /// `min(max(x + 3, 0), 6) / 6`
    Hardsigmoid,
    /// `1 / (1 + e^-x)`
    Sigmoid,
    /// Hyperbolic tangent.
    Tanh,
    /// `ln(1 + e^(beta x)) / beta`, and `x` where `beta x` is above the threshold
    Softplus {
        /// Steepness.
        beta: f64,
        /// Where the function is taken to be linear.
        threshold: f64,
    },
    /// `ln(sigmoid(x))`
    Logsigmoid,
    /// `x * tanh(softplus(x))`
    Mish,
    /// `min(max(x, low), high)`, with gradient 0 at the bounds
    Hardtanh(f64, f64),
}

/// The constants of Klambauer et al. 2017, for which activations keep mean 0 and variance 1.
pub const SELU_ALPHA: f64 = 1.673_263_242_354_377_2;
/// The factor of [`Unary::Selu`].
pub const SELU_SCALE: f64 = 1.050_700_987_355_480_5;

impl Unary {
    /// `[scale, alpha, input_scale]` of `scale * (x, or alpha * (e^(input_scale x) - 1) below zero)`.
    pub(super) fn exponential_unit(self) -> Option<[f64; 3]> {
        match self {
            Unary::Elu(alpha) => Some([1.0, alpha, 1.0]),
            Unary::Selu => Some([SELU_SCALE, SELU_ALPHA, 1.0]),
            Unary::Celu(alpha) => Some([1.0, alpha, 1.0 / alpha]),
            _ => None,
        }
    }
}

/// `dst = op(src)`
pub fn unary<S: Stored>(op: Unary, src: &[S], dst: &mut [S]) {
    apply(op, Maps::<S, _>::new(Into { src, dst }));
}

/// `dst = op(dst)`
pub fn unary_in_place<S: Stored>(op: Unary, dst: &mut [S]) {
    apply(op, Maps::<S, _>::new(InPlace { dst }));
}

fn apply<T: Float>(op: Unary, place: impl Place<T>) {
    let t = T::from_f64;
    let (zero, one, six) = (T::ZERO, T::ONE, t(6.0));
    match op {
        Unary::Relu => place.apply(|x| x.max(zero)),
        Unary::Relu6 => place.apply(|x| x.max(zero).min(six)),
        Unary::LeakyRelu(slope) => {
            let slope = t(slope);
            place.apply(|x| if x > zero { x } else { x * slope });
        }
        Unary::Elu(_) | Unary::Selu | Unary::Celu(_) => {
            let [scale, alpha, input_scale] = op.exponential_unit().expect("one of them");
            let (scale, alpha, input_scale) = (t(scale), t(scale * alpha), t(input_scale));
            place.apply(|x| {
                // By the smaller, so that what is not chosen does not overflow.
                if x > zero { scale * x } else { alpha * (x.min(zero) * input_scale).exp_m1() }
            });
        }
        Unary::Gelu => place.apply(|x| x * x.normal_cdf()),
        Unary::GeluTanh => place.apply(|x| x * gelu_argument(x).half_tanh()),
        Unary::Silu => place.apply(|x| x / (one + (-x).exp())),
        Unary::Hardswish => {
            let (three, sixth) = (t(3.0), t(1.0 / 6.0));
            place.apply(|x| x * (x + three).max(zero).min(six) * sixth);
        }
        Unary::Hardsigmoid => {
            let (three, sixth) = (t(3.0), t(1.0 / 6.0));
            place.apply(|x| (x + three).max(zero).min(six) * sixth);
        }
        Unary::Sigmoid => place.apply(sigmoid),
        Unary::Tanh => place.apply(T::tanh),
        Unary::Softplus { beta, threshold } => {
            let (beta, limit) = (t(beta), t(threshold));
            place.apply(|x| {
                let z = x * beta;
                // ln(1 + e^z) = max(z, 0) + ln(1 + e^-|z|), which cannot overflow.
                if z > limit { x } else { (z.max(zero) + (-z.abs()).exp().ln_1p()) / beta }
            });
        }
        Unary::Logsigmoid => place.apply(|x| x.min(zero) - (-x.abs()).exp().ln_1p()),
        Unary::Mish => place.apply(|x| x * tanh_softplus(x)),
        Unary::Hardtanh(low, high) => {
            let (low, high) = (t(low), t(high));
            place.apply(|x| x.max(low).min(high));
        }
    }
}

#[inline(always)]
pub(super) fn sigmoid<T: Float>(x: T) -> T {
    T::ONE / (T::ONE + (-x).exp())
}

/// `sqrt(2 / pi) * (x + 0.044715 x^3)`
#[inline(always)]
pub(super) fn gelu_argument<T: Float>(x: T) -> T {
    let (scale, cubic) = (T::from_f64(FRAC_2_PI.sqrt()), T::from_f64(0.044_715));
    scale * (x + cubic * x * x * x)
}

/// `tanh(ln(1 + e^x)) = m / (m + 2)` with `m = e^x (e^x + 2)`: no logarithm, no cancellation.
#[inline(always)]
pub(super) fn tanh_softplus<T: Float>(x: T) -> T {
    // Above 20 the quotient is 1; the square must not overflow.
    let e = x.min(T::from_f64(20.0)).exp();
    let m = e * (e + T::from_f64(2.0));
    m / (m + T::from_f64(2.0))
}
