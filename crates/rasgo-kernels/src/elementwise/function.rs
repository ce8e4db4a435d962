//! The functions of analysis: their gradients are made of operations, so that gradients have gradients.

use super::map::{InPlace, Into, Place};
use crate::Float;

/// A function of one argument. A NaN gives NaN.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Function {
    /// `e^x`
    Exp,
    /// `e^x - 1`, without cancellation near 0
    Expm1,
    /// Natural logarithm.
    Log,
    /// Logarithm to base 2.
    Log2,
    /// Logarithm to base 10.
    Log10,
    /// `ln(1 + x)`, without cancellation near 0
    Log1p,
    /// Square root.
    Sqrt,
    /// `1 / sqrt(x)`
    Rsqrt,
    /// `1 / x`
    Reciprocal,
    /// `x * x`
    Square,
    /// `x * x * x`
    Cube,
    /// Absolute value.
    Abs,
    /// `-x`
    Neg,
    /// -1, 0 or 1; NaN gives 0, as in PyTorch.
    Sign,
    /// Sine of radians.
    Sin,
    /// Cosine of radians.
    Cos,
    /// Error function.
    Erf,
    /// The next whole number below.
    Floor,
    /// The next whole number above.
    Ceil,
    /// The nearest whole number, the even one of two.
    Round,
    /// The whole part.
    Trunc,
    /// `min(max(x, low), high)`: `high` where `low` is larger.
    Clamp(f64, f64),
}

/// `dst = f(src)`
pub fn function<T: Float>(f: Function, src: &[T], dst: &mut [T]) {
    apply(f, Into { src, dst });
}

/// `dst = f(dst)`
pub fn function_in_place<T: Float>(f: Function, dst: &mut [T]) {
    apply(f, InPlace { dst });
}

fn apply<T: Float>(f: Function, place: impl Place<T>) {
    let (zero, one) = (T::ZERO, T::ONE);
    match f {
        Function::Exp => place.apply(T::exp),
        Function::Expm1 => place.apply(T::exp_m1),
        Function::Log => place.apply(T::ln),
        Function::Log2 => place.apply(T::log2),
        Function::Log10 => place.apply(T::log10),
        Function::Log1p => place.apply(T::ln_1p),
        Function::Sqrt => place.apply(T::sqrt),
        Function::Rsqrt => place.apply(|x| one / x.sqrt()),
        Function::Reciprocal => place.apply(|x| one / x),
        Function::Square => place.apply(|x| x * x),
        Function::Cube => place.apply(|x| x * x * x),
        Function::Abs => place.apply(T::abs),
        Function::Neg => place.apply(|x| -x),
        Function::Sign => place.apply(|x| {
            if x > zero {
                one
            } else if x < zero {
                -one
            } else {
                zero
            }
        }),
        Function::Sin => place.apply(T::sin),
        Function::Cos => place.apply(T::cos),
        Function::Erf => place.apply(T::erf),
        Function::Floor => place.apply(T::floor),
        Function::Ceil => place.apply(T::ceil),
        Function::Round => place.apply(T::round),
        Function::Trunc => place.apply(T::trunc),
        Function::Clamp(low, high) => {
            let (low, high) = (T::from_f64(low), T::from_f64(high));
            place.apply(|x| x.max(low).min(high));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::{assert_close, numbers, poison, same_everywhere};

    fn exact(f: Function, x: f64) -> f64 {
        match f {
            Function::Exp => x.exp(),
            Function::Expm1 => x.exp_m1(),
            Function::Log => x.ln(),
            Function::Log2 => x.log2(),
            Function::Log10 => x.log10(),
            Function::Log1p => x.ln_1p(),
            Function::Sqrt => x.sqrt(),
            Function::Rsqrt => 1.0 / x.sqrt(),
            Function::Reciprocal => 1.0 / x,
            Function::Square => x * x,
            Function::Cube => x * x * x,
            Function::Abs => x.abs(),
            Function::Neg => -x,
            Function::Sign => x.signum(),
            Function::Sin => x.sin(),
            Function::Cos => x.cos(),
            Function::Erf => libm::erf(x),
            Function::Floor => x.floor(),
            Function::Ceil => x.ceil(),
            Function::Round => x.round_ties_even(),
            Function::Trunc => x.trunc(),
            Function::Clamp(low, high) => x.clamp(low, high),
        }
    }

    const ALL: [Function; 22] = [
        Function::Exp,
        Function::Expm1,
        Function::Log,
        Function::Log2,
        Function::Log10,
        Function::Log1p,
        Function::Sqrt,
        Function::Rsqrt,
        Function::Reciprocal,
        Function::Square,
        Function::Cube,
        Function::Abs,
        Function::Neg,
        Function::Sign,
        Function::Sin,
        Function::Cos,
        Function::Erf,
        Function::Floor,
        Function::Ceil,
        Function::Round,
        Function::Trunc,
        Function::Clamp(-1.2, 0.8),
    ];

    fn check<T: Float>(f: Function, tolerance: f64) {
        let positive =
            matches!(f, Function::Log | Function::Log2 | Function::Log10 | Function::Sqrt | Function::Rsqrt);
        let shifted = |x: T| T::from_f64(x.to_f64() * 4.0 + 0.003);
        for len in [0, 1, 17, 40_000] {
            let mut src: Vec<T> = numbers::<T>(7, len).into_iter().map(shifted).collect();
            if positive {
                src.iter_mut().for_each(|x| *x = x.abs() + T::from_f64(0.1));
            }
            if f == Function::Log1p {
                src.iter_mut().for_each(|x| *x = x.max(T::from_f64(-0.9)));
            }
            let want: Vec<f64> = src.iter().map(|x| exact(f, x.to_f64())).collect();
            let got = same_everywhere(|| {
                let mut dst = poison(len);
                function(f, &src, &mut dst);
                let mut data = src.clone();
                function_in_place(f, &mut data);
                assert_eq!(data, dst, "{f:?} in place");
                dst
            });
            assert_close(&got, &want, tolerance, &format!("{f:?} of {len}"));
        }
    }

    #[test]
    fn functions_agree_with_f64_on_every_instruction_set() {
        for f in ALL {
            check::<f32>(f, 1e-6);
            check::<f64>(f, 1e-14);
        }
    }

    #[test]
    fn nan_goes_through_every_function_but_the_sign() {
        for f in ALL {
            let mut dst = [1.0f32; 20];
            function(f, &[f32::NAN; 20], &mut dst);
            assert!(dst.iter().all(|x| x.is_nan() != (f == Function::Sign)), "{f:?}");
        }
    }

    #[test]
    fn edges_are_those_of_ieee() {
        let of = |f, x: f32| {
            let mut y = [x];
            function_in_place(f, &mut y);
            y[0]
        };
        assert_eq!(of(Function::Round, 2.5), 2.0);
        assert_eq!(of(Function::Round, -0.5).to_bits(), (-0.0f32).to_bits());
        assert_eq!(of(Function::Log, 0.0), f32::NEG_INFINITY);
        assert!(of(Function::Log, -1.0).is_nan() && of(Function::Sqrt, -1.0).is_nan());
        assert_eq!(of(Function::Reciprocal, -0.0), f32::NEG_INFINITY);
        assert_eq!(of(Function::Clamp(3.0, 1.0), 2.0), 1.0);
    }
}
