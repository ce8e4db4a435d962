//! Activations: elementwise functions of one tensor with a gradient of their own in one pass.

use std::f64::consts::{FRAC_2_PI, PI};

use rasgo_kernels::elementwise::{self, GradReads, Unary};

use super::sided::Sided;
use super::{Activation, expect_maps_and_channels, stored};
use crate::error::{Error, Result};
use crate::meta::Meta;
use crate::op::{Bf16Rule, Grads, Input, Mask, Metas, Op, Output, Saved, Saves, apply};
use crate::tensor::Tensor;

#[derive(Debug)]
struct Map(Unary);

impl Op for Map {
    fn name(&self) -> &'static str {
        name(self.0)
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        expect_maps_and_channels(inputs, Mask::of(&[0]))?;
        match self.0 {
            Unary::Celu(0.0) => {
                Err(Error::argument("alpha 0: x / alpha is not defined").hint("give another alpha"))
            }
            Unary::Hardtanh(low, high) if low > high => {
                Err(Error::argument(format!("min_val {low} is above max_val {high}")).hint("exchange them"))
            }
            _ => Ok(Metas::from_iter([inputs[0].clone()])),
        }
    }

    fn bf16(&self) -> Bf16Rule {
        on_maps(self.0, Mask::of(&[0]))
    }

    fn in_place(&self) -> Option<usize> {
        Some(0)
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        stored!(inputs[0].meta().dtype, S => {
            let dst = outputs[0].values::<S>();
            if inputs[0].is_donated() {
                elementwise::unary_in_place(self.0, dst);
            } else {
                elementwise::unary(self.0, inputs[0].values::<S>(), dst);
            }
        });
    }

    fn saves(&self) -> Saves {
        match self.0.grad_reads() {
            GradReads::Output => Saves { inputs: Mask::NONE, outputs: Mask::of(&[0]) },
            GradReads::Input => Saves { inputs: Mask::of(&[0]), outputs: Mask::NONE },
        }
    }

    fn grad(&self, mut saved: Saved, mut dy: Grads, _needs: Mask) -> Result<Grads> {
        let dy = dy[0].take().expect("a map has one output");
        let read = match self.0.grad_reads() {
            GradReads::Output => saved.output(0),
            GradReads::Input => saved.input(0),
        };
        Ok(Grads::from_iter([Some(apply(MapGrad(self.0), [dy, read])?)]))
    }
}

/// dx = dy * f'(x), where f' is computed from x or from y, as the function's `grad_reads` says.
#[derive(Debug)]
struct MapGrad(Unary);

impl Op for MapGrad {
    fn name(&self) -> &'static str {
        name(self.0)
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        Ok(Metas::from_iter([inputs[0].clone()]))
    }

    fn bf16(&self) -> Bf16Rule {
        on_maps(self.0, Mask::of(&[0, 1]))
    }

    fn in_place(&self) -> Option<usize> {
        Some(0)
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        stored!(inputs[0].meta().dtype, S => {
            let dx = outputs[0].values::<S>();
            let x_or_y = inputs[1].values::<S>();
            if inputs[0].is_donated() {
                elementwise::unary_grad_in_place(self.0, x_or_y, dx);
            } else {
                elementwise::unary_grad(self.0, x_or_y, inputs[0].values::<S>(), dx);
            }
        });
    }

    fn saves(&self) -> Saves {
        Saves { inputs: if bends(self.0) { Mask::of(&[0, 1]) } else { Mask::of(&[1]) }, outputs: Mask::NONE }
    }

    fn grad(&self, mut saved: Saved, mut ddx: Grads, needs: Mask) -> Result<Grads> {
        let (ddx, v) = (ddx[0].take().expect("one output"), saved.input(1));
        let bend = match needs.has(1) && bends(self.0) {
            true => Some(curvature(self.0, v.clone(), (&ddx * &saved.input(0))?)?),
            false => None,
        };
        let ddy = if needs.has(0) { Some(apply(MapGrad(self.0), [ddx, v])?) } else { None };
        Ok(Grads::from_iter([ddy, bend]))
    }
}

