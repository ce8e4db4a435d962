//! The matrices of a convolution, as views of its maps.

use super::ConvProblem;
use crate::gemm::view::{Run, View};

/// `col[n * output pixels, taps * group_ic]` of a group: what each output pixel reads.
pub(super) fn col<'a>(p: &ConvProblem, group: usize, src: &'a [f32]) -> View<'a> {
    let gi = p.group_ic();
    if p.is_pointwise() {
        return View::matrix(src, p.n * p.input_pixels(), p.ic, group * gi..(group + 1) * gi);
    }
    let offsets = |axis: usize| -> Vec<isize> {
        let at = |k: usize| (k * p.dilation[axis]) as isize - p.padding[axis] as isize;
        (0..p.kernel[axis]).map(at).collect()
    };
    let runs = runs(p.ic, group * gi, gi, [offsets(0), offsets(1), offsets(2)]);
    View::new(src, p.n, p.input, p.ic, p.output, p.stride, runs)
}

/// A run for each tap; taps that are neighbours in the map and read all of its channels join into one.
pub(super) fn runs(ch: usize, first: usize, len: usize, offsets: [Vec<isize>; 3]) -> Vec<Run> {
    let [ds, hs, ws] = offsets;
    let mut runs: Vec<Run> = Vec::with_capacity(ds.len() * hs.len() * ws.len());
    let mut col = 0;
    for &d in &ds {
        for &h in &hs {
            for &w in &ws {
                let off = w * ch as isize + first as isize;
                match runs.last_mut() {
                    Some(last) if last.at == [d, h] && last.off + last.len as isize == off && len == ch => {
                        last.len += len;
                    }
                    _ => runs.push(Run { col, len, at: [d, h], off }),
                }
                col += len;
            }
        }
    }
    runs
}

/// `dy[n * output pixels, group_oc]` of a group.
pub(super) fn out<'a>(p: &ConvProblem, group: usize, dy: &'a [f32]) -> View<'a> {
    let go = p.group_oc();
    View::matrix(dy, p.n * p.output_pixels(), p.oc, group * go..(group + 1) * go)
}
