//! Values in other places: parts of an axis, joined axes, picked and placed elements, reversed axes.
//!
//! An axis of an array in the order of memory makes it `[outer, axis, inner]`; whoever calls says which layout.

use crate::buffer::Element;
use crate::elementwise::fill;
use crate::rows::CHUNK;
use crate::threads::parallel_chunks;

/// Where the blocks of an array lie: block `i` begins at `i * stride + start`.
#[derive(Debug, Clone, Copy)]
pub struct Blocks {
    /// The distance of two blocks.
    pub stride: usize,
    /// The beginning of the first.
    pub start: usize,
}

/// Copies `count` blocks of `len` elements; the rest of `dst` stays as it is.
pub fn copy_blocks<T: Element>(count: usize, len: usize, src: &[T], from: Blocks, dst: &mut [T], to: Blocks) {
    if count == 0 || len == 0 {
        return;
    }
    if count == 1 {
        let src = &src[from.start..from.start + len];
        return parallel_chunks(&mut dst[to.start..to.start + len], CHUNK, |i, dst| {
            dst.copy_from_slice(&src[i * CHUNK..][..dst.len()]);
        });
    }
    let group = (CHUNK / to.stride).max(1);
    parallel_chunks(&mut dst[..count * to.stride], group * to.stride, |i, dst| {
        for (k, dst) in dst.chunks_exact_mut(to.stride).enumerate() {
            let at = (i * group + k) * from.stride + from.start;
            dst[to.start..to.start + len].copy_from_slice(&src[at..at + len]);
        }
    });
}

/// As [`copy_blocks`], with zeros in the rest of `dst`.
pub fn widen_blocks<T: Element + Default>(
    count: usize,
    len: usize,
    src: &[T],
    from: Blocks,
    dst: &mut [T],
    to: Blocks,
) {
    fill(dst, T::default());
    copy_blocks(count, len, src, from, dst, to);
}

/// `dst[outer, index.len(), inner] = src[outer, index[i], inner]`
pub fn index_select<T: Element>(axis: usize, inner: usize, src: &[T], index: &[i64], dst: &mut [T]) {
    if dst.is_empty() {
        return;
    }
    let (rows, group) = (index.len(), (CHUNK / inner).max(1));
    parallel_chunks(dst, group * inner, |i, dst| {
        for (k, dst) in dst.chunks_exact_mut(inner).enumerate() {
            let row = i * group + k;
            let at = (row / rows * axis + index[row % rows] as usize) * inner;
            dst.copy_from_slice(&src[at..at + inner]);
        }
    });
}

/// `dst[outer, index[i], inner] += src[outer, i, inner]`, in the order of the index.
pub fn index_add<T: Element>(
    axis: usize,
    inner: usize,
    index: &[i64],
    src: &[T],
    dst: &mut [T],
    add: impl Fn(T, T) -> T + Sync,
) {
    if dst.is_empty() || src.is_empty() {
        return;
    }
    // A task has some rows of `dst` and looks through the index for what falls on them.
    let (rows, group) = (index.len(), (CHUNK / inner).max(1));
    parallel_chunks(dst, group * inner, |i, dst| {
        let (first, last) = (i * group, i * group + dst.len() / inner);
        for outer in first / axis..last.div_ceil(axis) {
            for (k, &place) in index.iter().enumerate() {
                let row = outer * axis + place as usize;
                if !(first..last).contains(&row) {
                    continue;
                }
                let src = &src[(outer * rows + k) * inner..][..inner];
                for (y, x) in dst[(row - first) * inner..][..inner].iter_mut().zip(src) {
                    *y = add(*y, *x);
                }
            }
        }
    });
}

/// `dst[outer, i, inner] = src[outer, index[outer, i, inner], inner]`, `rows` the index's size along the axis.
pub fn gather<T: Element>(axis: usize, rows: usize, inner: usize, src: &[T], index: &[i64], dst: &mut [T]) {
    if dst.is_empty() {
        return;
    }
    let group = (CHUNK / inner).max(1);
    parallel_chunks(dst, group * inner, |i, dst| {
        for (k, dst) in dst.chunks_exact_mut(inner).enumerate() {
            let row = i * group + k;
            let src = &src[row / rows * axis * inner..][..axis * inner];
            for (column, (y, &place)) in dst.iter_mut().zip(&index[row * inner..]).enumerate() {
                *y = src[place as usize * inner + column];
            }
        }
    });
}

/// `dst[outer, index[outer, i, inner], inner] = put(that, src[outer, i, inner])`, in rising `i`.
pub fn scatter<T: Element>(
    axis: usize,
    rows: usize,
    inner: usize,
    index: &[i64],
    src: &[T],
    dst: &mut [T],
    put: impl Fn(T, T) -> T + Sync,
) {
    let (from, to) = (rows * inner, axis * inner);
    if src.is_empty() || dst.is_empty() {
        return;
    }
    let group = (CHUNK / from.max(to)).max(1);
    parallel_chunks(dst, group * to, |i, dst| {
        for (k, dst) in dst.chunks_exact_mut(to).enumerate() {
            let at = (i * group + k) * from;
            for (e, (&place, &x)) in index[at..at + from].iter().zip(&src[at..at + from]).enumerate() {
                let y = &mut dst[place as usize * inner + e % inner];
                *y = put(*y, x);
            }
        }
    });
}

