//! Normalisation, ReLU and max pooling in one pass over the map.

use super::relu;
use crate::isa::isa_fn;
use crate::pool::PoolProblem;
use crate::pool::max::{LANES, lanes};
use crate::pool::windows::{Pixels, coordinates, pixel};
use crate::rows::CHUNK;
use crate::threads::{SharedMut, parallel};
use crate::{Float, Isa};

/// `dst[n, o, c] = max over the window of act((src - mean) * scale + shift)`, and in `positions` the number of the winning
/// cell in its window, for windows side by side ([`PoolProblem::is_tiling`]) of 1 to 256 cells. `act` is ReLU
/// or nothing. Equal to [`normalize`](super::normalize) and `max_forward` one after the other, to the bit.
pub fn normalize_relu_max_pool<T: Float>(
    p: &PoolProblem,
    src: &[T],
    mean: &[T],
    scale: &[T],
    shift: &[T],
    relu: bool,
    dst: &mut [T],
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
    let offsets = window_offsets(p);
    let (dst, positions) = (SharedMut::new(dst), SharedMut::new(positions));
    parallel(pixels.div_ceil(group), |i| {
        let (start, len) = (i * group * c, group.min(pixels - i * group) * c);
        // SAFETY: each task has a part of its own.
        let (dst, positions) = unsafe { (dst.slice(start, len), positions.slice(start, len)) };
        let map = Map { p, offsets: &offsets, first: i * group };
        if relu {
            pool_relu(isa, &map, src, mean, scale, shift, dst, positions);
        } else {
            pool_plain(isa, &map, src, mean, scale, shift, dst, positions);
        }
    });
}

/// The offset of each cell of a window from its first.
pub(super) fn window_offsets(p: &PoolProblem) -> Vec<usize> {
    (0..p.window()).map(|cell| pixel(p.input, 0, coordinates(p.kernel, cell).1) * p.c).collect()
}

/// Output pixels from `first` on, and how their windows lie in the map.
#[derive(Debug)]
pub(super) struct Map<'a> {
    pub(super) p: &'a PoolProblem,
    pub(super) offsets: &'a [usize],
    pub(super) first: usize,
}

impl Map<'_> {
    /// The output pixels, for [`Map::origin`].
    #[inline(always)]
    pub(super) fn pixels(&self) -> Pixels {
        Pixels::from(self.p.output, self.first)
    }

    /// Offset of the first cell of the window of the next output pixel.
    #[inline(always)]
    pub(super) fn origin(&self, pixels: &mut Pixels) -> usize {
        let (image, at) = pixels.advance();
        pixel(self.p.input, image, [0, 1, 2].map(|a| at[a] * self.p.stride[a])) * self.p.c
    }
}

isa_fn! {
    fn pool_relu<T: Float>(
        map: &Map<'_>, src: &[T], mean: &[T], scale: &[T], shift: &[T], dst: &mut [T], positions: &mut [u8],
    ) {
        pool_pixels::<T, true>(map, src, mean, scale, shift, dst, positions);
    }
}

isa_fn! {
    fn pool_plain<T: Float>(
        map: &Map<'_>, src: &[T], mean: &[T], scale: &[T], shift: &[T], dst: &mut [T], positions: &mut [u8],
    ) {
        pool_pixels::<T, false>(map, src, mean, scale, shift, dst, positions);
    }
}

#[inline(always)]
fn pool_pixels<T: Float, const RELU: bool>(
    map: &Map<'_>,
    src: &[T],
    mean: &[T],
    scale: &[T],
    shift: &[T],
    dst: &mut [T],
    positions: &mut [u8],
) {
    let c = scale.len();
    let mut pixels = map.pixels();
    for (dst, positions) in dst.chunks_exact_mut(c).zip(positions.chunks_exact_mut(c)) {
        let src = &src[map.origin(&mut pixels)..];
        match <&[usize; 4]>::try_from(map.offsets) {
            // A number of cells known to the compiler: the loop over them is unrolled.
            Ok(four) => pool_channels::<T, RELU>(four, src, mean, scale, shift, dst, positions),
            Err(_) => pool_channels::<T, RELU>(map.offsets, src, mean, scale, shift, dst, positions),
        }
    }
}

#[inline(always)]
fn pool_channels<T: Float, const RELU: bool>(
    offsets: &[usize],
    src: &[T],
    mean: &[T],
    scale: &[T],
    shift: &[T],
    dst: &mut [T],
    positions: &mut [u8],
) {
    // Blocks of channels that stay in registers, then ever smaller ones.
    let mut j = 0;
    j = pool_blocks::<T, RELU, LANES>(j, offsets, src, mean, scale, shift, dst, positions);
    j = pool_blocks::<T, RELU, 8>(j, offsets, src, mean, scale, shift, dst, positions);
    j = pool_blocks::<T, RELU, 4>(j, offsets, src, mean, scale, shift, dst, positions);
    pool_blocks::<T, RELU, 1>(j, offsets, src, mean, scale, shift, dst, positions);
}

/// The maxima of blocks of `N` channels from `j` on; returns the first channel that is left.
#[inline(always)]
fn pool_blocks<T: Float, const RELU: bool, const N: usize>(
    mut j: usize,
    offsets: &[usize],
    src: &[T],
    mean: &[T],
    scale: &[T],
    shift: &[T],
    dst: &mut [T],
    positions: &mut [u8],
) -> usize {
    while j + N <= dst.len() {
        let [mean, scale, shift]: [[T; N]; 3] = [lanes(mean, j), lanes(scale, j), lanes(shift, j)];
        let mut best: [T; N] = lanes(src, offsets[0] + j);
        let mut at = [0u8; N];
        for l in 0..N {
            let y = (best[l] - mean[l]) * scale[l] + shift[l];
            // From here on the best is not negative (or is NaN): what beats it needs no ReLU.
            best[l] = if RELU { relu(y) } else { y };
        }
        for (cell, offset) in offsets.iter().enumerate().skip(1) {
            let x: [T; N] = lanes(src, offset + j);
            for l in 0..N {
                let y = (x[l] - mean[l]) * scale[l] + shift[l];
                let wins = y > best[l] || y.is_nan();
                best[l] = if wins { y } else { best[l] };
                at[l] = if wins { cell as u8 } else { at[l] };
            }
        }
        dst[j..j + N].copy_from_slice(&best);
        positions[j..j + N].copy_from_slice(&at);
        j += N;
    }
    j
}
