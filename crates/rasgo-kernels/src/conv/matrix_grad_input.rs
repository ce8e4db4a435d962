//! The gradient to the input as a matrix product, gathered.
//!
//! With stride `s` an input pixel `i = r + s * t` is reached by those taps `k` with `k * dilation = r + padding
//! (mod s)`, from output `t + (r + padding - k * dilation) / s`. So each phase `r` (of every axis) is a
//! convolution of `dy` with stride 1: `dx[pixels of the phase, ic] = gathered dy[pixels, taps * oc] *
//! weight[taps * oc, ic]`. A phase without taps is zero: its product has `k = 0`.

use super::{ConvProblem, views};
use crate::gemm::driver::{Place, Right, rows_product};
use crate::gemm::packed::arrange;
use crate::gemm::view::View;
use crate::threads::SharedMut;
use crate::{Buffer, Epilogue, Isa};

/// The taps of one phase of one axis, in the order of the outputs they read.
struct Phase {
    pixels: usize,
    /// (tap, output read by the phase's first pixel)
    taps: Vec<(usize, isize)>,
}

fn phase(p: &ConvProblem, axis: usize, r: usize) -> Phase {
    let s = p.stride[axis] as isize;
    let offset = |k: usize| (r + p.padding[axis]) as isize - (k * p.dilation[axis]) as isize;
    let taps =
        (0..p.kernel[axis]).rev().filter(|&k| offset(k) % s == 0).map(|k| (k, offset(k) / s)).collect();
    Phase { pixels: p.input[axis].saturating_sub(r).div_ceil(p.stride[axis]), taps }
}

pub(super) fn grad_input(
    p: &ConvProblem,
    dy: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    dx: &mut [f32],
    isa: Isa,
) {
    let (gi, go) = (p.group_ic(), p.group_oc());
    let [sd, sh, sw] = p.stride;
    let [_, ih, iw] = p.input;
    // A phase that begins beyond the input has no pixels, and a stride may be any number.
    let [pd, ph, pw] = [0, 1, 2].map(|axis| p.stride[axis].min(p.input[axis]));
    let dx = SharedMut::new(dx);
    for phases in 0..pd * ph * pw {
        let [rd, rh, rw] = [phases / (ph * pw), phases / pw % ph, phases % pw];
        let axes = [phase(p, 0, rd), phase(p, 1, rh), phase(p, 2, rw)];
        let taps = taps(p, &axes);
        let grid = [axes[0].pixels, axes[1].pixels, axes[2].pixels];
        for group in 0..p.groups {
            let view = if p.is_pointwise() {
                views::out(p, group, dy)
            } else {
                let offsets = axes.each_ref().map(|axis| axis.taps.iter().map(|tap| tap.1).collect());
                let runs = views::runs(p.oc, group * go, go, offsets);
                View::new(dy, p.n, p.output, p.oc, grid, [1; 3], runs)
            };
            let packed = pack(p, group, &taps, weight, isa);
            let base = ((rd * ih + rh) * iw + rw) * p.ic + group * gi;
            let stride = match p.is_pointwise() {
                true => [0, 0, 0, p.ic],
                false => [p.input_pixels() * p.ic, sd * ih * iw * p.ic, sh * iw * p.ic, sw * p.ic],
            };
            let bias = bias.map(|bias| &bias[group * gi..][..gi]);
            rows_product(
                isa,
                &view,
                Right::Packed(packed.as_slice()),
                gi,
                dx,
                Place { base, stride },
                Epilogue::bias(bias),
            );
        }
    }
}

/// The phase's taps, numbered as in the weight.
fn taps(p: &ConvProblem, axes: &[Phase; 3]) -> Vec<usize> {
    let [_, kh, kw] = p.kernel;
    let mut all = Vec::with_capacity(axes.iter().map(|axis| axis.taps.len()).product());
    for d in &axes[0].taps {
        for h in &axes[1].taps {
            all.extend(axes[2].taps.iter().map(|w| (d.0 * kh + h.0) * kw + w.0));
        }
    }
    all
}

/// The weights of a phase in panels `[panel][k = (tap, oc)][width of ic]`.
fn pack(p: &ConvProblem, group: usize, taps: &[usize], weight: &[f32], isa: Isa) -> Buffer {
    let (gi, go, all) = (p.group_ic(), p.group_oc(), p.taps());
    arrange(isa, 1, gi, taps.len() * go, |_, panel, to| {
        for oc in 0..go {
            let from = &weight[((group * go + oc) * gi + panel.cols.start) * all..][..panel.cols.len() * all];
            for (i, &tap) in taps.iter().enumerate() {
                let row = &mut to[(i * go + oc) * panel.width..][..panel.cols.len()];
                for (to, from) in row.iter_mut().zip(from[tap..].iter().step_by(all)) {
                    *to = *from;
                }
            }
        }
    })
}
