//! Picking pixels of a plane by PyTorch's indices, and putting values there: what the gradients of max poolings and
//! max unpooling are made of.

use crate::Float;
use crate::rows::CHUNK;
use crate::threads::{SharedMut, parallel, parallel_chunks};

/// Channels of a task that puts values.
const LANES: usize = 16;

/// Maps of `n` images and `c` channels, channels-last: planes of `pixels`, and `picks` indices into each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PlaneProblem {
    /// Images.
    pub n: usize,
    /// Channels.
    pub c: usize,
    /// Pixels of a plane.
    pub pixels: usize,
    /// Indices into a plane.
    pub picks: usize,
}

impl PlaneProblem {
    fn check(&self, plane: usize, picks: usize, indices: usize) {
        assert_eq!(plane, self.n * self.pixels * self.c, "the problem's planes");
        assert!(picks == self.n * self.picks * self.c && indices == picks, "an index for each value");
    }

    /// The pixel of an index, if it is one.
    #[inline(always)]
    fn pixel(&self, index: i64) -> Option<usize> {
        usize::try_from(index).ok().filter(|&pixel| pixel < self.pixels)
    }
}

/// `dst[n, o, c] = src[n, indices[n, o, c], c]`; an index of no pixel gives 0.
pub fn gather<T: Float>(p: &PlaneProblem, src: &[T], indices: &[i64], dst: &mut [T]) {
    p.check(src.len(), dst.len(), indices.len());
    if dst.is_empty() {
        return;
    }
    let (c, plane) = (p.c, p.pixels * p.c);
    let group = (CHUNK / c).max(1);
    parallel_chunks(dst, group * c, |i, dst| {
        let rows = dst.chunks_exact_mut(c).zip(indices[i * group * c..].chunks_exact(c));
        for (r, (dst, indices)) in rows.enumerate() {
            let start = (i * group + r) / p.picks * plane;
            for (channel, (dst, &index)) in dst.iter_mut().zip(indices).enumerate() {
                *dst = p.pixel(index).map_or(T::ZERO, |pixel| src[start + pixel * c + channel]);
            }
        }
    });
}

/// `dst[n, i, c] = sum of src[n, o, c] over the o with indices[n, o, c] = i`, added in rising order of o; an index of
/// no pixel adds nothing.
pub fn scatter<T: Float>(p: &PlaneProblem, src: &[T], indices: &[i64], dst: &mut [T]) {
    put(p, src, indices, dst, |place, x| *place += x);
}

/// As [`scatter`], but of several values for one place the last stays.
pub fn scatter_last<T: Float>(p: &PlaneProblem, src: &[T], indices: &[i64], dst: &mut [T]) {
    put(p, src, indices, dst, |place, x| *place = x);
}

#[inline(always)]
fn put<T: Float>(
    p: &PlaneProblem,
    src: &[T],
    indices: &[i64],
    dst: &mut [T],
    store: impl Fn(&mut T, T) + Sync,
) {
    p.check(dst.len(), src.len(), indices.len());
    if dst.is_empty() {
        return;
    }
    let (c, blocks) = (p.c, p.c.div_ceil(LANES));
    let dst = SharedMut::new(dst);
    parallel(p.n * blocks, |task| {
        let (image, first) = (task / blocks, task % blocks * LANES);
        let width = LANES.min(c - first);
        let start = image * p.pixels * c + first;
        for pixel in 0..p.pixels {
            // SAFETY: these channels of this image belong to this task, and this part is dropped at once.
            unsafe { dst.slice(start + pixel * c, width) }.fill(T::ZERO);
        }
        for o in image * p.picks..(image + 1) * p.picks {
            let at = o * c + first;
            for (l, (&x, &index)) in src[at..at + width].iter().zip(&indices[at..at + width]).enumerate() {
                if let Some(pixel) = p.pixel(index) {
                    // SAFETY: as above.
                    store(&mut unsafe { dst.slice(start + pixel * c + l, 1) }[0], x);
                }
            }
        }
    });
}
