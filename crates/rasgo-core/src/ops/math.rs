//! Functions of analysis and rounding, elementwise: y = f(x). Their gradients are made of operations.

use std::f64::consts::{LN_2, LN_10, PI};

use rasgo_kernels::elementwise::{self, Binary, Function, Side};

use super::with_number::with_number;
use super::{expect_float, float};
use crate::error::{Error, Result};
use crate::meta::{DType, Meta};
use crate::op::{Grads, Input, Mask, Metas, Op, Output, Saved, Saves, apply};
use crate::tensor::Tensor;

#[derive(Debug)]
struct Map(Function);

impl Op for Map {
    /// PyTorch's functional name.
    fn name(&self) -> &'static str {
        match self.0 {
            Function::Exp => "exp",
            Function::Expm1 => "expm1",
            Function::Log => "log",
            Function::Log2 => "log2",
            Function::Log10 => "log10",
            Function::Log1p => "log1p",
            Function::Sqrt => "sqrt",
            Function::Rsqrt => "rsqrt",
            Function::Reciprocal => "reciprocal",
            Function::Square => "square",
            Function::Cube => "pow",
            Function::Abs => "abs",
            Function::Neg => "neg",
            Function::Sign => "sign",
            Function::Sin => "sin",
            Function::Cos => "cos",
            Function::Erf => "erf",
            Function::Floor => "floor",
            Function::Ceil => "ceil",
            Function::Round => "round",
            Function::Trunc => "trunc",
            Function::Clamp(..) => unreachable!("an op of its own"),
        }
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
                elementwise::function_in_place(self.0, dst);
            } else {
                elementwise::function(self.0, inputs[0].values::<T>(), dst);
            }
        });
    }

    fn saves(&self) -> Saves {
        match self.0 {
            Function::Neg | Function::Sign => Saves::default(),
            Function::Floor | Function::Ceil | Function::Round | Function::Trunc => Saves::default(),
            Function::Exp | Function::Expm1 | Function::Sqrt | Function::Rsqrt | Function::Reciprocal => {
                Saves { inputs: Mask::NONE, outputs: Mask::of(&[0]) }
            }
            _ => Saves { inputs: Mask::of(&[0]), outputs: Mask::NONE },
        }
    }

    fn grad(&self, mut saved: Saved, mut dy: Grads, _needs: Mask) -> Result<Grads> {
        let dy = dy[0].take().expect("a map has one output");
        let dx = match self.0 {
            Function::Exp => dy * saved.output(0),
            Function::Expm1 => dy * (saved.output(0) + 1.0)?,
            Function::Log => dy / saved.input(0),
            Function::Log2 => dy / saved.input(0).scale(LN_2)?,
            Function::Log10 => dy / saved.input(0).scale(LN_10)?,
            Function::Log1p => dy / (saved.input(0) + 1.0)?,
            Function::Sqrt => dy / saved.output(0).scale(2.0)?,
            Function::Rsqrt => dy.scale(-0.5)? * saved.output(0).pow(3.0)?,
            Function::Reciprocal => -dy * saved.output(0).square()?,
            Function::Square => dy * saved.input(0).scale(2.0)?,
            Function::Cube => dy * saved.input(0).square()?.scale(3.0)?,
            Function::Abs => dy * saved.input(0).detach().sign()?,
            Function::Neg => -dy,
            Function::Sin => dy * saved.input(0).cos()?,
            Function::Cos => -dy * saved.input(0).sin()?,
            Function::Erf => {
                let density = (-saved.input(0).square()?)?.exp()?.scale(2.0 / PI.sqrt())?;
                dy * density
            }
            Function::Sign | Function::Floor | Function::Ceil | Function::Round | Function::Trunc => {
                Tensor::zeros(dy.shape().clone(), dy.dtype())
            }
            Function::Clamp(..) => unreachable!("an op of its own"),
        };
        Ok(Grads::from_iter([Some(dx?)]))
    }
}

/// y = min(max(x, low), high), where `None` is no bound.
#[derive(Debug)]
struct Clamp {
    low: Option<f64>,
    high: Option<f64>,
}

