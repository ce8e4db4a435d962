//! Max pooling.

use super::windows::{Axis, Pixels, kernel_axes, pixel};
use super::{PoolProblem, Position};
use crate::isa::isa_fn;
use crate::rows::CHUNK;
use crate::threads::{SharedMut, parallel, parallel_chunks};
use crate::{Float, Isa};

/// Channels computed in registers at a time.
pub(super) const LANES: usize = 16;

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
pub fn max_forward<T: Float, P: Position>(
    p: &PoolProblem,
    src: &[T],
    dst: &mut [T],
    positions: Option<&mut [P]>,
) {
    assert!(
        positions.is_none() || p.window() <= P::CELLS,
        "positions of this type number the window's cells"
    );
    forward_kernel(p, false, src, dst, positions);
}

/// As [`max_forward`] for windows of any size, with PyTorch's indices, the pixel numbers of the input plane.
pub fn max_forward_flat<T: Float>(p: &PoolProblem, src: &[T], dst: &mut [T], indices: &mut [i64]) {
    forward_kernel(p, true, src, dst, Some(indices));
}

fn forward_kernel<T: Float, P: Position>(
    p: &PoolProblem,
    flat: bool,
    src: &[T],
    dst: &mut [T],
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

pub(super) fn forward<T: Float, P: Position>(
    g: &Geometry<'_>,
    src: &[T],
    dst: &mut [T],
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
    let window: usize = g.axes.iter().map(|axis| axis.spans[0].count.max(1)).product();
    let group = (CHUNK / (window * c)).max(1);
    let Some(positions) = positions else {
        return parallel_chunks(dst, group * c, |i, dst| {
            forward_values(isa, g, i * group, src, dst, &mut [0u8; 0])
        });
    };
    assert_eq!(positions.len(), pixels * c, "a position for each maximum");
    let (dst, positions) = (SharedMut::new(dst), SharedMut::new(positions));
    parallel(pixels.div_ceil(group), |i| {
        let (start, len) = (i * group * c, group.min(pixels - i * group) * c);
        // SAFETY: each task has a part of its own.
        let (dst, positions) = unsafe { (dst.slice(start, len), positions.slice(start, len)) };
        forward_saving(isa, g, i * group, src, dst, positions);
    });
}

isa_fn! {
    fn forward_saving<T: Float, P: Position>(
        g: &Geometry<'_>, first: usize, src: &[T], dst: &mut [T], positions: &mut [P],
    ) {
        forward_pixels::<T, P, true>(g, first, src, dst, positions);
    }
}

isa_fn! {
    fn forward_values<T: Float, P: Position>(
        g: &Geometry<'_>, first: usize, src: &[T], dst: &mut [T], positions: &mut [P],
    ) {
        forward_pixels::<T, P, false>(g, first, src, dst, positions);
    }
}

#[inline(always)]
fn forward_pixels<T: Float, P: Position, const SAVE: bool>(
    g: &Geometry<'_>,
    first: usize,
    src: &[T],
    dst: &mut [T],
    positions: &mut [P],
) {
    let c = g.c;
    let plane: usize = g.input.iter().product::<usize>() * c;
    let (mut cells, mut whole) = (Vec::new(), Vec::new());
    let mut pixels = Pixels::from(g.output, first);
    for (i, dst) in dst.chunks_exact_mut(c).enumerate() {
        let positions = if SAVE { &mut positions[i * c..(i + 1) * c] } else { &mut positions[..0] };
        let (image, at) = pixels.advance();
        let src = &src[image * plane..(image + 1) * plane];
        let spans = [0, 1, 2].map(|a| g.axes[a].spans[at[a]]);
        if g.flat || (0..3).any(|a| spans[a].count != g.kernel[a]) {
            find_cells(g, at, &mut cells);
            if cells.is_empty() {
                dst.fill(T::NEG_INFINITY);
                let missed = if g.flat { pixel(g.input, 0, spans.map(|span| span.start)) } else { 0 };
                positions.fill(P::new(missed));
            } else {
                max_channels::<T, P, SAVE>(&cells, src, dst, positions);
            }
            continue;
        }
        // Inside the map all windows are alike.
        let origin = pixel(g.input, 0, spans.map(|span| span.start)) * c;
        if whole.is_empty() {
            find_cells(g, at, &mut whole);
            for (offset, _) in &mut whole {
                *offset -= origin;
            }
        }
        match <&[(usize, P); 4]>::try_from(whole.as_slice()) {
            // A number of cells known to the compiler: the loop over them is unrolled.
            Ok(four) => max_channels::<T, P, SAVE>(four, &src[origin..], dst, positions),
            Err(_) => max_channels::<T, P, SAVE>(&whole, &src[origin..], dst, positions),
        }
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

#[inline(always)]
fn max_channels<T: Float, P: Position, const SAVE: bool>(
    cells: &[(usize, P)],
    src: &[T],
    dst: &mut [T],
    positions: &mut [P],
) {
    let (first, code) = cells[0];
    // Blocks of channels that stay in registers, then ever smaller ones.
    let mut j = 0;
    j = max_blocks::<T, P, SAVE, LANES>(j, (first, code), &cells[1..], src, dst, positions);
    j = max_blocks::<T, P, SAVE, 8>(j, (first, code), &cells[1..], src, dst, positions);
    j = max_blocks::<T, P, SAVE, 4>(j, (first, code), &cells[1..], src, dst, positions);
    max_blocks::<T, P, SAVE, 1>(j, (first, code), &cells[1..], src, dst, positions);
}

/// The maxima of blocks of `N` channels from `j` on; returns the first channel that is left.
#[inline(always)]
fn max_blocks<T: Float, P: Position, const SAVE: bool, const N: usize>(
    mut j: usize,
    (first, code): (usize, P),
    others: &[(usize, P)],
    src: &[T],
    dst: &mut [T],
    positions: &mut [P],
) -> usize {
    while j + N <= dst.len() {
        let mut best: [T; N] = lanes(src, first + j);
        let mut at = [code; N];
        for &(offset, code) in others {
            let x: [T; N] = lanes(src, offset + j);
            for l in 0..N {
                let wins = (x[l] > best[l]) | x[l].is_nan();
                best[l] = if wins { x[l] } else { best[l] };
                at[l] = if wins { code } else { at[l] };
            }
        }
        dst[j..j + N].copy_from_slice(&best);
        if SAVE {
            positions[j..j + N].copy_from_slice(&at);
        }
        j += N;
    }
    j
}

/// The channels from an offset on.
#[inline(always)]
pub(super) fn lanes<T: Copy, const N: usize>(src: &[T], offset: usize) -> [T; N] {
    let lanes: &[T; N] = src[offset..offset + N].try_into().expect("the slice has N elements");
    *lanes
}
