//! Convolution layers of named networks: the three passes of each, checked and then timed.

use rasgo::Bf16;
use rasgo::conv_kernels::{self, Buffer, ConvProblem, Epilogue, Stored};
use rasgo::train::Precision;
use rasgo::{Error, ErrorKind, Result};
use serde_json::json;

use super::Timing;
use super::measure::{chosen, measured_peak, median_time, print_rows, share};
use crate::terminal::note;

/// The layers; `bench/pytorch_bench.py` reads the same file.
const LAYERS: &str = include_str!("../../../problems/layers.txt");

/// Differences of sums that pass, relative to the largest value.
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

/// Input, weight and the gradient to the output, with values that the maps' type has.
struct Operands<S> {
    src: Vec<S>,
    weight: Vec<f32>,
    dy: Vec<S>,
}

impl<S: Stored<Wide = f32>> Operands<S> {
    fn new(p: &ConvProblem) -> Operands<S> {
        let map = |seed, n| values(seed, n).into_iter().map(S::narrow).collect::<Vec<S>>();
        let weight = map(2, p.weight_len()).into_iter().map(S::wide).collect();
        Operands { src: map(1, p.src_len()), weight, dy: map(3, p.dst_len()) }
    }
}

fn wide<S: Stored<Wide = f32>>(values: &[S]) -> Vec<f64> {
    values.iter().map(|x| f64::from(x.wide())).collect()
}

/// Compares a pass with the formula, where a stored value may be off by `rounding` of itself.
fn close<S: Stored<Wide = f32>>(
    layer: &str,
    pass: &str,
    got: &[S],
    want: &[f64],
    rounding: f64,
) -> Result<()> {
    let largest = want.iter().fold(0.0f64, |most, x| most.max(x.abs()));
    let off = |(got, want): (&S, &f64)| (f64::from(got.wide()) - want).abs();
    // A NaN is not near anything.
    if got.iter().zip(want).all(|pair| off(pair) <= TOLERANCE * largest + rounding * pair.1.abs()) {
        return Ok(());
    }
    let error = got.iter().zip(want).map(off).fold(0.0f64, f64::max);
    Err(Error::new(
        ErrorKind::State,
        format!("{layer}: the {pass} differs from the formula by {error:e}, where {largest:e} is the largest value"),
    )
    .hint("this is a defect of rasgo on this processor; RASGO_MAX_ISA=portable may avoid it"))
}

/// Compares the three passes with the formula in double precision, on a batch of one or two images.
fn check<S: Stored<Wide = f32>>(name: &str, problem: &ConvProblem, rounding: f64) -> Result<()> {
    let p = &ConvProblem { n: problem.n.min(2), ..*problem };
    let Operands { src, weight, dy } = Operands::<S>::new(p);
    let (src64, weight64, dy64) = (wide(&src), wide(&weight), wide(&dy));
    let nan = |n: usize| vec![S::narrow(f32::NAN); n];
    let (mut got, mut want) = (nan(p.dst_len()), vec![0.0; p.dst_len()]);
    conv_kernels::forward(p, &src, &weight, None, Epilogue::NONE, &mut got);
    conv_kernels::forward(p, &src64, &weight64, None, Epilogue::NONE, &mut want);
    close(name, "forward", &got, &want, rounding)?;
    let (mut got, mut want) = (nan(p.src_len()), vec![0.0; p.src_len()]);
    conv_kernels::grad_input(p, &dy, &weight, None, &mut got);
    conv_kernels::grad_input(p, &dy64, &weight64, None, &mut want);
    close(name, "gradient to the input", &got, &want, rounding)?;
    let (mut got, mut want) = (vec![f32::NAN; p.weight_len()], vec![0.0; p.weight_len()]);
    conv_kernels::grad_weight(p, &src, &dy, &mut got);
    conv_kernels::grad_weight(p, &src64, &dy64, &mut want);
    close(name, "gradient to the weight", &got, &want, 0.0)
}

/// In memory of the kind that a step has.
fn buffer<T: Stored>(values: &[T]) -> Buffer {
    let mut buffer = Buffer::new::<T>(values.len());
    buffer.as_mut_slice::<T>()[..values.len()].copy_from_slice(values);
    buffer
}

/// GFLOP/s of forward, gradient to the input and gradient to the weight, counted as direct convolution.
fn time<S: Stored<Wide = f32>>(p: &ConvProblem, seconds: f64) -> Result<[f64; 3]> {
    let Operands { src, weight, dy } = Operands::<S>::new(p);
    let [mut dst, mut dx, mut dw] = [buffer(&dy), buffer(&src), buffer(&weight)];
    let [src, weight, dy] = [buffer(&src), buffer(&weight), buffer(&dy)];
    let (src, dy) = (&src.as_slice::<S>()[..p.src_len()], &dy.as_slice::<S>()[..p.dst_len()]);
    let weight = &weight.as_slice::<f32>()[..p.weight_len()];
    let dst = &mut dst.as_mut_slice::<S>()[..p.dst_len()];
    let dx = &mut dx.as_mut_slice::<S>()[..p.src_len()];
    let dw = &mut dw.as_mut_slice::<f32>()[..p.weight_len()];
    let times = [
        median_time(seconds, || {
            conv_kernels::forward(p, src, weight, None, Epilogue::NONE, dst);
            Ok(())
        })?,
        median_time(seconds, || {
            conv_kernels::grad_input(p, dy, weight, None, dx);
            Ok(())
        })?,
        median_time(seconds, || {
            conv_kernels::grad_weight(p, src, dy, dw);
            Ok(())
        })?,
    ];
    Ok(times.map(|time| p.flops() as f64 / time / 1e9))
}

/// Checks a layer and then times it.
fn measure(name: &str, p: &ConvProblem, timing: &Timing) -> Result<[f64; 3]> {
    match timing.precision {
        Precision::Bf16 => {
            // Half a unit of the last of eight binary places.
            check::<Bf16>(name, p, 1.0 / 256.0)?;
            time::<Bf16>(p, timing.seconds)
        }
        _ => {
            check::<f32>(name, p, 0.0)?;
            time::<f32>(p, timing.seconds)
        }
    }
}

pub(super) fn run(timing: &Timing) -> Result<()> {
    let layers = chosen(Layer::all(), timing.only.as_deref(), |layer| layer.name, |layer| layer.name)?;
    let peak = measured_peak();
    let (mut rows, mut lines) = (Vec::new(), Vec::new());
    for Layer { name, problem } in layers {
        note(&format!("{name} …"));
        let [forward, dx, dw] = measure(name, &problem, timing)?;
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
