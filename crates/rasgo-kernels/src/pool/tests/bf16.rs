//! Of maps of bfloat16: what is computed from the same values as `f32`, rounded once.

use super::*;
use crate::checks::{narrowed, rounded, unwritten, widened};
use crate::{Bf16, Stored};

/// A map with ties and, where it is large enough, a NaN.
fn map(len: usize) -> Vec<Bf16> {
    let mut values: Vec<f32> = numbers::<f32>(1, len).iter().map(|x| (4.0 * x).round() / 4.0).collect();
    if let Some(x) = values.get_mut(11) {
        *x = f32::NAN;
    }
    narrowed(&values)
}

/// Max pooling with and without positions, and its gradient.
fn max_passes<S: Stored<Wide = f32>>(p: &PoolProblem, [src, dy]: [&[S]; 2]) -> Vec<f32> {
    let [mut y, mut alone, mut flat] = [(); 3].map(|()| unwritten::<S>(p.dst_len()));
    let (mut dx, mut indices) = (unwritten::<S>(p.src_len()), vec![-9; p.dst_len()]);
    max_forward::<S, u8>(p, src, &mut alone, None);
    max_forward_flat(p, src, &mut flat, &mut indices);
    let mut found = vec![rounded(&alone), rounded(&flat), indices.into_iter().map(|i| i as f32).collect()];
    if p.window() <= 256 {
        let mut at = vec![9u8; p.dst_len()];
        max_forward(p, src, &mut y, Some(&mut at));
        max_backward(p, dy, &at, &mut dx);
        found.extend([rounded(&y), at.into_iter().map(f32::from).collect(), rounded(&dx)]);
    }
    found.concat()
}

#[test]
fn maxima_of_maps_of_bf16_are_those_of_f32_and_their_gradients_rounded_once() {
    for p in problems() {
        let (src, dy) = (map(p.src_len()), narrowed(&numbers(2, p.dst_len())));
        let want = max_passes(&p, [&widened(&src)[..], &widened(&dy)]);
        let got = same_everywhere(|| max_passes(&p, [&src[..], &dy]));
        assert_close(&got, &wide(&want), 0.0, &format!("{p:?}"));
    }
}

fn avg_passes<S: Stored<Wide = f32>>(p: &PoolProblem, [src, dy]: [&[S]; 2]) -> Vec<f32> {
    let options = AvgOptions { count_include_pad: true, divisor_override: None };
    let (mut y, mut dx) = (unwritten::<S>(p.dst_len()), unwritten::<S>(p.src_len()));
    avg_forward(p, options, src, &mut y);
    avg_backward(p, options, dy, &mut dx);
    [rounded(&y), rounded(&dx)].concat()
}

fn adaptive_passes<S: Stored<Wide = f32>>(p: &AdaptiveProblem, [src, dy]: [&[S]; 2]) -> Vec<f32> {
    let [mut y, mut most] = [(); 2].map(|()| unwritten::<S>(dy.len()));
    let (mut dx, mut indices) = (unwritten::<S>(src.len()), vec![-9; dy.len()]);
    adaptive_avg_forward(p, src, &mut y);
    adaptive_avg_backward(p, dy, &mut dx);
    adaptive_max_forward(p, src, &mut most, &mut indices);
    [rounded(&y), rounded(&dx), rounded(&most)].concat()
}

#[test]
fn averages_of_maps_of_bf16_are_those_of_f32_rounded_once() {
    for p in problems().into_iter().filter(|p| p.dilation == [1; 3]) {
        let (src, dy) = (narrowed(&numbers(1, p.src_len())), narrowed(&numbers(2, p.dst_len())));
        let want = avg_passes(&p, [&widened(&src)[..], &widened(&dy)]);
        let got = same_everywhere(|| avg_passes(&p, [&src[..], &dy]));
        assert_close(&got, &wide(&want), 0.0, &format!("{p:?}"));
    }
    for (input, output) in ADAPTIVE {
        for (n, c) in [(2, 1), (1, 5), (2, 100)] {
            let p = AdaptiveProblem { n, c, input, output };
            let size = |sides: [usize; 3]| n * c * sides.iter().product::<usize>();
            let (src, dy) = (narrowed(&numbers(1, size(input))), narrowed(&numbers(2, size(output))));
            let want = adaptive_passes(&p, [&widened(&src)[..], &widened(&dy)]);
            let got = same_everywhere(|| adaptive_passes(&p, [&src[..], &dy]));
            assert_close(&got, &wide(&want), 0.0, &format!("{p:?}"));
        }
    }
}
