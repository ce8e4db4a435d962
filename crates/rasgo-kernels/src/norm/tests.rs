mod bf16;

use super::*;
use crate::Activation;
use crate::checks::{assert_close, numbers, poison, same_everywhere, wide};
use crate::elementwise::{Unary, unary_grad, unary_in_place};
use crate::pool::{PoolProblem, max_backward, max_forward};

const CHANNELS: [usize; 13] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 17, 64, 100, 300];
const ALL: [Activation; 3] = [Activation::None, Activation::Relu, Activation::Relu6];
/// Samples and rows in each.
const ROWS: [(usize, usize); 6] = [(0, 3), (1, 1), (1, 2), (3, 7), (5, 130), (2, 3000)];

/// Mean and biased variance of each column.
fn exact_stats(c: usize, src: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let count = (src.len() / c) as f64;
    let sum =
        |j: usize, f: &dyn Fn(f64) -> f64| src.iter().skip(j).step_by(c).map(|x| f(*x)).sum::<f64>() / count;
    let mean: Vec<f64> = (0..c).map(|j| sum(j, &|x| x)).collect();
    let var = (0..c).map(|j| sum(j, &|x| (x - mean[j]) * (x - mean[j]))).collect();
    (mean, var)
}

#[test]
fn statistics_are_right_for_every_width_and_with_a_large_mean() {
    for c in CHANNELS {
        for (n, sample) in ROWS {
            for offset in [0.0, 1000.0] {
                let src: Vec<f32> = numbers::<f32>(1, n * sample * c).iter().map(|x| x + offset).collect();
                let (mean, var) = exact_stats(c, &wide(&src));
                let got = same_everywhere(|| {
                    let [mut mean, mut low, mut var] = [(); 3].map(|()| poison(c));
                    stats(n * sample, sample, c, &src, &mut mean, &mut low, &mut var);
                    [mean, var, low].concat()
                });
                assert_close(&got[..c], &mean, 1e-6, &format!("mean {n} {sample} {c}"));
                let exact: Vec<f64> = (0..c).map(|j| f64::from(got[j]) + f64::from(got[2 * c + j])).collect();
                let apart = exact.iter().zip(&mean).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
                assert!(apart < 1e-6 || n == 0, "mean with its rest {n} {sample} {c} {offset}: {apart}");
                assert_close(&got[c..2 * c], &var, 2e-6, &format!("variance {n} {sample} {c} {offset}"));
            }
        }
    }
}

/// Parameters of `c` channels, of which one has gamma 0.
struct Channels {
    mean: Vec<f32>,
    low: Vec<f32>,
    rstd: Vec<f32>,
    scale: Vec<f32>,
    shift: Vec<f32>,
}

impl Channels {
    fn new(rows: usize, sample: usize, c: usize, src: &[f32]) -> Channels {
        let [mut mean, mut low, mut var] = [(); 3].map(|()| poison(c));
        stats(rows, sample, c, src, &mut mean, &mut low, &mut var);
        if rows == 0 {
            (mean, low, var) = (vec![0.5; c], vec![0.0; c], vec![1.0; c]);
        }
        let rstd: Vec<f32> = var.iter().map(|var| 1.0 / (var + 1e-5).sqrt()).collect();
        let (mut gamma, beta) = (numbers::<f32>(2, c), numbers::<f32>(3, c));
        gamma[c / 2] = if c > 2 { 0.0 } else { gamma[c / 2] };
        let (mut scale, mut shift) = (poison(c), poison(c));
        scale_shift(&rstd, &low, &gamma, &beta, &mut scale, &mut shift);
        Channels { mean, low, rstd, scale, shift }
    }

    fn grad(&self, activation: Activation) -> NormGrad<'_, f32> {
        let Channels { mean, low, rstd, scale, shift } = self;
        NormGrad { mean, low, rstd, scale, shift, activation }
    }

    /// The value before the activation.
    fn value(&self, i: usize, x: f32) -> f32 {
        let j = i % self.mean.len();
        (x - self.mean[j]) * self.scale[j] + self.shift[j]
    }
}

#[test]
fn normalising_in_one_pass_is_the_formula_to_the_bit() {
    for c in CHANNELS {
        for (n, sample) in ROWS {
            let src = numbers::<f32>(4, n * sample * c);
            let ch = Channels::new(n * sample, sample, c, &src);
            // So large that ReLU6 cuts both ends.
            let shortcut: Vec<f32> = numbers::<f32>(5, src.len()).iter().map(|x| 9.0 * x).collect();
            for activation in ALL {
                for add in [None, Some(&shortcut[..])] {
                    let sum = |i: usize, y: f32| y + add.map_or(0.0, |add| add[i]);
                    let want: Vec<f64> = src
                        .iter()
                        .enumerate()
                        .map(|(i, x)| sum(i, ch.value(i, *x)))
                        .map(|y| match activation {
                            Activation::None => y,
                            Activation::Relu => y.max(0.0),
                            Activation::Relu6 => y.clamp(0.0, 6.0),
                        })
                        .map(f64::from)
                        .collect();
                    let got = same_everywhere(|| {
                        let mut dst = poison(src.len());
                        normalize(&src, &ch.mean, &ch.scale, &ch.shift, add, activation, &mut dst);
                        dst
                    });
                    assert_close(&got, &want, 0.0, &format!("{n} {sample} {c}"));
                }
            }
        }
    }
}

