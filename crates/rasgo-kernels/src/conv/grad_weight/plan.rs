//! How the sum is cut: by the shape of the problem alone, so that the bits are.

use super::super::ConvProblem;
use super::super::direct::Lines;
use super::BLOCK;
use crate::Isa;
use crate::gemm::driver::TASKS;
use crate::gemm::strided::{Kernels, Panel};

/// The most pixels of a chunk, unless one image has more.
const CHUNK: usize = 4096;
/// The most elements of results that wait for each other.
const WAITING: usize = 1 << 20;
/// Output channels of a part, at least, where lines are copied for their padding.
const PART: usize = 64;

/// Which side gives the rows of tiles, and how many pixels a step takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    TapsFirst,
    OutputsFirst,
    Wide(usize),
}

/// Taps along the last axis whose elements are neighbours in the map.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line {
    pub(super) kd: usize,
    pub(super) kh: usize,
    pub(super) kw: usize,
    /// The first of its rows among those of all lines.
    pub(super) row: usize,
}

/// How the sum is cut.
pub(super) struct Plan<'a> {
    pub(super) p: &'a ConvProblem,
    pub(super) kernels: &'static Kernels,
    pub(super) shape: Shape,
    pub(super) lines: Vec<Line>,
    /// Rows of a line, and of all lines.
    pub(super) line_rows: usize,
    pub(super) rows: usize,
    /// Panels of the columns, or of the rows of a line where outputs come first.
    pub(super) panels: Vec<Panel>,
    /// Units of a part: panels of columns, or output channels.
    pub(super) part: usize,
    pub(super) units: usize,
    /// Images of a chunk, and chunks of a group.
    pub(super) chunk: usize,
    pub(super) group_chunks: usize,
    /// Rows of the output of a block.
    pub(super) block_rows: usize,
}

impl<'a> Plan<'a> {
    pub(super) fn new(p: &'a ConvProblem, isa: Isa) -> Plan<'a> {
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
    pub(super) fn unit_len(&self) -> usize {
        self.rows * if self.shape == Shape::OutputsFirst { 1 } else { self.kernels.width() }
    }

    /// Groups of chunks.
    pub(super) fn groups(&self) -> usize {
        self.p.n.div_ceil(self.chunk * self.group_chunks)
    }
}
