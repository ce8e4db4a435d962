//! `+ - * /` on tensors, numbers and results.
//!
//! A `Result` may stand on the left, so `(&a * &b + &c)?` needs one question mark.

use std::ops::{Add, Div, Mul, Neg, Sub};

use rasgo_kernels::elementwise::{Binary, Side};

use super::Tensor;
use crate::error::Result;
use crate::meta::DType;

macro_rules! operator {
    ($trait:ident, $method:ident, $scalar:expr, $reversed:expr) => {
        impl $trait<&Tensor> for &Tensor {
            type Output = Result<Tensor>;
            #[track_caller]
            fn $method(self, other: &Tensor) -> Result<Tensor> {
                self.clone().$method(other.clone())
            }
        }
        impl $trait<Tensor> for Tensor {
            type Output = Result<Tensor>;
            #[track_caller]
            fn $method(self, other: Tensor) -> Result<Tensor> {
                crate::ops::binary(Binary::$trait, self, other)
            }
        }
        impl $trait<&Tensor> for Tensor {
            type Output = Result<Tensor>;
            #[track_caller]
            fn $method(self, other: &Tensor) -> Result<Tensor> {
                $trait::$method(self, other.clone())
            }
        }
        impl $trait<Tensor> for &Tensor {
            type Output = Result<Tensor>;
            #[track_caller]
            fn $method(self, other: Tensor) -> Result<Tensor> {
                $trait::$method(self.clone(), other)
            }
        }
        impl $trait<&Tensor> for Result<Tensor> {
            type Output = Result<Tensor>;
            #[track_caller]
            fn $method(self, other: &Tensor) -> Result<Tensor> {
                $trait::$method(self?, other.clone())
            }
        }
        impl $trait<Tensor> for Result<Tensor> {
            type Output = Result<Tensor>;
            #[track_caller]
            fn $method(self, other: Tensor) -> Result<Tensor> {
                $trait::$method(self?, other)
            }
        }
        impl $trait<Result<Tensor>> for &Tensor {
            type Output = Result<Tensor>;
            #[track_caller]
            fn $method(self, other: Result<Tensor>) -> Result<Tensor> {
                $trait::$method(self.clone(), other?)
            }
        }
        impl $trait<Result<Tensor>> for Tensor {
            type Output = Result<Tensor>;
            #[track_caller]
            fn $method(self, other: Result<Tensor>) -> Result<Tensor> {
                $trait::$method(self, other?)
            }
        }
        impl $trait<f64> for Tensor {
            type Output = Result<Tensor>;
            #[track_caller]
            fn $method(self, number: f64) -> Result<Tensor> {
                let scalar: fn(Tensor, f64) -> Result<Tensor> = $scalar;
                scalar(self, number)
            }
        }
        impl $trait<f64> for &Tensor {
            type Output = Result<Tensor>;
            #[track_caller]
            fn $method(self, number: f64) -> Result<Tensor> {
                $trait::$method(self.clone(), number)
            }
        }
        impl $trait<Tensor> for f64 {
            type Output = Result<Tensor>;
            #[track_caller]
            fn $method(self, tensor: Tensor) -> Result<Tensor> {
                let reversed: fn(f64, Tensor) -> Result<Tensor> = $reversed;
                reversed(self, tensor)
            }
        }
        impl $trait<&Tensor> for f64 {
            type Output = Result<Tensor>;
            #[track_caller]
            fn $method(self, tensor: &Tensor) -> Result<Tensor> {
                $trait::$method(self, tensor.clone())
            }
        }
    };
}

operator!(Add, add, |x, a| beside(x, Side::Right, Binary::Add, a), |a, x| beside(
    x,
    Side::Left,
    Binary::Add,
    a
));
operator!(Sub, sub, |x, a| beside(x, Side::Right, Binary::Sub, a), |a, x| beside(
    x,
    Side::Left,
    Binary::Sub,
    a
));
operator!(Mul, mul, |x, a| beside(x, Side::Right, Binary::Mul, a), |a, x| beside(
    x,
    Side::Left,
    Binary::Mul,
    a
));
// A number by a tensor is the reciprocal times the number, as PyTorch computes it.
operator!(Div, div, |x, a| beside(x, Side::Right, Binary::Div, a), |a, x| reciprocal(x)?.scale(a));

#[track_caller]
fn beside(x: Tensor, side: Side, op: Binary, number: f64) -> Result<Tensor> {
    crate::ops::with_number(op, side, x, number)
}

#[track_caller]
fn reciprocal(x: Tensor) -> Result<Tensor> {
    if x.dtype() == DType::I64 { x.to_dtype(DType::F32)?.reciprocal() } else { x.reciprocal() }
}

impl Neg for Tensor {
    type Output = Result<Tensor>;
    #[track_caller]
    fn neg(self) -> Result<Tensor> {
        crate::ops::negative(self)
    }
}

impl Neg for &Tensor {
    type Output = Result<Tensor>;
    #[track_caller]
    fn neg(self) -> Result<Tensor> {
        crate::ops::negative(self.clone())
    }
}
