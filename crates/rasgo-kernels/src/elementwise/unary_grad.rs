//! Gradients of the functions of one argument.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_PI, PI};

use super::map::{InSecond, Into2, Place2};
use super::unary::{Unary, sigmoid, tanh_softplus};
use crate::Float;

/// What the gradient of a function reads beside `dy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GradReads {
    /// The function's argument.
    Input,
    /// The function's value; its argument may have been overwritten.
    Output,
}

impl Unary {
    /// What [`unary_grad`] reads.
    pub fn grad_reads(self) -> GradReads {
        match self {
            Unary::Relu | Unary::Relu6 | Unary::Sigmoid | Unary::Tanh => GradReads::Output,
            // With a negative factor the value does not tell the sign of the argument.
            Unary::LeakyRelu(a) | Unary::Elu(a) if a >= 0.0 => GradReads::Output,
            _ => GradReads::Input,
        }
    }
}

/// `dx = dy * op'(x)`, where `x_or_y` is what [`Unary::grad_reads`] says.
///
/// At corners the gradient is PyTorch's: 0 for `Relu` at 0, for `Relu6` at 0 and 6.
pub fn unary_grad<T: Float>(op: Unary, x_or_y: &[T], dy: &[T], dx: &mut [T]) {
    apply(op, Into2 { a: x_or_y, b: dy, dst: dx });
}

/// `dy = dy * op'(x)`; as [`unary_grad`].
pub fn unary_grad_in_place<T: Float>(op: Unary, x_or_y: &[T], dy: &mut [T]) {
    apply(op, InSecond { a: x_or_y, b: dy });
}

fn apply<T: Float>(op: Unary, place: impl Place2<T>) {
    let t = T::from_f64;
    let (zero, one, half, three) = (T::ZERO, T::ONE, t(0.5), t(3.0));
    match op {
        // Written so that a NaN lets the gradient through, as PyTorch does.
        Unary::Relu => place.apply(|y, dy| if y <= zero { zero } else { dy }),
        Unary::Relu6 => {
            let six = t(6.0);
            place.apply(|y, dy| if y <= zero || y >= six { zero } else { dy });
        }
        Unary::LeakyRelu(slope) => {
            let slope = t(slope);
            place.apply(|v, dy| if v > zero { dy } else { dy * slope });
        }
        Unary::Elu(a) => {
            let alpha = t(a);
            if op.grad_reads() == GradReads::Output {
                place.apply(|y, dy| if y > zero { dy } else { dy * (y + alpha) });
            } else {
                place.apply(|x, dy| if x > zero { dy } else { dy * alpha * x.min(zero).exp() });
            }
        }
        Unary::Gelu => {
            let (scale, density) = (t(FRAC_1_SQRT_2), t(1.0 / (2.0 * PI).sqrt()));
            place.apply(|x, dy| {
                let cdf = half * (one + (x * scale).erf());
                dy * (cdf + x * density * (-half * x * x).exp())
            });
        }
        Unary::GeluTanh => {
            let (scale, cubic) = (t(FRAC_2_PI.sqrt()), t(0.044_715));
            place.apply(|x, dy| {
                let th = (scale * (x + cubic * x * x * x)).tanh();
                let slope = scale * (one + three * cubic * x * x);
                dy * half * (one + th + x * (one - th * th) * slope)
            });
        }
        Unary::Silu => place.apply(|x, dy| {
            let s = sigmoid(x);
            dy * (s * (one + x * (one - s)))
        }),
        Unary::Hardswish => place.apply(|x, dy| {
            if x < -three {
                zero
            } else if x <= three {
                dy * (x / three + half)
            } else {
                dy
            }
        }),
        Unary::Hardsigmoid => {
            let sixth = t(1.0 / 6.0);
            place.apply(|x, dy| if x > -three && x < three { dy * sixth } else { zero });
        }
        Unary::Sigmoid => place.apply(|y, dy| dy * (y * (one - y))),
        Unary::Tanh => place.apply(|y, dy| dy * (one - y * y)),
        Unary::Softplus => {
            let limit = t(20.0);
            place.apply(|x, dy| if x > limit { dy } else { dy * sigmoid(x) });
        }
        Unary::Mish => place.apply(|x, dy| {
            let th = tanh_softplus(x);
            dy * (th + x * (one - th * th) * sigmoid(x))
        }),
    }
}
