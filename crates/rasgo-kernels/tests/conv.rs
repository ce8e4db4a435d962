//! Every implementation of convolution against the formula in `f64`, at every instruction set.

use rasgo_kernels::conv::{self, ConvProblem};
use rasgo_kernels::settings::{with_exact, with_isa, with_threads};
use rasgo_kernels::{Activation, Epilogue, Isa};

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }
    fn range(&mut self, low: usize, high: usize) -> usize {
        low + self.next() as usize % (high - low + 1)
    }
    fn values(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.next() as f32 / (1u64 << 30) as f32 - 1.0).collect()
    }
}

fn problem(
    [n, ic, oc, groups]: [usize; 4],
    input: [usize; 3],
    kernel: [usize; 3],
    stride: [usize; 3],
    padding: [usize; 3],
    end: [usize; 3],
    dilation: [usize; 3],
) -> ConvProblem {
    let output = std::array::from_fn(|i| {
        (input[i] + padding[i] + end[i])
            .checked_sub(dilation[i] * (kernel[i] - 1) + 1)
            .map_or(0, |x| x / stride[i] + 1)
    });
    ConvProblem { n, ic, oc, groups, input, output, kernel, stride, padding, dilation }
}

/// Different sizes on every axis, padding that differs at both ends, steps that drop the last rows.
fn table() -> Vec<ConvProblem> {
    vec![
        problem([3, 1, 64, 1], [1, 9, 12], [1, 3, 3], [1; 3], [0, 1, 1], [0, 1, 1], [1; 3]),
        problem([2, 64, 40, 1], [1, 5, 7], [1, 3, 3], [1; 3], [0, 1, 1], [0, 1, 1], [1; 3]),
        problem([2, 3, 33, 1], [1, 17, 22], [1, 7, 5], [1, 2, 3], [0, 3, 2], [0, 2, 1], [1; 3]),
        problem([2, 5, 6, 1], [1, 11, 8], [1, 2, 3], [1, 3, 2], [0, 2, 1], [0, 0, 0], [1, 2, 3]),
        problem([2, 6, 9, 3], [4, 5, 6], [3, 2, 1], [2, 1, 2], [1, 0, 0], [0, 1, 0], [1, 2, 1]),
        problem([1, 9, 70, 1], [1, 1, 50], [1, 1, 7], [1, 1, 2], [0, 0, 3], [0, 0, 1], [1, 1, 2]),
        problem([2, 40, 24, 1], [1, 6, 5], [1, 1, 1], [1; 3], [0; 3], [0; 3], [1; 3]),
        problem([2, 12, 20, 2], [1, 6, 5], [1, 1, 1], [1; 3], [0; 3], [0; 3], [1; 3]),
        problem([2, 20, 17, 1], [1, 7, 9], [1, 1, 1], [1, 2, 3], [0; 3], [0; 3], [1; 3]),
        problem([3, 43, 43, 43], [2, 6, 7], [1, 3, 2], [1, 2, 1], [0, 1, 1], [0, 0, 0], [1, 1, 2]),
        problem([2, 3, 3, 3], [1, 6, 7], [1, 3, 3], [1; 3], [0, 1, 1], [0, 1, 1], [1; 3]),
        problem([2, 8, 16, 8], [1, 6, 7], [1, 3, 3], [1; 3], [0, 1, 1], [0, 1, 1], [1; 3]),
        problem([1, 4, 5, 1], [3, 4, 5], [2, 3, 4], [1, 2, 1], [1, 1, 2], [0, 1, 1], [2, 1, 1]),
        problem([0, 4, 5, 1], [1, 4, 5], [1, 3, 3], [1; 3], [0, 1, 1], [0, 1, 1], [1; 3]),
        // Stride larger than the kernel: phases without taps. Kernel larger than the map: no output.
        problem([2, 7, 5, 1], [1, 10, 11], [1, 2, 1], [1, 3, 4], [0, 1, 0], [0, 0, 0], [1; 3]),
        problem([2, 7, 5, 1], [1, 2, 3], [1, 4, 3], [1; 3], [0; 3], [0; 3], [1; 3]),
        // What a transposed convolution meets: a last output that no tap fills, and a map that is cropped to nothing.
        ConvProblem {
            n: 2,
            ic: 6,
            oc: 4,
            groups: 2,
            input: [1, 14, 13],
            output: [1, 4, 5],
            kernel: [1, 3, 2],
            stride: [1, 4, 2],
            padding: [0, 1, 0],
            dilation: [1, 1, 3],
        },
        ConvProblem {
            n: 2,
            ic: 3,
            oc: 4,
            groups: 1,
            input: [1, 0, 2],
            output: [1, 2, 2],
            kernel: [1, 3, 3],
            stride: [1; 3],
            padding: [0, 2, 1],
            dilation: [1; 3],
        },
        // More pixels than a chunk of the gradient to the weight, and many chunks.
        problem([5, 2, 3, 1], [1, 70, 66], [1, 3, 3], [1; 3], [0, 1, 1], [0, 1, 1], [1; 3]),
        problem([7, 35, 18, 1], [1, 40, 31], [1, 3, 3], [1; 3], [0, 1, 1], [0, 1, 1], [1; 3]),
        // Few channels, read as they lie: with and without padding, steps and holes, many channels out, maps in depth.
        problem([3, 5, 40, 1], [1, 9, 14], [1, 3, 4], [1, 2, 3], [0; 3], [0; 3], [1, 2, 1]),
        problem([5, 2, 9, 1], [2, 13, 31], [1, 5, 3], [1, 2, 1], [0, 2, 1], [0, 1, 0], [1; 3]),
        problem([2, 6, 16, 1], [1, 14, 15], [1, 5, 5], [1; 3], [0; 3], [0; 3], [1; 3]),
        problem([2, 3, 70, 1], [1, 30, 29], [1, 7, 7], [1, 2, 2], [0, 3, 3], [0, 3, 3], [1; 3]),
        // … by phases of the stride: with padding, without, a phase without taps, padding beyond what a phase reaches.
        problem([2, 18, 12, 1], [1, 9, 11], [1, 3, 3], [1, 2, 2], [0, 1, 1], [0, 1, 1], [1; 3]),
        problem([2, 10, 7, 1], [1, 12, 17], [1, 5, 4], [1, 2, 3], [0, 0, 1], [0, 0, 0], [1; 3]),
        problem([2, 12, 40, 1], [1, 8, 9], [1, 1, 1], [1, 2, 2], [0; 3], [0; 3], [1; 3]),
        problem([2, 9, 5, 1], [1, 6, 7], [1, 3, 3], [1, 2, 2], [0, 2, 2], [0, 1, 1], [1; 3]),
        // … a stride beyond the map, which most phases of do not begin in.
        problem([2, 9, 5, 1], [1, 6, 7], [1, 3, 3], [1, 1 << 40, 1 << 30], [0; 3], [0; 3], [1; 3]),
        problem([2, 3, 4, 1], [1, 6, 7], [1, 3, 3], [1, 1 << 30, 1 << 40], [0; 3], [0; 3], [1; 3]),
        // … several pixels at a time, of which a row of outputs has a whole number, or not.
        problem([3, 1, 6, 1], [1, 14, 28], [1, 5, 5], [1; 3], [0, 2, 2], [0, 2, 2], [1; 3]),
        problem([2, 2, 3, 1], [1, 7, 23], [1, 3, 4], [1, 1, 2], [0, 1, 2], [0, 1, 1], [1; 3]),
        problem([2, 4, 5, 1], [1, 7, 13], [1, 3, 3], [1; 3], [0, 1, 1], [0, 1, 1], [1; 3]),
        // Sums of several blocks, by a direct way and as a matrix.
        problem([2, 130, 9, 1], [1, 6, 9], [1, 3, 3], [1, 2, 2], [0, 1, 1], [0, 1, 1], [1; 3]),
        problem([2, 700, 37, 1], [1, 5, 6], [1, 1, 1], [1; 3], [0; 3], [0; 3], [1; 3]),
        problem([1, 1024, 24, 1], [1, 4, 5], [1, 1, 1], [1; 3], [0; 3], [0; 3], [1; 3]),
        // Winograd: tiles that the map does not fill, whole and partial vectors of channels, both schemes, maps in depth.
        problem([3, 17, 50, 1], [1, 9, 14], [1, 3, 3], [1; 3], [0, 1, 2], [0, 0, 1], [1; 3]),
        problem([2, 33, 16, 1], [3, 5, 4], [1, 3, 3], [1; 3], [0, 0, 1], [0, 2, 1], [1; 3]),
        problem([5, 24, 31, 1], [1, 2, 3], [1, 3, 3], [1; 3], [0, 1, 1], [0, 1, 1], [1; 3]),
        problem([2, 19, 20, 1], [1, 4, 4], [1, 3, 3], [1; 3], [0, 0, 0], [0, 0, 0], [1; 3]),
        // … many tiles with few filters, and filters too large to be shared, of which the last need several groups of tiles.
        problem([2, 32, 48, 1], [1, 61, 50], [1, 3, 3], [1; 3], [0, 1, 1], [0, 1, 1], [1; 3]),
        problem([2, 200, 210, 1], [1, 5, 6], [1, 3, 3], [1; 3], [0, 1, 1], [0, 1, 1], [1; 3]),
        problem([3, 290, 150, 1], [1, 23, 25], [1, 3, 3], [1; 3], [0, 1, 1], [0, 1, 1], [1; 3]),
        problem([9, 130, 150, 1], [1, 7, 6], [1, 3, 3], [1; 3], [0, 1, 1], [0, 1, 1], [1; 3]),
        // … one, two and three tiles, of which several planes are multiplied at once.
        problem([1, 135, 40, 1], [1, 4, 3], [1, 3, 3], [1; 3], [0, 1, 1], [0, 1, 1], [1; 3]),
        problem([2, 24, 50, 1], [1, 4, 4], [1, 3, 3], [1; 3], [0, 1, 1], [0, 1, 1], [1; 3]),
        problem([3, 140, 16, 1], [1, 4, 4], [1, 3, 3], [1; 3], [0, 1, 1], [0, 1, 1], [1; 3]),
    ]
}

