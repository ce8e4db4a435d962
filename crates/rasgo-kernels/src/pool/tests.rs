mod bf16;

use super::*;
use crate::checks::{assert_close, numbers, poison, same_everywhere, wide};

/// PyTorch's size of an output.
fn output_size(
    input: usize,
    kernel: usize,
    stride: usize,
    padding: usize,
    dilation: usize,
    ceil: bool,
) -> usize {
    let span = input + 2 * padding - dilation * (kernel - 1) - 1;
    let out = if ceil { span.div_ceil(stride) } else { span / stride } + 1;
    // The last window may not start in the padding at the end.
    if ceil && (out - 1) * stride >= input + padding { out - 1 } else { out }
}

type Case = ([usize; 3], [usize; 3], [usize; 3], [usize; 3], [usize; 3]);

/// Input, kernel, stride, padding, dilation.
const CASES: [Case; 9] = [
    ([1, 4, 6], [1, 2, 2], [1, 2, 2], [0, 0, 0], [1, 1, 1]),
    ([1, 5, 7], [1, 2, 3], [1, 2, 3], [0, 0, 0], [1, 1, 1]),
    ([1, 7, 8], [1, 3, 3], [1, 2, 2], [0, 1, 1], [1, 1, 1]),
    ([1, 8, 9], [1, 3, 2], [1, 2, 1], [0, 1, 0], [1, 1, 1]),
    ([1, 8, 7], [1, 2, 2], [1, 3, 3], [0, 0, 0], [1, 1, 1]),
    ([1, 1, 11], [1, 1, 4], [1, 1, 3], [0, 0, 2], [1, 1, 1]),
    ([4, 5, 6], [2, 3, 2], [2, 1, 3], [1, 0, 1], [1, 1, 1]),
    ([3, 7, 9], [2, 2, 3], [1, 2, 2], [0, 1, 1], [1, 2, 3]),
    ([1, 40, 30], [1, 17, 16], [1, 5, 4], [0, 3, 2], [1, 1, 1]),
];

fn problems() -> Vec<PoolProblem> {
    let mut all = Vec::new();
    for (k, (input, kernel, stride, padding, dilation)) in CASES.into_iter().enumerate() {
        for ceil in [false, true] {
            let output = std::array::from_fn(|a| {
                output_size(input[a], kernel[a], stride[a], padding[a], dilation[a], ceil)
            });
            let channels: &[usize] =
                if k == 2 { &[1, 2, 3, 4, 5, 6, 7, 8, 9, 17, 64, 100] } else { &[3, 17, 32] };
            for &c in channels {
                for n in if c == 3 { 0..3 } else { 2..3 } {
                    all.push(PoolProblem { n, c, input, output, kernel, stride, padding, dilation });
                }
            }
        }
    }
    all
}

/// The cells of a window inside the map: number in the window and pixel of the plane.
fn cells(p: &PoolProblem, o: usize) -> Vec<(usize, usize)> {
    let (_, at) = windows::coordinates(p.output, o);
    let mut found = Vec::new();
    for k in 0..p.window() {
        let (_, offset) = windows::coordinates(p.kernel, k);
        let i: [isize; 3] = std::array::from_fn(|a| {
            (at[a] * p.stride[a] + offset[a] * p.dilation[a]) as isize - p.padding[a] as isize
        });
        if (0..3).all(|a| i[a] >= 0 && i[a] < p.input[a] as isize) {
            found.push((k, windows::pixel(p.input, 0, i.map(|i| i as usize))));
        }
    }
    found
}

/// Calls `body(output element, cells of its window as (number, input element))`.
fn for_outputs(p: &PoolProblem, mut body: impl FnMut(usize, &[(usize, usize)])) {
    let (inputs, outputs): (usize, usize) = (p.input.iter().product(), p.output.iter().product());
    for n in 0..p.n {
        for o in 0..outputs {
            let cells = cells(p, o);
            for c in 0..p.c {
                let cells: Vec<_> = cells.iter().map(|(k, i)| (*k, (n * inputs + i) * p.c + c)).collect();
                body((n * outputs + o) * p.c + c, &cells);
            }
        }
    }
}