#[test]
fn a_mean_far_from_zero_costs_no_digits() {
    let (rows, c) = (1000, 3);
    let src: Vec<f32> = numbers::<f32>(1, rows * c).iter().map(|x| 1e4 + x / 8.0).collect();
    let (mean, var) = exact_stats(c, &wide(&src));
    let (mut found_mean, mut low, mut found_var) = (poison(c), poison(c), poison(c));
    stats(rows, 1, c, &src, &mut found_mean, &mut low, &mut found_var);
    let rstd: Vec<f32> = found_var.iter().map(|var| 1.0 / var.sqrt()).collect();
    let (mut scale, mut shift, mut y) = (poison(c), poison(c), poison(rows * c));
    scale_shift(&rstd, &low, &[1.0; 3], &[0.0; 3], &mut scale, &mut shift);
    normalize(&src, &found_mean, &scale, &shift, None, Activation::None, &mut y);
    let hat = |i: usize| (f64::from(src[i]) - mean[i % c]) / var[i % c].sqrt();
    assert_close(&y, &(0..rows * c).map(hat).collect::<Vec<_>>(), 1e-6, "normalised");
}

#[test]
fn gradients_agree_with_the_formulas_in_f64() {
    for c in CHANNELS {
        for (n, sample) in ROWS {
            let rows = n * sample;
            let (src, dy) = (numbers::<f32>(5, rows * c), numbers::<f32>(6, rows * c));
            let ch = Channels::new(rows, sample, c, &src);
            for activation in ALL {
                let g = ch.grad(activation);
                let at = |v: &[f32], i: usize| f64::from(v[i % c]);
                let alive = |i: usize| {
                    let y = ch.value(i, src[i]);
                    activation == Activation::None || y > 0.0 && (y < 6.0 || activation == Activation::Relu)
                };
                let masked = |i: usize| if alive(i) { f64::from(dy[i]) } else { 0.0 };
                let hat = |i: usize| (f64::from(src[i]) - at(&ch.mean, i)) * at(&ch.rstd, i);
                let (mut dbeta, mut dgamma) = (vec![0.0; c], vec![0.0; c]);
                for i in 0..rows * c {
                    dbeta[i % c] += masked(i);
                    dgamma[i % c] += masked(i) * hat(i);
                }
                let mean = |sums: &[f64], i: usize| sums[i % c] / rows as f64;
                let dx = (0..rows * c)
                    .map(|i| at(&ch.scale, i) * (masked(i) - mean(&dbeta, i) - hat(i) * mean(&dgamma, i)))
                    .collect();
                let eval = (0..rows * c).map(|i| at(&ch.scale, i) * masked(i)).collect();
                let got = same_everywhere(|| {
                    let (mut dbeta, mut dgamma) = (poison(c), poison(c));
                    grad_sums(rows, sample, &g, &src, &dy, &mut dbeta, &mut dgamma);
                    let (mut dx, mut eval) = (poison(rows * c), poison(rows * c));
                    grad_input(rows, &g, &src, &dy, &dbeta, &dgamma, &mut dx);
                    grad_input_eval(&g, &src, &dy, &mut eval);
                    [dbeta, dgamma, dx, eval].concat()
                });
                assert_close(
                    &got,
                    &[dbeta, dgamma, dx, eval].concat(),
                    1e-4,
                    &format!("{n} {sample} {c} {activation:?}"),
                );
            }
        }
    }
}

#[test]
fn the_gradient_is_the_slope_of_normalisation_in_f64() {
    let (rows, c) = (6, 3);
    let (src, dy) = (numbers::<f64>(7, rows * c), numbers::<f64>(8, rows * c));
    let (gamma, beta) = (numbers::<f64>(9, c), numbers::<f64>(10, c));
    let forward = |src: &[f64]| {
        let (mut v, mut y) = ([(); 5].map(|()| poison::<f64>(c)), poison(rows * c));
        let [mean, low, var, scale, shift] = &mut v;
        stats(rows, 1, c, src, mean, low, var);
        let rstd: Vec<f64> = var.iter().map(|var| 1.0 / (var + 1e-5).sqrt()).collect();
        scale_shift(&rstd, low, &gamma, &beta, scale, shift);
        normalize(src, mean, scale, shift, None, Activation::Relu, &mut y);
        (v, rstd, y)
    };
    let ([mean, low, _, scale, shift], rstd, _) = forward(&src);
    let g = NormGrad {
        mean: &mean,
        low: &low,
        rstd: &rstd,
        scale: &scale,
        shift: &shift,
        activation: Activation::Relu,
    };
    let (mut dbeta, mut dgamma, mut dx) = (poison(c), poison(c), poison(rows * c));
    grad_sums(rows, 1, &g, &src, &dy, &mut dbeta, &mut dgamma);
    grad_input(rows, &g, &src, &dy, &dbeta, &dgamma, &mut dx);
    let want: Vec<f64> = (0..rows * c)
        .map(|i| {
            let value = |h: f64| {
                let mut src = src.clone();
                src[i] += h;
                forward(&src).2.iter().zip(&dy).map(|(y, dy)| y * dy).sum::<f64>()
            };
            (value(1e-6) - value(-1e-6)) / 2e-6
        })
        .collect();
    assert_close(&dx, &want, 1e-7, "dx");
}

