//! The left side: for each pixel of the result the values that it reads, contiguous or in lines.

use std::ops::Range;

use super::taps::Taps;
use crate::Bf16;
use crate::gemm::half::STEP;
use crate::pool::windows::coordinates;

/// The rows of a product: pixels of the result.
#[derive(Debug)]
pub(super) struct Left<'a> {
    pub(super) n: usize,
    pub(super) src: &'a [Bf16],
    /// Depth, height and width of the map.
    pub(super) size: [usize; 3],
    /// Channels of the map, and those that count.
    pub(super) channels: usize,
    pub(super) group: Range<usize>,
    pub(super) taps: &'a Taps,
}

impl Left<'_> {
    /// The length of a row.
    pub(super) fn k(&self) -> usize {
        self.group.len() * self.taps.order.len()
    }

    /// The same, as it is stored.
    pub(super) fn stored(&self) -> usize {
        self.k().next_multiple_of(STEP)
    }

    /// All pixels.
    pub(super) fn rows(&self) -> usize {
        self.n * self.taps.pixels()
    }

    /// Whether the map itself is the left side.
    pub(super) fn lies_well(&self) -> bool {
        self.taps.is_pointwise(self.size) && self.k() == self.channels && self.stored() == self.channels
    }

    /// Copies rows from `first` on, `stored` elements each, filled up with zeros.
    pub(super) fn gather(&self, first: usize, dst: &mut [Bf16]) {
        let (channels, stored) = (self.group.len(), self.stored());
        let plane: usize = self.size.iter().product();
        for (i, dst) in dst.chunks_exact_mut(stored).enumerate() {
            let (image, at) = coordinates(self.taps.output, first + i);
            let (mut dst, filling) = dst.split_at_mut(self.k());
            filling.fill(Bf16::default());
            for run in &self.taps.runs {
                let (to, rest) = dst.split_at_mut(run.len * channels);
                dst = rest;
                let [d, h, w] = [0, 1, 2].map(|a| (at[a] * self.taps.stride[a]) as isize + run.offset[a]);
                let inside = |x: isize, axis: usize| (0..self.size[axis] as isize).contains(&x);
                if !inside(d, 0) || !inside(h, 1) {
                    to.fill(Bf16::default());
                    continue;
                }
                // The pixels of the line that are inside, by their place in the run.
                let low = (-w).clamp(0, run.len as isize) as usize;
                let high = (self.size[2] as isize - w).clamp(low as isize, run.len as isize) as usize;
                let line = image * plane + (d as usize * self.size[1] + h as usize) * self.size[2];
                to[..low * channels].fill(Bf16::default());
                to[high * channels..].fill(Bf16::default());
                if low == high {
                    continue;
                }
                let first = (line + (w + low as isize) as usize) * self.channels + self.group.start;
                let to = &mut to[low * channels..high * channels];
                if channels == self.channels {
                    to.copy_from_slice(&self.src[first..first + to.len()]);
                    continue;
                }
                for (pixel, to) in to.chunks_exact_mut(channels).enumerate() {
                    to.copy_from_slice(&self.src[first + pixel * self.channels..][..channels]);
                }
            }
        }
    }
}
