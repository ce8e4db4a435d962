//! Convolution without a matrix of patches: forward, and the gradient to the input.
//!
//! In a channels-last map the pixels under one line of the kernel are contiguous: `kw * ic` elements. So for a tile of
//! neighbouring output pixels, `stride * ic` elements apart,
//! `dst[pixels, oc] = sum over kh of line[pixels, kw * ic] * weight[kh][kw * ic, oc]`, read from the map as it is. The sum
//! stays in registers over all lines of the kernel. Where there is padding, a task first copies the lines that it reads,
//! with their zeros, into scratch.
//!
//! The gradient to the input is, for each phase of the stride, a convolution of `dy` with those taps that meet the
//! phase, mirrored; its pixels lie the stride apart.

use std::ops::Range;

use super::ConvProblem;
use super::matrix_forward;
use crate::gemm::driver::lie_well;
use crate::gemm::packed::{Form, PackedWeight, WeightShape, arrange};
use crate::gemm::strided::{Kernels, Tile, even};
use crate::threads::{Scratch, SharedMut, parallel_scratch};
use crate::{Epilogue, Isa};

/// The longest sum: the weights of a panel stay in the second-level cache.
const K: usize = 8192;
/// Multiplications of a task, about.
const TASK: usize = 1 << 18;

/// The shortest line of the kernel that is worth a loop of its own.
const LINE: usize = 5;

/// Whether forward goes this way.
pub(super) fn accepts(p: &ConvProblem, isa: Isa) -> bool {
    flat(p) && !p.is_pointwise() && suits(p, isa)
}

/// Whether the gradient to the input goes this way.
pub(super) fn accepts_grad_input(p: &ConvProblem, isa: Isa) -> bool {
    let undilated = (1..3).all(|axis| p.stride[axis] == 1 || p.dilation[axis] == 1);
    flat(p)
        && !p.is_pointwise()
        && undilated
        && phases(p).all(|phase| phase.is_some_and(|(_, mirrored)| suits(&mirrored, isa)))
}

/// Whether sums and lines are neither too long nor too short, and the rows of a tile, if they are a page apart, not more
/// than one set of the first-level cache has room for.
fn suits(p: &ConvProblem, isa: Isa) -> bool {
    let (k, row) = (p.ic * p.taps(), p.ic.saturating_mul(p.stride[2]));
    // A phase without taps only writes.
    k == 0 || k <= K && p.ic * p.kernel[2] >= LINE && lie_well(row, Kernels::of(isa))
}

/// Two axes, one group, and taps that are neighbours along a line.
pub(super) fn flat(p: &ConvProblem) -> bool {
    let depth = p.kernel[0] == 1 && p.stride[0] == 1 && p.padding[0] == 0 && p.input[0] == p.output[0];
    depth && p.groups == 1 && p.dilation[2] == 1
}

pub(super) fn forward(
    p: &ConvProblem,
    src: &[f32],
    weight: &[f32],
    packed: Option<&PackedWeight>,
    epilogue: Epilogue<'_, f32>,
    dst: &mut [f32],
    isa: Isa,
) {
    let mut own = None;
    let arrange = || pack(p, weight, isa);
    let packed = PackedWeight::or_else(packed, weight_shape(p, isa), isa, arrange, &mut own);
    match together(p, isa) {
        1 => run(p, isa, packed.group(0), src, epilogue, dst, Place::whole(p)),
        pixels => {
            let bias: Option<Vec<f32>> = epilogue.bias.map(|bias| bias.repeat(pixels));
            let (wide, epilogue) = (wide(p, pixels), Epilogue { bias: bias.as_deref(), ..epilogue });
            run(&wide, isa, packed.group(0), src, epilogue, dst, Place::whole(&wide));
        }
    }
}

