//! Gradients of the functions of one argument.

use std::f64::consts::{FRAC_2_PI, PI};

use super::map::{InSecond, Into2, Maps, Place2};
use super::unary::{Unary, gelu_argument, sigmoid, tanh_softplus};
use crate::{Float, Stored};

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
            Unary::LeakyRelu(a) if a >= 0.0 => GradReads::Output,
            _ => GradReads::Input,
        }
    }
}

/// `dx = dy * op'(x)`, where `x_or_y` is what [`Unary::grad_reads`] says.
///
/// At corners the gradient is PyTorch's: 0 for `Relu` at 0, for `Relu6`, `Hardtanh`, `Hardsigmoid` and `Hardswish` at the
/// lower bound, for all but the last at the upper one. So it is at NaN:
/// the gradient itself for `Relu`, 0 for what is bounded.
pub fn unary_grad<S: Stored>(op: Unary, x_or_y: &[S], dy: &[S], dx: &mut [S]) {
    apply(op, Maps::<S, _>::new(Into2 { a: x_or_y, b: dy, dst: dx }));
}

/// `dy = dy * op'(x)`; as [`unary_grad`].
pub fn unary_grad_in_place<S: Stored>(op: Unary, x_or_y: &[S], dy: &mut [S]) {
    apply(op, Maps::<S, _>::new(InSecond { a: x_or_y, b: dy }));
}

fn apply<T: Float>(op: Unary, place: impl Place2<T>) {
    // Conditions are joined by `&`: with `&&` the second is a branch, and the loop no vector code.
    let t = T::from_f64;
    let (zero, one, half, three) = (T::ZERO, T::ONE, t(0.5), t(3.0));
    match op {
        // Written so that a NaN lets the gradient through, as PyTorch does.
        Unary::Relu => place.apply(|y, dy| if y <= zero { zero } else { dy }),
        Unary::Relu6 => {
            let six = t(6.0);
            place.apply(|y, dy| if (y > zero) & (y < six) { dy } else { zero });
        }
        Unary::LeakyRelu(slope) => {
            let slope = t(slope);
            place.apply(|v, dy| if v > zero { dy } else { dy * slope });
        }
        Unary::Elu(_) | Unary::Selu | Unary::Celu(_) => {
            let [scale, alpha, mut input_scale] = op.exponential_unit().expect("one of them");
            if let Unary::Celu(alpha) = op {
                // PyTorch rounds the number to f32 here, in f64 too.
                input_scale = 1.0 / f64::from(alpha as f32);
            }
            let (scale, slope, input_scale) = (t(scale), t(scale * alpha * input_scale), t(input_scale));
            place.apply(
                |x, dy| {
                    if x > zero { dy * scale } else { dy * slope * (x.min(zero) * input_scale).exp() }
                },
            );
        }
        Unary::Gelu => {
            let density = t(1.0 / (2.0 * PI).sqrt());
            place.apply(|x, dy| dy * (x.normal_cdf() + x * density * (-half * x * x).exp()));
        }
        Unary::GeluTanh => {
            let (scale, cubic, far) = (t(2.0 * FRAC_2_PI.sqrt()), t(0.044_715), t(50.0));
            place.apply(|x, dy| {
                // Beyond, the slope is 0 or 1, and the square must not overflow.
                let near = x.max(-far).min(far);
                let s = gelu_argument(near).half_tanh();
                let slope = scale * (one + three * cubic * near * near);
                dy * (s + x * (s * (one - s) * slope))
            });
        }
        Unary::Silu => place.apply(|x, dy| {
            let s = sigmoid(x);
            dy * (s * (one + x * (one - s)))
        }),
        Unary::Hardswish => place.apply(|x, dy| {
            if x <= -three {
                zero
            } else if x >= three {
                dy
            } else {
                dy * (x / three + half)
            }
        }),
        Unary::Hardsigmoid => {
            // PyTorch rounds the number to f32 here, in f64 too.
            let sixth = t(f64::from(1.0f32 / 6.0));
            place.apply(|x, dy| if (x > -three) & (x < three) { dy * sixth } else { zero });
        }
        Unary::Sigmoid => place.apply(|y, dy| dy * (y * (one - y))),
        Unary::Tanh => place.apply(|y, dy| dy * (one - y * y)),
        Unary::Softplus { beta, threshold } => {
            let (beta, limit) = (t(beta), t(threshold));
            place.apply(|x, dy| if x * beta > limit { dy } else { dy * sigmoid(x * beta) });
        }
        Unary::Logsigmoid => place.apply(|x, dy| dy * sigmoid(-x)),
        Unary::Mish => place.apply(|x, dy| {
            let th = tanh_softplus(x);
            dy * (th + x * (one - th * th) * sigmoid(x))
        }),
        Unary::Hardtanh(low, high) => {
            let (low, high) = (t(low), t(high));
            place.apply(|x, dy| if (x > low) & (x < high) { dy } else { zero });
        }
    }
}
