//! Left sides that are not copied for each tap: lines with their padding, under which neighbouring pixels share values.
//!
//! The pixels under one line of the kernel are contiguous, so a row of the left side is a few stretches of
//! `kw * channels` elements, a line apart, and rows are a pixel apart. Rows go on over the ends of lines: the pixels
//! between two lines of the result are computed and not stored, which costs less than tiles that are not full.

use super::left::Left;
use super::product::{Rows, Work};
use crate::Bf16;
use crate::gemm::half::pack::Panels;
use crate::gemm::half::{ROWS, STEP};
use crate::threads::{Scratch, parallel_scratch};

/// Elements that a task copies, about.
const TASK: usize = 1 << 16;
/// The same where panels are far: each task reads all of them once.
const LARGE_TASK: usize = 1 << 18;
/// Words of panels that do not stay in the second-level cache.
const FAR: usize = 1 << 19;
/// Tasks that are wanted, so that threads find work.
const TASKS: usize = 4;
/// A copied value costs about as much as the products with so many columns.
const COPY: usize = 25;

/// The geometry of lines with padding.
#[derive(Debug)]
pub(super) struct Lines {
    /// Taps of the kernel on both axes.
    kernel: [usize; 2],
    /// Pixels of a copied line.
    width: usize,
    /// Lines of the result in a task.
    rows: usize,
    /// Images in a task, if it has all lines of one.
    images: usize,
}

impl Lines {
    /// For a left side of two axes and a step of one, whose stretches are whole steps, if the pixels between lines are
    /// fewer than what a copy for each tap would cost; or if panels are far, and copies would leave no room for many rows.
    pub(super) fn of(left: &Left<'_>, panels: &Panels) -> Option<Lines> {
        let taps = left.taps;
        let first = taps.runs.first()?;
        let kernel = [taps.runs.len(), first.len];
        let neighbours = taps.runs.iter().enumerate().all(|(i, run)| {
            let [d, h, w] = first.offset;
            run.len == first.len && run.offset == [d, h + i as isize, w]
        });
        let flat = taps.stride == [1; 3] && left.size[0] == 1 && first.offset[0] == 0 && taps.output[0] == 1;
        let whole = (first.len * left.channels).is_multiple_of(STEP) && left.group.len() == left.channels;
        let far = panels.words() > FAR;
        let worth = far || (kernel[1] - 1) * panels.columns() <= COPY * taps.output[2];
        if !(neighbours && flat && whole && worth && taps.order.len() > 1) {
            return None;
        }
        let width = taps.output[2] + kernel[1] - 1;
        let (line, height) = (width * left.channels, taps.output[1]);
        let task = if far { LARGE_TASK } else { TASK };
        let rows = (task / line).clamp(1, height);
        let parts = height.div_ceil(rows);
        let most = if far && parts == 1 { task / ((height + kernel[0] - 1) * line) } else { 1 };
        let images = most.clamp(1, left.n.div_ceil(TASKS));
        Some(Lines { kernel, width, rows: height.div_ceil(parts), images })
    }

    pub(super) fn run(&self, work: &Work<'_>, left: &Left<'_>) {
        let [_, height, wide] = left.taps.output;
        let (parts, line) = (height.div_ceil(self.rows), self.width * left.channels);
        let len = (self.rows + self.kernel[0] - 1) * line;
        let bytes = Scratch::bytes::<Bf16>(self.images * len) + Work::scratch();
        parallel_scratch(left.n.div_ceil(self.images) * parts, bytes, |task, mut scratch| {
            let (first, from) = (task / parts * self.images, task % parts * self.rows);
            let images = self.images.min(left.n - first);
            let rows = self.rows.min(height - from);
            let len = (rows + self.kernel[0] - 1) * line;
            let copies = &mut scratch.take::<Bf16>(self.images * len)[..images * len];
            for (i, copy) in copies.chunks_exact_mut(len).enumerate() {
                self.copy(left, first + i, from, copy);
            }
            let copies = &*copies;
            let count = (rows - 1) * self.width + wide;
            let tiles = (0..images * count.div_ceil(ROWS)).map(|tile| {
                let (image, row) = (tile / count.div_ceil(ROWS), tile % count.div_ceil(ROWS) * ROWS);
                let mut places = [usize::MAX; ROWS];
                let rows = ROWS.min(count - row);
                for (i, place) in places.iter_mut().enumerate().take(rows) {
                    let (h, w) = ((row + i) / self.width, (row + i) % self.width);
                    if w < wide {
                        *place = work.target.place(((first + image) * height + from + h) * wide + w);
                    }
                }
                let a = copies[image * len + row * left.channels..].as_ptr();
                Rows { count: rows, a, a_row: left.channels, reps: self.kernel[0], a_rep: line, places }
            });
            // SAFETY: the last row of an image ends with its copy, and this task alone writes these lines of the images.
            unsafe { work.multiply(tiles, 0..work.panels(), scratch) };
        });
    }

    /// Copies the lines that those of the result from `from` on read, with their padding.
    fn copy(&self, left: &Left<'_>, image: usize, from: usize, dst: &mut [Bf16]) {
        let ([_, height, wide], channels) = (left.size, left.channels);
        let [_, h, w] = left.taps.runs[0].offset;
        // Of a copied line the pixels that are in the map.
        let low = (-w).clamp(0, self.width as isize) as usize;
        let high = (wide as isize - w).clamp(low as isize, self.width as isize) as usize;
        for (i, dst) in dst.chunks_exact_mut(self.width * channels).enumerate() {
            let h = (from + i) as isize + h;
            if !(0..height as isize).contains(&h) || low == high {
                dst.fill(Bf16::default());
                continue;
            }
            let first = (image * height + h as usize) * wide + (w + low as isize) as usize;
            dst[..low * channels].fill(Bf16::default());
            dst[high * channels..].fill(Bf16::default());
            let dst = &mut dst[low * channels..high * channels];
            dst.copy_from_slice(&left.src[first * channels..][..dst.len()]);
        }
    }
}
