//! Times the three passes of the layers in the files of `bench/problems`.
//!
//! `cargo run --release -p rasgo-kernels --example conv_speed [-- part of a name [seconds per pass]]`
//!
//! Each pass is first checked against the formula, on a batch of one or two images; then it prints GFLOP/s (the
//! best and the median of its runs) and the best's share of the peak measured just before the layer.
#![allow(clippy::print_stdout, reason = "a program prints")]

use std::time::Instant;

use rasgo_kernels::conv::{self, ConvProblem};
use rasgo_kernels::{Buffer, Isa, peak, settings};

fn main() {
    let mut args = std::env::args().skip(1);
    let only = args.next().unwrap_or_default();
    let seconds: f64 = args.next().and_then(|text| text.parse().ok()).unwrap_or(0.4);
    let folder = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../../bench/problems"));
    let files = folder.expect("the lists of layers").map(|entry| entry.expect("a list of layers").path());
    let mut files: Vec<_> = files.filter(|path| path.extension().is_some_and(|end| end == "txt")).collect();
    files.sort();
    let read = |path| std::fs::read_to_string(path).expect("a list of layers");
    let text: String = files.into_iter().map(read).collect();
    println!("{} threads, {}", settings::threads(), Isa::current().name());
    println!("{:28} {:>5}  {}", "layer", "peak", ["fwd", "dX", "dW"].map(|s| format!("{s:>20}")).join(" "));
    for line in text.lines().filter(|line| !line.starts_with('#') && line.contains(&only)) {
        let (name, sizes) = line.split_once('|').expect("name | sizes");
        let problem = parse(sizes);
        check(name, &ConvProblem { n: problem.n.min(2), ..problem });
        let peak = peak::f32_peak(0.1);
        let cells: Vec<String> = time(&problem, seconds)
            .iter()
            .map(|(best, median)| format!("{best:5.0} ({median:4.0}) {:5.1} %", best / peak * 100.0))
            .collect();
        println!("{:28} {peak:5.0}  {}", name.trim(), cells.join(" "));
    }
}

fn parse(sizes: &str) -> ConvProblem {
    let sizes: Vec<usize> = sizes.split_whitespace().map(|x| x.parse().expect("a size")).collect();
    let [n, ic, hw, oc, k, stride, pad, groups] = sizes[..] else { panic!("eight sizes, not {sizes:?}") };
    let out = (hw + 2 * pad - k) / stride + 1;
    ConvProblem {
        n,
        ic,
        oc,
        groups,
        input: [1, hw, hw],
        output: [1, out, out],
        kernel: [1, k, k],
        stride: [1, stride, stride],
        padding: [0, pad, pad],
        dilation: [1; 3],
    }
}

/// Reproducible values in -1 .. 1.
fn values(seed: u32, n: usize) -> Vec<f32> {
    let mut x = seed;
    let mut next = || {
        x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (x >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..n).map(|_| next()).collect()
}

fn check(name: &str, p: &ConvProblem) {
    let (src, weight, dy) = (values(1, p.src_len()), values(2, p.weight_len()), values(3, p.dst_len()));
    let wide = |x: &[f32]| x.iter().map(|&x| f64::from(x)).collect::<Vec<f64>>();
    let (src64, weight64, dy64) = (wide(&src), wide(&weight), wide(&dy));
    let close = |pass: &str, got: &[f32], want: &[f64]| {
        let largest = want.iter().fold(0.0f64, |m, x| m.max(x.abs()));
        let error = got.iter().zip(want).fold(0.0f64, |m, (a, b)| m.max((f64::from(*a) - b).abs()));
        assert!(error <= 1e-5 * largest, "{name} {pass}: {error} of {largest}");
    };
    let (mut got, mut want) = (vec![f32::NAN; p.dst_len()], vec![0.0; p.dst_len()]);
    conv::forward(p, &src, &weight, None, None, false, &mut got);
    conv::forward(p, &src64, &weight64, None, None, false, &mut want);
    close("forward", &got, &want);
    let (mut got, mut want) = (vec![f32::NAN; p.src_len()], vec![0.0; p.src_len()]);
    conv::grad_input(p, &dy, &weight, None, &mut got);
    conv::grad_input(p, &dy64, &weight64, None, &mut want);
    close("gradient to the input", &got, &want);
    let (mut got, mut want) = (vec![f32::NAN; p.weight_len()], vec![0.0; p.weight_len()]);
    conv::grad_weight(p, &src, &dy, &mut got);
    conv::grad_weight(p, &src64, &dy64, &mut want);
    close("gradient to the weight", &got, &want);
}

/// (best, median) GFLOP/s of the three passes.
fn time(p: &ConvProblem, seconds: f64) -> [(f64, f64); 3] {
    // Aligned as tensors are: unaligned vectors would read two cache lines each.
    let buffer = |seed, len| Buffer::from_slice(&values(seed, len));
    let (src, weight, dy) = (buffer(1, p.src_len()), buffer(2, p.weight_len()), buffer(3, p.dst_len()));
    let [mut dst, mut dx, mut dw] = [p.dst_len(), p.src_len(), p.weight_len()].map(Buffer::zeroed::<f32>);
    let (src, weight, dy) = (src.as_slice::<f32>(), weight.as_slice::<f32>(), dy.as_slice::<f32>());
    let (dst, dx, dw) = (dst.as_mut_slice(), dx.as_mut_slice(), dw.as_mut_slice());
    let measure = |body: &mut dyn FnMut()| {
        body();
        let (begin, mut times) = (Instant::now(), Vec::new());
        while times.len() < 5 || begin.elapsed().as_secs_f64() < seconds {
            let start = Instant::now();
            body();
            times.push(start.elapsed().as_secs_f64());
        }
        times.sort_by(f64::total_cmp);
        let rate = |time: f64| p.flops() as f64 / time / 1e9;
        (rate(times[0]), rate(times[times.len() / 2]))
    };
    [
        measure(&mut || conv::forward(p, src, weight, None, None, false, dst)),
        measure(&mut || conv::grad_input(p, dy, weight, None, dx)),
        measure(&mut || conv::grad_weight(p, src, dy, dw)),
    ]
}
