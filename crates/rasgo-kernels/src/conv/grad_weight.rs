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

use std::ops::Range;

use super::ConvProblem;
use super::direct::Lines;
use crate::gemm::driver::TASKS;
use crate::gemm::strided::{Kernels, Panel, Tile, even};
use crate::gemm::transposed::pack_transposed;
use crate::rows::tree;
use crate::simd::prefetch;
use crate::threads::{Scratch, SharedMut, parallel, parallel_scratch};
use crate::{Buffer, Isa};

/// The most pixels of a chunk, unless one image has more.
const CHUNK: usize = 4096;
/// The most pixels of a block: its columns of both sides stay in the first-level cache. It decides the order of sums, so
/// it is a constant.
const BLOCK: usize = 128;
/// The most elements of results that wait for each other.
const WAITING: usize = 1 << 20;
/// Output channels of a part, at least, where lines are copied for their padding.
const PART: usize = 64;
/// Input or output channels that are written at a time.
const WRITTEN: usize = 64;

/// Which side gives the rows of tiles, and how many pixels a step takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    TapsFirst,
    OutputsFirst,
    Wide(usize),
}

/// Taps along the last axis whose elements are neighbours in the map.
#[derive(Debug, Clone, Copy)]
struct Line {
    kd: usize,
    kh: usize,
    kw: usize,
    /// The first of its rows among those of all lines.
    row: usize,
}

/// How the sum is cut.
struct Plan<'a> {
    p: &'a ConvProblem,
    kernels: &'static Kernels,
    shape: Shape,
    lines: Vec<Line>,
    /// Rows of a line, and of all lines.
    line_rows: usize,
    rows: usize,
    /// Panels of the columns, or of the rows of a line where outputs come first.
    panels: Vec<Panel>,
    /// Units of a part: panels of columns, or output channels.
    part: usize,
    units: usize,
    /// Images of a chunk, and chunks of a group.
    chunk: usize,
    group_chunks: usize,
    /// Rows of the output of a block.
    block_rows: usize,
}

