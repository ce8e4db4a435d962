//! Initialisers, as `torch.nn.init`.

use rasgo_core::random::Key;
use rasgo_core::{Shape, Tensor};

/// How a parameter's first values are made. Fans are those of PyTorch: for a weight (O, I, …) fan-in is I times the
/// kernel's cells, fan-out O times them.
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
    /// Uniform in ±sqrt(6 / ((1 + a²) fan-in)) (He et al. 2015). PyTorch's layers use a = sqrt(5).
    KaimingUniform {
        /// Slope of the leaky ReLU that follows.
        a: f64,
    },
    /// Normal with deviation sqrt(2 / ((1 + a²) fan-in)).
    KaimingNormal {
        /// Slope of the leaky ReLU that follows.
        a: f64,
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
    pub const TORCH_WEIGHT: Init = Init::KaimingUniform { a: 2.236_067_977_499_79 };

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
            Init::KaimingUniform { a } => {
                let bound = (6.0 / ((1.0 + a * a) * fan_in.max(1.0))).sqrt();
                uniform(-bound, bound)
            }
            Init::KaimingNormal { a } => normal(0.0, (2.0 / ((1.0 + a * a) * fan_in.max(1.0))).sqrt()),
            Init::XavierUniform { gain } => {
                let bound = gain * (6.0 / (fan_in + fan_out)).sqrt();
                uniform(-bound, bound)
            }
            Init::XavierNormal { gain } => normal(0.0, gain * (2.0 / (fan_in + fan_out)).sqrt()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deviation(init: Init, shape: [usize; 4]) -> f64 {
        let values = init.values(&shape.into(), Key::new(1, 2)).to_f64_vec().unwrap();
        (values.iter().map(|x| x * x).sum::<f64>() / values.len() as f64).sqrt()
    }

    #[test]
    fn deviations_are_those_of_the_formulas() {
        let shape = [32, 16, 5, 3];
        let (fan_in, fan_out) = (16.0 * 15.0, 32.0 * 15.0f64);
        let cases = [
            (Init::TORCH_WEIGHT, (1.0 / fan_in / 3.0f64).sqrt()),
            (Init::KaimingNormal { a: 0.0 }, (2.0 / fan_in).sqrt()),
            (Init::XavierUniform { gain: 1.0 }, (2.0 / (fan_in + fan_out)).sqrt()),
            (Init::XavierNormal { gain: 2.0 }, 2.0 * (2.0 / (fan_in + fan_out)).sqrt()),
            (Init::Normal(0.0, 0.3), 0.3),
        ];
        for (init, expected) in cases {
            let found = deviation(init, shape);
            assert!((found / expected - 1.0).abs() < 0.03, "{init:?}: {found}, not {expected}");
        }
    }
}
