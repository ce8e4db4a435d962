//! The gradient to the weight: sums over pixels, whose two sides are packed for it.
//!
//! ```text
//! dw[oc, (tap, ic)] = sum over pixels of dy[pixel, oc] * x[pixel under tap, ic]
//! ```
//! The left side is `dy` transposed, a row of pixels for each output channel; the right side pairs of pixels. Where taps
//! are a step of one apart, both maps are laid on one grid as wide as the map with its padding: then a tap is a shift of
//! the row of `dy`, and each map is packed once ([`Grid::Shifted`]). Else the right side is what the taps read of each
//! pixel ([`Grid::Gathered`]).
//!
//! Pixels come in chunks of a fixed size, one after the other; a task has sums of its own and goes over all pixels of the
//! chunk. So there is one order of sums. Between the pixels of `dy` on a grid there are zeros: an infinite value of the map
//! beside them makes its products NaN, under taps that do not read it too.

use super::left::Left;
use super::taps::Taps;
use crate::conv::ConvProblem;
use crate::gemm::half::pack::{Panels, pair_rows, transpose_block};
use crate::gemm::half::{BLOCK, LANES, ROWS, STEP, Session, Tile};
use crate::pool::windows::pixel;
use crate::threads::{Scratch, SharedMut, parallel, parallel_chunks, parallel_scratch};
use crate::{Bf16, Buffer, Isa};

/// Elements of both sides that are packed at a time, about.
const CHUNK: usize = 1 << 20;
/// Pixels of a grid for one of the output, at most.
const MOST_GRID: usize = 3;
/// Steps that a task packs.
const STEPS: usize = 8;

/// How pixels are numbered.
#[derive(Debug, Clone, Copy)]
enum Grid {
    /// Parts of an image, `lines` lines of the output each, on a grid so wide that a tap is a shift.
    Shifted { lines: usize, width: usize, pixels: usize },
    /// The pixels of the output.
    Gathered,
}

/// A group's product.
struct Sums<'a> {
    p: &'a ConvProblem,
    src: &'a [Bf16],
    dy: &'a [Bf16],
    group: usize,
    taps: &'a Taps,
    grid: Grid,
    isa: Isa,
    /// Columns of the right side.
    columns: usize,
    /// Pixels of a chunk: whole parts of images, or whole steps; the last step is filled up.
    chunk: usize,
    /// Elements of a row of the left side: zeros for the largest shift, then the pixels of a chunk.
    margin: usize,
    row: usize,
}

pub(super) fn grad_weight(p: &ConvProblem, src: &[Bf16], dy: &[Bf16], dw: &mut [f32], isa: Isa) {
    if src.is_empty() || dy.is_empty() {
        return dw.fill(0.0);
    }
    let (gi, go) = (p.group_ic(), p.group_oc());
    let taps = Taps::forward(p);
    let grid = grid(p);
    let columns = if matches!(grid, Grid::Gathered) { gi * p.taps() } else { gi };
    let shifts = p.taps() * gi / columns;
    // A product without taps on its right side, as wide as whole blocks, is the gradient itself.
    let direct = p.taps() == 1 && gi.is_multiple_of(LANES);
    let (height, width) = (go, columns.next_multiple_of(LANES));
    let mut own = Buffer::new::<f32>(if direct { 0 } else { shifts * height * width });
    for group in 0..p.groups {
        let dw = &mut dw[group * go * gi * p.taps()..][..go * gi * p.taps()];
        let job = Sums::new(p, src, dy, group, &taps, grid, isa, columns);
        if direct {
            job.sum(width, SharedMut::new(dw));
            continue;
        }
        let sums = &mut own.as_mut_slice::<f32>()[..shifts * height * width];
        job.sum(width, SharedMut::new(sums));
        // From `[shift][oc][columns]`, where the columns are (tap, ic) of the shift's taps, to `[oc][ic][taps]`.
        let joined = p.taps() / shifts;
        parallel_chunks(dw, gi * p.taps(), |oc, dw| {
            for tap in 0..p.taps() {
                let from = (tap / joined * height + oc) * width + tap % joined * gi;
                for (dw, sum) in dw[tap..].iter_mut().step_by(p.taps()).zip(&sums[from..from + gi]) {
                    *dw = *sum;
                }
            }
        });
    }
}

