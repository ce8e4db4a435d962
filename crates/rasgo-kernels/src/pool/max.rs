//! Max pooling.

use super::max_vector::{Run, SAVE, maxima};
use super::windows::{Axis, coordinates, kernel_axes, pixel};
use super::{PoolProblem, Position};
use crate::isa::isa_fn;
use crate::rows::CHUNK;
use crate::simd::in_lanes;
use crate::threads::{SharedMut, parallel, parallel_chunks};
use crate::{Float, Isa, Stored};

/// What the loops need to know of a pooling.
#[derive(Debug)]
pub(super) struct Geometry<'a> {
    pub(super) n: usize,
    pub(super) c: usize,
    pub(super) input: [usize; 3],
    pub(super) output: [usize; 3],
    pub(super) kernel: [usize; 3],
    pub(super) axes: &'a [Axis; 3],
    /// Whether positions are pixel numbers of the input plane; else cell numbers of the window.
    pub(super) flat: bool,
}

/// `dst[n, o, c] = max over the window's cells inside the map of src`; the first of equal maxima wins, a NaN
/// wins over all, as in PyTorch. `positions`, in the shape of `dst`, gets the number of the winning cell in its
/// window, `(kd * kernel_h + kh) * kernel_w + kw`. A window without a cell inside gives minus infinity.
pub fn max_forward<S: Stored, P: Position>(
    p: &PoolProblem,
    src: &[S],
    dst: &mut [S],
    positions: Option<&mut [P]>,
) {
    assert!(
        positions.is_none() || p.window() <= P::CELLS,
        "positions of this type number the window's cells"
    );
    forward_kernel(p, false, src, dst, positions);
}

/// As [`max_forward`] for windows of any size, with PyTorch's indices, the pixel numbers of the input plane.
pub fn max_forward_flat<S: Stored>(p: &PoolProblem, src: &[S], dst: &mut [S], indices: &mut [i64]) {
    forward_kernel(p, true, src, dst, Some(indices));
}

fn forward_kernel<S: Stored, P: Position>(
    p: &PoolProblem,
    flat: bool,
    src: &[S],
    dst: &mut [S],
    positions: Option<&mut [P]>,
) {
    if dst.is_empty() {
        // An axis of an empty batch may be longer than memory holds lists for.
        return;
    }
    let axes = kernel_axes(p);
    let (n, c, input, output, kernel) = (p.n, p.c, p.input, p.output, p.kernel);
    forward(&Geometry { n, c, input, output, kernel, axes: &axes, flat }, src, dst, positions);
}

pub(super) fn forward<S: Stored, P: Position>(
    g: &Geometry<'_>,
    src: &[S],
    dst: &mut [S],
    positions: Option<&mut [P]>,
) {
    let (pixels, c) = (g.n * g.output.iter().product::<usize>(), g.c);
    assert_eq!(
        src.len(),
        g.n * g.input.iter().product::<usize>() * c,
        "the source has the problem's elements"
    );
    assert_eq!(dst.len(), pixels * c, "the destination has the problem's elements");
    if dst.is_empty() {
        return;
    }
    let isa = Isa::current();
    let row = g.output[2] * c;
    let window: usize = g.axes.iter().map(|axis| axis.spans[0].count.max(1)).product();
    let group = (CHUNK / (window * row)).max(1);
    let Some(positions) = positions else {
        return parallel_chunks(dst, group * row, |i, dst| {
            forward_rows::<S, u8>(isa, g, i * group, src, dst, None)
        });
    };
    assert_eq!(positions.len(), pixels * c, "a position for each maximum");
    let (len, dst, positions) = (dst.len(), SharedMut::new(dst), SharedMut::new(positions));
    parallel(len.div_ceil(group * row), |i| {
        let (start, len) = (i * group * row, (group * row).min(len - i * group * row));
        // SAFETY: each task has a part of its own.
        let (dst, positions) = unsafe { (dst.slice(start, len), positions.slice(start, len)) };
        forward_rows(isa, g, i * group, src, dst, Some(positions));
    });
}