/// The convolution whose output pixels are so many neighbouring ones of `p`.
fn wide(p: &ConvProblem, pixels: usize) -> ConvProblem {
    let mut wide = ConvProblem { oc: pixels * p.oc, ..*p };
    wide.kernel[2] += (pixels - 1) * p.stride[2];
    wide.stride[2] *= pixels;
    wide.output[2] /= pixels;
    wide
}

/// How many neighbouring pixels of few channels are computed as one, so that vectors are full: their filters are 0 where
/// only other pixels of them read.
fn together(p: &ConvProblem, isa: Isa) -> usize {
    let cycles = |pixels: usize| {
        let (columns, kernels) = (pixels * p.oc, Kernels::narrow(isa, pixels * p.oc));
        // Only of neighbours is the stride a distance: of one output alone it may be any number.
        let neighbours = p.output[2] >= pixels && p.output[2].is_multiple_of(pixels);
        (neighbours && columns <= kernels.width()).then(|| {
            let wide = wide(p, pixels);
            kernels.cycles(wide.output[2], columns) * wide.kernel[2] as f64
        })
    };
    let mut best = (1, cycles(1).unwrap_or(0.0));
    for pixels in 2..=8 {
        match cycles(pixels) {
            Some(cycles) if cycles < best.1 => best = (pixels, cycles),
            _ => {}
        }
    }
    best.0
}

fn weight_shape(p: &ConvProblem, isa: Isa) -> WeightShape {
    let form = match together(p, isa) {
        1 => Form::Panels,
        pixels => Form::Wide { pixels, stride: p.stride[2] },
    };
    WeightShape { form, ..matrix_forward::weight_shape(p) }
}

/// Arranges the weights of a forward in panels of `[k = (tap, input)][width]`.
pub(super) fn pack(p: &ConvProblem, weight: &[f32], isa: Isa) -> PackedWeight {
    let (shape, pixels) = (weight_shape(p, isa), together(p, isa));
    if pixels == 1 {
        return PackedWeight::new(shape, weight, isa);
    }
    let (wide, taps, [_, _, kw]) = (wide(p, pixels), p.taps(), p.kernel);
    let panels = arrange(isa, 1, wide.oc, wide.taps() * p.ic, |_, panel, to| {
        for (row, to) in to.chunks_exact_mut(panel.width).enumerate() {
            let (tap, ic) = (row / p.ic, row % p.ic);
            let (kh, at) = (tap / wide.kernel[2], tap % wide.kernel[2]);
            for (x, column) in to.iter_mut().zip(panel.cols.clone()) {
                let (pixel, oc) = (column / p.oc, column % p.oc);
                let tap = at.checked_sub(pixel * p.stride[2]).filter(|&tap| tap < kw);
                *x = tap.map_or(0.0, |tap| weight[(oc * p.ic + ic) * taps + kh * kw + tap]);
            }
        }
    });
    PackedWeight::arranged(shape, isa, panels)
}

/// Where an output of a convolution goes: its first pixel, and the distances of images, lines and pixels.
#[derive(Debug, Clone, Copy)]
struct Place {
    first: usize,
    image: usize,
    line: usize,
    pixel: usize,
}

impl Place {
    /// One pixel after the other.
    fn whole(p: &ConvProblem) -> Place {
        let [_, oh, ow] = p.output;
        Place { first: 0, image: oh * ow * p.oc, line: ow * p.oc, pixel: p.oc }
    }
}

/// The taps along an axis that meet a phase, and the padding of the mirrored convolution with them, if it has one.
fn phase(p: &ConvProblem, axis: usize, phase: usize) -> Option<(Vec<usize>, usize)> {
    let (stride, kernel, padding) = (p.stride[axis], p.kernel[axis], p.padding[axis]);
    if stride == 1 {
        let padding = ((kernel - 1) * p.dilation[axis]).checked_sub(padding)?;
        return Some(((0..kernel).rev().collect(), padding));
    }
    // Input `stride * j + phase` is met by tap `first + stride * t` of output `j + base - t`.
    let (first, base) = ((phase + padding) % stride, (phase + padding) / stride);
    let taps: Vec<_> = (first..kernel).step_by(stride).rev().collect();
    let padding = if taps.is_empty() { 0 } else { (taps.len() - 1).checked_sub(base)? };
    Some((taps, padding))
}

