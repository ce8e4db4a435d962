//! Activations: elementwise functions of one tensor with a gradient of their own in one pass.

use rasgo_kernels::elementwise::{self, GradReads, Unary};

use super::{expect_float, float, no_second_gradient};
use crate::error::Result;
use crate::meta::Meta;
use crate::op::{Grads, Input, Mask, Metas, Op, Output, Saved, Saves, apply};
use crate::tensor::Tensor;

#[derive(Debug)]
struct Map(Unary);

impl Op for Map {
    fn name(&self) -> &'static str {
        name(self.0)
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        expect_float(inputs)?;
        Ok(Metas::from_iter([inputs[0].clone()]))
    }

    fn in_place(&self) -> Option<usize> {
        Some(0)
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        float!(inputs[0].meta().dtype, T => {
            let dst = outputs[0].values::<T>();
            if inputs[0].is_donated() {
                elementwise::unary_in_place(self.0, dst);
            } else {
                elementwise::unary(self.0, inputs[0].values::<T>(), dst);
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

    fn in_place(&self) -> Option<usize> {
        Some(0)
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        float!(inputs[0].meta().dtype, T => {
            let dx = outputs[0].values::<T>();
            let x_or_y = inputs[1].values::<T>();
            if inputs[0].is_donated() {
                elementwise::unary_grad_in_place(self.0, x_or_y, dx);
            } else {
                elementwise::unary_grad(self.0, x_or_y, inputs[0].values::<T>(), dx);
            }
        });
    }

    fn saves(&self) -> Saves {
        Saves { inputs: Mask::of(&[1]), outputs: Mask::NONE }
    }

    fn grad(&self, mut saved: Saved, mut ddx: Grads, needs: Mask) -> Result<Grads> {
        // A function that is linear in pieces: the gradient for dy is the same rule, for x it is zero.
        let in_pieces =
            matches!(self.0, Unary::Relu | Unary::Relu6 | Unary::LeakyRelu(_) | Unary::Hardsigmoid);
        if !in_pieces && needs.has(1) {
            return Err(no_second_gradient());
        }
        let ddx = ddx[0].take().expect("one output");
        Ok(Grads::from_iter([Some(apply(MapGrad(self.0), [ddx, saved.input(1)])?), None]))
    }
}

/// PyTorch's functional name.
fn name(op: Unary) -> &'static str {
    match op {
        Unary::Relu => "relu",
        Unary::Relu6 => "relu6",
        Unary::LeakyRelu(_) => "leaky_relu",
        Unary::Elu(_) => "elu",
        Unary::Gelu | Unary::GeluTanh => "gelu",
        Unary::Silu => "silu",
        Unary::Hardswish => "hardswish",
        Unary::Hardsigmoid => "hardsigmoid",
        Unary::Sigmoid => "sigmoid",
        Unary::Tanh => "tanh",
        Unary::Softplus => "softplus",
        Unary::Mish => "mish",
    }
}

/// dy where y = relu(x) is positive, 0 elsewhere.
pub(super) fn relu_grad(y: Tensor, dy: Tensor) -> Result<Tensor> {
    apply(MapGrad(Unary::Relu), [dy, y])
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
    /// ln(1 + e^x)
    softplus() => Unary::Softplus;
    /// x * tanh(softplus(x))
    mish() => Unary::Mish;
}

#[cfg(test)]
mod tests {
    use super::super::grad_check::{check, normal};
    use super::*;

    #[test]
    fn every_map_has_the_gradient_of_its_differences() {
        let maps: &[Unary] = &[
            Unary::Relu,
            Unary::Relu6,
            Unary::LeakyRelu(0.1),
            Unary::Elu(1.3),
            Unary::Gelu,
            Unary::GeluTanh,
            Unary::Silu,
            Unary::Hardswish,
            Unary::Hardsigmoid,
            Unary::Sigmoid,
            Unary::Tanh,
            Unary::Softplus,
            Unary::Mish,
        ];
        for &op in maps {
            check(&[normal([2, 3, 5], 1)], |x| apply(Map(op), [x[0].clone()]));
        }
    }

    #[test]
    fn a_map_writes_in_place_only_when_nobody_else_holds_the_values() {
        let x = Tensor::from_vec(vec![-1.0f32, 2.0], [2]).unwrap();
        let y = x.clone().relu().unwrap();
        assert_eq!(x.to_vec::<f32>().unwrap(), [-1.0, 2.0]);
        assert_eq!(y.to_vec::<f32>().unwrap(), [0.0, 2.0]);
        let address = y.as_slice::<f32>().unwrap().as_ptr();
        let z = y.scale(3.0).unwrap();
        assert_eq!(z.as_slice::<f32>().unwrap().as_ptr(), address);
        assert_eq!(z.to_vec::<f32>().unwrap(), [0.0, 6.0]);
    }
}
