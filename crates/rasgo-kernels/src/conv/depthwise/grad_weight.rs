//! The gradient to the weight: `dw[c, tap] = sum over pixels of src[pixel at the tap, c] * dy[pixel, c]`.
//!
//! ```text
//! task: a chunk of lines of the output, a block of channels       sums[chunk][tap][channel]
//!   for each line                                                    |  chunks are added by a pairwise tree
//!     for each group of lines of taps: `correlate`                 dw[channel][tap]
//! ```
//!
//! A chunk is some images or a band of one, as many pixels as the shape of an image says.

use super::correlate::{Correlate, Line, Source};
use super::lanes;
use crate::conv::ConvProblem;
use crate::threads::{SharedMut, parallel};
use crate::{Buffer, Isa};

/// Pixels of a chunk, about.
const CHUNK: usize = 1024;
/// Channels of a block; a multiple of every vector.
const CHANNELS: usize = 128;

/// How the sums are cut.
struct Plan {
    /// Images of a chunk and bands of an image; one of them is 1, both are powers of two.
    images: usize,
    bands: usize,
    /// Lines of a band, over all planes.
    lines: usize,
    chunks: usize,
    /// Elements of a row of sums: the channels, in whole vectors.
    row: usize,
    lanes: usize,
    blocks: usize,
}

impl Plan {
    fn new(p: &ConvProblem, lanes: usize) -> Plan {
        let pixels = p.output_pixels().max(1);
        let images = 1 << (CHUNK / pixels).max(1).ilog2();
        let lines = p.output[0] * p.output[1];
        let bands = pixels.div_ceil(CHUNK).min(lines.max(1)).next_power_of_two();
        let chunks = p.n.div_ceil(images) * bands;
        let row = p.ic.next_multiple_of(lanes);
        Plan {
            images,
            bands,
            lines: lines.div_ceil(bands),
            chunks,
            row,
            lanes,
            blocks: p.ic.div_ceil(CHANNELS),
        }
    }

    /// The lines of a chunk, counted over all images.
    fn chunk(&self, p: &ConvProblem, chunk: usize) -> std::ops::Range<usize> {
        let all = p.output[0] * p.output[1];
        let (first, band) = (chunk / self.bands * self.images, chunk % self.bands);
        if self.bands == 1 {
            return first * all..p.n.min(first + self.images) * all;
        }
        let line = |band: usize| first * all + all.min(band * self.lines);
        line(band)..line(band + 1)
    }
}

pub(in crate::conv) fn grad_weight(p: &ConvProblem, src: &[f32], dy: &[f32], dw: &mut [f32], isa: Isa) {
    if p.n * p.output_pixels() == 0 {
        return dw.fill(0.0);
    }
    let (lanes, taps) = (lanes::width(isa, p.ic), p.taps());
    let plan = Plan::new(p, lanes);
    let len = taps * plan.row;
    let mut sums = Buffer::new::<f32>(plan.chunks * len);
    let shared = SharedMut::new(sums.as_mut_slice::<f32>());
    parallel(plan.chunks * plan.blocks, |task| {
        let (chunk, c) = (task / plan.blocks, task % plan.blocks * CHANNELS);
        let channels = (c, p.ic.min(c + CHANNELS));
        for tap in 0..taps {
            let slots = plan.row.min(c + CHANNELS) - c;
            // SAFETY: each task has its columns of its chunk.
            unsafe { shared.slice(chunk * len + tap * plan.row + c, slots) }.fill(0.0);
        }
        for line in plan.chunk(p, chunk) {
            let dy = dy[line * p.output[2] * p.ic..][..p.output[2] * p.ic].as_ptr();
            let sums = shared.as_ptr().wrapping_add(chunk * len);
            let (count, ch, reach) = (p.output[2], p.ic, p.stride[2]);
            let work = Line { source: src, dy, count, ch, channels, sums, sums_step: plan.row, reach };
            // SAFETY: the CPU has the level; the task has these columns of its chunk alone.
            unsafe { add_line(isa, p, line, &work) };
        }
    });
    combine(p, &plan, shared, dw);
}

