//! Losses of pairs: a number for each input and its target, and its derivatives.

use crate::buffer::Element;
use crate::elementwise::{Binary, binary_in_place};
use crate::isa::isa_fn;
use crate::rows::CHUNK;
use crate::threads::parallel_chunks;
use crate::{Float, Isa};

/// A function of an input `x` and a target `t`; `d = x - t`, `softplus(x) = ln(1 + e^x)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum PairLoss {
    /// `d^2`
    Squared,
    /// `|d|`
    Absolute,
    /// `d^2 / 2` where `|d| <= delta`, `delta * (|d| - delta / 2)` beyond.
    Huber(f64),
    /// `d^2 / (2 beta)` where `|d| <= beta`, `|d| - beta / 2` beyond.
    SmoothL1(f64),
    /// `t * softplus(-x)`: what a positive target costs a logit.
    LogitPositive,
    /// `(1 - t) * softplus(x)`: what a negative target costs a logit.
    LogitNegative,
    /// `-(t ln x + (1 - t) ln(1 - x))`, each logarithm at least -100, as PyTorch has it.
    Probability,
    /// `t * (ln t - x)`, where `0 ln 0` is 0.
    Divergence,
}

/// The function itself or one of its derivatives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// f
    Value,
    /// df / dx
    Input,
    /// df / dt
    Target,
    /// d²f / dx²
    InputInput,
    /// d²f / dx dt
    InputTarget,
    /// d²f / dt²
    TargetTarget,
}

/// `dst = part of loss(x, t)`, times `factor` if there is one.
pub fn pair<T: Float + Element>(
    loss: PairLoss,
    part: Part,
    x: &[T],
    t: &[T],
    factor: Option<&[T]>,
    dst: &mut [T],
) {
    assert!(x.len() == dst.len() && t.len() == dst.len(), "a target and a result for each input");
    assert!(factor.is_none_or(|factor| factor.len() == dst.len()), "a factor for each input");
    let to = Pairs { x, t, dst: &mut *dst };
    let (zero, one, two, half) = (T::ZERO, T::ONE, T::from_f64(2.0), T::from_f64(0.5));
    match loss {
        PairLoss::Squared => to.difference(part, |d| d * d, |d| two * d, |_| two),
        // PyTorch's derivative at a NaN is 0, as at 0.
        PairLoss::Absolute => to.difference(part, T::abs, sign, |_| zero),
        PairLoss::Huber(delta) => {
            let delta = T::from_f64(delta);
            let value = |d: T| {
                let size = d.abs();
                if size > delta { delta * (size - half * delta) } else { half * d * d }
            };
            let first = |d: T| if d.abs() > delta { delta * sign(d) } else { d };
            to.difference(part, value, first, |d| if d.abs() > delta { zero } else { one });
        }
        // Not the above by beta: a small one's inverse is infinite, and its square vanishes.
        PairLoss::SmoothL1(beta) => {
            let beta = T::from_f64(beta.max(f64::from(f32::MIN_POSITIVE)));
            let value = |d: T| {
                let size = d.abs();
                if size > beta { size - half * beta } else { half * d * (d / beta) }
            };
            let first = |d: T| if d.abs() > beta { sign(d) } else { d / beta };
            to.difference(part, value, first, |d| if d.abs() > beta { zero } else { one / beta });
        }
        PairLoss::LogitPositive => match part {
            Part::Value => to.apply(|x, t| t * softplus(-x)),
            Part::Input => to.apply(|x, t| -t * sigmoid(-x)),
            Part::Target => to.apply(|x, _| softplus(-x)),
            Part::InputInput => to.apply(|x, t| t * sigmoid(x) * sigmoid(-x)),
            Part::InputTarget => to.apply(|x, _| -sigmoid(-x)),
            Part::TargetTarget => to.apply(|_, _| zero),
        },
        PairLoss::LogitNegative => match part {
            Part::Value => to.apply(|x, t| (one - t) * softplus(x)),
            Part::Input => to.apply(|x, t| (one - t) * sigmoid(x)),
            Part::Target => to.apply(|x, _| -softplus(x)),
            Part::InputInput => to.apply(|x, t| (one - t) * sigmoid(x) * sigmoid(-x)),
            Part::InputTarget => to.apply(|x, _| -sigmoid(x)),
            Part::TargetTarget => to.apply(|_, _| zero),
        },
        PairLoss::Probability => {
            // Both bounds are PyTorch's, the second a float32 there; the derivative for the target has none.
            let (least, eps) = (T::from_f64(-100.0), T::from_f64(f64::from(1e-12f32)));
            match part {
                Part::Value => {
                    to.apply(|x, t| (t - one) * (-x).ln_1p().max(least) - t * x.ln().max(least));
                }
                Part::Input => to.apply(|x, t| (x - t) / ((one - x) * x).max(eps)),
                Part::Target => to.apply(|x, _| (-x).ln_1p() - x.ln()),
                Part::InputInput => to.apply(|x, t| {
                    let y = one - x;
                    t / (x * x).max(eps) + (one - t) / (y * y).max(eps)
                }),
                Part::InputTarget => to.apply(|x, _| -one / ((one - x) * x).max(eps)),
                Part::TargetTarget => to.apply(|_, _| zero),
            }
        }
        PairLoss::Divergence => match part {
            Part::Value => to.apply(|x, t| (if t == zero { zero } else { t * t.ln() }) - t * x),
            Part::Input => to.apply(|_, t| -t),
            // At 0 the derivative does not exist; it is NaN, as in PyTorch.
            Part::Target => to.apply(|x, t| if t == zero { T::NAN } else { t.ln() + one - x }),
            Part::InputInput => to.apply(|_, _| zero),
            Part::InputTarget => to.apply(|_, _| -one),
            Part::TargetTarget => to.apply(|_, t| one / t),
        },
    }
    if let Some(factor) = factor {
        binary_in_place(Binary::Mul, dst, factor);
    }
}

