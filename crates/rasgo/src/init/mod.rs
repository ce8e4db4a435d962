//! Initialisers, as `torch.nn.init`: as the description [`Init`] that a parameter is made with, and as functions that fill
//! a parameter anew.
//!
//! ```
//! use rasgo::init::{self, FanMode, Nonlinearity};
//! use rasgo::nn;
//! let mut layer = nn::Conv2d::new(3, 8, 3);
//! init::ones_(&mut layer.weight);
//! init::kaiming_normal_(&mut layer.weight, Nonlinearity::Relu, FanMode::FanOut)?;
//! init::orthogonal_(&mut layer.weight, init::calculate_gain(Nonlinearity::Tanh))?;
//! # Ok::<(), rasgo::Error>(())
//! ```
//!
//! The numbers follow from the seed and the parameter's place among all that were made: filled again in the same way, a
//! parameter has the same values.

mod fill;
mod structured;

pub use fill::{
    constant_, kaiming_normal_, kaiming_uniform_, normal_, ones_, trunc_normal_, uniform_, xavier_normal_,
    xavier_uniform_, zeros_,
};
pub use structured::{dirac_, eye_, orthogonal_, sparse_};

use rasgo_core::random::Key;
use rasgo_core::{Shape, Tensor};

/// What a layer is followed by, for the gain that keeps the size of its outputs.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Nonlinearity {
    /// Nothing: gain 1. PyTorch's names of convolutions mean the same.
    Linear,
    /// Gain 1.
    Sigmoid,
    /// Gain 5/3.
    Tanh,
    /// Gain sqrt(2).
    Relu,
    /// Gain sqrt(2 / (1 + slope²)).
    LeakyRelu(f64),
    /// Gain 3/4.
    Selu,
}

impl Nonlinearity {
    /// The square of the gain, as a fraction.
    fn gain_squared(self) -> (f64, f64) {
        match self {
            Nonlinearity::Linear | Nonlinearity::Sigmoid => (1.0, 1.0),
            Nonlinearity::Tanh => (25.0, 9.0),
            Nonlinearity::Relu => (2.0, 1.0),
            Nonlinearity::LeakyRelu(slope) => (2.0, 1.0 + slope * slope),
            Nonlinearity::Selu => (9.0, 16.0),
        }
    }
}

/// The factor on the deviation of the weights before a nonlinearity.
pub fn calculate_gain(nonlinearity: Nonlinearity) -> f64 {
    let (numerator, denominator) = nonlinearity.gain_squared();
    (numerator / denominator).sqrt()
}

/// Whether the deviation keeps the size of outputs or of gradients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FanMode {
    /// Of outputs: the inputs of one output count.
    #[default]
    FanIn,
    /// Of gradients: the outputs of one input count.
    FanOut,
}

/// How a parameter's first values are made. Fans are those of PyTorch: for a weight (O, I, …) fan-in is I times the
/// kernel's cells, fan-out O times them; both are the length of a vector.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Init {
    /// 0
    Zeros,
    /// 1
    Ones,
    /// One value.
    Constant(f64),
    /// Uniform in low..high.
    Uniform(f64, f64),
    /// Normal with mean and standard deviation.
    Normal(f64, f64),
    /// Normal with mean and standard deviation, between two bounds.
    TruncNormal {
        /// The mean, without the bounds.
        mean: f64,
        /// The standard deviation, without the bounds.
        std: f64,
        /// The least value.
        a: f64,
        /// The largest value.
        b: f64,
    },
    /// Uniform in ±gain sqrt(3 / fan) (He et al. 2015).
    KaimingUniform {
        /// What follows.
        nonlinearity: Nonlinearity,
        /// Which fan.
        mode: FanMode,
    },
    /// Normal with deviation gain / sqrt(fan).
    KaimingNormal {
        /// What follows.
        nonlinearity: Nonlinearity,
        /// Which fan.
        mode: FanMode,
    },
    /// Uniform in ±gain sqrt(6 / (fan-in + fan-out)) (Glorot and Bengio 2010).
    XavierUniform {
        /// Factor for the function that follows.
        gain: f64,
    },
    /// Normal with deviation gain sqrt(2 / (fan-in + fan-out)).
    XavierNormal {
        /// Factor for the function that follows.
        gain: f64,
    },
}

impl Init {
    /// PyTorch's default for weights: uniform in ±1 / sqrt(fan-in).
    pub const TORCH_WEIGHT: Init = Init::KaimingUniform {
        nonlinearity: Nonlinearity::LeakyRelu(2.236_067_977_499_79),
        mode: FanMode::FanIn,
    };