/// All read and write bfloat16, but those whose slope is computed from the value and changes with it: of a value that
/// is rounded it would have few digits left.
fn on_maps(op: Unary, maps: Mask) -> Bf16Rule {
    match op.grad_reads() {
        GradReads::Output if bends(op) => Bf16Rule::Around,
        _ => Bf16Rule::Inside(maps),
    }
}

/// Whether the slope changes with what it is computed from: not for what is linear in pieces.
fn bends(op: Unary) -> bool {
    !matches!(op, Unary::Relu | Unary::Relu6 | Unary::LeakyRelu(_) | Unary::Hardtanh(..) | Unary::Hardsigmoid)
}

/// g times the derivative of the slope by what it is computed from: `v` is x, or y where the slope is computed from y.
fn curvature(op: Unary, v: Tensor, g: Tensor) -> Result<Tensor> {
    match op {
        Unary::Sigmoid => g * v.scale(-2.0)?.add_scalar(1.0)?,
        Unary::Tanh => g * v.scale(-2.0)?,
        Unary::Elu(_) | Unary::Selu => apply(Sided::NotAbove, [apply(MapGrad(op), [g, v.clone()])?, v]),
        Unary::Celu(alpha) => {
            apply(Sided::NotAbove, [apply(MapGrad(op), [g, v.clone()])?, v])?.scale(1.0 / alpha)
        }
        Unary::Gelu => {
            // density * (2 - x^2)
            let square = v.square()?;
            let density = square.clone().scale(-0.5)?.exp()?.scale(1.0 / (2.0 * PI).sqrt())?;
            g * (density * square.scale(-1.0)?.add_scalar(2.0)?)?
        }
        Unary::GeluTanh => {
            // f = x s(u), u = a (x + b x^3): f'' = s' (2 u' + x u'' + x u'^2 (1 - 2 s)), s' = s (1 - s)
            let (a, b) = (2.0 * FRAC_2_PI.sqrt(), 0.044_715);
            let square = v.clone().square()?;
            let first = square.scale(3.0 * a * b)?.add_scalar(a)?;
            let u = (&v * (v.clone().square()?.scale(a * b)?.add_scalar(a)?))?;
            let (slope, centred) = logistic_slope(u)?;
            let second = v.clone().square()?.scale(6.0 * a * b)?;
            let third = ((&v * first.clone().square()?)? * centred)?;
            g * (slope * ((first.scale(2.0)? + second)? + third)?)?
        }
        Unary::Silu => {
            // s' (2 + x (1 - 2 s))
            let (slope, centred) = logistic_slope(v.clone())?;
            g * (slope * (v * centred)?.add_scalar(2.0)?)?
        }
        Unary::Mish => {
            // With t = tanh(softplus(x)): s (1 - t^2) (2 + x (1 - s - 2 s t))
            let s = v.clone().sigmoid()?;
            let t = v.clone().softplus(1.0, 20.0)?.tanh()?;
            let rest = (s.clone() * t.clone().scale(2.0)?.add_scalar(1.0)?)?.scale(-1.0)?.add_scalar(1.0)?;
            let outer = (s * t.square()?.scale(-1.0)?.add_scalar(1.0)?)?;
            g * (outer * (v * rest)?.add_scalar(2.0)?)?
        }
        Unary::Softplus { beta, threshold } => {
            let (slope, _) = logistic_slope(v.clone().scale(beta)?)?;
            let bend = (g * slope)?.scale(beta)?;
            apply(Sided::NotAbove, [bend, v.scale(beta)?.add_scalar(-threshold)?])
        }
        Unary::Logsigmoid => (g * logistic_slope(v)?.0)?.scale(-1.0),
        Unary::Hardswish => apply(MapGrad(Unary::Hardtanh(-3.0, 3.0)), [g.scale(1.0 / 3.0)?, v]),
        _ => unreachable!("{op:?} is linear in pieces, or its gradient is a composition of ops"),
    }
}

