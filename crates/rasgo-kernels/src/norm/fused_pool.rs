//! Normalisation, ReLU and max pooling in one pass over the map.

use super::relu;
use crate::pool::PoolProblem;
use crate::pool::windows::{Pixels, coordinates, pixel};
use crate::rows::CHUNK;
use crate::simd::{Vector, simd_fn};
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
        pool_pixels(isa, &map, relu, src, [mean, scale, shift], dst, positions);
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

/// The maxima of the map's pixels; `f32` by vectors, `f64` as the formula says.
fn pool_pixels<T: Float>(
    isa: Isa,
    map: &Map<'_>,
    relu: bool,
    src: &[T],
    channels: [&[T]; 3],
    dst: &mut [T],
    positions: &mut [u8],
) {
    let c = map.p.c;
    let mut pixels = map.pixels();
    let as_f32 = (T::as_f32(src), channels.map(T::as_f32));
    for (dst, positions) in dst.chunks_exact_mut(c).zip(positions.chunks_exact_mut(c)) {
        let origin = map.origin(&mut pixels);
        if let ((Some(src), [Some(mean), Some(scale), Some(shift)]), Some(dst)) = (as_f32, T::as_f32_mut(dst))
        {
            let src = &src[origin..];
            assert!(map.offsets.iter().all(|offset| src.len() >= offset + c), "every cell has its channels");
            // SAFETY: so they do; mean, scale, shift, destination and positions have `c` elements.
            unsafe { pool_pixel_f32(isa, map.offsets, relu, src, [mean, scale, shift], dst, positions) };
        } else {
            pool_pixel(map.offsets, relu, &src[origin..], channels, dst, positions);
        }
    }
}

fn pool_pixel<T: Float>(
    offsets: &[usize],
    relu_after: bool,
    src: &[T],
    [mean, scale, shift]: [&[T]; 3],
    dst: &mut [T],
    positions: &mut [u8],
) {
    for (j, (dst, position)) in dst.iter_mut().zip(positions).enumerate() {
        for (cell, offset) in offsets.iter().enumerate() {
            let y = (src[offset + j] - mean[j]) * scale[j] + shift[j];
            // From the first on the best is not negative (or is NaN): what beats it needs no ReLU.
            if cell == 0 || y > *dst || y.is_nan() {
                (*dst, *position) = (if relu_after { relu(y) } else { y }, cell as u8);
            }
        }
    }
}

simd_fn! {
    /// One output pixel. The number of the winning cell is kept as a float, so that one mask chooses both.
    ///
    /// # Safety
    /// Each cell has as many channels as there are positions; the other slices have so many elements.
    unsafe fn pool_pixel_f32<V>(
        offsets: &[usize], relu: bool, src: &[f32], channels: [&[f32]; 3], dst: &mut [f32], positions: &mut [u8],
    ) {
        let c = positions.len();
        let mut j = 0;
        while j < c {
            let n = c - j;
            let [mean, scale, shift] = [0, 1, 2].map(|i: usize| channels[i].as_ptr().wrapping_add(j));
            let (from, to) = (src.as_ptr().wrapping_add(j), dst.as_mut_ptr().wrapping_add(j));
            let positions = positions.as_mut_ptr().wrapping_add(j);
            // SAFETY: the caller's promise; vectors that reach further are cut.
            unsafe {
                if n >= V::LANES {
                    vector::<V, false>(offsets, relu, from, [mean, scale, shift], to, positions, n);
                } else {
                    vector::<V, true>(offsets, relu, from, [mean, scale, shift], to, positions, n);
                }
            }
            j += V::LANES;
        }
    }
}

/// `n` channels of an output pixel, or a whole vector of them.
///
/// # Safety
/// Everything has so many elements.
#[inline(always)]
unsafe fn vector<V: Vector, const PART: bool>(
    offsets: &[usize],
    relu: bool,
    src: *const f32,
    channels: [*const f32; 3],
    dst: *mut f32,
    positions: *mut u8,
    n: usize,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let mean = load::<V, PART>(channels[0], n);
        let scale = load::<V, PART>(channels[1], n);
        let shift = load::<V, PART>(channels[2], n);
        // As separate operations, so that the separate passes agree.
        let value = load::<V, PART>(src.wrapping_add(offsets[0]), n).sub(mean).mul(scale).add(shift);
        // From here on the best is not negative (or is NaN): what beats it needs no ReLU.
        let mut best = if relu { value.relu() } else { value };
        let mut at = V::zero();
        for cell in 1..offsets.len() {
            let value = load::<V, PART>(src.wrapping_add(offsets[cell]), n).sub(mean).mul(scale).add(shift);
            let wins = value.greater_or_nan(best);
            best = V::select(wins, value, best);
            at = V::select(wins, V::splat(cell as f32), at);
        }
        if PART {
            best.store_first(dst, n)
        } else {
            best.store(dst)
        }
        at.store_bytes(positions, n);
    }
}

/// `n` elements, or a whole vector of them.
///
/// # Safety
/// So many are readable.
#[inline(always)]
unsafe fn load<V: Vector, const PART: bool>(from: *const f32, n: usize) -> V {
    // SAFETY: the caller's promise.
    unsafe { if PART { V::load_first(from, n) } else { V::load(from) } }
}
