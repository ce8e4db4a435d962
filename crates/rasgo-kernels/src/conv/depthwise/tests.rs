//! Depthwise passes against the formula in `f64`, on every instruction set.

use crate::checks::{assert_close, numbers, poison, wide};
use crate::conv::{self, ConvProblem, reference};
use crate::settings::{with_isa, with_threads};
use crate::{Activation, Epilogue, Isa, buffer};

/// Shape, kernel, stride, dilation; padding and what is padded after the end.
fn problem(
    [n, ch]: [usize; 2],
    input: [usize; 3],
    [kernel, stride, dilation]: [[usize; 3]; 3],
    [padding, end]: [[usize; 3]; 2],
) -> ConvProblem {
    let output = std::array::from_fn(|i| {
        let span = dilation[i] * (kernel[i] - 1) + 1;
        (input[i] + padding[i] + end[i]).checked_sub(span).map_or(0, |x| x / stride[i] + 1)
    });
    ConvProblem { n, ic: ch, oc: ch, groups: ch, input, output, kernel, stride, padding, dilation }
}

/// A square kernel with its usual padding.
fn square(n: usize, ch: usize, [h, w]: [usize; 2], k: usize, stride: usize) -> ConvProblem {
    let around = [0, k / 2, k / 2];
    problem([n, ch], [1, h, w], [[1, k, k], [1, stride, stride], [1; 3]], [around; 2])
}

fn table() -> Vec<ConvProblem> {
    let mut table = Vec::new();
    // Channels around every width of vector; lines around a block, with two and three blocks that overlap.
    for ch in [8, 9, 15, 16, 17, 31, 33, 100, 130, 264] {
        table.push(square(2, ch, [5, 9], 3, 1));
        table.push(square(2, ch, [6, 8], 3, 2));
    }
    for width in 1..=23 {
        for (k, stride) in [(3, 1), (3, 2), (5, 1), (5, 2), (7, 1), (7, 2), (2, 1), (4, 3)] {
            table.push(square(1, 11, [4, width], k, stride));
        }
    }
    table.extend([
        // Uneven padding, more than the kernel reaches, and a stride that drops the last lines.
        problem([3, 17], [1, 9, 12], [[1, 3, 3], [1, 2, 2], [1; 3]], [[0, 1, 0], [0, 0, 0]]),
        problem([2, 33], [1, 7, 10], [[1, 3, 5], [1; 3], [1; 3]], [[0, 4, 5], [0, 0, 1]]),
        problem([2, 20], [1, 3, 2], [[1, 3, 3], [1; 3], [1; 3]], [[0, 3, 6], [0, 2, 5]]),
        // Dilation, alone, with stride, and with a stride that shares a factor with it.
        problem([2, 9], [1, 11, 13], [[1, 3, 3], [1; 3], [1, 2, 2]], [[0, 2, 2], [0, 2, 2]]),
        problem([2, 40], [1, 12, 17], [[1, 2, 3], [1, 3, 2], [1, 2, 3]], [[0, 1, 3], [0, 0, 2]]),
        problem([1, 12], [1, 13, 19], [[1, 3, 3], [1, 2, 2], [1, 2, 2]], [[0, 2, 1], [0, 1, 2]]),
        // One and three dimensions, a stride larger than the kernel.
        problem([2, 19], [1, 1, 50], [[1, 1, 7], [1, 1, 2], [1, 1, 2]], [[0, 0, 3], [0, 0, 1]]),
        problem([2, 10], [4, 6, 7], [[3, 2, 3], [2, 1, 2], [1, 2, 1]], [[1, 1, 0], [0, 0, 1]]),
        problem([2, 10], [1, 10, 11], [[1, 2, 1], [1, 3, 4], [1; 3]], [[0, 1, 0], [0, 0, 0]]),
        // Chunks: several images of one, several bands of an image, one line longer than a chunk.
        square(37, 24, [7, 6], 3, 1),
        square(3, 16, [45, 41], 3, 1),
        problem([2, 8], [1, 2, 1100], [[1, 2, 3], [1; 3], [1; 3]], [[0, 0, 1], [0, 0, 1]]),
        // No image, no pixel, and a map that is cropped to nothing.
        square(0, 12, [4, 5], 3, 1),
        problem([2, 9], [1, 2, 3], [[1, 4, 3], [1; 3], [1; 3]], [[0; 3]; 2]),
        ConvProblem { input: [1, 0, 2], output: [1, 2, 2], ..square(2, 9, [2, 2], 3, 1) },
        // What a transposed convolution meets: a last output that no tap fills.
        ConvProblem { output: [1, 4, 5], ..square(2, 9, [14, 13], 3, 4) },
    ]);
    table
}

/// So large that ReLU6 cuts both ends.
fn shortcut(p: &ConvProblem) -> Vec<f32> {
    numbers::<f32>(5, p.dst_len()).iter().map(|x| 9.0 * x).collect()
}

/// Forward, with bias, shortcut and ReLU6, the gradient to the input, with bias, and that to the weight.
fn passes(p: &ConvProblem) -> [Vec<f32>; 5] {
    let (src, weight, dy) = (numbers(1, p.src_len()), numbers(2, p.weight_len()), numbers(3, p.dst_len()));
    let (bias, add) = (numbers::<f32>(4, p.ic), shortcut(p));
    let mut all = [p.dst_len(), p.dst_len(), p.src_len(), p.src_len(), p.weight_len()].map(poison);
    let [dst, relu6, dx, transposed, dw] = &mut all;
    conv::forward(p, &src, &weight, None, Epilogue::NONE, dst);
    let epilogue = Epilogue { bias: Some(&bias), add: Some(&add), activation: Activation::Relu6 };
    conv::forward(p, &src, &weight, None, epilogue, relu6);
    conv::grad_input(p, &dy, &weight, None, dx);
    conv::grad_input(p, &dy, &weight, Some(&bias), transposed);
    conv::grad_weight(p, &src, &dy, dw);
    all
}