fn tilings() -> Vec<PoolProblem> {
    let mut all = Vec::new();
    for (input, kernel) in [
        ([1, 4, 6], [1, 2, 2]),
        ([1, 7, 9], [1, 2, 2]),
        ([1, 7, 11], [1, 2, 3]),
        ([5, 4, 7], [2, 2, 2]),
        ([1, 1, 9], [1, 1, 4]),
        ([1, 3, 5], [1, 1, 1]),
        ([1, 60, 50], [1, 2, 2]),
    ] {
        let output = std::array::from_fn(|a| input[a] / kernel[a]);
        for (n, c) in [(0, 3), (1, 1), (3, 5), (2, 17), (2, 64), (1, 100)] {
            let (stride, padding, dilation) = (kernel, [0; 3], [1; 3]);
            all.push(PoolProblem { n, c, input, output, kernel, stride, padding, dilation });
        }
    }
    all
}

#[test]
fn the_fused_pass_is_norm_then_relu_then_pool_to_the_bit() {
    for p in tilings() {
        let mut src = numbers::<f32>(11, p.src_len());
        if let Some(x) = src.get_mut(7) {
            *x = f32::NAN;
        }
        let ch = Channels::new(0, 1, p.c, &[]);
        for with_relu in [false, true] {
            let (mut map, mut want, mut want_at) =
                (poison(src.len()), poison(p.dst_len()), vec![9u8; p.dst_len()]);
            normalize(&src, &ch.mean, &ch.scale, &ch.shift, None, Activation::None, &mut map);
            if with_relu {
                unary_in_place(Unary::Relu, &mut map);
            }
            max_forward(&p, &map, &mut want, Some(&mut want_at));
            let got = same_everywhere(|| {
                let (mut dst, mut at) = (poison::<f32>(p.dst_len()), vec![9u8; p.dst_len()]);
                normalize_relu_max_pool(
                    &p, &src, &ch.mean, &ch.scale, &ch.shift, with_relu, &mut dst, &mut at,
                );
                assert_eq!(at, want_at, "{p:?}");
                dst
            });
            assert_close(&got, &wide(&want), 0.0, &format!("{p:?}"));
        }
    }
}

#[test]
fn the_fused_gradient_is_that_of_the_three_apart() {
    for p in tilings() {
        let (src, dy) = (numbers::<f32>(12, p.src_len()), numbers::<f32>(13, p.dst_len()));
        let sample = p.input.iter().product();
        let ch = Channels::new(p.n * sample, sample, p.c, &src);
        for with_relu in [false, true] {
            let (mut pooled, mut at) = (poison(p.dst_len()), vec![9u8; p.dst_len()]);
            normalize_relu_max_pool(
                &p,
                &src,
                &ch.mean,
                &ch.scale,
                &ch.shift,
                with_relu,
                &mut pooled,
                &mut at,
            );
            let (mut map, mut dmap) = (poison(src.len()), poison(src.len()));
            let activation = if with_relu { Activation::Relu } else { Activation::None };
            normalize(&src, &ch.mean, &ch.scale, &ch.shift, None, activation, &mut map);
            max_backward(&p, &dy, &at, &mut dmap);
            if with_relu {
                let dy = dmap.clone();
                unary_grad(Unary::Relu, &map, &dy, &mut dmap);
            }
            let (mut dbeta, mut dgamma, mut dx) = (poison(p.c), poison(p.c), poison(src.len()));
            let plain = ch.grad(Activation::None);
            grad_sums(p.n * sample, sample, &plain, &src, &dmap, &mut dbeta, &mut dgamma);
            grad_input(p.n * sample, &plain, &src, &dmap, &dbeta, &dgamma, &mut dx);
            let g = ch.grad(activation);
            let got = same_everywhere(|| {
                let (mut dbeta, mut dgamma, mut dx) = (poison(p.c), poison(p.c), poison(src.len()));
                pooled_grad_sums(&p, &g, &src, &dy, &at, &mut dbeta, &mut dgamma);
                pooled_grad_input(&p, &g, &src, &dy, &at, &dbeta, &dgamma, &mut dx);
                [dbeta, dgamma, dx].concat()
            });
            assert_close(&got, &wide(&[dbeta, dgamma, dx].concat()), 1e-4, &format!("{p:?}"));
        }
    }
}
