//! One axis of a gather: which places of the source each place of the result reads, and with which taps.
//!
//! Results are cut into phases, within which all read by the same taps at the same distances: result `first + m * step`
//! reads tap `k` at `m * reach + offset(k)`, where that lies in the source. Forward has one phase, the gradient to the
//! input one for each step of the stride:
//!
//! ```text
//! forward, stride 2    dst: 0 1 2       src of m: 2m-1 2m 2m+1
//! gradient, stride 2   dx:  0 . 2 . 4   dy of m: m          (the middle tap)
//!                      dx:  . 1 . 3 .   dy of m: m, m+1     (the outer taps)
//! ```

use crate::conv::ConvProblem;

/// What a tap of a phase reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tap {
    /// Its place in the kernel.
    pub(super) k: usize,
    /// Where it reads, for result `m = 0`.
    pub(super) offset: isize,
}

/// Results of an axis that read by the same taps.
#[derive(Debug)]
pub(super) struct Phase {
    pub(super) first: usize,
    pub(super) step: usize,
    pub(super) count: usize,
    /// How far the sources of two neighbours are apart.
    pub(super) reach: usize,
    /// By rising offset, which is also the order of sums.
    pub(super) taps: Vec<Tap>,
}

impl Phase {
    /// The taps that result `m` reads within a source of `len` places: offsets rise, so they are neighbours.
    pub(super) fn inside(&self, m: usize, len: usize) -> &[Tap] {
        let at = |tap: &Tap| (m * self.reach) as isize + tap.offset;
        let begin = self.taps.iter().take_while(|tap| at(tap) < 0).count();
        let end = self.taps.iter().take_while(|tap| at(tap) < len as isize).count();
        &self.taps[begin.min(end)..end]
    }
}

/// The phases of an axis: of forward, or `backward`, of the gradient to the input.
pub(super) fn phases(p: &ConvProblem, axis: usize, backward: bool) -> Vec<Phase> {
    let (stride, padding) = (p.stride[axis], p.padding[axis] as isize);
    let ahead = |k: usize| (k * p.dilation[axis]) as isize - padding;
    if !backward {
        let taps = (0..p.kernel[axis]).map(|k| Tap { k, offset: ahead(k) }).collect();
        return vec![Phase { first: 0, step: 1, count: p.output[axis], reach: stride, taps }];
    }
    let phase = |first: usize| {
        // Input `first + m * stride` is `o * stride + ahead(k)` for `o = m + (first - ahead(k)) / stride`.
        let taps = (0..p.kernel[axis]).rev().filter_map(|k| {
            let behind = first as isize - ahead(k);
            (behind % stride as isize == 0).then(|| Tap { k, offset: behind / stride as isize })
        });
        let count = (p.input[axis] - first).div_ceil(stride);
        Phase { first, step: stride, count, reach: 1, taps: taps.collect() }
    };
    (0..stride.min(p.input[axis])).map(phase).collect()
}
