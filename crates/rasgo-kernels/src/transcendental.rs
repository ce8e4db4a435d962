//! `exp`, `expm1`, `tanh` and the normal distribution function of f32, without branches or calls, so that loops over them vectorise.
//!
//! Sums and products only, in one fixed order and never fused, and one true division: every instruction set
//! gives the same bits. The errors stated were measured against f64 over all or a dense part of the arguments;
//! the tests measure them again.

/// 1.5 * 2^23: adding it leaves the nearest integer in the low bits of the sum.
const ROUND: f32 = 12_582_912.0;
/// ln 2 in two parts; the first has so few bits that its product with an exponent is exact.
const LN2_HIGH: f32 = 0.693_359_4;
const LN2_LOW: f32 = -2.121_944_4e-4;

/// `x = k * ln 2 + r`, |r| <= 0.35; returns `k` and `e^r - 1` (polynomial of Cephes' `expf`).
#[inline(always)]
fn reduce(x: f32) -> (i32, f32) {
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let k = (shifted.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32);
    let r = x - n * LN2_HIGH - n * LN2_LOW;
    let mut p = 1.987_569_1e-4;
    p = p * r + 1.398_2e-3;
    p = p * r + 8.333_452e-3;
    p = p * r + 4.166_579_6e-2;
    p = p * r + 1.666_666_5e-1;
    p = p * r + 0.5;
    (k, p * (r * r) + r)
}

/// 2^k for -126 <= k <= 127; any value for other `k`.
#[inline(always)]
fn power_of_two(k: i32) -> f32 {
    f32::from_bits((k.wrapping_add(127) as u32) << 23)
}

/// e^x. Relative error at most 1.2e-7; results below the normal numbers may be 0.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    let x = if x > 89.0 { 89.0 } else { x };
    let x = if x < -104.0 { -104.0 } else { x };
    let (k, p) = reduce(x);
    // Two factors: one alone would overflow before the product does.
    let half = k >> 1;
    (p + 1.0) * power_of_two(half) * power_of_two(k.wrapping_sub(half))
}

/// e^x - 1, without cancellation near 0. Relative error at most 1.8e-7.
#[inline(always)]
pub(crate) fn exp_m1(x: f32) -> f32 {
    let x = if x > 89.0 { 89.0 } else { x };
    let x = if x < -40.0 { -40.0 } else { x };
    let (k, p) = reduce(x);
    let scale = power_of_two(k);
    let half = k >> 1;
    let large = (p + 1.0) * power_of_two(half) * power_of_two(k.wrapping_sub(half));
    if x > 60.0 { large } else { p * scale + (scale - 1.0) }
}

/// Hyperbolic tangent, `m / (m + 2)` with `m = e^2x - 1`. Relative error at most 2.7e-7.
#[inline(always)]
pub(crate) fn tanh(x: f32) -> f32 {
    let a = x.abs();
    let a = if a > 10.0 { 10.0 } else { a };
    let m = exp_m1(a + a);
    (m / (m + 2.0)).copysign(x)
}

/// (1 + tanh x) / 2 without cancellation. Relative error at most 4e-7 while the result is a normal number.
#[inline(always)]
pub(crate) fn half_tanh(x: f32) -> f32 {
    1.0 / (1.0 + exp(-(x + x)))
}

