//! Of maps of bfloat16: what is computed from the same values as `f32`, rounded once.

use super::*;
use crate::Stored;
use crate::checks::{narrowed, rounded, unwritten, widened};

/// Everything that is computed from a map, a shortcut and a gradient; maps as bfloat16 holds them.
fn passes<S: Stored<Wide = f32>>(
    [n, sample, c]: [usize; 3],
    [src, add, dy]: [&[S]; 3],
    activation: Activation,
) -> Vec<f32> {
    let rows = n * sample;
    let [mut mean, mut low, mut var] = [(); 3].map(|()| poison(c));
    stats(rows, sample, c, src, &mut mean, &mut low, &mut var);
    let found = [mean, low, var].concat();
    let ch = Channels::new(rows, sample, c, &src.iter().map(|x| x.wide()).collect::<Vec<_>>());
    let (mut y, mut sum) = (unwritten::<S>(src.len()), unwritten::<S>(src.len()));
    normalize(src, &ch.mean, &ch.scale, &ch.shift, None, activation, &mut y);
    normalize(src, &ch.mean, &ch.scale, &ch.shift, Some(add), activation, &mut sum);
    let (g, mut dbeta, mut dgamma) = (ch.grad(activation), poison(c), poison(c));
    grad_sums(rows, sample, &g, src, dy, &mut dbeta, &mut dgamma);
    let (mut dx, mut eval) = (unwritten::<S>(src.len()), unwritten::<S>(src.len()));
    grad_input(rows, &g, src, dy, &dbeta, &dgamma, &mut dx);
    grad_input_eval(&g, src, dy, &mut eval);
    [found, dbeta, dgamma, rounded(&y), rounded(&sum), rounded(&dx), rounded(&eval)].concat()
}

#[test]
fn a_map_of_bf16_gives_what_f32_gives_rounded() {
    for c in CHANNELS {
        for (n, sample) in ROWS {
            let maps = [1, 2, 3].map(|seed| narrowed(&numbers(seed, n * sample * c)));
            let wide = maps.each_ref().map(|map| widened(map));
            for activation in ALL {
                let sizes = [n, sample, c];
                let want = passes(sizes, wide.each_ref().map(|map| &map[..]), activation);
                let got = same_everywhere(|| passes(sizes, maps.each_ref().map(|map| &map[..]), activation));
                let want: Vec<f64> = want.into_iter().map(f64::from).collect();
                assert_close(&got, &want, 0.0, &format!("{n} {sample} {c} {activation:?}"));
            }
        }
    }
}

/// As [`passes`], with a pooling.
fn pooled_passes<S: Stored<Wide = f32>>(
    p: &PoolProblem,
    ch: &Channels,
    [src, dy]: [&[S]; 2],
    relu: bool,
) -> Vec<f32> {
    let (mut y, mut at) = (unwritten::<S>(p.dst_len()), vec![9u8; p.dst_len()]);
    normalize_relu_max_pool(p, src, &ch.mean, &ch.scale, &ch.shift, relu, &mut y, &mut at);
    let g = ch.grad(if relu { Activation::Relu } else { Activation::None });
    let (mut dbeta, mut dgamma, mut dx) = (poison(p.c), poison(p.c), unwritten::<S>(src.len()));
    pooled_grad_sums(p, &g, src, dy, &at, &mut dbeta, &mut dgamma);
    pooled_grad_input(p, &g, src, dy, &at, &dbeta, &dgamma, &mut dx);
    let at = at.into_iter().map(f32::from).collect();
    [rounded(&y), at, dbeta, dgamma, rounded(&dx)].concat()
}

#[test]
fn so_does_one_that_is_pooled() {
    for p in tilings() {
        let mut src = narrowed(&numbers(11, p.src_len()));
        let dy = narrowed(&numbers(12, p.dst_len()));
        let ch = Channels::new(0, 1, p.c, &[]);
        for nan in [false, true] {
            if let Some(x) = src.get_mut(7).filter(|_| nan) {
                *x = crate::Bf16::from_f32(f32::NAN);
            }
            let wide = [widened(&src), widened(&dy)];
            for relu in [false, true] {
                let want = pooled_passes(&p, &ch, [&wide[0][..], &wide[1][..]], relu);
                let got = same_everywhere(|| pooled_passes(&p, &ch, [&src[..], &dy[..]], relu));
                let want: Vec<f64> = want.into_iter().map(f64::from).collect();
                assert_close(&got, &want, 0.0, &format!("{p:?}"));
            }
        }
    }
}