/// Adds line `line` of the output to the sums of all taps.
///
/// # Safety
/// The CPU has the level, and nobody else uses the sums of the line's channels.
unsafe fn add_line(isa: Isa, p: &ConvProblem, line: usize, work: &Line<'_>) {
    // SAFETY: the caller's promises.
    unsafe {
        match (p.kernel[2], p.dilation[2], p.stride[2]) {
            (3, 1, 1) => add_groups::<3, 3, 1>(isa, p, line, work),
            (3, 1, 2) => add_groups::<3, 3, 2>(isa, p, line, work),
            (5, 1, 1) => add_groups::<2, 5, 1>(isa, p, line, work),
            (5, 1, 2) => add_groups::<2, 5, 2>(isa, p, line, work),
            (7, 1, 1) => add_groups::<1, 7, 1>(isa, p, line, work),
            (7, 1, 2) => add_groups::<1, 7, 2>(isa, p, line, work),
            _ => add_groups::<8, 1, 1>(isa, p, line, work),
        }
    }
}

/// # Safety
/// As [`add_line`].
unsafe fn add_groups<const G: usize, const KW: usize, const SX: usize>(
    isa: Isa,
    p: &ConvProblem,
    line: usize,
    work: &Line<'_>,
) {
    let ([id, ih, iw], [od, oh, _], [_, kh, kw]) = (p.input, p.output, p.kernel);
    let (image, d, h) = (line / (od * oh), line / oh % od, line % oh);
    // A line of taps is KW neighbours, so all of a kernel's line or one tap.
    let lines = p.taps() / KW;
    for first in (0..lines).step_by(G) {
        let sources = std::array::from_fn(|g| {
            let row = (first + g) * KW;
            let (a, b, k) = (row / (kh * kw), row / kw % kh, row % kw);
            let x = (k * p.dilation[2]).wrapping_sub(p.padding[2]);
            match (p.source(0, d, a), p.source(1, h, b)) {
                (Some(z), Some(y)) if first + g < lines => {
                    let from = (((image * id + z) * ih + y) * iw).wrapping_add(x).wrapping_mul(p.ic);
                    Source { from, x, width: iw, row }
                }
                _ => Source { from: 0, x: 0, width: 0, row: 0 },
            }
        });
        // SAFETY: the caller's promises; sources outside have no width.
        unsafe { lanes::run(isa, p.ic, &Correlate::<G, KW, SX> { line: *work, sources }) };
    }
}

/// Adds the chunks by a pairwise tree, and writes `dw` in PyTorch's order.
fn combine(p: &ConvProblem, plan: &Plan, sums: SharedMut<'_, f32>, dw: &mut [f32]) {
    let taps = p.taps();
    let len = taps * plan.row;
    let dw = SharedMut::new(dw);
    parallel(plan.blocks, |block| {
        let (c, end) = (block * CHANNELS, p.ic.min((block + 1) * CHANNELS));
        let slots = plan.row.min(c + CHANNELS) - c;
        // SAFETY: each task has its columns, and takes those of different chunks and taps one after the other.
        let part = |chunk: usize, tap: usize| unsafe { sums.slice(chunk * len + tap * plan.row + c, slots) };
        let mut distance = 1;
        while distance < plan.chunks {
            for left in (0..plan.chunks - distance).step_by(2 * distance) {
                for tap in 0..taps {
                    let right = part(left + distance, tap);
                    part(left, tap).iter_mut().zip(right).for_each(|(sum, x)| *sum += *x);
                }
            }
            distance *= 2;
        }
        // SAFETY: each task has its channels.
        let dw = unsafe { dw.slice(c * taps, (end - c) * taps) };
        // The last vector's channels begin before its slots, where it overlaps.
        let whole = p.ic / plan.lanes * plan.lanes;
        let shift = |c: usize| if c < whole { 0 } else { plan.row - p.ic };
        for (i, filter) in dw.chunks_exact_mut(taps).enumerate() {
            let slot = c + i + shift(c + i);
            for (tap, to) in filter.iter_mut().enumerate() {
                // SAFETY: the slot is one of this task's columns of the first chunk.
                *to = unsafe { *sums.as_ptr().add(tap * plan.row + slot) };
            }
        }
    });
}
