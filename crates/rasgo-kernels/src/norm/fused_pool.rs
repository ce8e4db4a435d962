//! Normalisation, ReLU and max pooling in one pass over the map.

use super::relu;
use crate::pool::PoolProblem;
use crate::pool::max_vector::{Cell, NORM, Run, SAVE, maxima};
use crate::pool::windows::{coordinates, pixel};
use crate::rows::CHUNK;
use crate::simd::{Lane, in_lanes};
use crate::threads::{SharedMut, parallel};
use crate::{Float, Isa, Stored};

/// `dst[n, o, c] = max over the window of act((src - mean) * scale + shift)`, and in `positions` the number of the winning
/// cell in its window, for windows side by side ([`PoolProblem::is_tiling`]) of 1 to 256 cells. `act` is ReLU
/// or nothing. Equal to [`normalize`](super::normalize) and `max_forward` one after the other, to the bit.
pub fn normalize_relu_max_pool<S: Stored>(
    p: &PoolProblem,
    src: &[S],
    mean: &[S::Wide],
    scale: &[S::Wide],
    shift: &[S::Wide],
    relu: bool,
    dst: &mut [S],
    positions: &mut [u8],
) {
    assert!(p.is_tiling() && (1..=256).contains(&p.window()), "windows side by side, of at most 256 cells");
    assert_eq!(src.len(), p.src_len(), "the source has the problem's elements");
    assert!(
        dst.len() == p.dst_len() && positions.len() == dst.len(),
        "the problem's output and its positions"
    );
    assert!([mean.len(), scale.len(), shift.len()] == [p.c; 3], "mean, scale and shift for each channel");
    if dst.is_empty() {
        return;
    }
    let (isa, c) = (Isa::current(), p.c);
    let (pixels, group) = (dst.len() / c, (CHUNK / (p.window() * c)).max(1));
    let cells = p.window_cells();
    let (dst, positions) = (SharedMut::new(dst), SharedMut::new(positions));
    parallel(pixels.div_ceil(group), |i| {
        let (start, len) = (i * group * c, group.min(pixels - i * group) * c);
        // SAFETY: each task has a part of its own.
        let (dst, positions) = unsafe { (dst.slice(start, len), positions.slice(start, len)) };
        let map = Map { p, cells: &cells, first: i * group };
        pool_pixels(isa, &map, relu, src, [mean, scale, shift], dst, positions);
    });
}

/// Output pixels from `first` on, and how their windows lie in the map.
#[derive(Debug)]
pub(super) struct Map<'a> {
    pub(super) p: &'a PoolProblem,
    pub(super) cells: &'a [Cell],
    pub(super) first: usize,
}

impl Map<'_> {
    /// Offset of the first cell of the window of an output pixel, given its image and place.
    #[inline(always)]
    pub(super) fn origin(&self, (image, at): (usize, [usize; 3])) -> usize {
        pixel(self.p.input, image, [0, 1, 2].map(|a| at[a] * self.p.stride[a])) * self.p.c
    }
}

/// The maxima of the map's pixels: by vectors, row by row, and `f64` as the formula says.
fn pool_pixels<S: Stored>(
    isa: Isa,
    map: &Map<'_>,
    relu: bool,
    src: &[S],
    channels: [&[S::Wide]; 3],
    dst: &mut [S],
    positions: &mut [u8],
) {
    if let [Some(mean), Some(scale), Some(shift)] = channels.map(S::Wide::as_f32) {
        let affine = [mean, scale, shift];
        in_lanes!(S, (src, dst) => return pool_rows(isa, map, relu, src, affine, dst, positions));
    }
    let (c, mut first) = (map.p.c, map.first);
    for (dst, positions) in dst.chunks_exact_mut(c).zip(positions.chunks_exact_mut(c)) {
        let src = &src[map.origin(coordinates(map.p.output, first))..];
        pool_pixel(map.cells, relu, src, channels, dst, positions);
        first += 1;
    }
}

fn pool_rows<L: Lane>(
    isa: Isa,
    map: &Map<'_>,
    relu: bool,
    src: &[L],
    affine: [&[f32]; 3],
    mut dst: &mut [L],
    mut positions: &mut [u8],
) {
    let (c, output, mut first) = (map.p.c, map.p.output, map.first);
    while !dst.is_empty() {
        let count = (output[2] - first % output[2]).min(dst.len() / c);
        let (run, step) = (&src[map.origin(coordinates(output, first))..], map.p.stride[2] * c);
        let inside = |(offset, _): &Cell| run.len() >= offset + (count - 1) * step + c;
        assert!(map.cells.iter().all(inside), "every cell has its channels");
        let windows = Run { cells: map.cells, step, count, c, affine, relu };
        // SAFETY: so they do, in every window; mean, scale and shift have `c` elements, what is written `count * c`.
        unsafe {
            let (dst, positions) = (dst.as_mut_ptr(), positions.as_mut_ptr());
            maxima::<L, { SAVE | NORM }>(isa, &windows, run.as_ptr(), dst, positions);
        }
        (dst, positions) = (&mut dst[count * c..], &mut positions[count * c..]);
        first += count;
    }
}

fn pool_pixel<S: Stored>(
    cells: &[Cell],
    relu_after: bool,
    src: &[S],
    [mean, scale, shift]: [&[S::Wide]; 3],
    dst: &mut [S],
    positions: &mut [u8],
) {
    for (j, (dst, position)) in dst.iter_mut().zip(positions).enumerate() {
        let mut best = S::Wide::ZERO;
        for &(offset, cell) in cells {
            let y = (src[offset + j].wide() - mean[j]) * scale[j] + shift[j];
            // From the first on the best is not negative (or is NaN): what beats it needs no ReLU.
            if cell == 0 || y > best || y.is_nan() {
                (best, *position) = (if relu_after { relu(y) } else { y }, cell);
            }
        }
        *dst = S::narrow(best);
    }
}