fn formula(p: &ConvProblem) -> [Vec<f64>; 5] {
    let numbers = |seed, len| wide(&numbers::<f32>(seed, len));
    let (src, weight, dy) = (numbers(1, p.src_len()), numbers(2, p.weight_len()), numbers(3, p.dst_len()));
    let (bias, add) = (numbers(4, p.ic), wide(&shortcut(p)));
    let mut all = [p.dst_len(), p.dst_len(), p.src_len(), p.src_len(), p.weight_len()].map(poison);
    let [dst, relu6, dx, transposed, dw] = &mut all;
    reference::forward(p, &src, &weight, Epilogue::NONE, dst);
    let epilogue = Epilogue { bias: Some(&bias), add: Some(&add), activation: Activation::Relu6 };
    reference::forward(p, &src, &weight, epilogue, relu6);
    reference::grad_input(p, &dy, &weight, None, dx);
    reference::grad_input(p, &dy, &weight, Some(&bias), transposed);
    reference::grad_weight(p, &src, &dy, dw);
    all
}

const NAMES: [&str; 5] =
    ["forward", "with shortcut and ReLU6", "gradient to the input", "with bias", "gradient to the weight"];

#[test]
fn every_pass_agrees_with_the_formula_on_every_instruction_set() {
    buffer::set_poison(true);
    for p in table() {
        assert_eq!(conv::chosen(&p, Isa::Portable), ["depthwise"; 3]);
        let want = formula(&p);
        for isa in Isa::available() {
            let got = with_isa(isa, || with_threads(1, || passes(&p)));
            for i in 0..5 {
                // Sums of up to some thousands of products below 4.
                let tolerance = if i == 4 { 1e-4 } else { 1e-5 };
                assert_close(&got[i], &want[i], tolerance, &format!("{} {} {p:?}", isa.name(), NAMES[i]));
            }
        }
    }
}

#[test]
fn the_bits_depend_neither_on_threads_nor_on_the_batch() {
    for p in table() {
        for isa in Isa::available() {
            let bits = |x: &[f32]| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            let run = |threads| with_isa(isa, || with_threads(threads, || passes(&p)));
            let one = run(1);
            for threads in [2, 3] {
                let other = run(threads);
                for i in 0..5 {
                    let same = bits(&one[i]) == bits(&other[i]);
                    assert!(same, "{} with {threads} threads on {}: {p:?}", NAMES[i], isa.name());
                }
            }
            let single = ConvProblem { n: 1, ..p };
            let (src, weight) = (numbers::<f32>(1, p.src_len()), numbers::<f32>(2, p.weight_len()));
            let dy = numbers::<f32>(3, p.dst_len());
            let (s, d) = (single.src_len(), single.dst_len());
            for image in 0..p.n {
                let (mut dst, mut dx) = (poison::<f32>(d), poison::<f32>(s));
                with_isa(isa, || {
                    conv::forward(&single, &src[image * s..][..s], &weight, None, Epilogue::NONE, &mut dst);
                    conv::grad_input(&single, &dy[image * d..][..d], &weight, None, &mut dx);
                });
                assert!(bits(&dst) == bits(&one[0][image * d..][..d]), "image {image} alone: {p:?}");
                assert!(bits(&dx) == bits(&one[2][image * s..][..s]), "image {image} alone, dx: {p:?}");
            }
        }
    }
}

#[test]
fn a_weight_that_no_pixel_meets_is_not_multiplied_with_zero() {
    // The taps to the left and above meet padding only; an infinite weight there would make NaN of 0.
    let p = problem([1, 16], [1, 1, 1], [[1, 3, 3], [1; 3], [1; 3]], [[0, 1, 1]; 2]);
    let mut weight = vec![f32::INFINITY; p.weight_len()];
    weight.iter_mut().skip(4).step_by(9).for_each(|x| *x = 2.0);
    for isa in Isa::available() {
        let (mut dst, mut dx) = (poison::<f32>(16), poison::<f32>(16));
        with_isa(isa, || {
            conv::forward(&p, &[3.0; 16], &weight, None, Epilogue::NONE, &mut dst);
            conv::grad_input(&p, &[3.0; 16], &weight, None, &mut dx);
        });
        assert_eq!((dst, dx), (vec![6.0; 16], vec![6.0; 16]), "{}", isa.name());
    }
}

#[test]
fn a_nan_stays_one_after_relu6() {
    let p = square(1, 17, [1, 9], 3, 1);
    let mut src = numbers::<f32>(1, p.src_len());
    src[4 * 17 + 16] = f32::NAN;
    for isa in Isa::available() {
        let mut dst = vec![0.0; p.dst_len()];
        let weight = numbers(2, p.weight_len());
        let epilogue = Epilogue { activation: Activation::Relu6, ..Epilogue::NONE };
        with_isa(isa, || conv::forward(&p, &src, &weight, None, epilogue, &mut dst));
        for (i, x) in dst.iter().enumerate() {
            assert_eq!(x.is_nan(), i % 17 == 16 && (3..=5).contains(&(i / 17)), "{} at {i}", isa.name());
        }
    }
}