impl<'a> Plan<'a> {
    fn new(p: &'a ConvProblem, isa: Isa) -> Plan<'a> {
        let (gi, go, taps) = (p.group_ic(), p.group_oc(), p.taps());
        // Taps along the last axis are one line if their pixels are neighbours, with all channels.
        let joined = if p.dilation[2] == 1 && p.groups == 1 { p.kernel[2] } else { 1 };
        let by_outputs = Kernels::narrow(isa, joined * gi);
        let by_taps = Kernels::narrow(isa, go);
        let mut best = (Shape::TapsFirst, by_taps, by_taps.cycles(joined * gi, go));
        // Whole vectors are stored faster than parts, which the other ways often have.
        let mut offer = |shape, kernels, cost: f64| {
            if cost < 0.9 * best.2 {
                best = (shape, kernels, cost / 0.9);
            }
        };
        offer(Shape::OutputsFirst, by_outputs, by_outputs.cycles(go, joined * gi));
        if joined == p.kernel[2] && p.groups == 1 {
            for pixels in 2..=p.output[2].min(8) {
                let kernels = Kernels::narrow(isa, pixels * go);
                let (rows, columns) = ((joined + (pixels - 1) * p.stride[2]) * gi, pixels * go);
                // As many as fill one panel, whose padding then is the only one.
                if columns <= kernels.width() {
                    let steps = p.output[2].div_ceil(pixels) as f64 / p.output[2] as f64;
                    offer(Shape::Wide(pixels), kernels, kernels.cycles(rows, columns) * steps);
                }
            }
        }
        let (shape, kernels, _) = best;
        let (line_rows, columns) = match shape {
            Shape::Wide(pixels) => ((joined + (pixels - 1) * p.stride[2]) * gi, pixels * go),
            _ => (joined * gi, go),
        };
        let mut lines = Vec::with_capacity(taps / joined);
        for tap in (0..taps).step_by(joined) {
            let (kd, kh, kw) =
                (tap / (p.kernel[1] * p.kernel[2]), tap / p.kernel[2] % p.kernel[1], tap % p.kernel[2]);
            lines.push(Line { kd, kh, kw, row: tap / joined * line_rows });
        }
        let rows = lines.len() * line_rows;
        let outputs_first = shape == Shape::OutputsFirst;
        let panels = kernels.panels(if outputs_first { line_rows } else { columns });
        let units = if outputs_first { go } else { panels.len() };

        let most = (CHUNK / p.output_pixels().max(1)).max(1);
        let chunk = 1usize << most.ilog2();
        let chunks = p.n.div_ceil(chunk).max(1);
        let groups = TASKS.min(WAITING / (rows * columns)).clamp(1, chunks);
        let group_chunks = chunks.div_ceil(groups).next_power_of_two();
        let groups = chunks.div_ceil(group_chunks);
        let unit = if outputs_first { 1 } else { kernels.width() };
        let least = if Lines::of(p).bare() { 1 } else { PART / unit };
        let part = units.div_ceil(TASKS.div_ceil(groups)).max(least).clamp(1, units);
        let block_rows = (BLOCK / p.output[2].max(1)).clamp(1, p.output[1].max(1));
        Plan {
            p,
            kernels,
            shape,
            lines,
            line_rows,
            rows,
            panels,
            part,
            units,
            chunk,
            group_chunks,
            block_rows,
        }
    }

    /// Elements of the sums of a unit.
    fn unit_len(&self) -> usize {
        self.rows * if self.shape == Shape::OutputsFirst { 1 } else { self.kernels.width() }
    }

    fn groups(&self) -> usize {
        self.p.n.div_ceil(self.chunk * self.group_chunks)
    }

    /// Adds what a block of outputs gives to some units, whose sums are given.
    ///
    /// There are `rows` rows of `width` outputs; `line` is what the first of the rows reads with the first tap along the last two axes, `dy` the gradient there.
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
            if rows == 1 && lines.bare() {
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
    fn chunk(
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
        // Maps of one tap follow each other without a seam.
        let (images, width) = match p.is_pointwise() {
            true => (images.start..images.start + 1, images.len() * ow),
            false => (images, ow),
        };
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
                        self.block(kd, units.clone(), rows.len(), width, &lines, line, dy, sums);
                    }
                }
            }
        }
    }

    /// Writes inputs `inputs` of the filters of one panel of a group, in PyTorch's order.
    ///
    /// # Safety
    /// Nobody else writes these.
    unsafe fn write_panel(
        &self,
        isa: Isa,
        group: usize,
        panel: &Panel,
        inputs: Range<usize>,
        sums: &[f32],
        scratch: &mut [f32],
        dw: *mut f32,
    ) {
        let (gi, taps, width) = (self.p.group_ic(), self.p.taps(), panel.width);
        let sums = &sums[panel.at * self.rows..][..self.rows * width];
        let rows = scratch.chunks_exact_mut(width).take(inputs.len() * taps);
        // Rows come by taps and then inputs, and are wanted by inputs and then taps.
        for (at, to) in rows.enumerate() {
            let row = at % taps * gi + inputs.start + at / taps;
            to.copy_from_slice(&sums[row * width..][..width]);
        }
        let first = ((group * self.p.group_oc() + panel.cols.start) * gi + inputs.start) * taps;
        let (rows, outputs) = (inputs.len() * taps, panel.cols.len());
        // SAFETY: the scratch holds the rows, and these filters as many elements each.
        unsafe {
            let (from, to) = (scratch.as_ptr(), dw.add(first));
            pack_transposed(isa, from, width, rows, outputs, [1, outputs], to, gi * taps);
        }
    }

    /// Writes the filters of some output channels of a group, in PyTorch's order, where they are not panels.
    ///
    /// # Safety
    /// Nobody else writes these.
    unsafe fn write_outputs(&self, group: usize, outputs: Range<usize>, sums: &[f32], dw: *mut f32) {
        let p = self.p;
        let (gi, go, taps) = (p.group_ic(), p.group_oc(), p.taps());
        let joined = taps / self.lines.len();
        for oc in outputs {
            for (tap, i) in (0..taps).flat_map(|tap| (0..gi).map(move |i| (tap, i))) {
                let row = self.lines[tap / joined].row + tap % joined * gi + i;
                let sum = match self.shape {
                    Shape::Wide(pixels) => {
                        let (width, step) = (self.panels[0].width, p.stride[2] * gi);
                        (0..pixels).map(|pixel| sums[(row + pixel * step) * width + pixel * go + oc]).sum()
                    }
                    _ => sums[oc * self.rows + row],
                };
                // SAFETY: an element of these filters.
                unsafe { *dw.add(((group * go + oc) * gi + i) * taps + tap) = sum };
            }
        }
    }

    /// Writes the filters of a group.
    fn write(&self, isa: Isa, group: usize, sums: &[f32], dw: SharedMut<'_, f32>) {
        let (gi, go, taps) = (self.p.group_ic(), self.p.group_oc(), self.p.taps());
        if self.shape == Shape::TapsFirst {
            let blocks = gi.div_ceil(WRITTEN);
            let len = WRITTEN.min(gi) * taps * self.kernels.width();
            return parallel_scratch(
                self.panels.len() * blocks,
                Scratch::bytes::<f32>(len),
                |task, mut scratch| {
                    let (panel, block) = (&self.panels[task / blocks], task % blocks);
                    let inputs = block * WRITTEN..gi.min((block + 1) * WRITTEN);
                    let scratch = scratch.take::<f32>(len);
                    // SAFETY: each task writes inputs and outputs of its own.
                    unsafe { self.write_panel(isa, group, panel, inputs, sums, scratch, dw.as_ptr()) };
                },
            );
        }
        parallel(go.div_ceil(WRITTEN), |task| {
            let outputs = task * WRITTEN..go.min((task + 1) * WRITTEN);
            // SAFETY: each task writes the filters of its own outputs.
            unsafe { self.write_outputs(group, outputs, sums, dw.as_ptr()) };
        });
    }
}

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