    /// PyTorch's default for the bias beside a weight of that fan-in.
    pub fn torch_bias(fan_in: usize) -> Init {
        let bound = if fan_in == 0 { 0.0 } else { 1.0 / (fan_in as f64).sqrt() };
        Init::Uniform(-bound, bound)
    }

    /// The values for a shape and a key.
    pub fn values(self, shape: &Shape, key: Key) -> Tensor {
        let cells: usize = shape.iter().skip(2).product();
        let fan_out = (shape.first().copied().unwrap_or(1) * cells) as f64;
        let fan_in = (shape.get(1).or(shape.first()).copied().unwrap_or(1) * cells) as f64;
        let variance = |nonlinearity: Nonlinearity, mode| {
            let fan: f64 = if mode == FanMode::FanIn { fan_in } else { fan_out };
            let (numerator, denominator) = nonlinearity.gain_squared();
            numerator / (denominator * fan.max(1.0))
        };
        let uniform = |low: f64, high: f64| -> Tensor {
            Tensor::from_fn(shape.clone(), |x: &mut [f32]| {
                for (block, four) in x.chunks_mut(4).enumerate() {
                    for (x, bits) in four.iter_mut().zip(key.bits(block as u64)) {
                        let unit = f64::from(bits >> 8) / f64::from(1u32 << 24);
                        *x = (low + (high - low) * unit) as f32;
                    }
                }
            })
        };
        let normal = |mean: f64, deviation: f64| -> Tensor {
            Tensor::from_fn(shape.clone(), |x: &mut [f32]| {
                for (i, x) in x.iter_mut().enumerate() {
                    *x = (mean + deviation * key.normal(i as u64)) as f32;
                }
            })
        };
        let constant = |value: f32| Tensor::from_fn(shape.clone(), |x: &mut [f32]| x.fill(value));
        match self {
            Init::Zeros => constant(0.0),
            Init::Ones => constant(1.0),
            Init::Constant(value) => constant(value as f32),
            Init::Uniform(low, high) => uniform(low, high),
            Init::Normal(mean, deviation) => normal(mean, deviation),
            Init::TruncNormal { mean, std, a, b } => Tensor::from_fn(shape.clone(), |x: &mut [f32]| {
                let (low, high) = ((a - mean) / std, (b - mean) / std);
                for (i, x) in x.iter_mut().enumerate() {
                    let unit = key.uniform_f64(i as u64);
                    *x = (mean + std * between(low, high, unit)).clamp(a, b) as f32;
                }
            }),
            Init::KaimingUniform { nonlinearity, mode } => {
                let bound = (3.0 * variance(nonlinearity, mode)).sqrt();
                uniform(-bound, bound)
            }
            Init::KaimingNormal { nonlinearity, mode } => normal(0.0, variance(nonlinearity, mode).sqrt()),
            Init::XavierUniform { gain } => {
                let bound = gain * (6.0 / (fan_in + fan_out)).sqrt();
                uniform(-bound, bound)
            }
            Init::XavierNormal { gain } => normal(0.0, gain * (2.0 / (fan_in + fan_out)).sqrt()),
        }
    }
}

/// The standard normal number between two bounds below which a share `unit` of those between them lies.
fn between(low: f64, high: f64, unit: f64) -> f64 {
    if low > 0.0 {
        // The lower tail has more digits.
        return -between(-high, -low, 1.0 - unit);
    }
    let below = |x: f64| 0.5 * libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2);
    let (from, to) = (below(low), below(high));
    if from >= to {
        // So far out that no number is left: the mass is at the nearer bound.
        return high;
    }
    quantile(from + (to - from) * unit).clamp(low, high)
}

