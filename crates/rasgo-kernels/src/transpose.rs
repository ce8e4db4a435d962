//! Transposes: the two layouts of a map, and matrices.

use crate::buffer::Element;
use crate::threads::{SharedMut, parallel};

/// Side of a block: a line of the cache on either side.
const BLOCK: usize = 16;
/// Rows of the destination in a task, at least.
const ROWS: usize = 64;
/// Elements of a task, about.
const TASK: usize = 1 << 14;

/// `[n, c, s]` to channels-last `[n, s, c]`.
pub fn to_channels_last<T: Element>(n: usize, c: usize, s: usize, src: &[T], dst: &mut [T]) {
    transpose_batch(n, c, s, src, dst);
}

/// Channels-last `[n, s, c]` to `[n, c, s]`.
pub fn from_channels_last<T: Element>(n: usize, c: usize, s: usize, src: &[T], dst: &mut [T]) {
    transpose_batch(n, s, c, src, dst);
}

/// `dst[cols, rows] = src[rows, cols]`, transposed.
pub fn transpose<T: Element>(rows: usize, cols: usize, src: &[T], dst: &mut [T]) {
    transpose_batch(1, rows, cols, src, dst);
}

/// `dst[n, cols, rows] = src[n, rows, cols]`, each matrix transposed.
pub fn transpose_batch<T: Element>(n: usize, rows: usize, cols: usize, src: &[T], dst: &mut [T]) {
    assert_eq!(src.len(), n * rows * cols, "the source has n * rows * cols elements");
    assert_eq!(dst.len(), src.len(), "the destination has n * rows * cols elements");
    if dst.is_empty() {
        return;
    }
    let size = rows * cols;
    // A task writes `band` rows of each of `images` matrices.
    let band = (TASK / rows).next_multiple_of(BLOCK).max(ROWS).min(cols);
    let images = (TASK / size).clamp(1, n);
    let (bands, groups) = (cols.div_ceil(band), n.div_ceil(images));
    let shared = SharedMut::new(dst);
    parallel(bands * groups, |task| {
        let (start, group) = (task % bands * band, task / bands * images);
        let len = band.min(cols - start);
        for image in group..n.min(group + images) {
            // SAFETY: bands of different tasks do not overlap.
            let dst = unsafe { shared.slice(image * size + start * rows, len * rows) };
            transpose_band(rows, cols, start, &src[image * size..(image + 1) * size], dst);
        }
    });
}

/// `dst` is the rows of the transposed matrix from `start` on.
fn transpose_band<T: Element>(rows: usize, cols: usize, start: usize, src: &[T], dst: &mut [T]) {
    let len = dst.len() / rows;
    if rows == 1 {
        return dst.copy_from_slice(&src[start..start + len]);
    }
    if cols == 1 {
        return dst.copy_from_slice(src);
    }
    for j in (0..len).step_by(BLOCK) {
        let height = BLOCK.min(len - j);
        for i in (0..rows).step_by(BLOCK) {
            let width = BLOCK.min(rows - i);
            let src = &src[i * cols + start + j..];
            let dst = &mut dst[j * rows + i..];
            if height == BLOCK && width == BLOCK {
                full_block(rows, cols, src, dst);
                continue;
            }
            for y in 0..height {
                for x in 0..width {
                    dst[y * rows + x] = src[x * cols + y];
                }
            }
        }
    }
}

/// A whole block through registers: each line of both sides is touched once.
#[inline(always)]
fn full_block<T: Element>(rows: usize, cols: usize, src: &[T], dst: &mut [T]) {
    let lines: [&[T]; BLOCK] = std::array::from_fn(|x| &src[x * cols..][..BLOCK]);
    for y in 0..BLOCK {
        let row: [T; BLOCK] = std::array::from_fn(|x| lines[x][y]);
        dst[y * rows..][..BLOCK].copy_from_slice(&row);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::with_threads;

    #[test]
    fn layouts_of_every_shape_round_trip() {
        for (n, c, s) in [
            (0, 3, 4),
            (1, 1, 7),
            (2, 3, 35),
            (3, 17, 64),
            (2, 64, 49),
            (1, 100, 1),
            (2, 33, 130),
            (5, 9, 1000),
        ] {
            let src: Vec<u32> = (0..(n * c * s) as u32).collect();
            for threads in [1, 2, 3] {
                let (mut last, mut back) = (vec![u32::MAX; src.len()], vec![u32::MAX; src.len()]);
                with_threads(threads, || {
                    to_channels_last(n, c, s, &src, &mut last);
                    from_channels_last(n, c, s, &last, &mut back);
                });
                for (i, &x) in src.iter().enumerate() {
                    let (image, channel, pixel) = (i / (c * s), i / s % c, i % s);
                    assert_eq!(last[(image * s + pixel) * c + channel], x, "{n} {c} {s}");
                }
                assert_eq!(back, src);
            }
        }
    }

    #[test]
    fn bytes_and_doubles_transpose() {
        let src: Vec<u8> = (0..6).collect();
        let mut dst = [0; 6];
        transpose(2, 3, &src, &mut dst);
        assert_eq!(dst, [0, 3, 1, 4, 2, 5]);
        let mut wide = [0.0f64; 6];
        transpose(3, 2, &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0], &mut wide);
        assert_eq!(wide, [0.0, 2.0, 4.0, 1.0, 3.0, 5.0]);
    }
}