/// A phase of the gradient to the input: the taps of both axes.
struct Phase {
    at: [usize; 2],
    taps: [Vec<usize>; 2],
}

/// The phases and their convolutions of `dy`; `None` for one that would need a negative padding.
fn phases(p: &ConvProblem) -> impl Iterator<Item = Option<(Phase, ConvProblem)>> {
    // A phase that begins beyond the input has no pixels, and a stride may be any number.
    let [sh, sw] = [1, 2].map(|axis| p.stride[axis].min(p.input[axis]));
    (0..sh * sw).map(move |i| {
        let at = [i / sw, i % sw];
        let ((h, above), (w, left)) = (phase(p, 1, at[0])?, phase(p, 2, at[1])?);
        let count = |axis: usize| p.input[axis].saturating_sub(at[axis - 1]).div_ceil(p.stride[axis]);
        let mirrored = ConvProblem {
            ic: p.oc,
            oc: p.ic,
            input: p.output,
            output: [p.input[0], count(1), count(2)],
            kernel: [1, h.len(), w.len()],
            stride: [1; 3],
            padding: [0, above, left],
            ..*p
        };
        Some((Phase { at, taps: [h, w] }, mirrored))
    })
}

pub(super) fn grad_input(
    p: &ConvProblem,
    dy: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    dx: &mut [f32],
    isa: Isa,
) {
    let (taps, kw, [_, ih, iw]) = (p.taps(), p.kernel[2], p.input);
    for (phase, mirrored) in phases(p).flatten() {
        let [h, w] = &phase.taps;
        let [first_line, first_pixel] = phase.at;
        let panels = arrange(isa, 1, p.ic, p.oc * mirrored.taps(), |_, panel, to| {
            let filters = || weight.chunks_exact(p.ic * taps);
            let tap_filters = h.iter().flat_map(|kh| w.iter().map(move |kw_at| kh * kw + kw_at));
            let steps = tap_filters.flat_map(|tap| filters().map(move |filter| (tap, filter)));
            // Row `(tap, oc)` of the panel, of which the columns are inputs.
            for (row, (tap, filter)) in to.chunks_exact_mut(panel.width).zip(steps) {
                let inputs = filter[panel.cols.start * taps..].chunks_exact(taps);
                row[..panel.cols.len()].iter_mut().zip(inputs).for_each(|(x, taps)| *x = taps[tap]);
            }
        });
        let place = Place {
            first: (first_line * iw + first_pixel) * p.ic,
            image: ih * iw * p.ic,
            line: p.stride[1] * iw * p.ic,
            pixel: p.stride[2] * p.ic,
        };
        run(&mirrored, isa, panels.as_slice(), dy, Epilogue::bias(bias), dx, place);
    }
}

/// The lines of the input that a task reads, with their padding.
pub(super) struct Lines {
    /// Elements of a line.
    pub(super) len: usize,
    /// Whether the map itself has them.
    bare: bool,
}

impl Lines {
    pub(super) fn of(p: &ConvProblem) -> Lines {
        let reach = |axis: usize| {
            (p.output[axis].max(1) - 1) * p.stride[axis] + (p.kernel[axis].max(1) - 1) * p.dilation[axis]
        };
        let bare = (1..3).all(|axis| p.padding[axis] == 0 && reach(axis) < p.input[axis]);
        Lines { len: if bare { p.input[2] } else { reach(2) + 1 } * p.ic, bare }
    }

    /// Whether the lines are the map's own.
    pub(super) fn bare(&self) -> bool {
        self.bare
    }

    /// Lines for so many rows of the output.
    pub(super) fn count(p: &ConvProblem, rows: usize) -> usize {
        (rows.max(1) - 1) * p.stride[1] + (p.kernel[1].max(1) - 1) * p.dilation[1] + 1
    }