fn check_max(p: &PoolProblem) {
    // All negative, so that padding would win if it were zero; few values, so that ties are many; one NaN.
    let mut src: Vec<f32> =
        numbers::<f32>(1, p.src_len()).iter().map(|x| (x * 4.0).round() / 4.0 - 3.0).collect();
    if let Some(x) = src.get_mut(5) {
        *x = f32::NAN;
    }
    let dy = numbers::<f32>(2, p.dst_len());
    let (mut y, mut at, mut flat) = (vec![0.0; p.dst_len()], vec![0.0; p.dst_len()], vec![0.0; p.dst_len()]);
    let mut dx = vec![0.0; p.src_len()];
    let plane = p.input.iter().product::<usize>();
    for_outputs(p, |o, cells| {
        y[o] = f64::NEG_INFINITY;
        let Some(&first) = cells.first() else { return };
        let mut best = first;
        for &cell in cells {
            if src[cell.1] > src[best.1] || src[cell.1].is_nan() {
                best = cell;
            }
        }
        (y[o], at[o], flat[o]) = (src[best.1].into(), best.0 as f64, (best.1 / p.c % plane) as f64);
        dx[best.1] += f64::from(dy[o]);
    });
    let picks = PlaneProblem { n: p.n, c: p.c, pixels: plane, picks: p.output.iter().product() };
    let by_index = same_everywhere(|| {
        let (mut dst, mut indices) = (poison::<f32>(p.dst_len()), vec![-1; p.dst_len()]);
        max_forward_flat(p, &src, &mut dst, &mut indices);
        let (mut grad, mut picked) = (poison(p.src_len()), poison(p.dst_len()));
        scatter(&picks, &dy, &indices, &mut grad);
        gather(&picks, &src, &indices, &mut picked);
        dst.extend(indices.iter().map(|&i| i as f32));
        dst.extend(grad);
        dst.extend(picked);
        dst
    });
    assert_close(&by_index, &[&y[..], &flat, &dx, &y].concat(), 1e-5, &format!("{p:?}"));
    if p.window() > 256 {
        return;
    }
    let got = same_everywhere(|| {
        let (mut dst, mut positions) = (poison::<f32>(p.dst_len()), vec![77u8; p.dst_len()]);
        max_forward(p, &src, &mut dst, Some(&mut positions));
        let mut plain = poison::<f32>(p.dst_len());
        max_forward(p, &src, &mut plain, None::<&mut [u8]>);
        assert_eq!(format!("{plain:?}"), format!("{dst:?}"), "with and without positions");
        let mut indices = vec![-1; p.dst_len()];
        window_to_flat_indices(p, &positions, &mut indices);
        let mut grad = poison(p.src_len());
        max_backward(p, &dy, &positions, &mut grad);
        dst.extend(positions.iter().map(|k| k.cell() as f32));
        dst.extend(indices.iter().map(|&i| i as f32));
        dst.extend(grad);
        dst
    });
    assert_close(&got, &[y, at, flat, dx].concat(), 1e-5, &format!("{p:?}"));
}

#[test]
fn max_pooling_finds_the_first_maximum_and_sends_the_gradient_there() {
    for p in problems() {
        check_max(&p);
    }
}

#[test]
fn a_window_that_misses_the_map_has_no_maximum_and_no_gradient() {
    let p = PoolProblem {
        n: 1,
        c: 2,
        input: [1, 1, 2],
        output: [1, 1, 1],
        kernel: [1, 1, 2],
        stride: [1; 3],
        padding: [0, 0, 1],
        dilation: [1, 1, 3],
    };
    let (mut dst, mut positions, mut dx) = ([0.0f32; 2], [9u8; 2], [f32::NAN; 4]);
    max_forward(&p, &[1.0f32, 2.0, 3.0, 4.0], &mut dst, Some(&mut positions));
    max_backward(&p, &[1.0f32, 1.0], &positions, &mut dx);
    assert_eq!((dst, dx), ([f32::NEG_INFINITY; 2], [0.0; 4]));
    // PyTorch's index: where the first cell that is not before the map would be.
    let (mut indices, mut flat) = ([-1; 2], [-1; 2]);
    window_to_flat_indices(&p, &positions, &mut indices);
    max_forward_flat(&p, &[1.0f32, 2.0, 3.0, 4.0], &mut dst, &mut flat);
    assert_eq!((indices, flat, dst), ([2; 2], [2; 2], [f32::NEG_INFINITY; 2]));
}