/// `dst[outer, i, inner] = src[outer, axis - 1 - i, inner]`
pub fn flip<T: Element>(axis: usize, inner: usize, src: &[T], dst: &mut [T]) {
    if dst.is_empty() {
        return;
    }
    let group = (CHUNK / inner).max(1);
    parallel_chunks(dst, group * inner, |i, dst| {
        for (k, dst) in dst.chunks_exact_mut(inner).enumerate() {
            let row = i * group + k;
            let at = (row / axis * axis + axis - 1 - row % axis) * inner;
            dst.copy_from_slice(&src[at..at + inner]);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::with_threads;

    /// More than one task, and rows that no task boundary respects.
    const OUTER: usize = 3;
    const AXIS: usize = 700;
    const INNER: usize = 37;

    fn numbers(len: usize) -> Vec<i64> {
        (0..len as i64).map(|i| i * 7919 % 10_007).collect()
    }

    fn everywhere(len: usize, kernel: impl Fn(&mut [i64])) -> Vec<i64> {
        let run = |threads| {
            let mut dst = vec![-1; len];
            with_threads(threads, || kernel(&mut dst));
            dst
        };
        let first = run(1);
        assert!(run(2) == first && run(3) == first);
        first
    }

    #[test]
    fn every_movement_agrees_with_its_formula() {
        let src = numbers(OUTER * AXIS * INNER);
        let at = |o: usize, i: usize, k: usize| src[(o * AXIS + i) * INNER + k];
        let index: Vec<i64> = (0..900).map(|i| i * 31 % AXIS as i64).collect();
        let picked = everywhere(OUTER * 900 * INNER, |dst| index_select(AXIS, INNER, &src, &index, dst));
        let added = everywhere(OUTER * 50 * INNER, |dst| {
            dst.fill(1);
            let index: Vec<i64> = (0..AXIS as i64).map(|i| i * 31 % 50).collect();
            index_add(50, INNER, &index, &src, dst, |a, b| a + b);
        });
        let turned = everywhere(src.len(), |dst| flip(AXIS, INNER, &src, dst));
        let places: Vec<i64> = numbers(OUTER * 20 * INNER).iter().map(|x| x % AXIS as i64).collect();
        let gathered = everywhere(places.len(), |dst| gather(AXIS, 20, INNER, &src, &places, dst));
        let scattered = everywhere(src.len(), |dst| {
            dst.fill(0);
            scatter(AXIS, 20, INNER, &places, &gathered, dst, |a, b| a + b);
        });
        for o in 0..OUTER {
            for k in 0..INNER {
                for i in 0..900 {
                    assert_eq!(picked[(o * 900 + i) * INNER + k], at(o, index[i] as usize, k));
                }
                for place in 0..50 {
                    let sum: i64 = (0..AXIS).filter(|i| i * 31 % 50 == place).map(|i| at(o, i, k)).sum();
                    assert_eq!(added[(o * 50 + place) * INNER + k], 1 + sum);
                }
                let mut sums = [0; AXIS];
                for i in 0..20 {
                    let e = (o * 20 + i) * INNER + k;
                    assert_eq!(gathered[e], at(o, places[e] as usize, k));
                    sums[places[e] as usize] += gathered[e];
                }
                for i in 0..AXIS {
                    assert_eq!(turned[(o * AXIS + i) * INNER + k], at(o, AXIS - 1 - i, k));
                    assert_eq!(scattered[(o * AXIS + i) * INNER + k], sums[i]);
                }
            }
        }
    }

    #[test]
    fn blocks_are_copied_and_widened() {
        for (count, len, stride, start) in
            [(1, 40_000, 50_000, 7), (300, 130, 200, 60), (5, 0, 3, 1), (0, 3, 4, 1)]
        {
            let src = numbers(count * stride + 1);
            let (whole, part) = (Blocks { stride, start }, Blocks { stride: len, start: 0 });
            let cut = everywhere(count * len, |dst| copy_blocks(count, len, &src, whole, dst, part));
            let wide = everywhere(count * stride, |dst| widen_blocks(count, len, &cut, part, dst, whole));
            for i in 0..count {
                assert_eq!(cut[i * len..][..len], src[i * stride + start..][..len]);
                assert_eq!(wide[i * stride + start..][..len], cut[i * len..][..len]);
                assert!(wide[i * stride..][..start].iter().all(|&x| x == 0));
                assert!(wide[i * stride + start + len..(i + 1) * stride].iter().all(|&x| x == 0));
            }
        }
        // Nothing to copy, and a place that has no room.
        copy_blocks::<f32>(
            3,
            0,
            &[],
            Blocks { stride: 0, start: 0 },
            &mut [],
            Blocks { stride: 0, start: 0 },
        );
    }
}