impl Op for Clamp {
    fn name(&self) -> &'static str {
        "clamp"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        expect_float(inputs)?;
        if self.low.is_none() && self.high.is_none() {
            return Err(Error::argument("no bound").hint("give the lower one, the upper one, or both"));
        }
        Ok(Metas::from_iter([inputs[0].clone()]))
    }

    fn in_place(&self) -> Option<usize> {
        Some(0)
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        let f = Function::Clamp(self.low.unwrap_or(f64::NEG_INFINITY), self.high.unwrap_or(f64::INFINITY));
        float!(inputs[0].meta().dtype, T => {
            let dst = outputs[0].values::<T>();
            if self.low.is_some_and(f64::is_nan) || self.high.is_some_and(f64::is_nan) {
                elementwise::fill(dst, T::NAN);
            } else if inputs[0].is_donated() {
                elementwise::function_in_place(f, dst);
            } else {
                elementwise::function(f, inputs[0].values::<T>(), dst);
            }
        });
    }

    fn saves(&self) -> Saves {
        Saves { inputs: Mask::of(&[0]), outputs: Mask::NONE }
    }

    /// Between the bounds the gradient passes, at them and of a NaN it does not: so has it PyTorch 2.15 (versions before
    /// let it pass at the bounds).
    fn grad(&self, mut saved: Saved, mut dy: Grads, _needs: Mask) -> Result<Grads> {
        let (x, dy) = (saved.input(0), dy[0].take().expect("one output"));
        let above = self.low.map(|low| x.gt(low)).transpose()?;
        let below = self.high.map(|high| x.lt(high)).transpose()?;
        let between = match (above, below) {
            (Some(above), Some(below)) => above.logical_and(&below)?,
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => unreachable!("infer wants a bound"),
        };
        Ok(Grads::from_iter([Some(between.where_(&dy, 0.0)?)]))
    }
}

/// -x; of whole numbers it wraps.
#[track_caller]
pub(crate) fn negative(x: Tensor) -> Result<Tensor> {
    match x.dtype() {
        DType::I64 => with_number(Binary::Sub, Side::Left, x, 0.0),
        _ => apply(Map(Function::Neg), [x]),
    }
}

