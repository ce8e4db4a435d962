//! Products of views: the loops around the micro-kernels.
//!
//! [`rows_product`] is `dst[M, N] = left[M, K] * right[K, N]` with a row of the left view per row of `dst`
//! (forward, gradient to the input, linear layers). [`steps_product`] is `dst[M, N] = left[K, M]^T *
//! right[K, N]` over a range of K (gradients to weights), where a row of either view is one step of the sum.
//!
//! `k` is cut into blocks of nearly the same length, at most [`KC`]; blocks are added in order. The left block
//! is packed into scratch of the task; one of its tiles stays in the first-level cache while the panels of the
//! right matrix stream past it from the second.

use std::ops::Range;

use super::block::Block;
use super::level::{Level, Panel, packed_len};
use super::micro::{KC, ROW};
use super::transposed::pack_transposed;
use super::view::{Segment, View};
use crate::threads::{Scratch, SharedMut, parallel, parallel_scratch};
use crate::{Buffer, Epilogue, Isa};

/// Rows of one task: four tiles of 14, two of 28. Their packed block takes a sixteenth of the second-level cache.
const MC: usize = 56;
/// A task of few columns and short sums takes up to eight times the rows, to be worth this many multiplications.
const TASK_WORK: usize = 1 << 19;
/// Panels of one task when it packs the right matrix itself.
const PANELS: usize = 8;
/// The number of tasks that keeps eight threads busy.
pub(crate) const TASKS: usize = 16;
/// Fewer multiplications than this are not worth another thread.
const GRAIN: usize = 1 << 17;

/// The right matrix.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Right<'a> {
    /// In panels, as [`pack_right`] leaves it.
    Packed(&'a [f32]),
    /// Rows are steps of `k`.
    Steps(&'a View<'a>),
    /// Row-major `[n, k]`.
    Transposed(&'a [f32]),
}

/// Where the row `(image, d, h, w)` of the left view goes: element `base + image * stride[0] + d * stride[1] +
/// h * stride[2] + w * stride[3]`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) base: usize,
    pub(crate) stride: [usize; 4],
}

/// The length of all blocks that so many steps are cut into but the last.
pub(super) fn block_size(k: usize) -> usize {
    k.div_ceil(k.div_ceil(KC).max(1)).max(1)
}

/// The blocks that `k` is cut into; one, empty, if `k` is 0, so that the destination is written.
fn blocks(range: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let (count, size) = (range.len().div_ceil(KC).max(1), block_size(range.len()));
    (0..count).map(move |i| (range.start + i * size)..(range.start + (i + 1) * size).min(range.end))
}

/// Packs the whole right matrix, for products with many rows: `[panel][k][width]`.
pub(crate) fn pack_right(isa: Isa, right: Right<'_>, panels: &[Panel], k: usize) -> Buffer {
    let mut packed = Buffer::new::<f32>(packed_len(panels, k));
    let shared = SharedMut::new(packed.as_mut_slice::<f32>());
    parallel(panels.len(), |i| {
        let panel = &panels[i];
        // SAFETY: each panel has its own place.
        let dst = unsafe { shared.slice(panel.at * k, panel.width * k) };
        pack_panels(isa, right, &panels[i..=i], k, 0..k, dst, &mut Vec::new());
    });
    packed
}

/// Packs steps `steps` of some panels, one after the other.
fn pack_panels(
    isa: Isa,
    right: Right<'_>,
    panels: &[Panel],
    k: usize,
    steps: Range<usize>,
    dst: &mut [f32],
    segments: &mut Vec<Segment>,
) {
    if let Right::Steps(view) = right {
        view.segments(steps.clone(), segments);
    }
    let mut at = 0;
    for panel in panels {
        let to = &mut dst[at..at + panel.width * steps.len()];
        at += to.len();
        let to = to.as_mut_ptr();
        match right {
            // SAFETY: `to` holds `steps` rows of the panel's width.
            Right::Steps(view) => unsafe { view.pack(isa, segments, panel.cols.clone(), to, panel.width) },
            Right::Transposed(src) => {
                let from = &src[panel.cols.start * k + steps.start..panel.cols.end * k];
                // SAFETY: `from` holds the panel's rows, `to` their steps.
                unsafe {
                    let (count, len) = (panel.cols.len(), steps.len());
                    pack_transposed(isa, from.as_ptr(), k, count, len, [1, len], to, panel.width);
                }
            }
            Right::Packed(_) => unreachable!("a packed matrix is not packed again"),
        }
    }
}