fn grid(p: &ConvProblem) -> Grid {
    let flat = p.kernel[0] == 1 && p.stride == [1; 3] && p.padding[0] == 0 && p.input[0] == 1;
    // One tap has no shift.
    if !flat || p.output[0] != 1 || p.taps() == 1 {
        return Grid::Gathered;
    }
    let reach = [1, 2].map(|axis| (p.kernel[axis] - 1).saturating_mul(p.dilation[axis]));
    let width = p.output[2].saturating_add(reach[1]);
    let most = CHUNK / (p.group_ic() + p.group_oc()) / width;
    let parts = p.output[1].div_ceil(most.saturating_sub(reach[0]).clamp(1, p.output[1]));
    let lines = p.output[1].div_ceil(parts);
    let pixels = lines.saturating_add(reach[0]).saturating_mul(width);
    // Far taps leave more between the pixels than copies for each tap would cost.
    if parts.saturating_mul(pixels) > MOST_GRID * p.output_pixels() {
        return Grid::Gathered;
    }
    Grid::Shifted { lines, width, pixels }
}

impl<'a> Sums<'a> {
    fn new(
        p: &'a ConvProblem,
        src: &'a [Bf16],
        dy: &'a [Bf16],
        group: usize,
        taps: &'a Taps,
        grid: Grid,
        isa: Isa,
        columns: usize,
    ) -> Sums<'a> {
        let part = if let Grid::Shifted { pixels, .. } = grid { pixels } else { STEP };
        let pixels = CHUNK / (columns + p.group_oc());
        let mut job = Sums { p, src, dy, group, taps, grid, isa, columns, chunk: 0, margin: 0, row: 0 };
        // No more than there is.
        job.chunk = (pixels / part).max(1).min(job.pixels().div_ceil(part).max(1)) * part;
        // Even, since pixels are written in pairs.
        job.margin = (0..p.taps()).map(|tap| job.shift(tap)).max().unwrap_or(0).next_multiple_of(2);
        // An odd number of lines of the cache: rows that are a page apart would share a set of it.
        let lines = (job.margin + job.chunk.next_multiple_of(STEP)).div_ceil(STEP);
        job.row = (lines | 1) * STEP;
        job
    }

    /// All pixels of the grid.
    fn pixels(&self) -> usize {
        match self.grid {
            Grid::Shifted { lines, pixels, .. } => self.p.n * self.p.output[1].div_ceil(lines) * pixels,
            Grid::Gathered => self.p.n * self.p.output_pixels(),
        }
    }

    /// By how many pixels of the grid a tap is before the pixel of the result.
    fn shift(&self, tap: usize) -> usize {
        match self.grid {
            Grid::Gathered => 0,
            Grid::Shifted { width, .. } => {
                let (h, w) = (tap / self.p.kernel[2], tap % self.p.kernel[2]);
                h * self.p.dilation[1] * width + w * self.p.dilation[2]
            }
        }
    }

    /// The pixels of both maps at a pixel of the grid, where they have one.
    fn places(&self, at: usize) -> [Option<usize>; 2] {
        let p = self.p;
        match self.grid {
            Grid::Gathered => [None, Some(at)],
            Grid::Shifted { lines, width, pixels } => {
                let parts = p.output[1].div_ceil(lines);
                let (part, within) = (at / pixels, at % pixels);
                let (image, first) = (part / parts, part % parts * lines);
                let (h, w) = (within / width, within % width);
                if image >= p.n {
                    return [None; 2];
                }
                let y = (h < lines && first + h < p.output[1] && w < p.output[2])
                    .then(|| pixel(p.output, image, [0, first + h, w]));
                let inside =
                    |at: usize, axis: usize| at.checked_sub(p.padding[axis]).filter(|&at| at < p.input[axis]);
                let x = match (inside(first + h, 1), inside(w, 2)) {
                    (Some(h), Some(w)) => Some(pixel(p.input, image, [0, h, w])),
                    _ => None,
                };
                [x, y]
            }
        }
    }

    /// Writes `[shift][oc][width]`.
    fn sum(&self, width: usize, dst: SharedMut<'_, f32>) {
        let (go, shifts) = (self.p.group_oc(), self.p.taps() * self.p.group_ic() / self.columns);
        let mut left = Buffer::new::<Bf16>(go.next_multiple_of(LANES) * self.row);
        let mut right = Panels::new(self.chunk, self.columns);
        let steps = right.steps();
        let tiles = go.div_ceil(ROWS);
        for first in (0..self.pixels()).step_by(self.chunk) {
            self.pack(first, &mut left, &mut right);
            let left = left.as_slice::<Bf16>();
            // A task's panel stays near while it goes over outputs, and those while it goes over shifts.
            parallel(right.count() * tiles, |task| {
                let (panel, row) = (right.panel(task / tiles), task % tiles * ROWS);
                let session = Session::begin(self.isa);
                for tap in 0..shifts {
                    let from = row * self.row + self.margin - self.shift(tap);
                    let to = (tap * go + row) * width + panel.columns.start;
                    let tile = Tile {
                        rows: ROWS.min(go - row),
                        blocks: panel.blocks,
                        a: left[from..].as_ptr(),
                        a_row: self.row,
                        steps,
                        reps: 1,
                        a_rep: 0,
                        b: panel.words,
                        dst: dst.as_ptr().wrapping_add(to),
                        dst_row: width,
                        accumulate: first > 0,
                    };
                    // SAFETY: a row of the left side has its margin and all steps of the panel, and this task alone
                    // writes these rows and columns.
                    unsafe { session.tile(&tile) };
                }
            });
        }
    }

    /// Packs the pixels of a chunk.
    fn pack(&self, first: usize, left: &mut Buffer, right: &mut Panels) {
        let (steps, blocks, row) = (right.steps(), self.columns.div_ceil(LANES), self.row);
        let (go, stored) = (self.p.group_oc().next_multiple_of(LANES), self.columns.next_multiple_of(STEP));
        let left = SharedMut::new(left.as_mut_slice::<Bf16>());
        // Where shifts reach before the first pixel there are zeros.
        // SAFETY: before the tasks nobody else writes.
        (0..go).for_each(|oc| unsafe { left.slice(oc * row, self.margin) }.fill(Bf16::default()));
        let (right, words) = right.shared();
        let bytes = Scratch::bytes::<Bf16>(STEP * stored) + Scratch::bytes::<Bf16>(STEP * go);
        parallel_scratch(steps.div_ceil(STEPS), bytes, |task, mut scratch| {
            let (x, y) = (scratch.take::<Bf16>(STEP * stored), scratch.take::<Bf16>(STEP * go));
            for step in task * STEPS..steps.min((task + 1) * STEPS) {
                // Past the chunk there are zeros: the next one begins with these pixels.
                let from = first + step * STEP;
                let count = STEP.min((first + self.chunk).min(self.pixels()).saturating_sub(from));
                self.read(from, count, x, y);
                for block in 0..blocks {
                    // SAFETY: each step of each block is written once.
                    let words = unsafe { words.slice(right(step, block), BLOCK) };
                    pair_rows(self.isa, x, stored, block * LANES, words);
                }
                for oc in (0..go).step_by(LANES) {
                    let mut pairs = [0; BLOCK];
                    pair_rows(self.isa, y, go, oc, &mut pairs);
                    let to = left.as_ptr().wrapping_add(oc * row + self.margin + step * STEP);
                    // SAFETY: each step of each row is written once; a word is two values, and rows begin at an even one.
                    unsafe { transpose_block(self.isa, &pairs, to.cast(), row / 2) };
                }
            }
        });
    }

    /// What both sides have of `count` pixels of the grid from `first` on, in rows filled up with zeros.
    fn read(&self, first: usize, count: usize, x: &mut [Bf16], y: &mut [Bf16]) {
        let (p, gi, go) = (self.p, self.p.group_ic(), self.p.group_oc());
        let channels = self.group * gi..(self.group + 1) * gi;
        let (x_row, y_row) = (x.len() / STEP, y.len() / STEP);
        let gathered = matches!(self.grid, Grid::Gathered);
        if gathered {
            let (size, taps) = (p.input, self.taps);
            let left = Left { n: p.n, src: self.src, size, channels: p.ic, group: channels.clone(), taps };
            left.gather(first, &mut x[..count * x_row]);
        }
        for i in 0..STEP {
            let (x, y) = (&mut x[i * x_row..][..x_row], &mut y[i * y_row..][..y_row]);
            let [from_x, from_y] = if i < count { self.places(first + i) } else { [None; 2] };
            if !gathered || i >= count {
                copy(from_x.map(|pixel| &self.src[pixel * p.ic..][channels.clone()]), x);
            }
            copy(from_y.map(|pixel| &self.dy[pixel * p.oc + self.group * go..][..go]), y);
        }
    }
}

/// Values, if there are any, and zeros.
fn copy(values: Option<&[Bf16]>, row: &mut [Bf16]) {
    let values = values.unwrap_or(&[]);
    let (to, filling) = row.split_at_mut(values.len());
    to.copy_from_slice(values);
    filling.fill(Bf16::default());
}