fn random(r: &mut Random) -> ConvProblem {
    let groups = [1, 1, 1, 2, 3][r.range(0, 4)];
    let channels = [r.range(0, 3), groups * r.range(1, 9), groups * r.range(1, 70 / groups), groups];
    let mut axis = |low, high| [r.range(1, 3), r.range(low, high), r.range(low, high)];
    let (input, kernel, stride) = (axis(1, 12), axis(1, 5), axis(1, 3));
    let (padding, dilation) = (axis(0, 3), axis(1, 2));
    let end = axis(0, 2);
    let (kernel, padding) =
        ([kernel[0].min(2), kernel[1], kernel[2]], [padding[0] - 1, padding[1], padding[2]]);
    problem(channels, input, kernel, stride, padding, end, dilation)
}

fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&x| f64::from(x)).collect()
}

#[track_caller]
fn close(got: &[f32], want: &[f64], terms: usize, what: &str, p: &ConvProblem) {
    let largest = want.iter().fold(1.0f64, |m, x| m.max(x.abs()));
    let tolerance = largest * 1e-6 * (terms as f64).sqrt().max(4.0);
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        assert!((f64::from(*got) - want).abs() <= tolerance, "{what}[{i}] is {got}, not {want}: {p:?}");
    }
}

struct Results {
    dst: Vec<f32>,
    /// With bias and ReLU.
    relu: Vec<f32>,
    /// With bias, shortcut and ReLU6.
    relu6: Vec<f32>,
    dx: Vec<f32>,
    transposed: Vec<f32>,
    dw: Vec<f32>,
    db: Vec<f32>,
}