struct Pairs<'a, T> {
    x: &'a [T],
    t: &'a [T],
    dst: &'a mut [T],
}

impl<T: Float> Pairs<'_, T> {
    fn apply(self, f: impl Fn(T, T) -> T + Sync) {
        let (isa, x, t) = (Isa::current(), self.x, self.t);
        parallel_chunks(self.dst, CHUNK, |i, dst| {
            zip_chunk(isa, &x[i * CHUNK..], &t[i * CHUNK..], dst, &f);
        });
    }

    /// A function of `x - t`, from its value and its two derivatives.
    fn difference(
        self,
        part: Part,
        value: impl Fn(T) -> T + Sync,
        first: impl Fn(T) -> T + Sync,
        second: impl Fn(T) -> T + Sync,
    ) {
        match part {
            Part::Value => self.apply(|x, t| value(x - t)),
            Part::Input => self.apply(|x, t| first(x - t)),
            Part::Target => self.apply(|x, t| -first(x - t)),
            Part::InputInput | Part::TargetTarget => self.apply(|x, t| second(x - t)),
            Part::InputTarget => self.apply(|x, t| -second(x - t)),
        }
    }
}

isa_fn! {
    fn zip_chunk<T: Float, F: Fn(T, T) -> T>(x: &[T], t: &[T], dst: &mut [T], f: &F) {
        for ((dst, x), t) in dst.iter_mut().zip(x).zip(t) {
            *dst = f(*x, *t);
        }
    }
}

#[inline(always)]
fn sign<T: Float>(d: T) -> T {
    if d > T::ZERO {
        T::ONE
    } else if d < T::ZERO {
        -T::ONE
    } else {
        T::ZERO
    }
}

/// `ln(1 + e^x) = max(x, 0) + ln(1 + e^-|x|)`: nothing overflows or cancels.
#[inline(always)]
fn softplus<T: Float>(x: T) -> T {
    x.max(T::ZERO) + (-x.abs()).exp().ln_1p()
}

