//! Functions of one argument.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_PI};

use super::map::{InPlace, Into, Place};
use crate::Float;

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
    /// `ln(1 + e^x)`, and `x` above 20
    Softplus,
    /// `x * tanh(softplus(x))`
    Mish,
}

/// `dst = op(src)`
pub fn unary<T: Float>(op: Unary, src: &[T], dst: &mut [T]) {
    apply(op, Into { src, dst });
}

/// `dst = op(dst)`
pub fn unary_in_place<T: Float>(op: Unary, dst: &mut [T]) {
    apply(op, InPlace { dst });
}

fn apply<T: Float>(op: Unary, place: impl Place<T>) {
    let t = T::from_f64;
    let (zero, one, half, six) = (T::ZERO, T::ONE, t(0.5), t(6.0));
    match op {
        Unary::Relu => place.apply(|x| x.max(zero)),
        Unary::Relu6 => place.apply(|x| x.max(zero).min(six)),
        Unary::LeakyRelu(slope) => {
            let slope = t(slope);
            place.apply(|x| if x > zero { x } else { x * slope });
        }
        Unary::Elu(alpha) => {
            let alpha = t(alpha);
            place.apply(|x| if x > zero { x } else { alpha * x.min(zero).exp_m1() });
        }
        Unary::Gelu => {
            let scale = t(FRAC_1_SQRT_2);
            place.apply(|x| half * x * (one + (x * scale).erf()));
        }
        Unary::GeluTanh => {
            let (scale, cubic) = (t(FRAC_2_PI.sqrt()), t(0.044_715));
            place.apply(|x| half * x * (one + (scale * (x + cubic * x * x * x)).tanh()));
        }
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
        Unary::Softplus => {
            let limit = t(20.0);
            place.apply(|x| if x > limit { x } else { x.exp().ln_1p() });
        }
        Unary::Mish => place.apply(|x| x * tanh_softplus(x)),
    }
}

#[inline(always)]
pub(super) fn sigmoid<T: Float>(x: T) -> T {
    T::ONE / (T::ONE + (-x).exp())
}

/// `tanh(ln(1 + e^x)) = m / (m + 2)` with `m = e^x (e^x + 2)`: no logarithm, no cancellation.
#[inline(always)]
pub(super) fn tanh_softplus<T: Float>(x: T) -> T {
    // Above 20 the quotient is 1; the square must not overflow.
    let e = x.min(T::from_f64(20.0)).exp();
    let m = e * (e + T::from_f64(2.0));
    m / (m + T::from_f64(2.0))
}
