//! Every implementation of convolution against the formula in `f64`, at every instruction set.

mod bf16;
mod problems;

use problems::{Random, problem, random, table};
use rasgo_kernels::conv::{self, ConvProblem};
use rasgo_kernels::settings::{with_exact, with_isa, with_threads};
use rasgo_kernels::{Activation, Epilogue, Isa};

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
