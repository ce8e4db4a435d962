//! Products of views: the loops around the micro-kernels.
//!
//! [`rows_product`] is `dst[M, N] = left[M, K] * right[K, N]` with a row of the left view per row of `dst`
//! (forward, gradient to the input, linear layers). [`steps_product`] is `dst[M, N] = left[K, M]^T *
//! right[K, N]` (gradients to the weights of linear layers), where a row of either view is one step of the sum.
//!
//! `k` is cut into blocks of nearly the same length, at most [`STEPS`]; blocks are added in order. A left side that is an
//! ordinary matrix is read as it lies; else a block of it is packed into scratch of the task. Its rows stay in the
//! first-level cache while the panels of the right matrix stream past them from the second.

use std::ops::Range;

use super::packed::arrange;
use super::strided::{Kernels, Panel, STEPS, Tile, even};
use super::transposed::pack_transposed;
use super::view::{Segment, View};
use crate::epilogue::Finish;
use crate::threads::{Scratch, SharedMut, parallel_scratch};
use crate::{Buffer, Epilogue, Isa};

/// Rows of one task: four tiles of 14.
const MC: usize = 56;
/// A task of few columns and short sums takes up to eight times the rows, to be worth this many multiplications.
const TASK_WORK: usize = 1 << 19;
/// Elements of a right matrix that is read from the third-level cache.
const LARGE: usize = 1 << 17;
/// Panels of one task when it packs the right matrix itself.
const PANELS: usize = 8;
/// The number of tasks that keeps eight threads busy.
pub(crate) const TASKS: usize = 16;
/// Fewer multiplications than this are not worth another thread.
const GRAIN: usize = 1 << 17;
/// Packed rows of the left matrix lie this far apart: the longest block of `k` and 16 more, an odd number of cache lines,
/// so that the rows of a tile do not fall into the same set of the first-level cache.
const ROW: usize = STEPS + 16;

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

/// Rows whose places are a fixed distance apart: how many, and where the first one is.
type Rows = (usize, usize);

impl Place {
    /// The rows of some segments, as few runs as there are.
    fn runs(&self, segments: &[Segment], runs: &mut Vec<Rows>) {
        runs.clear();
        let [image, d, h, w] = self.stride;
        for segment in segments {
            let line = self.base + segment.image * image + segment.d * d + segment.h * h;
            let first = line + segment.w * w;
            match runs.last_mut() {
                Some((count, start)) if *start + *count * w == first => *count += segment.len,
                _ => runs.push((segment.len, first)),
            }
        }
    }
}

/// The blocks that `k` is cut into; one, empty, if `k` is 0, so that the destination is written.
fn blocks(k: usize) -> impl Iterator<Item = Range<usize>> {
    let size = even(k, STEPS);
    (0..k.div_ceil(size).max(1)).map(move |i| i * size..((i + 1) * size).min(k))
}

