//! The gradient to the weight as a matrix product over the pixels: `dw[oc, taps * ic] = dy[pixels, oc]^T *
//! col[pixels, taps * ic]`, or its transpose, whichever wastes less of the micro-kernel's tile.
//!
//! A task makes one block of `dw` over one group of chunks. A chunk is a fixed number of images, summed alone;
//! chunks are added by a pairwise tree over their numbers. So the sums depend neither on threads nor on how
//! chunks fall into groups, and a batch that is cut at a power of two of chunks gives the same tree.

use std::ops::Range;

use super::{ConvProblem, views};
use crate::gemm::driver::{Right, StepsScratch, TASKS, steps_product, tile_height};
use crate::gemm::level::{Level, Panel};
use crate::gemm::view::View;
use crate::threads::{Scratch, SharedMut, parallel, parallel_scratch};
use crate::{Buffer, Isa};

/// The most pixels of a chunk, unless one image has more.
const CHUNK: usize = 4096;
/// Columns of a block, with the padding.
const COLS: usize = 256;
/// The most rows of a block.
const ROWS: usize = 144;
/// The most elements of partial results, over all groups of chunks.
const PARTIAL: usize = 1 << 20;

/// How a group's `dw[M, N]` is cut.
struct Plan {
    level: &'static Level,
    /// M is the output channels and N the columns of `col`; otherwise the other way round.
    oc_first: bool,
    m: usize,
    n: usize,
    panels: Vec<Panel>,
    /// Rows and panels of a block.
    rows: usize,
    block_panels: usize,
    /// Images of a chunk, and chunks of a group.
    chunk: usize,
    group_chunks: usize,
}

impl Plan {
    fn new(p: &ConvProblem, isa: Isa) -> Plan {
        let level = Level::of(isa);
        let (cols, go) = (p.group_ic() * p.taps(), p.group_oc());
        let padded = |n: usize| level.panels(n).iter().map(|panel| panel.width).sum::<usize>();
        let oc_first = go * padded(cols) <= cols * padded(go);
        let (m, n) = if oc_first { (go, cols) } else { (cols, go) };
        let panels = level.panels(n);
        let down = m.div_ceil(ROWS);
        let rows = m.div_ceil(down).next_multiple_of(tile_height(level, m.div_ceil(down)));
        let across = padded(n).div_ceil(COLS);
        let block_panels = panels.len().div_ceil(across);
        let blocks = m.div_ceil(rows) * panels.len().div_ceil(block_panels);
        let most = (CHUNK / p.output_pixels().max(1)).max(1);
        let chunk = 1usize << most.ilog2();
        let chunks = p.n.div_ceil(chunk);
        let groups = TASKS.div_ceil(blocks).min(PARTIAL / (m * n)).clamp(1, chunks.max(1));
        let group_chunks = chunks.div_ceil(groups).max(1).next_power_of_two();
        Plan { level, oc_first, m, n, panels, rows, block_panels, chunk, group_chunks }
    }

    /// What a task of [`sum_chunks`] takes at most.
    fn scratch_bytes(&self) -> usize {
        let rows = self.rows.min(self.m);
        let width = |part: &[Panel]| part.iter().map(|panel| panel.width).sum::<usize>();
        let padded = self.panels.chunks(self.block_panels).map(width).max().unwrap_or(0);
        let levels = self.group_chunks.ilog2() as usize + 1;
        Scratch::bytes::<usize>(rows)
            + Scratch::bytes::<f32>((levels + 1) * rows * padded)
            + StepsScratch::bytes(self.level, rows, padded)
    }
}

pub(super) fn grad_weight(p: &ConvProblem, src: &[f32], dy: &[f32], dw: &mut [f32], isa: Isa) {
    if p.n * p.output_pixels() == 0 {
        return dw.fill(0.0);
    }
    let plan = Plan::new(p, isa);
    let groups = p.n.div_ceil(plan.chunk * plan.group_chunks);
    let (down, across) = (plan.m.div_ceil(plan.rows), plan.panels.len().div_ceil(plan.block_panels));
    // With one group of chunks tasks write their results in place.
    let mut partial = Buffer::new::<f32>(if groups > 1 { groups * plan.m * plan.n } else { 0 });
    let partials = SharedMut::new(partial.as_mut_slice::<f32>());
    let out = SharedMut::new(dw);
    for group in 0..p.groups {
        let (col, dy) = (views::col(p, group, src), views::out(p, group, dy));
        parallel_scratch(down * across * groups, plan.scratch_bytes(), |task, mut scratch| {
            let (chunks, block) = (task / (down * across), task % (down * across));
            let rows = (block / across * plan.rows)..plan.m.min((block / across + 1) * plan.rows);
            let first = block % across * plan.block_panels;
            let panels = &plan.panels[first..plan.panels.len().min(first + plan.block_panels)];
            let cols = panels[0].cols.start..panels[panels.len() - 1].cols.end;
            let sums = sum_chunks(p, &plan, isa, chunks, &col, &dy, rows.clone(), panels, &mut scratch);
            for (row, sums) in rows.zip(sums.chunks_exact(cols.len())) {
                if groups > 1 {
                    // SAFETY: this task alone writes this part of this group's partial result.
                    let to =
                        unsafe { partials.slice((chunks * plan.m + row) * plan.n + cols.start, cols.len()) };
                    to.copy_from_slice(sums);
                } else {
                    scatter(p, &plan, group, row, cols.clone(), sums, out);
                }
            }
        });
        if groups > 1 {
            combine(p, &plan, group, groups, partials, out);
        }
    }
}

