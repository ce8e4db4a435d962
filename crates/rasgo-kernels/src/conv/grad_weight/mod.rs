//! The gradient to the weight, from maps that are read as they lie.
//!
//! For one line of the kernel, `dw[kw * ic, oc] = sum over pixels of line[pixel, kw * ic]^T * dy[pixel, oc]`: a step of the
//! sum is an output pixel, and what it reads of a line is contiguous in a channels-last map. A call of a micro-kernel sums
//! a block of pixels in registers. Which side gives the rows of the tile and which the vectors is chosen by what fills
//! the tile better ([`Shape`]):
//!
//! - *taps first*: rows are the elements of a line, vectors the output channels;
//! - *outputs first*: the other way round;
//! - *wide*: of few output channels, the vectors hold several neighbouring pixels, and the rows all elements that these
//!   read; the blocks on the diagonal of what comes out are added up at the end.
//!
//! Images are taken in chunks of a fixed number, each summed alone; chunks are added by a pairwise tree over their
//! numbers. So the sums depend neither on threads nor on how chunks fall into groups, and a batch that is cut at a power
//! of two of chunks gives the same tree. A task makes one part of the output channels over one group of chunks.

mod block;
mod plan;
mod write;

use super::ConvProblem;
use super::direct::Lines;
use crate::gemm::driver::TASKS;
use crate::rows::tree;
use crate::threads::{Scratch, SharedMut, parallel, parallel_scratch};
use crate::{Buffer, Isa};
use plan::Plan;

/// The most pixels of a block: its columns of both sides stay in the first-level cache. It decides the order of sums, so
/// it is a constant.
const BLOCK: usize = 128;

pub(super) fn grad_weight(p: &ConvProblem, src: &[f32], dy: &[f32], dw: &mut [f32], isa: Isa) {
    if src.is_empty() || dy.is_empty() {
        return dw.fill(0.0);
    }
    // The pixels of a map of one tap are a single line.
    let line = [1, 1, p.input_pixels()];
    let p = &if p.is_pointwise() { ConvProblem { input: line, output: line, ..*p } } else { *p };
    let plan = Plan::new(p, isa);
    let (groups, parts, unit) = (plan.groups(), plan.units.div_ceil(plan.part), plan.unit_len());
    let all = plan.units * unit;
    let lines_len = Lines::of(p).scratch(p, plan.block_rows);
    let levels = plan.group_chunks.ilog2() as usize + 2;
    let bytes = Scratch::bytes::<f32>(lines_len) + Scratch::bytes::<f32>(levels * plan.part * unit);
    let mut results = Buffer::new::<f32>(groups * all);
    let dw = SharedMut::new(dw);
    for group in 0..p.groups {
        let shared = SharedMut::new(results.as_mut_slice::<f32>());
        parallel_scratch(groups * parts, bytes, |task, mut scratch| {
            let (chunks, part) = (task / parts, task % parts);
            let units = part * plan.part..plan.units.min((part + 1) * plan.part);
            let begin = chunks * plan.group_chunks * plan.chunk;
            let images = begin..p.n.min(begin + plan.group_chunks * plan.chunk);
            // SAFETY: each task has a part of its own.
            let result = unsafe { shared.slice(chunks * all + units.start * unit, units.len() * unit) };
            let lines = scratch.take::<f32>(lines_len);
            let mut stack = Stack::new(scratch.take::<f32>(levels * result.len()), result.len());
            for first in images.clone().step_by(plan.chunk) {
                let chunk = first..images.end.min(first + plan.chunk);
                plan.chunk(chunk, group, units.clone(), src, dy, stack.next(), lines);
            }
            result.copy_from_slice(stack.total());
        });
        let results = SharedMut::new(results.as_mut_slice::<f32>());
        // The tree goes on over the groups of chunks, a part of every result at a time.
        if groups > 1 {
            let strip = all.div_ceil(TASKS).next_multiple_of(16);
            parallel(all.div_ceil(strip), |task| {
                let strip = task * strip..all.min((task + 1) * strip);
                // SAFETY: each task has a strip of its own of every result.
                let mut parts: Vec<_> = (0..groups)
                    .map(|i| unsafe { results.slice(i * all + strip.start, strip.len()) })
                    .collect();
                tree(1, &mut parts, |a, b| a[0].iter_mut().zip(&*b[0]).for_each(|(a, b)| *a += *b));
            });
        }
        // SAFETY: nobody writes the results any more.
        let sums = unsafe { results.slice(0, all) };
        plan.write(isa, group, sums, dw);
    }
}

/// Sums of falling powers of two of chunks: a binary counter, which makes a pairwise tree of what comes one by one.
struct Stack<'a> {
    sums: &'a mut [f32],
    len: usize,
    taken: usize,
    top: usize,
}

impl<'a> Stack<'a> {
    /// `sums` has room for one sum of `len` elements more than there are binary digits in the number of chunks.
    fn new(sums: &'a mut [f32], len: usize) -> Stack<'a> {
        Stack { sums, len, taken: 0, top: 0 }
    }

    /// The place of the next chunk's sum.
    fn next(&mut self) -> &mut [f32] {
        for _ in 0..self.taken.trailing_zeros() * u32::from(self.taken > 0) {
            self.merge();
        }
        self.taken += 1;
        self.top += 1;
        &mut self.sums[(self.top - 1) * self.len..][..self.len]
    }

    /// Adds the last sum to the one before.
    fn merge(&mut self) {
        let (below, last) = self.sums[..self.top * self.len].split_at_mut((self.top - 1) * self.len);
        for (sum, x) in below[(self.top - 2) * self.len..].iter_mut().zip(last) {
            *sum += *x;
        }
        self.top -= 1;
    }

    /// The sum of all.
    fn total(mut self) -> &'a [f32] {
        while self.top > 1 {
            self.merge();
        }
        &self.sums[..self.len]
    }
}