/// So large that ReLU6 cuts both ends.
fn shortcut(p: &ConvProblem) -> Vec<f32> {
    Random(9).values(p.dst_len()).iter().map(|x| 9.0 * x).collect()
}

fn run(p: &ConvProblem, src: &[f32], weight: &[f32], [bias, back]: [&[f32]; 2], dy: &[f32]) -> Results {
    let poison = |n: usize| vec![f32::NAN; n];
    let mut r = Results {
        dst: poison(p.dst_len()),
        relu: poison(p.dst_len()),
        relu6: poison(p.dst_len()),
        dx: poison(p.src_len()),
        transposed: poison(p.src_len()),
        dw: poison(p.weight_len()),
        db: poison(p.oc),
    };
    conv::forward(p, src, weight, None, Epilogue::NONE, &mut r.dst);
    let packed = conv::pack_weight(p, weight);
    let mut epilogue = Epilogue { bias: Some(bias), add: None, activation: Activation::Relu };
    conv::forward(p, src, weight, packed.as_ref(), epilogue, &mut r.relu);
    let shortcut = shortcut(p);
    (epilogue.add, epilogue.activation) = (Some(&shortcut[..]), Activation::Relu6);
    conv::forward(p, src, weight, packed.as_ref(), epilogue, &mut r.relu6);
    conv::grad_input(p, dy, weight, None, &mut r.dx);
    conv::grad_input(p, dy, weight, Some(back), &mut r.transposed);
    conv::grad_weight(p, src, dy, &mut r.dw);
    conv::grad_bias(p.n * p.output_pixels(), p.oc, dy, &mut r.db);
    r
}

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