/// Rows of the output from `first` on.
fn forward_rows<S: Stored, P: Position>(
    isa: Isa,
    g: &Geometry<'_>,
    first: usize,
    src: &[S],
    dst: &mut [S],
    mut positions: Option<&mut [P]>,
) {
    let (c, row) = (g.c, g.output[2] * g.c);
    let plane: usize = g.input.iter().product::<usize>() * c;
    let mut cells = Vec::new();
    for (i, dst) in dst.chunks_exact_mut(row).enumerate() {
        let (image, [_, d, h]) = coordinates([1, g.output[0], g.output[1]], first + i);
        let src = &src[image * plane..(image + 1) * plane];
        let mut w = 0;
        while w < g.output[2] {
            // Pixel numbers differ from window to window.
            let (count, step) = if g.flat { (1, 0) } else { g.axes[2].alike(w) };
            let dst = &mut dst[w * c..(w + count) * c];
            let positions = positions.as_deref_mut().map(|all| &mut all[i * row + w * c..][..count * c]);
            find_cells(g, [d, h, w], &mut cells);
            if cells.is_empty() {
                dst.fill(S::narrow(S::Wide::NEG_INFINITY));
                let at = [d, h, w];
                let start = [0, 1, 2].map(|a| g.axes[a].spans[at[a]].start);
                let missed = if g.flat { pixel(g.input, 0, start) } else { 0 };
                if let Some(positions) = positions {
                    positions.fill(P::new(missed));
                }
            } else {
                windows(isa, &cells, step * c, c, src, dst, positions);
            }
            w += count;
        }
    }
}

/// The maxima of windows of the same cells, `step` elements apart; all but `f64` by vectors, if it is for the place in
/// the window.
fn windows<S: Stored, P: Position>(
    isa: Isa,
    cells: &[(usize, P)],
    step: usize,
    c: usize,
    src: &[S],
    dst: &mut [S],
    positions: Option<&mut [P]>,
) {
    let (count, last) = (dst.len() / c, (dst.len() / c - 1) * step);
    if let Some(cells) = P::as_bytes(cells) {
        let run = Run { step, count, ..Run::new(cells, c) };
        let inside = cells.iter().all(|(offset, _)| last + offset + c <= src.len());
        assert!(inside && positions.as_ref().is_none_or(|p| p.len() == dst.len()), "windows in the map");
        in_lanes!(S, (src, dst) => {
            let (src, dst) = (src.as_ptr(), dst.as_mut_ptr());
            // SAFETY: every cell of every window has its channels in the map, each result its place.
            return unsafe {
                match positions {
                    Some(at) => maxima::<_, SAVE>(isa, &run, src, dst, at.as_mut_ptr().cast()),
                    None => maxima::<_, 0>(isa, &run, src, dst, std::ptr::null_mut()),
                }
            };
        });
    }
    let mut none = [];
    let mut positions = positions.map_or(none.chunks_exact_mut(c), |all| all.chunks_exact_mut(c));
    for (i, dst) in dst.chunks_exact_mut(c).enumerate() {
        window(isa, cells, &src[i * step..], dst, positions.next().unwrap_or(&mut []));
    }
}

/// The cells of a window inside the map: offset in the image, and position.
fn find_cells<P: Position>(g: &Geometry<'_>, at: [usize; 3], cells: &mut Vec<(usize, P)>) {
    cells.clear();
    let [d, h, w] = [0, 1, 2].map(|a| g.axes[a].spans[at[a]]);
    let step = [0, 1, 2].map(|a| g.axes[a].step);
    for kd in 0..d.count {
        for kh in 0..h.count {
            for kw in 0..w.count {
                let at = [d.start + kd * step[0], h.start + kh * step[1], w.start + kw * step[2]];
                let pixel = pixel(g.input, 0, at);
                let code =
                    if g.flat { pixel } else { cell(g.kernel, [d.first + kd, h.first + kh, w.first + kw]) };
                cells.push((pixel * g.c, P::new(code)));
            }
        }
    }
}

/// The number of a cell in its window.
#[inline(always)]
pub(crate) fn cell(kernel: [usize; 3], k: [usize; 3]) -> usize {
    (k[0] * kernel[1] + k[1]) * kernel[2] + k[2]
}

isa_fn! {
    /// The maxima of one window, as the formula says.
    fn window<S: Stored, P: Position>(cells: &[(usize, P)], src: &[S], dst: &mut [S], positions: &mut [P]) {
        let (first, code) = cells[0];
        dst.copy_from_slice(&src[first..first + dst.len()]);
        positions.fill(code);
        for &(offset, code) in &cells[1..] {
            let src = &src[offset..offset + dst.len()];
            if positions.is_empty() {
                for (best, &x) in dst.iter_mut().zip(src) {
                    *best = if (x.wide() > best.wide()) | x.wide().is_nan() { x } else { *best };
                }
                continue;
            }
            for ((best, at), &x) in dst.iter_mut().zip(&mut *positions).zip(src) {
                let wins = (x.wide() > best.wide()) | x.wide().is_nan();
                *best = if wins { x } else { *best };
                *at = if wins { code } else { *at };
            }
        }
    }
}