    /// Elements of scratch for so many rows of the output.
    pub(super) fn scratch(&self, p: &ConvProblem, rows: usize) -> usize {
        if self.bare { 0 } else { Lines::count(p, rows) * self.len }
    }

    /// The first of the lines that these rows of an image read.
    pub(super) fn get(
        &self,
        p: &ConvProblem,
        src: &[f32],
        image: usize,
        rows: Range<usize>,
        scratch: &mut [f32],
    ) -> *const f32 {
        let [_, h, w] = p.input;
        let map = &src[image * h * w * p.ic..][..h * w * p.ic];
        if self.bare {
            return map[rows.start * p.stride[1] * self.len..].as_ptr();
        }
        let lines = scratch.chunks_exact_mut(self.len).take(Lines::count(p, rows.len()));
        for (i, line) in lines.enumerate() {
            let y = (rows.start * p.stride[1] + i).wrapping_sub(p.padding[1]);
            if y >= h {
                line.fill(0.0);
                continue;
            }
            let (left, pixels) = line.split_at_mut((p.padding[2] * p.ic).min(self.len));
            let (pixels, right) = pixels.split_at_mut((w * p.ic).min(pixels.len()));
            left.fill(0.0);
            pixels.copy_from_slice(&map[y * w * p.ic..][..pixels.len()]);
            right.fill(0.0);
        }
        scratch.as_ptr()
    }
}

fn run(
    p: &ConvProblem,
    isa: Isa,
    weight: &[f32],
    src: &[f32],
    epilogue: Epilogue<'_, f32>,
    dst: &mut [f32],
    place: Place,
) {
    let [_, oh, ow] = p.output;
    let images = p.n * p.output[0];
    if images * oh * ow == 0 {
        return;
    }
    let row_work = ow * p.oc * p.ic * p.taps();
    let rows = (TASK / row_work.max(1)).clamp(1, oh);
    let parts = oh.div_ceil(rows);
    let rows = oh.div_ceil(parts);
    let lines = Lines::of(p);
    let len = lines.scratch(p, rows);
    let (kernels, k) = (Kernels::narrow(isa, p.oc), p.kernel[2] * p.ic);
    let panels = kernels.panels(p.oc);
    let dst = SharedMut::new(dst);
    parallel_scratch(images * parts, Scratch::bytes::<f32>(len), |task, mut scratch| {
        let image = task / parts;
        let rows = task % parts * rows..oh.min((task % parts + 1) * rows);
        let from = lines.get(p, src, image, rows.clone(), scratch.take::<f32>(len));
        for (row, h) in rows.enumerate() {
            let line = from.wrapping_add(row * p.stride[1] * lines.len);
            let first = place.first + image * place.image + h * place.line;
            for panel in &panels {
                let (columns, width) = (panel.cols.len(), panel.width);
                let tall = even(ow, kernels.height_of(columns));
                for w in (0..ow).step_by(tall) {
                    let to = first + w * place.pixel + panel.cols.start;
                    let tile = Tile {
                        k,
                        a: line.wrapping_add(w * p.stride[2] * p.ic),
                        a_row: p.stride[2] * p.ic,
                        a_step: 1,
                        b: weight[panel.at * p.ic * p.taps()..].as_ptr(),
                        b_step: width,
                        dst: dst.as_ptr().wrapping_add(to),
                        dst_row: place.pixel,
                        reps: p.kernel[1],
                        a_rep: p.dilation[1] * lines.len,
                        b_rep: k * width,
                        cols: columns,
                        finish: epilogue.from(panel.cols.start, to),
                        ..Tile::PLAIN
                    };
                    // SAFETY: the lines hold the pixels of these rows, the panel `k` rows for each line of the kernel;
                    // this task alone writes these rows of the image.
                    unsafe { kernels.multiply(tall.min(ow - w), columns, &tile) };
                }
            }
        }
    });
}