/// Packs the whole right matrix, for products with many rows: `[panel][k][width]`.
pub(crate) fn pack_right(isa: Isa, right: Right<'_>, n: usize, k: usize) -> Buffer {
    arrange(isa, 1, n, k, |_, panel, to| {
        pack_panels(isa, right, std::slice::from_ref(panel), k, 0..k, to, &mut Vec::new());
    })
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

/// Whether rows that far apart are read as they lie. Rows a page apart fall into the same set of the first-level cache,
/// which has room for eight of them.
pub(crate) fn lie_well(distance: usize, kernels: &Kernels) -> bool {
    !distance.is_multiple_of(1024) || kernels.height() <= 8
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
    let (kernels, m, k) = (Kernels::narrow(isa, n), left.rows(), left.cols());
    if m == 0 || n == 0 {
        return;
    }
    let panels = kernels.panels(n);
    let packed = matches!(right, Right::Packed(_));
    let lies = left.as_matrix().filter(|(_, row)| lie_well(*row, kernels));
    // A task that packs the right side itself uses it for more rows, and so does one for whose panels the second-level
    // cache is too small.
    let again = match packed {
        false => 2,
        true if n * k > LARGE => 4,
        true => 1,
    };
    let most_rows = MC * (TASK_WORK / (MC * n * k).max(1)).clamp(again, 8);
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
    let widest = panels.chunks(np).map(width).max().unwrap_or(0);
    let (left_len, right_len) =
        (if lies.is_some() { 0 } else { mc * ROW }, if packed { 0 } else { k.min(STEPS) * widest });
    let bytes = Scratch::bytes::<f32>(left_len) + Scratch::bytes::<f32>(right_len);
    parallel_scratch(tasks(mc, np), bytes, |task, mut scratch| {
        let rows = (task / across * mc)..(task / across * mc + mc).min(m);
        let panels = &panels[task % across * np..(task % across * np + np).min(panels.len())];
        let (a, b) = (scratch.take::<f32>(left_len), scratch.take::<f32>(right_len));
        let (mut segments, mut steps_scratch, mut runs) = (Vec::new(), Vec::new(), Vec::new());
        left.segments(rows.clone(), &mut segments);
        place.runs(&segments, &mut runs);
        for steps in blocks(k) {
            let (first, row) = match lies {
                Some((from, row)) => (from[rows.start * row + steps.start..].as_ptr(), row),
                None => {
                    // SAFETY: `a` holds the rows, `ROW` apart, which is more than the longest block.
                    unsafe { left.pack(isa, &segments, steps.clone(), a.as_mut_ptr(), ROW) };
                    (a.as_ptr(), ROW)
                }
            };
            if !packed {
                pack_panels(isa, right, panels, k, steps.clone(), b, &mut steps_scratch);
            }
            let last = steps.end == k;
            for (pass, panel) in panels.iter().enumerate() {
                let (columns, width) = (panel.cols.len(), panel.width);
                let b = match right {
                    Right::Packed(all) => all[panel.at * k + steps.start * width..].as_ptr(),
                    _ => b[(panel.at - panels[0].at) * steps.len()..].as_ptr(),
                };
                let mut done = 0;
                for &(count, start) in &runs {
                    let tall = even(count, kernels.height_of(columns));
                    for row_at in (0..count).step_by(tall) {
                        let to = start + row_at * place.stride[3] + panel.cols.start;
                        let a = first.wrapping_add((done + row_at) * row);
                        let tile = Tile {
                            k: steps.len(),
                            a,
                            // The rows of the next tile follow, where all of `k` is one block.
                            ahead: (pass == 0 && lies.is_some() && row == steps.len())
                                .then(|| a.wrapping_add(tall * row)),
                            a_row: row,
                            a_step: 1,
                            b,
                            b_step: width,
                            dst: dst.as_ptr().wrapping_add(to),
                            dst_row: place.stride[3],
                            accumulate: steps.start > 0,
                            cols: columns,
                            finish: if last { epilogue.from(panel.cols.start, to) } else { Finish::NONE },
                            ..Tile::PLAIN
                        };
                        // SAFETY: both sides hold the block, and this task alone writes these rows and columns.
                        unsafe { kernels.get(tall.min(count - row_at), columns)(&tile) };
                    }
                    done += count;
                }
            }
        }
    });
}

/// Columns of neighbouring panels, with their padding.
fn width(panels: &[Panel]) -> usize {
    panels.iter().map(|panel| panel.width).sum()
}

/// `dst[M, N] = left[K, M]^T * right[K, N]`: both sides are packed, some columns of each, block by block.
pub(crate) fn steps_product(isa: Isa, left: &View<'_>, right: Right<'_>, n: usize, dst: SharedMut<'_, f32>) {
    /// Rows and panels of one task.
    const ROWS: usize = 112;
    const PANELS: usize = 6;
    let (kernels, m, k) = (Kernels::narrow(isa, n), left.cols(), left.rows());
    let panels = kernels.panels(n);
    let (down, across) = (m.div_ceil(ROWS), panels.len().div_ceil(PANELS));
    let (left_len, right_len) =
        (STEPS * ROWS.min(m), STEPS * panels.chunks(PANELS).map(width).max().unwrap_or(0));
    let bytes = Scratch::bytes::<f32>(left_len) + Scratch::bytes::<f32>(right_len);
    parallel_scratch(down * across, bytes, |task, mut scratch| {
        let rows = (task / across * ROWS)..(task / across * ROWS + ROWS).min(m);
        let panels = &panels[task % across * PANELS..(task % across * PANELS + PANELS).min(panels.len())];
        let (a, b) = (scratch.take::<f32>(left_len), scratch.take::<f32>(right_len));
        let mut segments = Vec::new();
        for steps in blocks(k) {
            left.segments(steps.clone(), &mut segments);
            // SAFETY: `a` holds these columns of the block's steps.
            unsafe { left.pack(isa, &segments, rows.clone(), a.as_mut_ptr(), rows.len()) };
            pack_panels(isa, right, panels, k, steps.clone(), b, &mut segments);
            for panel in panels {
                let tall = even(rows.len(), kernels.height_of(panel.cols.len()));
                for row in (0..rows.len()).step_by(tall) {
                    let tile = Tile {
                        k: steps.len(),
                        a: a[row..].as_ptr(),
                        a_row: 1,
                        a_step: rows.len(),
                        b: b[(panel.at - panels[0].at) * steps.len()..].as_ptr(),
                        b_step: panel.width,
                        dst: dst.as_ptr().wrapping_add((rows.start + row) * n + panel.cols.start),
                        dst_row: n,
                        accumulate: steps.start > 0,
                        cols: panel.cols.len(),
                        ..Tile::PLAIN
                    };
                    // SAFETY: the packed sides hold the block; this task alone writes these rows and columns.
                    unsafe { kernels.get(tall.min(rows.len() - row), panel.cols.len())(&tile) };
                }
            }
        }
    });
}