fn check(p: &ConvProblem) {
    rasgo_kernels::buffer::set_poison(true);
    let mut r = Random(p.src_len() as u64 + 7);
    let (src, weight) = (r.values(p.src_len()), r.values(p.weight_len()));
    let (bias, back, dy) = (r.values(p.oc), r.values(p.ic), r.values(p.dst_len()));
    let (src64, weight64, bias64, dy64) = (wide(&src), wide(&weight), wide(&bias), wide(&dy));
    let (mut dst, mut relu) = (vec![f64::NAN; p.dst_len()], vec![f64::NAN; p.dst_len()]);
    let (mut dx, mut dw) = (vec![f64::NAN; p.src_len()], vec![f64::NAN; p.weight_len()]);
    let mut db = vec![f64::NAN; p.oc];
    conv::forward(p, &src64, &weight64, None, Epilogue::NONE, &mut dst);
    let mut epilogue = Epilogue { bias: Some(&bias64), add: None, activation: Activation::Relu };
    conv::forward(p, &src64, &weight64, None, epilogue, &mut relu);
    let (mut relu6, shortcut64) = (relu.clone(), wide(&shortcut(p)));
    (epilogue.add, epilogue.activation) = (Some(&shortcut64[..]), Activation::Relu6);
    conv::forward(p, &src64, &weight64, None, epilogue, &mut relu6);
    let mut transposed = dx.clone();
    conv::grad_input(p, &dy64, &weight64, None, &mut dx);
    conv::grad_input(p, &dy64, &weight64, Some(&wide(&back)), &mut transposed);
    conv::grad_weight(p, &src64, &dy64, &mut dw);
    conv::grad_bias(p.n * p.output_pixels(), p.oc, &dy64, &mut db);
    let pixels = p.n * p.output_pixels();
    for isa in Isa::available() {
        with_isa(isa, || {
            let got = with_threads(1, || run(p, &src, &weight, [&bias, &back], &dy));
            let name = |what: &str| format!("{} {what}", isa.name());
            close(&got.dst, &dst, p.group_ic() * p.taps(), &name("dst"), p);
            close(&got.relu, &relu, p.group_ic() * p.taps(), &name("relu"), p);
            // Rounded where the sums were four times as large as what is left of them.
            close(&got.relu6, &relu6, 16 * p.group_ic() * p.taps(), &name("relu6"), p);
            close(&got.dx, &dx, p.group_oc() * p.taps(), &name("dx"), p);
            close(&got.transposed, &transposed, p.group_oc() * p.taps(), &name("transposed"), p);
            close(&got.dw, &dw, pixels, &name("dw"), p);
            close(&got.db, &db, pixels, &name("db"), p);
            for threads in [2, 3] {
                let other = with_threads(threads, || run(p, &src, &weight, [&bias, &back], &dy));
                for (a, b) in [
                    (&got.dst, &other.dst),
                    (&got.relu, &other.relu),
                    (&got.relu6, &other.relu6),
                    (&got.dx, &other.dx),
                    (&got.transposed, &other.transposed),
                ] {
                    assert!(bits(a) == bits(b), "{threads} threads: {p:?}");
                }
                assert!(bits(&got.dw) == bits(&other.dw), "{threads} threads, dw: {p:?}");
                assert!(bits(&got.db) == bits(&other.db), "{threads} threads, db: {p:?}");
            }
            let one = ConvProblem { n: 1, ..*p };
            for i in 0..p.n {
                let (s, d) = (one.src_len(), one.dst_len());
                let mut alone = vec![f32::NAN; d];
                conv::forward(&one, &src[i * s..][..s], &weight, None, Epilogue::NONE, &mut alone);
                assert!(bits(&alone) == bits(&got.dst[i * d..][..d]), "image {i} alone: {p:?}");
            }
        });
    }
}

