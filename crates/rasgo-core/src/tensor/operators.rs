//! `+ - * /` on tensors, numbers and results.
//!
//! A `Result` may stand on the left, so `(&a * &b + &c)?` needs one question mark.

use std::ops::{Add, Div, Mul, Neg, Sub};

use super::Tensor;
use crate::error::Result;

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
                crate::ops::binary(rasgo_kernels::elementwise::Binary::$trait, self, other)
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

operator!(Add, add, |x, a| x.add_scalar(a), |a, x| x.add_scalar(a));
operator!(Sub, sub, |x, a| x.add_scalar(-a), |a, x| x.scale(-1.0)?.add_scalar(a));
operator!(Mul, mul, |x, a| x.scale(a), |a, x| x.scale(a));
operator!(Div, div, |x, a| x.scale(1.0 / a), |a, x| x.recip()?.scale(a));

impl Neg for Tensor {
    type Output = Result<Tensor>;
    #[track_caller]
    fn neg(self) -> Result<Tensor> {
        self.scale(-1.0)
    }
}

impl Neg for &Tensor {
    type Output = Result<Tensor>;
    #[track_caller]
    fn neg(self) -> Result<Tensor> {
        self.clone().scale(-1.0)
    }
}
