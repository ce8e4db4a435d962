//! Convolution layers of named networks: the three passes of each, checked and then timed.

use rasgo::conv_kernels::{self, Buffer, ConvProblem, Epilogue};
use rasgo::train::Precision;
use rasgo::{Error, ErrorKind, Result};
use serde_json::json;

use super::Timing;
use super::measure::{chosen, measured_peak, median_time, print_rows, share};
use crate::terminal::note;

/// The layers; `bench/pytorch_bench.py` reads the same file.
const LAYERS: &str = include_str!("../../../problems/layers.txt");

/// Differences that pass, relative to the largest value.
const TOLERANCE: f64 = 1e-5;

/// A layer under its name.
struct Layer {
    name: &'static str,
    problem: ConvProblem,
}

impl Layer {
    /// Reads `name | n ic hw oc k stride pad groups`.
    fn read(line: &'static str) -> Option<Layer> {
        let (name, sizes) = line.split_once('|')?;
        let sizes: Vec<usize> = sizes.split_whitespace().map(str::parse).collect::<Result<_, _>>().ok()?;
        let [n, ic, hw, oc, k, stride, pad, groups] = sizes[..] else { return None };
        let out = (hw + 2 * pad - k) / stride + 1;
        let problem = ConvProblem {
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
        };
        Some(Layer { name: name.trim(), problem })
    }

    fn all() -> Vec<Layer> {
        let lines = LAYERS.lines().filter(|line| !line.starts_with('#'));
        lines.map(|line| Layer::read(line).expect("a test reads every line")).collect()
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

/// Input, weight and the gradient to the output.
fn operands(p: &ConvProblem) -> [Vec<f32>; 3] {
    [values(1, p.src_len()), values(2, p.weight_len()), values(3, p.dst_len())]
}

/// Compares the three passes with the formula in double precision, on a batch of one or two images.
fn check(name: &str, problem: &ConvProblem) -> Result<()> {
    let p = &ConvProblem { n: problem.n.min(2), ..*problem };
    let operands = operands(p);
    let wide = operands.each_ref().map(|x| x.iter().map(|&x| f64::from(x)).collect::<Vec<f64>>());
    let [src, weight, dy] = &operands;
    let [src64, weight64, dy64] = &wide;
    let close = |pass: &str, got: &[f32], want: &[f64]| {
        let largest = want.iter().fold(0.0f64, |most, x| most.max(x.abs()));
        let off = |(got, want): (&f32, &f64)| (f64::from(*got) - want).abs();
        // A NaN is not near anything.
        if got.iter().zip(want).all(|pair| off(pair) <= TOLERANCE * largest) {
            return Ok(());
        }
        let error = got.iter().zip(want).map(off).fold(0.0f64, f64::max);
        Err(Error::new(
            ErrorKind::State,
            format!("{name}: the {pass} differs from the formula by {error:e}, where {largest:e} is the largest value"),
        )
        .hint("this is a defect of rasgo on this processor; RASGO_MAX_ISA=portable may avoid it"))
    };
    let (mut got, mut want) = (vec![f32::NAN; p.dst_len()], vec![0.0; p.dst_len()]);
    conv_kernels::forward(p, src, weight, None, Epilogue::NONE, &mut got);
    conv_kernels::forward(p, src64, weight64, None, Epilogue::NONE, &mut want);
    close("forward", &got, &want)?;
    let (mut got, mut want) = (vec![f32::NAN; p.src_len()], vec![0.0; p.src_len()]);
    conv_kernels::grad_input(p, dy, weight, None, &mut got);
    conv_kernels::grad_input(p, dy64, weight64, None, &mut want);
    close("gradient to the input", &got, &want)?;
    let (mut got, mut want) = (vec![f32::NAN; p.weight_len()], vec![0.0; p.weight_len()]);
    conv_kernels::grad_weight(p, src, dy, &mut got);
    conv_kernels::grad_weight(p, src64, dy64, &mut want);
    close("gradient to the weight", &got, &want)
}

/// GFLOP/s of forward, gradient to the input and gradient to the weight, counted as direct convolution.
fn time(p: &ConvProblem, seconds: f64) -> Result<[f64; 3]> {
    // In memory of the kind that a step has.
    let operands = operands(p).map(|values| {
        let mut buffer = Buffer::new::<f32>(values.len());
        buffer.as_mut_slice::<f32>().copy_from_slice(&values);
        buffer
    });
    let [src, weight, dy] = operands.each_ref().map(|buffer| buffer.as_slice::<f32>());
    let [mut dst, mut dx, mut dw] = [p.dst_len(), p.src_len(), p.weight_len()].map(Buffer::new::<f32>);
    let times = [
        median_time(seconds, || {
            conv_kernels::forward(p, src, weight, None, Epilogue::NONE, dst.as_mut_slice());
            Ok(())
        })?,
        median_time(seconds, || {
            conv_kernels::grad_input(p, dy, weight, None, dx.as_mut_slice());
            Ok(())
        })?,
        median_time(seconds, || {
            conv_kernels::grad_weight(p, src, dy, dw.as_mut_slice());
            Ok(())
        })?,
    ];
    Ok(times.map(|time| p.flops() as f64 / time / 1e9))
}

pub(super) fn run(timing: &Timing) -> Result<()> {
    if timing.precision != Precision::F32 {
        let text = format!("--precision {}: layers alone are timed in f32", timing.precision.name());
        return Err(Error::argument(text).hint("leave it out, or time whole steps: rasgo bench steps"));
    }
    let layers = chosen(Layer::all(), timing.only.as_deref(), |layer| layer.name, |layer| layer.name)?;
    let peak = measured_peak();
    let (mut rows, mut lines) = (Vec::new(), Vec::new());
    for Layer { name, problem } in layers {
        note(&format!("{name} …"));
        check(name, &problem)?;
        let [forward, dx, dw] = time(&problem, timing.seconds)?;
        let precision = timing.precision.name();
        rows.push(json!(["layer", name, precision, forward, dx, dw]));
        let cells = [forward, dx, dw].map(|gflops| format!("{gflops:.0} ({})", share(gflops, peak)));
        lines.push([name.to_string(), precision.to_string()].into_iter().chain(cells).collect());
    }
    let head = ["layer", "precision", "forward GFLOP/s", "gradient to the input", "gradient to the weight"];
    print_rows(timing.json, peak, &rows, &head, lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_layer_of_the_list_is_read_and_has_a_name_of_its_own() {
        let mut names: Vec<&str> = Layer::all().iter().map(|layer| layer.name).collect();
        assert!(names.len() >= 16, "{names:?}");
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
    }
}
