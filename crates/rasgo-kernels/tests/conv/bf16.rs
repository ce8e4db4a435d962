//! Convolution of maps of bfloat16 against the formula in `f64` on the same values.

use super::problems::{Random, problem, random, table};
use rasgo_kernels::conv::{self, ConvProblem};
use rasgo_kernels::settings::{with_isa, with_threads};
use rasgo_kernels::{Activation, Bf16, Epilogue, Isa};

fn rounded(values: Vec<f32>) -> Vec<Bf16> {
    values.into_iter().map(Bf16::from_f32).collect()
}

fn floats(values: &[Bf16]) -> Vec<f32> {
    values.iter().map(|x| x.to_f32()).collect()
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&x| f64::from(x)).collect()
}

/// Half a unit of the last place that is stored, and the rounding of so many sums.
#[track_caller]
fn close(got: &[f32], want: &[f64], place: f64, terms: usize, what: &str, p: &ConvProblem) {
    let largest = want.iter().fold(1.0f64, |m, x| m.max(x.abs()));
    let sums = largest * 1e-6 * (terms as f64).sqrt().max(4.0);
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        let tolerance = place * want.abs() + sums;
        assert!((f64::from(*got) - want).abs() <= tolerance, "{what}[{i}] is {got}, not {want}: {p:?}");
    }
}

struct Problem {
    p: ConvProblem,
    src: Vec<Bf16>,
    dy: Vec<Bf16>,
    shortcut: Vec<Bf16>,
    /// Values of bfloat16 too: it is as such that they are multiplied.
    weight: Vec<f32>,
    bias: Vec<f32>,
    back: Vec<f32>,
}

struct Results {
    dst: Vec<f32>,
    /// With bias, shortcut and ReLU.
    relu: Vec<f32>,
    dx: Vec<f32>,
    transposed: Vec<f32>,
    dw: Vec<f32>,
}

impl Problem {
    fn new(p: &ConvProblem) -> Problem {
        let mut r = Random(p.src_len() as u64 + 7);
        Problem {
            p: *p,
            src: rounded(r.values(p.src_len())),
            dy: rounded(r.values(p.dst_len())),
            shortcut: rounded(r.values(p.dst_len())),
            weight: floats(&rounded(r.values(p.weight_len()))),
            bias: r.values(p.oc),
            back: r.values(p.ic),
        }
    }

    fn run(&self) -> Results {
        let (p, poison) = (&self.p, |n: usize| vec![Bf16::from_f32(f32::NAN); n]);
        let (mut dst, mut relu) = (poison(p.dst_len()), poison(p.dst_len()));
        let (mut dx, mut transposed) = (poison(p.src_len()), poison(p.src_len()));
        let mut dw = vec![f32::NAN; p.weight_len()];
        conv::forward(p, &self.src, &self.weight, None, Epilogue::NONE, &mut dst);
        let (bias, add) = (Some(&self.bias[..]), Some(&self.shortcut[..]));
        let epilogue = Epilogue { bias, add, activation: Activation::Relu };
        conv::forward(p, &self.src, &self.weight, None, epilogue, &mut relu);
        conv::grad_input(p, &self.dy, &self.weight, None, &mut dx);
        conv::grad_input(p, &self.dy, &self.weight, Some(&self.back), &mut transposed);
        conv::grad_weight(p, &self.src, &self.dy, &mut dw);
        let [dst, relu, dx, transposed] = [dst, relu, dx, transposed].map(|map| floats(&map));
        Results { dst, relu, dx, transposed, dw }
    }

    /// All of it in `f64`: without rounding.
    fn expected(&self) -> [Vec<f64>; 5] {
        let p = &self.p;
        let [src, dy, shortcut] = [&self.src, &self.dy, &self.shortcut].map(|map| wide(&floats(map)));
        let [weight, bias, back] = [&self.weight, &self.bias, &self.back].map(|values| wide(values));
        let (mut dst, mut relu) = (vec![f64::NAN; p.dst_len()], vec![f64::NAN; p.dst_len()]);
        let (mut dx, mut transposed) = (vec![f64::NAN; p.src_len()], vec![f64::NAN; p.src_len()]);
        let mut dw = vec![f64::NAN; p.weight_len()];
        conv::forward(p, &src, &weight, None, Epilogue::NONE, &mut dst);
        let epilogue = Epilogue { bias: Some(&bias), add: Some(&shortcut), activation: Activation::Relu };
        conv::forward(p, &src, &weight, None, epilogue, &mut relu);
        conv::grad_input(p, &dy, &weight, None, &mut dx);
        conv::grad_input(p, &dy, &weight, Some(&back), &mut transposed);
        conv::grad_weight(p, &src, &dy, &mut dw);
        [dst, relu, dx, transposed, dw]
    }
}

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