macro_rules! methods {
    ($($(#[$doc:meta])* $name:ident => $f:expr;)*) => {
        impl Tensor {$(
            $(#[$doc])*
            #[track_caller]
            pub fn $name(self) -> Result<Tensor> {
                apply(Map($f), [self])
            }
        )*}
    };
}

methods! {
    /// e^x
    exp => Function::Exp;
    /// e^x - 1, exact also near 0
    expm1 => Function::Expm1;
    /// Natural logarithm.
    log => Function::Log;
    /// Logarithm to base 2.
    log2 => Function::Log2;
    /// Logarithm to base 10.
    log10 => Function::Log10;
    /// ln(1 + x), exact also near 0
    log1p => Function::Log1p;
    /// Square root; its gradient at 0 is infinite.
    sqrt => Function::Sqrt;
    /// 1 / sqrt(x)
    rsqrt => Function::Rsqrt;
    /// 1 / x
    reciprocal => Function::Reciprocal;
    /// Sine of radians.
    sin => Function::Sin;
    /// Cosine of radians.
    cos => Function::Cos;
    /// Error function, 2 / sqrt(pi) times the integral of e^-t^2 from 0 to x.
    erf => Function::Erf;
}

macro_rules! whole_stay {
    ($($(#[$doc:meta])* $name:ident => $f:expr;)*) => {
        impl Tensor {$(
            $(#[$doc])*
            #[track_caller]
            pub fn $name(self) -> Result<Tensor> {
                match self.dtype() {
                    DType::I64 => Ok(self),
                    _ => apply(Map($f), [self]),
                }
            }
        )*}
    };
}

whole_stay! {
    /// The next whole number below; whole numbers stay. The gradient is 0.
    floor => Function::Floor;
    /// The next whole number above; whole numbers stay. The gradient is 0.
    ceil => Function::Ceil;
    /// The nearest whole number, the even one of two; whole numbers stay. The gradient is 0.
    round => Function::Round;
    /// The whole part; whole numbers stay. The gradient is 0.
    trunc => Function::Trunc;
}

impl Tensor {
    /// Absolute value; its gradient at 0 is 0.
    #[track_caller]
    pub fn abs(self) -> Result<Tensor> {
        match self.dtype() {
            DType::I64 => (-&self)?.maximum(&self),
            _ => apply(Map(Function::Abs), [self]),
        }
    }

    /// -1, 0 or 1; 0 for a NaN, as in PyTorch. The gradient is 0.
    #[track_caller]
    pub fn sign(self) -> Result<Tensor> {
        match self.dtype() {
            DType::I64 => self.gt(0.0)?.to_dtype(DType::I64)? - self.lt(0.0)?.to_dtype(DType::I64)?,
            _ => apply(Map(Function::Sign), [self]),
        }
    }

    /// x^2
    #[track_caller]
    pub fn square(self) -> Result<Tensor> {
        match self.dtype() {
            DType::I64 => self.pow(2.0),
            _ => apply(Map(Function::Square), [self]),
        }
    }

    /// min(max(x, low), high), where `None` is no bound; `high` where `low` is larger. The gradient
    /// passes between the bounds.
    ///
    /// ```
    /// # use rasgo_core::Tensor;
    /// let x = Tensor::from_vec(vec![-2.0f32, 0.5, 3.0], [3])?;
    /// assert_eq!(x.clone().clamp(-1.0, 1.0)?.to_vec::<f32>()?, [-1.0, 0.5, 1.0]);
    /// assert_eq!(x.clamp(0.0, None)?.to_vec::<f32>()?, [0.0, 0.5, 3.0]);
    /// # Ok::<(), rasgo_core::Error>(())
    /// ```
    #[track_caller]
    pub fn clamp(self, low: impl Into<Option<f64>>, high: impl Into<Option<f64>>) -> Result<Tensor> {
        let (low, high) = (low.into(), high.into());
        if self.dtype() != DType::I64 || low.is_none() && high.is_none() {
            return apply(Clamp { low, high }, [self]);
        }
        let raised = match low {
            Some(low) => with_number(Binary::Max, Side::Right, self, low)?,
            None => self,
        };
        match high {
            Some(high) => with_number(Binary::Min, Side::Right, raised, high),
            None => Ok(raised),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::grad_check::{check, normal};
    use super::*;
    use crate::grad;

    const EVERYWHERE: [Function; 9] = [
        Function::Exp,
        Function::Expm1,
        Function::Square,
        Function::Cube,
        Function::Abs,
        Function::Neg,
        Function::Sin,
        Function::Cos,
        Function::Erf,
    ];
    const POSITIVE: [Function; 7] = [
        Function::Log,
        Function::Log2,
        Function::Log10,
        Function::Log1p,
        Function::Sqrt,
        Function::Rsqrt,
        Function::Reciprocal,
    ];

    #[test]
    fn every_function_has_the_gradient_of_its_differences_and_they_have_theirs() {
        let positive = normal([2, 3], 2).square().unwrap().add_scalar(0.5).unwrap();
        let cases = EVERYWHERE.iter().map(|&f| (f, normal([2, 3], 1)));
        for (f, x) in cases.chain(POSITIVE.iter().map(|&f| (f, positive.detach()))) {
            check(std::slice::from_ref(&x), |x| apply(Map(f), [x[0].clone()]));
            if matches!(f, Function::Neg | Function::Abs) {
                continue;
            }
            let leaf = x.deep_copy().requires_grad();
            let slope = |x: &Tensor| -> Tensor {
                let y = apply(Map(f), [x.clone()]).unwrap().sum().unwrap();
                grad(&y, &[x], true).unwrap().remove(0)
            };
            let second = grad(&slope(&leaf).sum().unwrap(), &[&leaf], false).unwrap().remove(0);
            let values = x.to_vec::<f64>().unwrap();
            let at = |step: f64| {
                let moved: Vec<f64> = values.iter().map(|x| x + step).collect();
                let moved = Tensor::from_vec(moved, [2, 3]).unwrap().requires_grad();
                slope(&moved).to_vec::<f64>().unwrap()
            };
            let found = second.to_vec::<f64>().unwrap();
            for ((up, down), found) in at(1e-5).iter().zip(at(-1e-5)).zip(found) {
                let numeric = (up - down) / 2e-5;
                assert!((found - numeric).abs() < 1e-6 * numeric.abs().max(1.0), "{f:?}");
            }
        }
    }

    #[test]
    fn steps_have_a_gradient_of_zeros() {
        for f in [Function::Sign, Function::Floor, Function::Ceil, Function::Round, Function::Trunc] {
            check(&[normal([2, 3], 1)], |x| apply(Map(f), [x[0].clone()]));
        }
    }

    /// The values of PyTorch's gradients at the edges.
    #[test]
    fn edges_are_those_of_pytorch() {
        let slope = |f: Function, x: f64| {
            let x = Tensor::from_vec(vec![x], [1]).unwrap().requires_grad();
            let y = apply(Map(f), [x.clone()]).unwrap().sum().unwrap();
            grad(&y, &[&x], false).unwrap()[0].item::<f64>().unwrap()
        };
        assert_eq!(slope(Function::Abs, 0.0), 0.0);
        assert_eq!(slope(Function::Abs, f64::NAN), 0.0);
        assert_eq!(slope(Function::Sqrt, 0.0), f64::INFINITY);
    }

    /// Values and gradients of `torch.clamp`.
    #[test]
    fn clamp_has_the_edges_of_pytorch() {
        let (n, i) = (f64::NAN, f64::INFINITY);
        let cases: [(Option<f64>, Option<f64>, [f64; 6]); 7] = [
            (Some(-1.0), Some(1.0), [0.0, 1.0, 0.0, 0.0, 0.0, 0.0]),
            (None, Some(1.0), [1.0, 1.0, 0.0, 0.0, 1.0, 0.0]),
            (Some(-1.0), None, [0.0, 1.0, 1.0, 1.0, 0.0, 0.0]),
            (None, Some(i), [1.0, 1.0, 1.0, 0.0, 1.0, 0.0]),
            (Some(-i), None, [1.0, 1.0, 1.0, 1.0, 0.0, 0.0]),
            (Some(2.0), Some(-1.0), [0.0; 6]),
            (Some(n), Some(1.0), [0.0; 6]),
        ];
        for (low, high, slope) in cases {
            let x = Tensor::from_vec(vec![-1.0, 0.5, 1.0, i, -i, n], [6]).unwrap().requires_grad();
            let y = x.clone().clamp(low, high).unwrap();
            if low == Some(2.0) {
                assert_eq!(y.to_vec::<f64>().unwrap()[..5], [-1.0; 5]);
            }
            let grads = y.sum().unwrap().backward().unwrap();
            assert_eq!(grads.get(&x).unwrap().to_vec::<f64>().unwrap(), slope, "{low:?} {high:?}");
        }
        check(&[normal([2, 3, 5], 1)], |x| x[0].clone().clamp(-0.5, 0.7));
    }

    #[test]
    fn whole_numbers_have_what_pytorch_gives_them() {
        let x = Tensor::from_vec(vec![-3i64, 0, 5, i64::MIN], [4]).unwrap();
        let of = |y: Result<Tensor>| y.unwrap().to_vec::<i64>().unwrap();
        assert_eq!(of(x.clone().abs()), [3, 0, 5, i64::MIN]);
        assert_eq!(of(x.clone().sign()), [-1, 0, 1, -1]);
        assert_eq!(of(-&x), [3, 0, -5, i64::MIN]);
        assert_eq!(of(x.clone().square()), [9, 0, 25, 0]);
        assert_eq!(of(x.clone().clamp(-1.0, 2.0)), [-1, 0, 2, -1]);
        assert_eq!(of(x.clone().floor()), [-3, 0, 5, i64::MIN]);
        assert!(x.clone().clamp(0.5, None).is_err() && x.exp().is_err());
        let nan = Tensor::ones([2], DType::F32).unwrap().clamp(f64::NAN, 1.0).unwrap();
        assert!(nan.to_vec::<f32>().unwrap().iter().all(|x| x.is_nan()));
        let text = Tensor::ones([2], DType::F32).unwrap().clamp(None, None).unwrap_err().to_string();
        assert!(text.contains("clamp: no bound"), "{text}");
    }

    #[test]
    fn a_map_writes_in_place_only_when_nobody_else_holds_the_values() {
        let x = Tensor::from_vec(vec![-1.0f32, 2.0], [2]).unwrap();
        let y = x.clone().abs().unwrap();
        assert_eq!(x.to_vec::<f32>().unwrap(), [-1.0, 2.0]);
        let address = y.as_slice::<f32>().unwrap().as_ptr();
        let z = y.scale(3.0).unwrap();
        assert_eq!(z.as_slice::<f32>().unwrap().as_ptr(), address);
        assert_eq!(z.to_vec::<f32>().unwrap(), [3.0, 6.0]);
    }
}
