//! The gradient to an input of few channels: products with every tap, added up where they fall.
//!
//! `t[ow, (kh, kw, ic)] = dy[ow, oc] * weight[oc, (kh, kw, ic)]` is a matrix product with as many columns as a filter has
//! elements, so it fills vectors where the input's channels would not, and computes nothing for the padding. In a
//! channels-last map what a row of `t` holds for one line of the kernel falls on `kw * ic` neighbouring elements of a line
//! of `dx`: row `ow` begins `stride * ic` elements after the row before. So a vector of the line is the sum of a few
//! vectors of `t`, cut where their rows begin and end; which ones is the same for all lines, and kept in a table.

use std::ops::Range;

use super::ConvProblem;
use super::direct::flat;
use crate::Isa;
use crate::gemm::driver::TASKS;
use crate::gemm::packed::arrange;
use crate::gemm::strided::{Kernels, Tile, even};
use crate::simd::simd_fn;
use crate::threads::{Scratch, SharedMut, parallel_scratch};

/// The most channels for which it is the better way.
const CHANNELS: usize = 8;
/// Lines of a task, at least: it also computes the rows that its neighbours share.
const LINES: usize = 16;

pub(super) fn accepts(p: &ConvProblem, _: Isa) -> bool {
    flat(p) && p.ic <= CHANNELS && p.taps() > 1
}

/// A part of a vector of a line: lanes `low..high` are added from `t[at + lane]`.
#[derive(Debug, Clone, Copy)]
struct Part {
    at: isize,
    low: usize,
    high: usize,
}

/// What each vector of a line of `dx` is the sum of.
struct Table {
    parts: Vec<Part>,
    /// Where the parts of each vector end.
    ends: Vec<usize>,
}

impl Table {
    fn new(p: &ConvProblem, lanes: usize, row: usize) -> Table {
        let (len, line) = (p.kernel[2] * p.ic, p.input[2] * p.ic);
        let mut table = Table { parts: Vec::new(), ends: Vec::new() };
        for first in (0..line).step_by(lanes) {
            let end = line.min(first + lanes) as isize;
            for ow in 0..p.output[2] {
                let begins = ((ow * p.stride[2]) as isize - p.padding[2] as isize) * p.ic as isize;
                let (low, high) = (begins.max(first as isize), (begins + len as isize).min(end));
                if low < high {
                    let [low, high] = [low, high].map(|at| at as usize - first);
                    table.parts.push(Part { at: (ow * row) as isize + first as isize - begins, low, high });
                }
            }
            table.ends.push(table.parts.len());
        }
        table
    }
}

pub(super) fn grad_input(
    p: &ConvProblem,
    dy: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    dx: &mut [f32],
    isa: Isa,
) {
    let [[_, ih, iw], [_, oh, ow]] = [p.input, p.output];
    let (images, line, columns) = (p.n * p.input[0], iw * p.ic, p.taps() * p.ic);
    if dx.is_empty() {
        return;
    }
    let kernels = Kernels::narrow(isa, columns);
    let panels = kernels.panels(columns);
    let row = panels.len() * kernels.width();
    let packed = pack(p, isa, weight);
    let packed = packed.as_slice::<f32>();
    let table = Table::new(p, crate::simd::lanes(isa), row);
    let tall = even(ow.max(1), kernels.height());
    let products = |from: *const f32, t: *mut f32| {
        for panel in &panels {
            let tall = tall.min(kernels.height_of(panel.width));
            for w in (0..ow).step_by(tall) {
                let tile = Tile {
                    k: p.oc,
                    a: from.wrapping_add(w * p.oc),
                    a_row: p.oc,
                    a_step: 1,
                    b: packed[panel.at * p.oc..].as_ptr(),
                    b_step: panel.width,
                    dst: t.wrapping_add(w * row + panel.cols.start),
                    dst_row: row,
                    ..Tile::PLAIN
                };
                // SAFETY: a row of `dy`, a panel with a step for each of its channels, and `t` with whole panels.
                unsafe { kernels.get(tall.min(ow - w), panel.width)(&tile) };
            }
        }
    };
    let parts = TASKS.div_ceil(images).min(ih / LINES).max(1);
    let dx = SharedMut::new(dx);
    parallel_scratch(images * parts, Scratch::bytes::<f32>(ow * row), |task, mut scratch| {
        let t = scratch.take::<f32>(ow * row);
        let (image, part) = (task / parts, task % parts);
        let lines = ih * part / parts..ih * (part + 1) / parts;
        // SAFETY: each task has lines of its own.
        let dx = unsafe { dx.slice((image * ih + lines.start) * line, lines.len() * line) };
        match bias {
            Some(bias) => dx.chunks_exact_mut(p.ic).for_each(|pixel| pixel.copy_from_slice(bias)),
            None => dx.fill(0.0),
        }
        for o in outputs(p, &lines).start..outputs(p, &lines).end.min(oh) {
            products(dy[(image * oh + o) * ow * p.oc..].as_ptr(), t.as_mut_ptr());
            for kh in 0..p.kernel[1] {
                let y = (o * p.stride[1] + kh * p.dilation[1]).wrapping_sub(p.padding[1]);
                if lines.contains(&y) {
                    let to = &mut dx[(y - lines.start) * line..][..line];
                    let from = t[kh * p.kernel[2] * p.ic..].as_ptr();
                    // SAFETY: the table's parts lie in `t`, each in the products of one output with this line.
                    unsafe { add_line(isa, &table, from, to) };
                }
            }
        }
    });
}

/// The rows of the output that read any of these lines.
fn outputs(p: &ConvProblem, lines: &Range<usize>) -> Range<usize> {
    let reach = (p.kernel[1] - 1) * p.dilation[1];
    let first = (lines.start + p.padding[1]).saturating_sub(reach).div_ceil(p.stride[1]);
    first..(lines.end - 1 + p.padding[1]) / p.stride[1] + 1
}

/// Panels `[oc][width]`, whose columns are the elements `(kh, kw, ic)` of filters.
fn pack(p: &ConvProblem, isa: Isa, weight: &[f32]) -> crate::Buffer {
    let taps = p.taps();
    arrange(isa, 1, taps * p.ic, p.oc, |_, panel, to| {
        for (row, filter) in to.chunks_exact_mut(panel.width).zip(weight.chunks_exact(p.ic * taps)) {
            for (x, at) in row.iter_mut().zip(panel.cols.clone()) {
                *x = filter[at % p.ic * taps + at / p.ic];
            }
        }
    })
}

simd_fn! {
    /// Adds to a line what falls on it.
    ///
    /// # Safety
    /// The parts of the table lie in `t`; there are as many as the line has vectors.
    unsafe fn add_line<V>(table: &Table, t: *const f32, line: &mut [f32]) {
        let mut part = 0;
        for v in 0..table.ends.len() {
            let left = line.len() - v * V::LANES;
            let to = line.as_mut_ptr().wrapping_add(v * V::LANES);
            // SAFETY: the caller's promise.
            unsafe {
                let mut sum = V::zero();
                while part < table.ends[v] {
                    let Part { at, low, high } = *table.parts.get_unchecked(part);
                    sum = sum.add(V::load_between(t.wrapping_offset(at), low, high));
                    part += 1;
                }
                V::load_first(to, left).add(sum).store_first(to, left);
            }
        }
    }
}