/// s (1 - s) and 1 - 2 s, where s = sigmoid(x).
fn logistic_slope(x: Tensor) -> Result<(Tensor, Tensor)> {
    let s = x.sigmoid()?;
    let slope = (&s - s.clone().square()?)?;
    Ok((slope, s.scale(-2.0)?.add_scalar(1.0)?))
}

/// PyTorch's functional name.
fn name(op: Unary) -> &'static str {
    match op {
        Unary::Relu => "relu",
        Unary::Relu6 => "relu6",
        Unary::LeakyRelu(_) => "leaky_relu",
        Unary::Elu(_) => "elu",
        Unary::Selu => "selu",
        Unary::Celu(_) => "celu",
        Unary::Gelu | Unary::GeluTanh => "gelu",
        Unary::Silu => "silu",
        Unary::Hardswish => "hardswish",
        Unary::Hardsigmoid => "hardsigmoid",
        Unary::Sigmoid => "sigmoid",
        Unary::Tanh => "tanh",
        Unary::Softplus { .. } => "softplus",
        Unary::Logsigmoid => "logsigmoid",
        Unary::Mish => "mish",
        Unary::Hardtanh(..) => "hardtanh",
    }
}

/// dx of y = f(x).
pub(super) fn activation_grad(f: Activation, y: impl FnOnce() -> Tensor, dy: Tensor) -> Result<Tensor> {
    match f {
        Activation::None => Ok(dy),
        Activation::Relu => apply(MapGrad(Unary::Relu), [dy, y()]),
        Activation::Relu6 => apply(MapGrad(Unary::Relu6), [dy, y()]),
    }
}

macro_rules! methods {
    ($($(#[$doc:meta])* $name:ident($($arg:ident: $t:ty),*) => $op:expr;)*) => {
        impl Tensor {$(
            $(#[$doc])*
            #[track_caller]
            pub fn $name(self $(, $arg: $t)*) -> Result<Tensor> {
                apply(Map($op), [self])
            }
        )*}
    };
}

methods! {
    /// max(x, 0)
    relu() => Unary::Relu;
    /// min(max(x, 0), 6)
    relu6() => Unary::Relu6;
    /// x where positive, slope * x elsewhere
    leaky_relu(negative_slope: f64) => Unary::LeakyRelu(negative_slope);
    /// x where positive, alpha * (e^x - 1) elsewhere
    elu(alpha: f64) => Unary::Elu(alpha);
    /// 1.0507 times elu(1.6733): mean 0 and variance 1 stay so (Klambauer et al. 2017).
    selu() => Unary::Selu;
    /// x where positive, alpha * (e^(x / alpha) - 1) elsewhere
    celu(alpha: f64) => Unary::Celu(alpha);
    /// x * Phi(x), Phi the normal distribution function
    gelu() => Unary::Gelu;
    /// The tanh approximation of [`gelu`](Self::gelu).
    gelu_tanh() => Unary::GeluTanh;
    /// x * sigmoid(x)
    silu() => Unary::Silu;
    /// x * relu6(x + 3) / 6
    hardswish() => Unary::Hardswish;
    /// relu6(x + 3) / 6
    hardsigmoid() => Unary::Hardsigmoid;
    /// 1 / (1 + e^-x)
    sigmoid() => Unary::Sigmoid;
    /// Hyperbolic tangent.
    tanh() => Unary::Tanh;
    /// ln(1 + e^(beta x)) / beta, and x where beta x is above the threshold. PyTorch's defaults are 1 and 20.
    softplus(beta: f64, threshold: f64) => Unary::Softplus { beta, threshold };
    /// ln(sigmoid(x))
    logsigmoid() => Unary::Logsigmoid;
    /// x * tanh(softplus(x))
    mish() => Unary::Mish;
    /// min(max(x, min_val), max_val); unlike [`clamp`](Self::clamp) it has gradient 0 at the bounds.
    hardtanh(min_val: f64, max_val: f64) => Unary::Hardtanh(min_val, max_val);
}

impl Tensor {
    /// x / (1 + |x|)
    #[track_caller]
    pub fn softsign(self) -> Result<Tensor> {
        let below = self.clone().abs()?.add_scalar(1.0)?;
        self / below
    }
}

#[cfg(test)]
mod tests;
