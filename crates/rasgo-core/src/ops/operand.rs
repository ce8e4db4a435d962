//! The other side of an operation: a tensor, or a number that stands for one.

use super::numbers_fit;
use crate::error::Result;
use crate::meta::DType;
use crate::tensor::Tensor;

/// A tensor or a number. Methods take `impl Into<Operand>`: `x.gt(0.5)`, `x.gt(&y)`.
#[derive(Clone, Debug)]
pub enum Operand {
    /// A tensor.
    Tensor(Tensor),
    /// A number, rounded to the dtype of the tensor beside it, as PyTorch does.
    Number(f64),
}

impl From<&Tensor> for Operand {
    fn from(tensor: &Tensor) -> Self {
        Operand::Tensor(tensor.clone())
    }
}

impl From<Tensor> for Operand {
    fn from(tensor: Tensor) -> Self {
        Operand::Tensor(tensor)
    }
}

impl From<f64> for Operand {
    fn from(number: f64) -> Self {
        Operand::Number(number)
    }
}

impl Operand {
    /// The tensor, or the number as a scalar of that dtype.
    #[track_caller]
    pub(super) fn beside(self, dtype: DType, op: &'static str) -> Result<Tensor> {
        match self {
            Operand::Tensor(tensor) => Ok(tensor),
            Operand::Number(number) => match numbers_fit(dtype, number) {
                Ok(()) => Tensor::full([], number, dtype),
                Err(error) => Err(error.op(op).at(std::panic::Location::caller())),
            },
        }
    }
}