/// The block `rows x panels` of the sum over one group of chunks, in the task's scratch.
fn sum_chunks<'a>(
    p: &ConvProblem,
    plan: &Plan,
    isa: Isa,
    group: usize,
    col: &View<'_>,
    dy: &View<'_>,
    rows: Range<usize>,
    panels: &[Panel],
    scratch: &mut Scratch<'a>,
) -> &'a [f32] {
    let (left, right) = if plan.oc_first { (dy, col) } else { (col, dy) };
    let (first_col, width) = (panels[0].cols.start, panels[panels.len() - 1].cols.end - panels[0].cols.start);
    let padded = panels.iter().map(|panel| panel.width).sum();
    let len = rows.len() * width;
    let begin = group * plan.group_chunks * plan.chunk;
    let images = begin..p.n.min(begin + plan.group_chunks * plan.chunk);
    let chunks = images.len().div_ceil(plan.chunk);
    let levels = chunks.ilog2() as usize + 1;
    let offsets = scratch.take::<usize>(rows.len());
    offsets.iter_mut().enumerate().for_each(|(i, offset)| *offset = i * width);
    // A binary counter: the stack holds sums of falling powers of two of chunks.
    let stack_sums = scratch.take::<f32>((levels + 1) * len);
    let mut steps_scratch = StepsScratch::new(scratch, plan.level, rows.len(), padded);
    let mut top = 0;
    for chunk in 0..chunks {
        let from = images.start + chunk * plan.chunk;
        let steps = from * p.output_pixels()..images.end.min(from + plan.chunk) * p.output_pixels();
        let sums = stack_sums[top * len..(top + 1) * len].as_mut_ptr().wrapping_sub(first_col);
        let (right, offsets) = (Right::Steps(right), &*offsets);
        // SAFETY: column `first_col` of the matrix is the first of the block, whose rows are `width` apart.
        unsafe {
            steps_product(isa, left, right, steps, rows.clone(), panels, &mut steps_scratch, sums, offsets)
        };
        top += 1;
        for _ in 0..(chunk + 1).trailing_zeros() {
            top = add_top(stack_sums, top, len);
        }
    }
    while top > 1 {
        top = add_top(stack_sums, top, len);
    }
    &stack_sums[..len]
}

/// Adds the last of `top` sums to the one before.
fn add_top(stack: &mut [f32], top: usize, len: usize) -> usize {
    let (below, last) = stack[..top * len].split_at_mut((top - 1) * len);
    for (sum, x) in below[(top - 2) * len..].iter_mut().zip(last) {
        *sum += *x;
    }
    top - 1
}

/// Goes on with the tree over the groups of chunks, and writes the weight.
fn combine(
    p: &ConvProblem,
    plan: &Plan,
    group: usize,
    groups: usize,
    partials: SharedMut<'_, f32>,
    out: SharedMut<'_, f32>,
) {
    let (m, n) = (plan.m, plan.n);
    let rows = m.div_ceil(TASKS);
    parallel(m.div_ceil(rows), |task| {
        for row in task * rows..m.min((task + 1) * rows) {
            // SAFETY: rows are taken by one task each; the parts of different groups do not overlap.
            let part = |i: usize| unsafe { partials.slice((i * m + row) * n, n) };
            let mut stack: Vec<&mut [f32]> = Vec::with_capacity(usize::BITS as usize);
            let merge = |stack: &mut Vec<&mut [f32]>| {
                let last = stack.pop().expect("two sums");
                let below = stack.last_mut().expect("two sums");
                below.iter_mut().zip(last).for_each(|(sum, x)| *sum += *x);
            };
            for i in 0..groups {
                stack.push(part(i));
                for _ in 0..(i + 1).trailing_zeros() {
                    merge(&mut stack);
                }
            }
            while stack.len() > 1 {
                merge(&mut stack);
            }
            scatter(p, plan, group, row, 0..n, stack[0], out);
        }
    });
}

/// Writes columns `cols` of a row of `dw[M, N]` in PyTorch's order.
fn scatter(
    p: &ConvProblem,
    plan: &Plan,
    group: usize,
    row: usize,
    cols: Range<usize>,
    sums: &[f32],
    out: SharedMut<'_, f32>,
) {
    let (gi, go, taps) = (p.group_ic(), p.group_oc(), p.taps());
    // Column (tap, ic) of `col` is element (ic, tap) of a filter.
    let place = |col: usize| col % gi * taps + col / gi;
    for (col, sum) in cols.zip(sums) {
        let (oc, at) = if plan.oc_first { (row, place(col)) } else { (col, place(row)) };
        // SAFETY: in bounds, and each element of the weight is written once.
        unsafe { *out.as_ptr().add((group * go + oc) * gi * taps + at) = *sum };
    }
}