#[test]
fn average_pooling_divides_as_pytorch_does() {
    for p in problems().into_iter().filter(|p| p.dilation == [1; 3]) {
        for (count_include_pad, divisor_override) in
            [(true, None), (false, None), (true, Some(5)), (false, Some(-3))]
        {
            let options = AvgOptions { count_include_pad, divisor_override };
            let (src, dy) = (numbers::<f32>(3, p.src_len()), numbers::<f32>(4, p.dst_len()));
            let (mut y, mut dx) = (vec![0.0; p.dst_len()], vec![0.0; p.src_len()]);
            for_outputs(&p, |o, cells| {
                let (_, at) = windows::coordinates(p.output, o / p.c);
                let padded: usize = (0..3)
                    .map(|a| {
                        let start = at[a] * p.stride[a];
                        (start + p.kernel[a]).min(p.input[a] + 2 * p.padding[a]) - start
                    })
                    .product();
                let count = if count_include_pad { padded } else { cells.len() };
                let divisor = divisor_override.unwrap_or(count as i64) as f64;
                for &(_, i) in cells {
                    y[o] += f64::from(src[i]) / divisor;
                    dx[i] += f64::from(dy[o]) / divisor;
                }
            });
            let got = same_everywhere(|| {
                let (mut dst, mut grad) = (poison(p.dst_len()), poison(p.src_len()));
                avg_forward(&p, options, &src, &mut dst);
                avg_backward(&p, options, &dy, &mut grad);
                dst.extend(grad);
                dst
            });
            assert_close(&got, &[y, dx].concat(), 1e-5, &format!("{p:?} {options:?}"));
        }
    }
}

const ADAPTIVE: [([usize; 3], [usize; 3]); 7] = [
    ([1, 7, 7], [1, 1, 1]),
    ([1, 56, 48], [1, 1, 1]),
    ([1, 7, 10], [1, 3, 4]),
    ([1, 3, 2], [1, 5, 7]),
    ([4, 5, 6], [2, 5, 4]),
    ([1, 1, 11], [1, 1, 3]),
    ([1, 6, 6], [1, 6, 6]),
];

#[test]
fn adaptive_pooling_uses_pytorchs_windows_both_ways() {
    for (input, output) in ADAPTIVE {
        for (n, c) in [(0, 3), (1, 1), (2, 5), (3, 17), (1, 64), (2, 100)] {
            let p = AdaptiveProblem { n, c, input, output };
            let [ins, outs] = [input, output].map(|size| size.iter().product::<usize>());
            let src: Vec<f32> =
                numbers::<f32>(5, n * ins * c).iter().map(|x| (x * 8.0).round() / 8.0).collect();
            let dy = numbers::<f32>(6, n * outs * c);
            let (mut avg, mut max, mut at) = (vec![0.0; dy.len()], vec![0.0; dy.len()], vec![0.0; dy.len()]);
            let (mut avg_dx, mut max_dx) = (vec![0.0; src.len()], vec![0.0; src.len()]);
            for o in 0..dy.len() {
                let (image, out) = windows::coordinates(output, o / c);
                let range =
                    |a: usize| out[a] * input[a] / output[a]..((out[a] + 1) * input[a]).div_ceil(output[a]);
                let mut window = Vec::new();
                for d in range(0) {
                    for h in range(1) {
                        window.extend(range(2).map(|w| windows::pixel(input, 0, [d, h, w])));
                    }
                }
                let element = |pixel: usize| (image * ins + pixel) * c + o % c;
                let mut best = window[0];
                for &pixel in &window {
                    avg[o] += f64::from(src[element(pixel)]) / window.len() as f64;
                    avg_dx[element(pixel)] += f64::from(dy[o]) / window.len() as f64;
                    best = if src[element(pixel)] > src[element(best)] { pixel } else { best };
                }
                (max[o], at[o]) = (src[element(best)].into(), best as f64);
                max_dx[element(best)] += f64::from(dy[o]);
            }
            let got = same_everywhere(|| {
                let (mut dst, mut dx) = (poison(dy.len()), poison(src.len()));
                adaptive_avg_forward(&p, &src, &mut dst);
                adaptive_avg_backward(&p, &dy, &mut dx);
                let (mut largest, mut indices, mut back) =
                    (poison(dy.len()), vec![-1; dy.len()], poison(src.len()));
                adaptive_max_forward(&p, &src, &mut largest, &mut indices);
                let picks = PlaneProblem { n, c, pixels: ins, picks: outs };
                scatter(&picks, &dy, &indices, &mut back);
                let indices = indices.iter().map(|&i| i as f32).collect();
                [dst, dx, largest, indices, back].concat()
            });
            assert_close(&got, &[avg, avg_dx, max, at, max_dx].concat(), 1e-5, &format!("{p:?}"));
        }
    }
}