fn check(p: &ConvProblem) {
    rasgo_kernels::buffer::set_poison(true);
    let problem = Problem::new(p);
    let [dst, relu, dx, transposed, dw] = problem.expected();
    let (into, back, pixels) = (p.group_ic() * p.taps(), p.group_oc() * p.taps(), p.n * p.output_pixels());
    const PLACE: f64 = 1.0 / 256.0;
    for isa in Isa::available() {
        with_isa(isa, || {
            let got = with_threads(1, || problem.run());
            let name = |what: &str| format!("{} {what}", isa.name());
            close(&got.dst, &dst, PLACE, into, &name("dst"), p);
            close(&got.relu, &relu, PLACE, 4 * into, &name("relu"), p);
            close(&got.dx, &dx, PLACE, back, &name("dx"), p);
            close(&got.transposed, &transposed, PLACE, back, &name("transposed"), p);
            close(&got.dw, &dw, 0.0, 4 * pixels, &name("dw"), p);
            for threads in [2, 3] {
                let other = with_threads(threads, || problem.run());
                let pairs = [
                    (&got.dst, &other.dst),
                    (&got.relu, &other.relu),
                    (&got.dx, &other.dx),
                    (&got.transposed, &other.transposed),
                    (&got.dw, &other.dw),
                ];
                assert!(pairs.iter().all(|(a, b)| bits(a) == bits(b)), "{threads} threads: {p:?}");
            }
            let one = ConvProblem { n: 1, ..*p };
            for i in 0..p.n {
                let (s, d) = (one.src_len(), one.dst_len());
                let mut alone = vec![Bf16::default(); d];
                let src = &problem.src[i * s..][..s];
                conv::forward(&one, src, &problem.weight, None, Epilogue::NONE, &mut alone);
                assert!(bits(&floats(&alone)) == bits(&got.dst[i * d..][..d]), "image {i} alone: {p:?}");
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
    let mut r = Random(2027);
    (0..100).for_each(|_| check(&random(&mut r)));
}

/// Channels that are whole rows of a tile: maps that are read as they lie, lines that are shared by neighbours.
#[test]
fn every_pass_agrees_where_channels_fill_tiles() {
    let same = |[n, ic, oc]: [usize; 3], [height, width]: [usize; 2], kernel: usize| {
        let (kernel, padding) = ([1, kernel, kernel], [0, kernel / 2, kernel / 2]);
        problem([n, ic, oc, 1], [1, height, width], kernel, [1; 3], padding, padding, [1; 3])
    };
    check(&same([3, 64, 40], [19, 21], 3));
    check(&same([2, 32, 20], [40, 45], 3));
    check(&same([5, 96, 33], [7, 7], 3));
    check(&same([2, 64, 64], [9, 33], 5));
    check(&same([3, 64, 100], [11, 13], 1));
    // Several parts of an image, and chunks that are added up.
    check(&same([2, 64, 64], [100, 100], 3));
    // No images, no outputs, and taps so far apart that few of them meet the map.
    check(&same([0, 16, 17], [4, 5], 3));
    check(&problem([2, 16, 16, 1], [1, 2, 3], [1, 4, 3], [1; 3], [0; 3], [0; 3], [1; 3]));
    check(&problem([2, 16, 9, 1], [1, 9, 9], [1, 3, 3], [1; 3], [0, 30, 30], [0, 30, 30], [1, 30, 30]));
    let far = [1, 1 << 16, 1 << 16];
    check(&problem(
        [1, 16, 16, 1],
        [1, 1, 1],
        [1, 2, 2],
        [1; 3],
        [0, 1 << 15, 1 << 15],
        [0, 1 << 15, 1 << 15],
        far,
    ));
    // As linear layers are.
    check(&same([67, 160, 90], [1, 1], 1));
    check(&same([5, 1030, 70], [1, 1], 1));
    // Without padding on one side, and with more of it than the kernel reaches.
    check(&problem([2, 32, 24, 1], [1, 12, 14], [1, 3, 3], [1; 3], [0, 2, 0], [0, 0, 2], [1; 3]));
    check(&problem([2, 32, 24, 1], [1, 9, 10], [1, 2, 3], [1; 3], [0, 3, 4], [0, 3, 4], [1; 3]));
    // Steps of two, all whose phases have taps, and one that has.
    check(&problem([2, 64, 32, 1], [1, 14, 14], [1, 3, 3], [1, 2, 2], [0, 1, 1], [0, 1, 1], [1; 3]));
    check(&problem([2, 32, 64, 1], [1, 14, 15], [1, 1, 1], [1, 2, 2], [0; 3], [0; 3], [1; 3]));
    // Chunks of the gradient to the weight, of which the last has few pixels.
    check(&problem([7, 64, 9, 1], [1, 41, 40], [1, 3, 3], [1, 2, 2], [0, 1, 1], [0, 1, 1], [1; 3]));
    check(&problem([9, 3, 64, 1], [1, 52, 51], [1, 7, 7], [1, 2, 2], [0, 3, 3], [0, 3, 3], [1; 3]));
}