#[test]
fn every_pass_agrees_with_the_formula_on_the_table() {
    table().iter().for_each(check);
}

#[test]
fn every_pass_agrees_with_the_formula_on_random_shapes() {
    let mut r = Random(2026);
    (0..150).for_each(|_| check(&random(&mut r)));
}

#[test]
fn every_number_of_output_channels_is_right() {
    for oc in 1..=70 {
        check(&problem([2, 1 + oc % 9, oc, 1], [1, 5, 4], [1, 3, 2], [1, 1, 2], [0, 1, 0], [0; 3], [1; 3]));
    }
}

#[test]
fn the_gradient_to_the_weight_of_a_batch_is_the_sum_of_its_halves() {
    // 64 images of 64 pixels make a chunk; the tree's last step adds the two halves of the batch.
    let few = problem([256, 5, 33, 1], [1, 8, 8], [1, 3, 3], [1; 3], [0, 1, 1], [0, 1, 1], [1; 3]);
    let winograd = problem([128, 65, 33, 1], [1, 32, 32], [1, 3, 3], [1; 3], [0, 1, 1], [0, 1, 1], [1; 3]);
    [few, winograd].iter().for_each(halves);
}

fn halves(p: &ConvProblem) {
    let half = ConvProblem { n: p.n / 2, ..*p };
    let mut r = Random(1);
    let (src, dy) = (r.values(p.src_len()), r.values(p.dst_len()));
    let mut whole = vec![f32::NAN; p.weight_len()];
    conv::grad_weight(p, &src, &dy, &mut whole);
    let halves: Vec<Vec<f32>> = (0..2)
        .map(|i| {
            let mut dw = vec![f32::NAN; p.weight_len()];
            let (s, d) = (half.src_len(), half.dst_len());
            conv::grad_weight(&half, &src[i * s..][..s], &dy[i * d..][..d], &mut dw);
            dw
        })
        .collect();
    let sum: Vec<f32> = halves[0].iter().zip(&halves[1]).map(|(a, b)| a + b).collect();
    assert_eq!(bits(&sum), bits(&whole));
}

#[test]
fn a_nan_in_the_input_is_seen_in_the_output() {
    let p = problem([1, 20, 20, 1], [1, 4, 5], [1, 1, 1], [1; 3], [0; 3], [0; 3], [1; 3]);
    let mut src = Random(3).values(p.src_len());
    src[45] = f32::NAN;
    for isa in Isa::available() {
        let mut dst = vec![0.0; p.dst_len()];
        let weight = Random(4).values(p.weight_len());
        with_isa(isa, || {
            conv::forward(
                &p,
                &src,
                &weight,
                None,
                Epilogue { activation: Activation::Relu, ..Epilogue::NONE },
                &mut dst,
            )
        });
        for (i, x) in dst.iter().enumerate() {
            assert_eq!(x.is_nan(), i / 20 == 2, "{} at {i}", isa.name());
        }
    }
}

