//! Axes reduced by any function of two values, and the positions of extremes.

use crate::Buffer;
use crate::buffer::Element;
use crate::elementwise::Number;
use crate::rows::CHUNK;
use crate::threads::parallel_chunks;

/// Reduces the marked axes, run by run of neighbours, the innermost first: `middle(outer, axis, inner, src, dst)` makes
/// `dst[outer, inner]` of `src[outer, axis, inner]`. `dst` has the other axes, in order.
pub(super) fn over_axes<T: Element>(
    shape: &[usize],
    reduced: &[bool],
    src: &[T],
    dst: &mut [T],
    middle: impl Fn(usize, usize, usize, &[T], &mut [T]),
) {
    assert_eq!(shape.len(), reduced.len(), "a mark for each axis");
    assert_eq!(src.len(), shape.iter().product::<usize>(), "the source has the shape's elements");
    // Neighbouring axes of one kind are one axis.
    let mut axes: Vec<(usize, bool)> = Vec::with_capacity(shape.len());
    for (&size, &gone) in shape.iter().zip(reduced) {
        match axes.last_mut() {
            Some((before, kind)) if *kind == gone => *before *= size,
            _ => axes.push((size, gone)),
        }
    }
    let kept: usize = axes.iter().filter(|axis| !axis.1).map(|axis| axis.0).product();
    assert_eq!(dst.len(), kept, "the destination has the other axes' elements");
    let mut current: Option<Buffer> = None;
    let mut inner = 1;
    while let Some((size, gone)) = axes.pop() {
        if !gone {
            inner *= size;
            continue;
        }
        let outer: usize = axes.iter().map(|axis| axis.0).product();
        let from = match &current {
            Some(buffer) => &buffer.as_slice()[..outer * size * inner],
            None => src,
        };
        if axes.iter().all(|axis| !axis.1) {
            middle(outer, size, inner, from, dst);
            return;
        }
        let mut to = Buffer::new::<T>(outer * inner);
        middle(outer, size, inner, from, &mut to.as_mut_slice()[..outer * inner]);
        current = Some(to);
    }
    // Nothing was to be reduced.
    dst.copy_from_slice(src);
}

/// `dst = f over the marked axes of src`, `empty` where they have no elements. Long axes are folded in parts of a fixed
/// size, so the order of the arguments depends on the shape alone.
pub fn fold_axes<T: Element>(
    shape: &[usize],
    reduced: &[bool],
    src: &[T],
    dst: &mut [T],
    empty: T,
    f: impl Fn(T, T) -> T + Sync,
) {
    over_axes(shape, reduced, src, dst, |outer, axis, inner, src, dst| {
        if axis * inner <= 4 * CHUNK || inner > CHUNK {
            return fold_middle(axis, inner, src, dst, empty, &f);
        }
        // Parts of `rows` rows each; the last is shorter, and so is folded on its own.
        let rows = CHUNK / inner;
        let (parts, rest) = (axis / rows, axis % rows);
        let each = parts + usize::from(rest > 0);
        let mut partial = Buffer::new::<T>(outer * each * inner);
        let partial = &mut partial.as_mut_slice::<T>()[..outer * each * inner];
        let lines = src.chunks_exact(axis * inner).zip(partial.chunks_exact_mut(each * inner));
        for (src, partial) in lines {
            let whole = parts * rows * inner;
            fold_middle(rows, inner, &src[..whole], &mut partial[..parts * inner], empty, &f);
            fold_middle(rest, inner, &src[whole..], &mut partial[parts * inner..], empty, &f);
        }
        fold_middle(each, inner, partial, dst, empty, &f);
    });
}

/// `dst[outer, inner] = f over axis of src[outer, axis, inner]`
fn fold_middle<T: Element>(
    axis: usize,
    inner: usize,
    src: &[T],
    dst: &mut [T],
    empty: T,
    f: &(impl Fn(T, T) -> T + Sync),
) {
    if axis == 0 {
        return dst.fill(empty);
    }
    if dst.is_empty() {
        return;
    }
    let group = (CHUNK / (axis * inner)).max(1);
    parallel_chunks(dst, group * inner, |i, dst| {
        let from = &src[i * group * axis * inner..];
        for (dst, src) in dst.chunks_exact_mut(inner).zip(from.chunks_exact(axis * inner)) {
            let (first, rest) = src.split_at(inner);
            dst.copy_from_slice(first);
            for row in rest.chunks_exact(inner) {
                for (y, x) in dst.iter_mut().zip(row) {
                    *y = f(*y, *x);
                }
            }
        }
    });
}

/// The larger of two, or the smaller; a NaN is both.
#[inline(always)]
pub fn extreme<T: Number>(largest: bool, a: T, b: T) -> T {
    if (if largest { b > a } else { b < a }) || b.is_nan_number() { b } else { a }
}

/// `indices[outer, inner]`, the position of the largest (or smallest) of `src[outer, axis, inner]` on the axis. The
/// first of equals wins; a NaN is beyond all. `axis` is at least 1.
pub fn arg_extreme<T: Number>(largest: bool, axis: usize, inner: usize, src: &[T], indices: &mut [i64]) {
    if indices.is_empty() {
        return;
    }
    assert!(axis > 0, "the extreme of nothing does not exist");
    assert_eq!(src.len(), indices.len() * axis, "an index for each line of the axis");
    let group = (CHUNK / (axis * inner)).max(1);
    parallel_chunks(indices, group * inner, |i, indices| {
        let from = &src[i * group * axis * inner..];
        for (indices, src) in indices.chunks_exact_mut(inner).zip(from.chunks_exact(axis * inner)) {
            indices.fill(0);
            for (k, row) in src.chunks_exact(inner).enumerate().skip(1) {
                for (column, (index, &x)) in indices.iter_mut().zip(row).enumerate() {
                    let best = src[*index as usize * inner + column];
                    let beyond = if largest { x > best } else { x < best };
                    if beyond || (x.is_nan_number() && !best.is_nan_number()) {
                        *index = k as i64;
                    }
                }
            }
        }
    });
}
