//! Arithmetic of a tensor and a number, in one pass and in place where nobody else holds the values.

use rasgo_kernels::elementwise::{self, Binary, Function, Side};

use super::operand::Operand;
use super::{expect_numbers, float, number, numbers_fit};
use crate::error::{Error, Result};
use crate::meta::{DType, Meta};
use crate::op::{Grads, Input, Mask, Metas, Op, Output, Saved, Saves, apply};
use crate::tensor::Tensor;

/// y = x op number, or number op x. The number is rounded to x's dtype, as PyTorch does.
#[derive(Debug)]
struct WithNumber {
    op: Binary,
    side: Side,
    number: f64,
}

/// x op number, or number op x.
#[track_caller]
pub(crate) fn with_number(op: Binary, side: Side, x: Tensor, number: f64) -> Result<Tensor> {
    // The quotient of whole numbers is float32, as in PyTorch.
    let x = if op == Binary::Div && x.dtype() == DType::I64 { x.to_dtype(DType::F32)? } else { x };
    apply(WithNumber { op, side, number }, [x])
}

/// The functions that PyTorch computes instead of some powers: they differ from the power in their edges (the root of
/// minus infinity is NaN) and cost less.
fn instead_of_power(exponent: f64) -> Option<Function> {
    match exponent {
        0.5 => Some(Function::Sqrt),
        -0.5 => Some(Function::Rsqrt),
        -1.0 => Some(Function::Reciprocal),
        2.0 => Some(Function::Square),
        3.0 => Some(Function::Cube),
        _ => None,
    }
}

impl Op for WithNumber {
    fn name(&self) -> &'static str {
        match self.op {
            Binary::Add => "add",
            Binary::Sub => "sub",
            Binary::Mul => "mul",
            Binary::Div => "div",
            Binary::Max | Binary::Min => "clamp",
            Binary::Pow => "pow",
        }
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        let dtype = expect_numbers(inputs)?;
        numbers_fit(dtype, self.number)?;
        if self.op == Binary::Pow && dtype == DType::I64 && self.number < 0.0 {
            let text = format!("whole numbers to the power {}, which are no whole numbers", self.number);
            return Err(Error::argument(text).hint("convert the tensor with .to_dtype(DType::F32)"));
        }
        Ok(Metas::from_iter([inputs[0].clone()]))
    }

    fn in_place(&self) -> Option<usize> {
        Some(0)
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        let dtype = inputs[0].meta().dtype;
        if let (Binary::Pow, true, Some(f)) = (self.op, dtype.is_float(), instead_of_power(self.number)) {
            float!(dtype, T => {
                let dst = outputs[0].values::<T>();
                if inputs[0].is_donated() {
                    elementwise::function_in_place(f, dst);
                } else {
                    elementwise::function(f, inputs[0].values::<T>(), dst);
                }
            });
            return;
        }
        number!(dtype, T => {
            let number = <T as elementwise::Number>::rounded(self.number);
            let dst = outputs[0].values::<T>();
            if inputs[0].is_donated() {
                elementwise::with_number_in_place(self.op, self.side, number, dst);
            } else {
                elementwise::with_number(self.op, self.side, inputs[0].values::<T>(), number, dst);
            }
        });
    }

    fn saves(&self) -> Saves {
        match self.op {
            Binary::Pow => Saves { inputs: Mask::of(&[0]), outputs: Mask::NONE },
            _ => Saves::default(),
        }
    }

    fn grad(&self, mut saved: Saved, mut dy: Grads, _needs: Mask) -> Result<Grads> {
        let dy = dy[0].take().expect("one output");
        let dx = match (self.op, self.side) {
            (Binary::Add, _) | (Binary::Sub, Side::Right) => dy,
            (Binary::Sub, Side::Left) => (-dy)?,
            (Binary::Mul, _) => dy.scale(self.number)?,
            (Binary::Div, Side::Right) => (dy / self.number)?,
            // 0 * x^-1 would be NaN at 0.
            (Binary::Pow, Side::Right) if self.number == 0.0 => {
                Tensor::zeros(dy.shape().clone(), dy.dtype())?
            }
            (Binary::Pow, Side::Right) => {
                (dy * saved.input(0).pow(self.number - 1.0)?.scale(self.number)?)?
            }
            (op, side) => {
                unreachable!("{op:?} with a number at the {side:?} is only called on whole numbers")
            }
        };
        Ok(Grads::from_iter([Some(dx)]))
    }
}

impl Tensor {
    /// a * x
    #[track_caller]
    pub fn scale(self, a: f64) -> Result<Tensor> {
        with_number(Binary::Mul, Side::Right, self, a)
    }

    /// x + a
    #[track_caller]
    pub fn add_scalar(self, a: f64) -> Result<Tensor> {
        with_number(Binary::Add, Side::Right, self, a)
    }