/// The sum of `y * dy` moves by `dx * h` when an element moves by `h`.
fn assert_slope(x: &[f64], dx: &[f64], dy: &[f64], forward: impl Fn(&[f64]) -> Vec<f64>) {
    for i in 0..x.len() {
        let value = |h: f64| {
            let mut x = x.to_vec();
            x[i] += h;
            forward(&x).iter().zip(dy).map(|(y, dy)| y * dy).sum::<f64>()
        };
        let slope = (value(1e-6) - value(-1e-6)) / 2e-6;
        assert!((slope - dx[i]).abs() < 1e-7, "{i}: {slope} {}", dx[i]);
    }
}

#[test]
fn gradients_are_the_slopes_in_f64() {
    let p =
        PoolProblem { n: 1, c: 3, ..problems().into_iter().find(|p| p.kernel == [1, 3, 3]).expect("a case") };
    let (x, dy) = (numbers::<f64>(7, p.src_len()), numbers::<f64>(8, p.dst_len()));
    let (mut y, mut at, mut dx) = (poison(p.dst_len()), vec![0u8; p.dst_len()], poison(p.src_len()));
    max_forward(&p, &x, &mut y, Some(&mut at));
    max_backward(&p, &dy, &at, &mut dx);
    assert_slope(&x, &dx, &dy, |x| {
        let mut y = poison(p.dst_len());
        max_forward(&p, x, &mut y, None::<&mut [u8]>);
        y
    });
    let options = AvgOptions { count_include_pad: false, divisor_override: None };
    avg_backward(&p, options, &dy, &mut dx);
    assert_slope(&x, &dx, &dy, |x| {
        let mut y = poison(p.dst_len());
        avg_forward(&p, options, x, &mut y);
        y
    });
}

#[test]
fn a_pooled_sample_does_not_depend_on_its_batch() {
    let batch = AdaptiveProblem { n: 4, c: 200, input: [1, 30, 31], output: [1, 1, 1] };
    let src = numbers::<f32>(9, 4 * 30 * 31 * 200);
    let (mut all, mut one) = (poison::<f32>(800), poison(200));
    adaptive_avg_forward(&batch, &src, &mut all);
    for n in 0..4 {
        adaptive_avg_forward(
            &AdaptiveProblem { n: 1, ..batch },
            &src[n * 186_000..(n + 1) * 186_000],
            &mut one,
        );
        assert_eq!(wide(&one), wide(&all[n * 200..(n + 1) * 200]));
    }
}

#[test]
fn of_several_values_for_one_pixel_the_last_stays_or_all_add() {
    let p = PlaneProblem { n: 1, c: 2, pixels: 3, picks: 3 };
    // Channel 0 puts 1, 3, 5 at 1, 1, 2; channel 1 puts 2, 4, 6 at 0, 7, 0, of which 7 is no pixel.
    let (src, indices) = ([1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0], [1, 0, 1, 7, 2, 0]);
    let (mut last, mut sum, mut back) = ([f32::NAN; 6], [f32::NAN; 6], [f32::NAN; 6]);
    scatter_last(&p, &src, &indices, &mut last);
    scatter(&p, &src, &indices, &mut sum);
    gather(&p, &sum, &indices, &mut back);
    assert_eq!(last, [0.0, 6.0, 3.0, 0.0, 5.0, 0.0]);
    assert_eq!(sum, [0.0, 8.0, 4.0, 0.0, 5.0, 0.0]);
    assert_eq!(back, [4.0, 8.0, 4.0, 0.0, 5.0, 8.0]);
}