/// The normal distribution function: the complementary error function by Numerical Recipes' `erfcc`, whose relative error
/// holds far out, where `1 + erf` would cancel. Relative error at most 1.3e-6 above -5 and 1e-5 while the result is a normal
/// number.
#[inline(always)]
pub(crate) fn normal_cdf(x: f32) -> f32 {
    let a = x.abs();
    let z = a * std::f32::consts::FRAC_1_SQRT_2;
    let t = 1.0 / (1.0 + 0.5 * z);
    let mut p = 0.170_872_77;
    p = p * t - 0.822_152_23;
    p = p * t + 1.488_515_9;
    p = p * t - 1.135_204;
    p = p * t + 0.278_868_07;
    p = p * t - 0.186_288_06;
    p = p * t + 0.096_784_18;
    p = p * t + 0.374_091_96;
    p = p * t + 1.000_023_7;
    p = p * t - 1.265_512_2;
    let tail = 0.5 * t * exp(p - 0.5 * (a * a));
    let far = 1.0 - tail;
    // Chosen by a mask: of an `if` the compiler may make a jump around the exponential, and the loop stays scalar.
    let mask = u32::from(x < 0.0).wrapping_sub(1);
    f32::from_bits((far.to_bits() & mask) | (tail.to_bits() & !mask))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every 97th float of the interval, of both signs.
    fn floats(from: f32, to: f32) -> impl Iterator<Item = f32> {
        (from.to_bits()..to.to_bits())
            .step_by(97)
            .flat_map(|bits| [f32::from_bits(bits), -f32::from_bits(bits)])
    }

    fn worst_relative(arguments: impl Iterator<Item = f32>, f: fn(f32) -> f32, exact: fn(f64) -> f64) -> f64 {
        arguments
            .map(|x| {
                let y = exact(f64::from(x));
                if y.abs() < f64::from(f32::MIN_POSITIVE) { 0.0 } else { ((f64::from(f(x)) - y) / y).abs() }
            })
            .fold(0.0, f64::max)
    }

    #[test]
    fn exp_is_within_its_stated_error() {
        let worst = worst_relative(floats(1e-9, 87.3), exp, libm::exp);
        assert!(worst < 1.2e-7, "{worst:e}");
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(f32::INFINITY), f32::INFINITY);
        assert_eq!(exp(100.0), f32::INFINITY);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert!(exp(88.7) > 3.2e38 && exp(88.7).is_finite());
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn exp_m1_is_within_its_stated_error() {
        let worst = worst_relative(floats(1e-9, 88.7), exp_m1, libm::expm1);
        assert!(worst < 1.8e-7, "{worst:e}");
        assert_eq!(exp_m1(f32::NEG_INFINITY), -1.0);
        assert_eq!(exp_m1(f32::INFINITY), f32::INFINITY);
        assert!(exp_m1(f32::NAN).is_nan());
    }

    #[test]
    fn tanh_is_within_its_stated_error() {
        let worst = worst_relative(floats(1e-9, 30.0), tanh, libm::tanh);
        assert!(worst < 2.7e-7, "{worst:e}");
        assert_eq!(tanh(f32::INFINITY), 1.0);
        assert_eq!(tanh(f32::NEG_INFINITY), -1.0);
        assert!(tanh(f32::NAN).is_nan());
    }

    #[test]
    fn half_tanh_is_within_its_stated_error() {
        let worst = worst_relative(floats(1e-9, 43.0), half_tanh, |x| 1.0 / (1.0 + libm::exp(-2.0 * x)));
        assert!(worst < 4e-7, "{worst:e}");
        assert_eq!(half_tanh(f32::INFINITY), 1.0);
        assert_eq!(half_tanh(f32::NEG_INFINITY), 0.0);
        assert!(half_tanh(f32::NAN).is_nan());
    }

    #[test]
    fn the_normal_distribution_is_within_its_stated_error() {
        let exact = |x: f64| 0.5 * libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2);
        let worst = worst_relative(floats(1e-9, 5.0), normal_cdf, exact);
        assert!(worst < 1.3e-6, "{worst:e}");
        let worst = worst_relative(floats(5.0, 12.9), normal_cdf, exact);
        assert!(worst < 1e-5, "{worst:e}");
        assert_eq!(normal_cdf(f32::INFINITY), 1.0);
        assert_eq!(normal_cdf(f32::NEG_INFINITY), 0.0);
        assert!(normal_cdf(f32::NAN).is_nan());
    }
}