    /// x to a power, a number or a tensor, as PyTorch has its edges: x^0 is 1 also of NaN, and a negative number has a
    /// power only to a whole one. Of whole numbers it is whole.
    ///
    /// ```
    /// # use rasgo_core::Tensor;
    /// let x = Tensor::from_vec(vec![-2.0f32, 0.0, 3.0], [3])?;
    /// assert_eq!(x.clone().pow(3.0)?.to_vec::<f32>()?, [-8.0, 0.0, 27.0]);
    /// assert_eq!(x.pow(&Tensor::from_vec(vec![0.0f32, 0.0, 2.0], [3])?)?.to_vec::<f32>()?, [1.0, 1.0, 9.0]);
    /// # Ok::<(), rasgo_core::Error>(())
    /// ```
    #[track_caller]
    pub fn pow(self, exponent: impl Into<Operand>) -> Result<Tensor> {
        match exponent.into() {
            Operand::Number(number) => with_number(Binary::Pow, Side::Right, self, number),
            Operand::Tensor(tensor) => super::binary(Binary::Pow, self, tensor),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::grad_check::{check, normal};
    use super::*;

    #[test]
    fn numbers_beside_tensors_have_the_gradients_of_their_differences() {
        let x = normal([2, 3, 5], 1);
        check(std::slice::from_ref(&x), |x| &x[0] + 0.3);
        check(std::slice::from_ref(&x), |x| &x[0] - 0.3);
        check(std::slice::from_ref(&x), |x| 0.3 - &x[0]);
        check(std::slice::from_ref(&x), |x| &x[0] * -1.5);
        check(std::slice::from_ref(&x), |x| &x[0] / 3.0);
        check(std::slice::from_ref(&x), |x| 3.0 / x[0].clone().square()?.add_scalar(1.0)?);
        for exponent in [0.0, 1.0, 2.0, 3.0, 5.0] {
            check(std::slice::from_ref(&x), |x| x[0].clone().pow(exponent));
        }
        let positive = x.square().unwrap().add_scalar(0.5).unwrap();
        for exponent in [0.5, -0.5, -1.0, 2.5, -2.0] {
            check(&[positive.detach()], |x| x[0].clone().pow(exponent));
        }
    }

    /// The values of `torch.pow` for the edges of x, and those of its gradient.
    #[test]
    fn powers_have_the_edges_of_pytorch() {
        let (n, i) = (f64::NAN, f64::INFINITY);
        let cases: [(f64, [f64; 6], [f64; 6]); 8] = [
            (0.0, [1.0; 6], [0.0; 6]),
            (0.5, [n, n, n, 0.0, 1.0, i], [n, n, n, i, 0.5, 0.0]),
            (-0.5, [n, n, n, i, 1.0, 0.0], [n, -0.0, n, -i, -0.5, -0.0]),
            (-1.0, [n, -0.0, -1.0, i, 1.0, 0.0], [n, -0.0, -1.0, -i, -1.0, -0.0]),
            (1.0, [n, -i, -1.0, 0.0, 1.0, i], [1.0; 6]),
            (2.0, [n, i, 1.0, 0.0, 1.0, i], [n, -i, -2.0, 0.0, 2.0, i]),
            (3.0, [n, -i, -1.0, 0.0, 1.0, i], [n, i, 3.0, 0.0, 3.0, i]),
            (2.5, [n, i, n, 0.0, 1.0, i], [n, i, n, 0.0, 2.5, i]),
        ];
        for (exponent, value, slope) in cases {
            let x = Tensor::from_vec(vec![n, -i, -1.0, 0.0, 1.0, i], [6]).unwrap().requires_grad();
            let y = x.clone().pow(exponent).unwrap();
            let same = |found: &Tensor, want: [f64; 6]| {
                let found = found.to_vec::<f64>().unwrap();
                found.iter().zip(want).all(|(a, b)| *a == b || a.is_nan() && b.is_nan())
            };
            assert!(same(&y, value), "{exponent}: {y}");
            let grads = y.sum().unwrap().backward().unwrap();
            assert!(same(grads.get(&x).unwrap(), slope), "{exponent}: {}", grads.get(&x).unwrap());
        }
    }

    #[test]
    fn a_quotient_is_divided_and_not_multiplied() {
        let x = Tensor::from_vec(vec![5.0f32, 7.0], [2]).unwrap();
        assert_eq!((&x / 49.0).unwrap().to_vec::<f32>().unwrap(), [5.0 / 49.0, 7.0 / 49.0]);
        let whole = Tensor::from_vec(vec![5i64, -7], [2]).unwrap();
        assert_eq!((&whole / 2.0).unwrap().to_vec::<f32>().unwrap(), [2.5, -3.5]);
        assert_eq!((3.0 - &whole).unwrap().to_vec::<i64>().unwrap(), [-2, 10]);
        assert_eq!(whole.clone().pow(2.0).unwrap().to_vec::<i64>().unwrap(), [25, 49]);
        assert!(whole.pow(-1.0).unwrap_err().to_string().contains("to the power -1"));
    }
}