/// `dst[M, N] = left[M, K] * right[K, N]`, then the epilogue.
pub(crate) fn rows_product(
    isa: Isa,
    left: &View<'_>,
    right: Right<'_>,
    n: usize,
    dst: SharedMut<'_, f32>,
    place: Place,
    epilogue: Epilogue<'_, f32>,
) {
    let (level, m, k) = (Level::of(isa), left.rows(), left.cols());
    if m == 0 || n == 0 {
        return;
    }
    let panels = level.panels(n);
    let packed = matches!(right, Right::Packed(_));
    // A task that packs the right side itself uses it for more rows.
    let rows_for_work = (TASK_WORK / (MC * n * k).max(1)).clamp(1, 8);
    let most_rows = MC * if packed { rows_for_work } else { rows_for_work.max(2) };
    let wanted = (m * n * k / GRAIN).clamp(1, TASKS);
    let mut mc = most_rows.min(m.next_multiple_of(MC / 4));
    let most_panels = if packed { panels.len() } else { PANELS };
    let mut np = panels.len().min(most_panels);
    let tasks = |mc: usize, np: usize| m.div_ceil(mc) * panels.len().div_ceil(np);
    while tasks(mc, np) < wanted && np > 2 {
        np = np.div_ceil(2);
    }
    while tasks(mc, np) < wanted && mc > MC / 4 {
        mc = (mc / 2).next_multiple_of(MC / 4);
    }
    let across = panels.len().div_ceil(np);
    let kc = k.min(KC);
    let widest = panels.chunks(np).map(|part| part.iter().map(|panel| panel.width).sum()).max().unwrap_or(0);
    let right_len = if packed { 0 } else { kc * widest };
    let bytes =
        Scratch::bytes::<f32>(mc * ROW) + Scratch::bytes::<f32>(right_len) + Scratch::bytes::<usize>(mc);
    parallel_scratch(tasks(mc, np), bytes, |task, mut scratch| {
        let rows = (task / across * mc)..(task / across * mc + mc).min(m);
        let panels = &panels[task % across * np..(task % across * np + np).min(panels.len())];
        let a = scratch.take::<f32>(rows.len() * ROW);
        let b = scratch.take::<f32>(right_len);
        let offsets = scratch.take::<usize>(rows.len());
        let (mut segments, mut steps_scratch) = (Vec::new(), Vec::new());
        left.segments(rows.clone(), &mut segments);
        place.offsets(&segments, offsets);
        for steps in blocks(0..k) {
            let last = steps.end == k;
            let left_block = a.as_mut_ptr();
            // SAFETY: `a` holds the rows, `ROW` apart, which is more than the longest block.
            unsafe { left.pack(isa, &segments, steps.clone(), left_block, ROW) };
            if !packed {
                pack_panels(isa, right, panels, k, steps.clone(), b, &mut steps_scratch);
            }
            let right_at = |panel: &Panel| match right {
                Right::Packed(all) => all[panel.at * k + steps.start * panel.width..].as_ptr(),
                _ => b[(panel.at - panels[0].at) * steps.len()..].as_ptr(),
            };
            let block = Block {
                kernels: |kind| kind.by_row,
                left: left_block,
                row: ROW,
                height: usize::MAX,
                offsets,
                accumulate: steps.start > 0,
                epilogue: if last { epilogue } else { Epilogue::NONE },
            };
            // SAFETY: the packed sides hold the block, and this task alone writes these rows and columns.
            unsafe { block.multiply(level, steps.len(), panels, right_at, dst.as_ptr()) };
        }
    });
}

impl Place {
    fn offsets(&self, segments: &[Segment], into: &mut [usize]) {
        let mut at = into.iter_mut();
        for segment in segments {
            let [image, d, h, w] = self.stride;
            let line = self.base + segment.image * image + segment.d * d + segment.h * h;
            for x in segment.w..segment.w + segment.len {
                *at.next().expect("one offset a row") = line + x * w;
            }
        }
    }
}

/// The scratch of [`steps_product`], kept by its caller from call to call.
#[derive(Debug)]
pub(crate) struct StepsScratch<'a> {
    a: &'a mut [f32],
    b: &'a mut [f32],
    segments: Vec<Segment>,
}

impl<'a> StepsScratch<'a> {
    /// What it takes of a task's scratch, for at most `rows` rows and `width` columns (with the padding).
    pub(crate) fn bytes(level: &Level, rows: usize, width: usize) -> usize {
        Scratch::bytes::<f32>(rows.next_multiple_of(level.step) * KC) + Scratch::bytes::<f32>(width * KC)
    }

    pub(crate) fn new(scratch: &mut Scratch<'a>, level: &Level, rows: usize, width: usize) -> Self {
        let a = scratch.take::<f32>(rows.next_multiple_of(level.step) * KC);
        StepsScratch { a, b: scratch.take::<f32>(width * KC), segments: Vec::new() }
    }
}

/// `dst[M, N] = left[K, M]^T * right[K, N]` over `steps` of K, columns `cols` of the left view and `panels` of
/// the right matrix. Row `i` of the result begins at `dst + offsets[i]`.
///
/// # Safety
/// The destination is writable there, and no one else uses it.
pub(crate) unsafe fn steps_product(
    isa: Isa,
    left: &View<'_>,
    right: Right<'_>,
    steps: Range<usize>,
    cols: Range<usize>,
    panels: &[Panel],
    scratch: &mut StepsScratch<'_>,
    dst: *mut f32,
    offsets: &[usize],
) {
    let level = Level::of(isa);
    let height = tile_height(level, cols.len());
    for block in blocks(steps.clone()) {
        left.segments(block.clone(), &mut scratch.segments);
        let a = &mut *scratch.a;
        for (i, start) in cols.clone().step_by(height).enumerate() {
            let to = &mut a[i * level.step * block.len()..(i + 1) * level.step * block.len()];
            let tile = start..cols.end.min(start + height);
            // SAFETY: `to` holds the block's steps, `level.step` apart.
            unsafe { left.pack(isa, &scratch.segments, tile, to.as_mut_ptr(), level.step) };
        }
        let a = a.as_ptr();
        let k = left.rows();
        pack_panels(isa, right, panels, k, block.clone(), scratch.b, &mut scratch.segments);
        let b = &*scratch.b;
        let product = Block {
            kernels: |kind| kind.by_step,
            left: a,
            row: 0,
            height,
            offsets,
            accumulate: block.start > steps.start,
            epilogue: Epilogue::NONE,
        };
        let right_at = |panel: &Panel| b[(panel.at - panels[0].at) * block.len()..].as_ptr();
        // SAFETY: the packed sides hold the block; the destination is the caller's promise.
        unsafe { product.multiply(level, block.len(), panels, right_at, dst) };
    }
}

/// The height of tiles, all the same but the last, that cuts `rows` into the fewest.
pub(crate) fn tile_height(level: &Level, rows: usize) -> usize {
    rows.div_ceil(rows.div_ceil(level.step).max(1)).max(1)
}