/// The errors of a pass in units of the root mean square of its result: root mean square and largest.
fn error(got: &[f32], want: &[f64]) -> (f64, f64) {
    let square = |sum: f64| (sum / want.len() as f64).sqrt();
    let rms = square(want.iter().map(|x| x * x).sum());
    let errors = || got.iter().zip(want).map(|(got, want)| (f64::from(*got) - want) / rms);
    (square(errors().map(|e| e * e).sum()), errors().fold(0.0, |most, e| e.abs().max(most)))
}

/// What the documentation of [`conv::forward`] states.
#[test]
fn winograd_has_the_stated_error() {
    for (size, name, stated) in
        [([1, 12, 16], "F(4x4, 3x3)", (2.5e-6, 4e-5)), ([1, 2, 2], "F(2x2, 3x3)", (5e-7, 4e-6))]
    {
        let n = if size == [1, 2, 2] { 40 } else { 2 };
        let p = problem([n, 64, 48, 1], size, [1, 3, 3], [1; 3], [0, 1, 1], [0, 1, 1], [1; 3]);
        assert_eq!(conv::chosen(&p, Isa::current()), ["winograd"; 3]);
        let mut r = Random(5);
        let (src, weight, dy) = (r.values(p.src_len()), r.values(p.weight_len()), r.values(p.dst_len()));
        let (src64, weight64, dy64) = (wide(&src), wide(&weight), wide(&dy));
        let (mut dst, mut dx, mut dw) =
            (vec![0.0; p.dst_len()], vec![0.0; p.src_len()], vec![0.0; p.weight_len()]);
        conv::forward(&p, &src64, &weight64, None, Epilogue::NONE, &mut dst);
        conv::grad_input(&p, &dy64, &weight64, None, &mut dx);
        conv::grad_weight(&p, &src64, &dy64, &mut dw);
        for isa in Isa::available() {
            for exact in [false, true] {
                let want = with_isa(isa, || {
                    with_exact(exact, || {
                        assert_eq!(conv::chosen(&p, isa)[0] == "winograd", !exact);
                        run(&p, &src, &weight, [&[0.0; 48], &[0.0; 64]], &dy)
                    })
                });
                for (pass, (rms, most)) in [
                    ("forward", error(&want.dst, &dst)),
                    ("gradient to the input", error(&want.dx, &dx)),
                    ("gradient to the weight", error(&want.dw, &dw)),
                ] {
                    let (stated_rms, stated_most) = if exact { (4e-7, 4e-6) } else { stated };
                    assert!(
                        rms <= stated_rms && most <= stated_most,
                        "{name}, {}, exact {exact}, {pass}: {rms:.1e}, at most {most:.1e}",
                        isa.name()
                    );
                }
            }
        }
    }
}

#[test]
fn filters_transformed_before_give_the_same_bits() {
    // The last filters are so many that they are arranged, and transformed in each call.
    for ([ic, oc], size) in
        [([40, 36], [1, 8, 9]), ([40, 36], [1, 60, 50]), ([40, 36], [1, 2, 2]), ([205, 215], [1, 4, 5])]
    {
        let p = problem([2, ic, oc, 1], size, [1, 3, 3], [1; 3], [0, 1, 1], [0, 1, 1], [1; 3]);
        let mut r = Random(6);
        let (src, weight) = (r.values(p.src_len()), r.values(p.weight_len()));
        let (mut plain, mut with) = (vec![f32::NAN; p.dst_len()], vec![f32::NAN; p.dst_len()]);
        conv::forward(&p, &src, &weight, None, Epilogue::NONE, &mut plain);
        let packed = conv::pack_weight(&p, &weight);
        assert!(packed.is_some());
        conv::forward(&p, &src, &weight, packed.as_ref(), Epilogue::NONE, &mut with);
        assert_eq!(bits(&plain), bits(&with));
    }
}
