//! The products: of a block of output pixels, line by line of the kernel.

use std::ops::Range;

use super::super::direct::Lines;
use super::BLOCK;
use super::plan::{Line, Plan, Shape};
use crate::gemm::strided::{Panel, Tile, even};
use crate::simd::prefetch;

impl Plan<'_> {
    /// Adds what a block of outputs gives to some units, whose sums are given.
    ///
    /// There are `rows` rows of `width` outputs; `line` is what the first of the rows reads with the first tap along the last
    /// two axes, `dy` the gradient there.
    fn block(
        &self,
        kd: usize,
        units: Range<usize>,
        rows: usize,
        width: usize,
        lines: &Lines,
        line: *const f32,
        dy: *const f32,
        sums: &mut [f32],
    ) {
        let p = self.p;
        let (line_step, line_rep) = (p.stride[2] * p.ic, p.stride[1] * lines.len);
        // Of long rows a part at a time.
        for w in (0..width).step_by(BLOCK) {
            let count = BLOCK.min(width - w);
            if rows == 1 && lines.bare() && p.stride[2] == 1 {
                // Tiles read narrow columns, of which nobody guesses the next.
                prefetch(line.wrapping_add((w + count) * line_step), count * line_step);
                prefetch(dy.wrapping_add((w + count) * p.oc), count * p.oc);
            }
            for &Line { kh, kw, row, .. } in self.lines.iter().filter(|line| line.kd == kd) {
                let at = kh * p.dilation[1] * lines.len + (w * p.stride[2] + kw * p.dilation[2]) * p.ic;
                let (line, dy) = (line.wrapping_add(at), dy.wrapping_add(w * p.oc));
                let step = Tile { reps: rows, accumulate: true, b_ends: true, ..Tile::PLAIN };
                match self.shape {
                    Shape::OutputsFirst => {
                        for Panel { cols: columns, .. } in &self.panels {
                            let tall = even(units.len(), self.kernels.height_of(columns.len()));
                            for oc in units.clone().step_by(tall) {
                                let to = &mut sums[(oc - units.start) * self.rows + row + columns.start..];
                                let tile = Tile {
                                    k: count,
                                    a: dy.wrapping_add(oc),
                                    a_row: 1,
                                    a_step: p.oc,
                                    a_rep: width * p.oc,
                                    b: line.wrapping_add(columns.start),
                                    b_step: line_step,
                                    b_rep: line_rep,
                                    dst: to.as_mut_ptr(),
                                    dst_row: self.rows,
                                    cols: columns.len(),
                                    ..step
                                };
                                // SAFETY: the lines hold every pixel that these outputs read, `dy` their gradients, and the
                                // sums these rows and columns.
                                unsafe {
                                    self.kernels.get(tall.min(units.end - oc), columns.len())(&tile);
                                }
                            }
                        }
                    }
                    Shape::TapsFirst | Shape::Wide(_) => {
                        let pixels = if let Shape::Wide(pixels) = self.shape { pixels } else { 1 };
                        for unit in units.clone() {
                            let Panel { cols: columns, width: across, .. } = &self.panels[unit];
                            let to =
                                sums[(unit - units.start) * self.unit_len() + row * across..].as_mut_ptr();
                            let whole = Tile {
                                k: count / pixels,
                                a: line,
                                a_row: 1,
                                a_step: pixels * line_step,
                                a_rep: line_rep,
                                b: dy.wrapping_add(columns.start),
                                b_step: pixels * p.oc,
                                b_rep: width * p.oc,
                                dst: to,
                                dst_row: *across,
                                cols: columns.len(),
                                ..step
                            };
                            self.tiles(whole, self.line_rows);
                            let left = count % pixels;
                            if left > 0 {
                                let done = count - left;
                                let rest = Tile {
                                    k: 1,
                                    a: line.wrapping_add(done * line_step),
                                    b: whole.b.wrapping_add(done * p.oc),
                                    cols: left * p.oc,
                                    ..whole
                                };
                                self.tiles(rest, (p.kernel[2] + (left - 1) * p.stride[2]) * p.ic);
                            }
                        }
                    }
                }
            }
        }
    }

    /// The tiles of one panel, row by row.
    fn tiles(&self, tile: Tile, rows: usize) {
        let tall = even(rows, self.kernels.height_of(tile.cols));
        for row in (0..rows).step_by(tall) {
            let (a, dst) = (tile.a.wrapping_add(row), tile.dst.wrapping_add(row * tile.dst_row));
            // SAFETY: see where the tile is made.
            unsafe { self.kernels.get(tall.min(rows - row), tile.cols)(&Tile { a, dst, ..tile }) };
        }
    }

    /// The sums of some units over some images.
    pub(super) fn chunk(
        &self,
        images: Range<usize>,
        group: usize,
        units: Range<usize>,
        src: &[f32],
        dy: &[f32],
        sums: &mut [f32],
        scratch: &mut [f32],
    ) {
        let p = self.p;
        let [od, oh, ow] = p.output;
        let lines = Lines::of(p);
        sums.fill(0.0);
        if p.is_pointwise() {
            // The maps follow each other without a seam, as one row.
            let line = src[images.start * ow * p.ic + group * p.group_ic()..].as_ptr();
            let dy = dy[images.start * ow * p.oc + group * p.group_oc()..].as_ptr();
            return self.block(0, units, 1, images.len() * ow, &lines, line, dy, sums);
        }
        for image in images {
            for d in 0..od {
                for h in (0..oh).step_by(self.block_rows) {
                    let rows = h..oh.min(h + self.block_rows);
                    let dy = dy[((image * od + d) * oh + h) * ow * p.oc + group * p.group_oc()..].as_ptr();
                    for kd in 0..p.kernel[0] {
                        let Some(plane) = p.source(0, d, kd) else { continue };
                        let plane = image * p.input[0] + plane;
                        let line = lines.get(p, src, plane, rows.clone(), scratch);
                        let line = line.wrapping_add(group * p.group_ic());
                        self.block(kd, units.clone(), rows.len(), ow, &lines, line, dy, sums);
                    }
                }
            }
        }
    }
}