/// The inverse of the normal distribution function, by Acklam's rational functions: relative error 1.2e-9.
fn quantile(share: f64) -> f64 {
    const CENTRE: ([f64; 6], [f64; 6]) = (
        [
            -3.969683028665376e1,
            2.209460984245205e2,
            -2.759285104469687e2,
            1.38357751867269e2,
            -3.066479806614716e1,
            2.506628277459239,
        ],
        [
            -5.447609879822406e1,
            1.615858368580409e2,
            -1.556989798598866e2,
            6.680131188771972e1,
            -1.328068155288572e1,
            1.0,
        ],
    );
    const TAIL: ([f64; 6], [f64; 5]) = (
        [
            -7.784894002430293e-3,
            -3.223964580411365e-1,
            -2.400758277161838,
            -2.549732539343734,
            4.374664141464968,
            2.938163982698783,
        ],
        [7.784695709041462e-3, 3.224671290700398e-1, 2.445134137142996, 3.754408661907416, 1.0],
    );
    let polynomial = |factors: &[f64], x: f64| factors.iter().fold(0.0, |sum, factor| sum * x + factor);
    if share > 0.5 {
        return -quantile(1.0 - share);
    }
    if share == 0.0 {
        return f64::NEG_INFINITY;
    }
    if share < 0.02425 {
        let q = (-2.0 * libm::log(share)).sqrt();
        return polynomial(&TAIL.0, q) / polynomial(&TAIL.1, q);
    }
    let q = share - 0.5;
    polynomial(&CENTRE.0, q * q) * q / polynomial(&CENTRE.1, q * q)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(init: Init, shape: &[usize]) -> (f64, f64) {
        let values = init.values(&shape.into(), Key::new(1, 2)).to_f64_vec().unwrap();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        (mean, (values.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / values.len() as f64).sqrt())
    }

    #[test]
    fn deviations_are_those_of_the_formulas() {
        let shape = [32, 16, 5, 3];
        let (fan_in, fan_out) = (16.0 * 15.0, 32.0 * 15.0f64);
        let (relu, tanh) = (Nonlinearity::Relu, Nonlinearity::Tanh);
        let cases = [
            (Init::TORCH_WEIGHT, (1.0 / fan_in / 3.0f64).sqrt()),
            (Init::KaimingNormal { nonlinearity: relu, mode: FanMode::FanIn }, (2.0 / fan_in).sqrt()),
            (Init::KaimingNormal { nonlinearity: tanh, mode: FanMode::FanOut }, 5.0 / 3.0 / fan_out.sqrt()),
            (
                Init::KaimingUniform { nonlinearity: Nonlinearity::LeakyRelu(0.2), mode: FanMode::FanOut },
                (2.0 / 1.04 / fan_out).sqrt(),
            ),
            (Init::XavierUniform { gain: 1.0 }, (2.0 / (fan_in + fan_out)).sqrt()),
            (Init::XavierNormal { gain: 2.0 }, 2.0 * (2.0 / (fan_in + fan_out)).sqrt()),
            (Init::Normal(0.0, 0.3), 0.3),
            // Of the standard normal between -2 and 2.
            (Init::TruncNormal { mean: 0.0, std: 0.02, a: -0.04, b: 0.04 }, 0.02 * 0.879_625),
        ];
        for (init, expected) in cases {
            let (mean, found) = moments(init, &shape);
            assert!((found / expected - 1.0).abs() < 0.03, "{init:?}: {found}, not {expected}");
            assert!(mean.abs() < 0.05 * expected, "{init:?}: mean {mean}");
        }
    }

    #[test]
    fn gains_are_those_of_pytorch() {
        let gains = [
            (Nonlinearity::Linear, 1.0),
            (Nonlinearity::Sigmoid, 1.0),
            (Nonlinearity::Tanh, 5.0 / 3.0),
            (Nonlinearity::Relu, std::f64::consts::SQRT_2),
            (Nonlinearity::LeakyRelu(0.01), 1.414_142_857_0),
            (Nonlinearity::Selu, 0.75),
        ];
        for (nonlinearity, expected) in gains {
            assert!((calculate_gain(nonlinearity) - expected).abs() < 1e-9, "{nonlinearity:?}");
        }
    }

    #[test]
    fn a_truncated_normal_stays_within_its_bounds_also_far_out() {
        let values = |mean, a, b| {
            let init = Init::TruncNormal { mean, std: 1.0, a, b };
            init.values(&[4000].into(), Key::new(3, 4)).to_f64_vec().unwrap()
        };
        for (a, b) in [(-0.5, 0.25), (1.0, 3.0), (-9.0, -8.0), (8.0, 9.0), (-1.0, 50.0), (40.0, 41.0)] {
            let all = values(0.0, a, b);
            assert!(all.iter().all(|x| (a..=b).contains(x)), "{a} {b}");
        }
        // The mean of a tail is at the bound plus the density over the mass.
        let tail = values(1.0, 3.0, 99.0);
        let mean = tail.iter().sum::<f64>() / tail.len() as f64;
        assert!((mean - 3.373_2).abs() < 0.02, "{mean}");
    }

    #[test]
    fn the_quantile_inverts_the_distribution() {
        for x in [-7.0, -3.1, -1.973, -0.4, 0.0, 0.7, 2.2, 5.0] {
            let share = 0.5 * libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2);
            assert!((quantile(share) - x).abs() < 1e-8 * x.abs().max(1.0), "{x}: {}", quantile(share));
        }
    }
}