#[inline(always)]
fn sigmoid<T: Float>(x: T) -> T {
    T::ONE / (T::ONE + (-x).exp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::{assert_close, numbers, poison, same_everywhere, wide};

    const LOSSES: [PairLoss; 8] = [
        PairLoss::Squared,
        PairLoss::Absolute,
        PairLoss::Huber(0.7),
        PairLoss::SmoothL1(0.7),
        PairLoss::LogitPositive,
        PairLoss::LogitNegative,
        PairLoss::Probability,
        PairLoss::Divergence,
    ];

    fn run<T: Float + Element>(loss: PairLoss, part: Part, x: &[T], t: &[T]) -> Vec<T> {
        let mut dst = poison(x.len());
        pair(loss, part, x, t, None, &mut dst);
        dst
    }

    /// Inputs and targets within 0 to 1, where all losses are defined.
    fn shares<T: Float>(seed: u64, len: usize) -> Vec<T> {
        numbers::<f64>(seed, len).iter().map(|x| T::from_f64(0.5 + 0.24 * x)).collect()
    }

    #[test]
    fn every_part_is_the_difference_quotient_of_the_one_before() {
        let (x, t) = (shares::<f64>(1, 40), shares::<f64>(2, 40));
        let step = 1e-6;
        let moved = |values: &[f64], by: f64| -> Vec<f64> { values.iter().map(|x| x + by).collect() };
        let parts = [
            (Part::Value, Part::Input, Part::Target),
            (Part::Input, Part::InputInput, Part::InputTarget),
            (Part::Target, Part::InputTarget, Part::TargetTarget),
        ];
        for loss in LOSSES {
            for (part, by_input, by_target) in parts {
                let quotient = |high: Vec<f64>, low: Vec<f64>| -> Vec<f64> {
                    high.iter().zip(&low).map(|(high, low)| (high - low) / (2.0 * step)).collect()
                };
                let what = format!("{loss:?} {part:?}");
                let want =
                    quotient(run(loss, part, &moved(&x, step), &t), run(loss, part, &moved(&x, -step), &t));
                assert_close(&run(loss, by_input, &x, &t), &want, 1e-6, &what);
                let want =
                    quotient(run(loss, part, &x, &moved(&t, step)), run(loss, part, &x, &moved(&t, -step)));
                assert_close(&run(loss, by_target, &x, &t), &want, 1e-6, &what);
            }
        }
    }

    #[test]
    fn f32_is_f64_rounded_everywhere_and_takes_a_factor() {
        let len = 20_000;
        let (x, t, factor) = (shares::<f32>(1, len), shares::<f32>(2, len), numbers::<f32>(3, len));
        for loss in LOSSES {
            for part in [Part::Value, Part::Input, Part::Target, Part::InputInput] {
                let got = same_everywhere(|| {
                    let mut dst = poison(len);
                    pair(loss, part, &x, &t, Some(&factor), &mut dst);
                    dst
                });
                let want: Vec<f64> = run(loss, part, &wide(&x), &wide(&t));
                let want: Vec<f64> = want.iter().zip(&factor).map(|(y, g)| y * f64::from(*g)).collect();
                assert_close(&got, &want, 2e-6, &format!("{loss:?} {part:?}"));
            }
        }
    }

    #[test]
    fn infinities_and_nan_are_those_of_pytorch() {
        let x = [f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 800.0, -800.0];
        let t = [1.0, 0.0, 0.5, 0.0, 1.0];
        let nan = f64::NAN;
        let check = |loss, part, want: [f64; 5]| assert_close(&run(loss, part, &x, &t), &want, 0.0, "");
        check(PairLoss::Huber(1.0), Part::Value, [f64::INFINITY, f64::INFINITY, nan, 799.5, 800.5]);
        check(PairLoss::Huber(1.0), Part::Input, [1.0, -1.0, nan, 1.0, -1.0]);
        check(PairLoss::Absolute, Part::Input, [1.0, -1.0, 0.0, 1.0, -1.0]);
        check(PairLoss::LogitPositive, Part::Value, [0.0, nan, nan, 0.0, 800.0]);
        check(PairLoss::LogitNegative, Part::Value, [nan, 0.0, nan, 800.0, 0.0]);
        check(PairLoss::LogitNegative, Part::Input, [0.0, 0.0, nan, 1.0, 0.0]);
        let (x, t) = ([0.0, 1.0, 0.0], [0.0, 0.0, 1.0]);
        assert_eq!(run(PairLoss::Probability, Part::Value, &x, &t), [0.0, 100.0, 100.0]);
        let most = 1.0 / f64::from(1e-12f32);
        assert_eq!(run(PairLoss::Probability, Part::Input, &x, &t), [0.0, most, -most]);
        assert_eq!(run(PairLoss::Divergence, Part::Value, &[0.3], &[0.0]), [0.0]);
        assert!(run(PairLoss::Divergence, Part::Target, &[0.3], &[0.0])[0].is_nan());
    }
}
