//! Matrices `[rows, c]` cut into chunks, and sums over their rows in a fixed order.
//!
//! A chunk is a number of whole samples, or a part of one, that depends on the shape of a sample alone; the sums
//! of the chunks are combined by a pairwise tree. So sums do not depend on the threads, and a batch split over
//! processes in whole chunks can be summed to the same bits.
//!
//! Few channels fill no vector, so rows are read several at a time, as one *wide* row of `copies(c) * c`
//! elements; vectors of channels are repeated to match.

use std::ops::Range;

use crate::buffer::Element;
use crate::isa::isa_fn;
use crate::threads::parallel_chunks;
use crate::{Buffer, Float};

/// Elements of a chunk, about: 64 KiB of f32 stay in the second-level cache for a second look.
pub(crate) const CHUNK: usize = 1 << 14;
/// Rows of a chunk, at least: its sums are a small part of what it reads.
const MIN_ROWS: usize = 64;

/// The chunks of a matrix of `rows` rows, `sample` of them to a sample.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RowChunks {
    rows: usize,
    sample: usize,
    samples_in_chunk: usize,
    chunks_in_sample: usize,
}

impl RowChunks {
    pub(crate) fn new(rows: usize, sample: usize, c: usize) -> RowChunks {
        RowChunks::of(rows, sample, (CHUNK / c.max(1)).max(MIN_ROWS))
    }

    /// Chunks of about so many rows.
    pub(crate) fn of(rows: usize, sample: usize, rows_wanted: usize) -> RowChunks {
        assert!(sample > 0 && rows.is_multiple_of(sample) || rows == 0, "rows are whole samples");
        let sample = sample.max(1);
        RowChunks {
            rows,
            sample,
            samples_in_chunk: 1 << (rows_wanted / sample).max(1).ilog2(),
            chunks_in_sample: 1 << (sample / rows_wanted).max(1).ilog2(),
        }
    }

    pub(crate) fn count(&self) -> usize {
        (self.rows / self.sample).div_ceil(self.samples_in_chunk) * self.chunks_in_sample
    }

    /// The rows of a chunk.
    pub(crate) fn rows(&self, chunk: usize) -> Range<usize> {
        if self.chunks_in_sample == 1 {
            let len = self.samples_in_chunk * self.sample;
            return chunk * len..self.rows.min((chunk + 1) * len);
        }
        let (start, part) = (chunk / self.chunks_in_sample * self.sample, chunk % self.chunks_in_sample);
        let edge = |part: usize| start + self.sample * part / self.chunks_in_sample;
        edge(part)..edge(part + 1)
    }
}

/// How many rows make a wide row.
pub(crate) fn copies(c: usize) -> usize {
    if c == 0 || c >= 64 {
        return 1;
    }
    // The fewest that fill whole vectors of 16, then up to 64 elements.
    let whole = 16 >> c.trailing_zeros().min(4);
    whole * 64usize.div_ceil(whole * c)
}

/// A vector of channels, repeated to the width of a wide row.
pub(crate) fn widen<T: Element>(channels: &[T]) -> Buffer {
    let mut wide = Buffer::new::<T>(channels.len() * copies(channels.len()));
    for part in wide.as_mut_slice::<T>().chunks_exact_mut(channels.len().max(1)) {
        part.copy_from_slice(channels);
    }
    wide
}

/// Elements to cut a map into where nothing is summed: whole wide rows.
pub(crate) fn flat_chunk(c: usize) -> usize {
    let width = (c * copies(c)).max(1);
    (CHUNK / width).max(1) * width
}

/// Adds the parts of a wide sum to its first `c` elements, as a pairwise tree.
#[inline(always)]
pub(crate) fn fold<T: Float>(c: usize, wide: &mut [T]) {
    tree(c, wide, |a, b| {
        for (a, b) in a.iter_mut().zip(b) {
            *a += *b;
        }
    });
}

/// Combines parts of `width` elements into the first, as a pairwise tree.
#[inline(always)]
pub(crate) fn tree<T>(width: usize, parts: &mut [T], combine: impl Fn(&mut [T], &[T])) {
    let count = parts.len().checked_div(width).unwrap_or(0);
    let mut step = 1;
    while step < count {
        for i in (0..count - step).step_by(2 * step) {
            let (left, right) = parts.split_at_mut((i + step) * width);
            combine(&mut left[i * width..][..width], &right[..width]);
        }
        step *= 2;
    }
}

/// The sums over chunks: fills a row of `width` elements for each chunk in parallel, adds the first `used` of
/// each as a tree, and writes them to `dst[used]`.
pub(crate) fn sum_chunks<T: Float + Element>(
    chunks: RowChunks,
    width: usize,
    dst: &mut [T],
    fill: impl Fn(Range<usize>, &mut [T]) + Sync,
) {
    let used = dst.len();
    if used == 0 {
        return;
    }
    let mut sums = Buffer::new::<T>(chunks.count() * width);
    let sums = sums.as_mut_slice::<T>();
    parallel_chunks(sums, width, |i, sums| fill(chunks.rows(i), sums));
    if sums.is_empty() {
        dst.fill(T::ZERO);
        return;
    }
    let isa = crate::Isa::current();
    let len = sums.len();
    // One task, so that denormals are flushed here as in every other sum.
    parallel_chunks(sums, len, |_, sums| add_tree(isa, width, used, sums));
    dst.copy_from_slice(&sums[..used]);
}

isa_fn! {
    fn add_tree<T: Float>(width: usize, used: usize, sums: &mut [T]) {
        tree(width, sums, |a, b| {
            for (a, b) in a[..used].iter_mut().zip(&b[..used]) {
                *a += *b;
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_cover_every_row_once_and_never_cut_small_samples() {
        for (n, sample, c) in
            [(1, 1, 1), (7, 49, 64), (3, 50_000, 8), (130, 1, 2048), (5, 3000, 17), (0, 5, 3)]
        {
            let chunks = RowChunks::new(n * sample, sample, c);
            let mut next = 0;
            for i in 0..chunks.count() {
                let rows = chunks.rows(i);
                assert_eq!(rows.start, next);
                assert!(rows.end > rows.start);
                next = rows.end;
                assert!(chunks.chunks_in_sample > 1 || next % sample == 0);
            }
            assert_eq!(next, n * sample, "{n} {sample} {c}");
        }
    }

    #[test]
    fn wide_rows_are_whole_vectors() {
        for c in 1..64 {
            assert!(copies(c) * c >= 64 && (copies(c) * c).is_multiple_of(16), "{c}");
        }
        assert_eq!(copies(100), 1);
    }
}
