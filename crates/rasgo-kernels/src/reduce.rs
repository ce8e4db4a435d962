//! Sums and maxima over axes.
//!
//! Sums over rows add in the type of the data: chunks short enough that rounding stays small, and a pairwise tree
//! above them. Sums of a flat array add in f64: beside the reading of memory the wider sums are free, and squares
//! and products of f32 are exact in them and cannot overflow.

use crate::buffer::Element;
use crate::isa::isa_fn;
use crate::rows::{CHUNK, RowChunks, copies, fold, sum_chunks, tree};
use crate::threads::{SharedMut, parallel, parallel_chunks};
use crate::{Buffer, Float, Isa};

/// Sums side by side in a flat sum.
const LANES: usize = 32;

/// `dst[cols] = sum over rows of src[rows, cols]`.
pub fn column_sums<T: Float + Element>(rows: usize, cols: usize, src: &[T], dst: &mut [T]) {
    assert_eq!(src.len(), rows * cols, "the source has rows * cols elements");
    assert_eq!(dst.len(), cols, "the destination has cols elements");
    let isa = Isa::current();
    sum_chunks(RowChunks::new(rows, 1, cols), cols * copies(cols), dst, |rows, sums| {
        sum_rows(isa, cols, &src[rows.start * cols..rows.end * cols], sums);
    });
}

isa_fn! {
    /// The sums of the columns in `sums[..c]`; `sums` is a wide row.
    fn sum_rows<T: Float>(c: usize, src: &[T], sums: &mut [T]) {
        sums.fill(T::ZERO);
        let width = sums.len();
        let mut fours = src.chunks_exact(4 * width);
        for four in fours.by_ref() {
            let (ab, cd) = four.split_at(2 * width);
            let ((a, b), (c, d)) = (ab.split_at(width), cd.split_at(width));
            for ((((sum, a), b), c), d) in sums.iter_mut().zip(a).zip(b).zip(c).zip(d) {
                *sum += (*a + *b) + (*c + *d);
            }
        }
        for row in fours.remainder().chunks(width) {
            for (sum, x) in sums.iter_mut().zip(row) {
                *sum += *x;
            }
        }
        fold(c, sums);
    }
}

/// `dst = sum of src over the axes marked in reduced`; `dst` has the other axes, in order.
pub fn sum_axes<T: Float + Element>(shape: &[usize], reduced: &[bool], src: &[T], dst: &mut [T]) {
    assert_eq!(shape.len(), reduced.len(), "a mark for each axis");
    assert_eq!(src.len(), shape.iter().product::<usize>(), "the source has the shape's elements");
    // Neighbouring axes of one kind are one axis.
    let mut axes: Vec<(usize, bool)> = Vec::with_capacity(shape.len());
    for (&size, &sum) in shape.iter().zip(reduced) {
        match axes.last_mut() {
            Some((before, kind)) if *kind == sum => *before *= size,
            _ => axes.push((size, sum)),
        }
    }
    let kept: usize = axes.iter().filter(|axis| !axis.1).map(|axis| axis.0).product();
    assert_eq!(dst.len(), kept, "the destination has the other axes' elements");
    let mut current: Option<Buffer> = None;
    let mut inner = 1;
    while let Some((size, sum)) = axes.pop() {
        if !sum {
            inner *= size;
            continue;
        }
        let outer: usize = axes.iter().map(|axis| axis.0).product();
        let from = current.as_ref().map_or(src, |buffer| buffer.as_slice());
        if axes.iter().all(|axis| !axis.1) {
            sum_middle(outer, size, inner, from, dst);
            return;
        }
        let mut to = Buffer::new::<T>(outer * inner);
        sum_middle(outer, size, inner, from, to.as_mut_slice());
        current = Some(to);
    }
    // Nothing was to be summed.
    dst.copy_from_slice(src);
}

/// `dst[outer, inner] = sum over axis of src[outer, axis, inner]`. The order depends on `axis` and `inner` alone,
/// so that a sample's sums do not depend on its batch.
fn sum_middle<T: Float + Element>(outer: usize, axis: usize, inner: usize, src: &[T], dst: &mut [T]) {
    let len = axis * inner;
    if len == 0 {
        return dst.fill(T::ZERO);
    }
    if len > 4 * CHUNK {
        for (src, dst) in src.chunks_exact(len).zip(dst.chunks_exact_mut(inner)) {
            if inner == 1 { dst[0] = sum_all(src) } else { column_sums(axis, inner, src, dst) }
        }
        return;
    }
    let isa = Isa::current();
    let group = (CHUNK / len).max(1);
    if inner == 1 {
        parallel_chunks(dst, group, |i, dst| {
            for (dst, src) in dst.iter_mut().zip(src[i * group * axis..].chunks_exact(axis)) {
                *dst = T::from_f64(flat_sum(isa, src, src, &|x, _| x));
            }
        });
        return;
    }
    let width = inner * copies(inner);
    let mut sums = Buffer::new::<T>(outer.div_ceil(group) * width);
    let sums = SharedMut::new(sums.as_mut_slice::<T>());
    parallel_chunks(dst, group * inner, |i, dst| {
        // SAFETY: each task has a row of its own.
        let sums = unsafe { sums.slice(i * width, width) };
        for (dst, src) in dst.chunks_exact_mut(inner).zip(src[i * group * len..].chunks_exact(len)) {
            sum_rows(isa, inner, src, sums);
            dst.copy_from_slice(&sums[..inner]);
        }
    });
}

/// The sum of all elements.
pub fn sum_all<T: Float>(src: &[T]) -> T {
    T::from_f64(reduce_flat(src, src, |x, _| x))
}

/// `sum of a * b`
pub fn dot<T: Float>(a: &[T], b: &[T]) -> T {
    assert_eq!(a.len(), b.len(), "both have the same length");
    T::from_f64(reduce_flat(a, b, |a, b| a * b))
}

/// `sum of src^2`, in f64: sums of several arrays are added before the root.
pub fn sum_of_squares<T: Float>(src: &[T]) -> f64 {
    reduce_flat(src, src, |x, _| x * x)
}

/// The Euclidean length, `sqrt(sum of src^2)`.
pub fn norm2<T: Float>(src: &[T]) -> T {
    T::from_f64(sum_of_squares(src).sqrt())
}

fn reduce_flat<T: Float>(a: &[T], b: &[T], f: impl Fn(f64, f64) -> f64 + Sync) -> f64 {
    let isa = Isa::current();
    let mut sums = Buffer::new::<f64>(a.len().div_ceil(CHUNK));
    let sums = sums.as_mut_slice::<f64>();
    parallel_chunks(sums, 1, |i, sum| {
        let range = i * CHUNK..a.len().min((i + 1) * CHUNK);
        sum[0] = flat_sum(isa, &a[range.clone()], &b[range], &f);
    });
    tree(1, sums, |a, b| a[0] += b[0]);
    sums.first().copied().unwrap_or(0.0)
}

isa_fn! {
    fn flat_sum<T: Float, F: Fn(f64, f64) -> f64>(a: &[T], b: &[T], f: &F) -> f64 {
        let mut sums = [0.0; LANES];
        let (a_rows, b_rows) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
        let (a_rest, b_rest) = (a_rows.remainder(), b_rows.remainder());
        for (a, b) in a_rows.zip(b_rows) {
            for i in 0..LANES {
                sums[i] += f(a[i].to_f64(), b[i].to_f64());
            }
        }
        for (sum, (a, b)) in sums.iter_mut().zip(a_rest.iter().zip(b_rest)) {
            *sum += f(a.to_f64(), b.to_f64());
        }
        tree(1, &mut sums, |a, b| a[0] += b[0]);
        sums[0]
    }
}

/// `values[outer, inner]`, the largest of `src[outer, axis, inner]`, and its position on the axis. The first of
/// equal maxima wins; a NaN is larger than all. `axis` is at least 1.
pub fn max_axis<T: Float>(
    outer: usize,
    axis: usize,
    inner: usize,
    src: &[T],
    values: &mut [T],
    indices: &mut [i64],
) {
    assert!(axis > 0 || outer * inner == 0, "the maximum of nothing does not exist");
    assert_eq!(src.len(), outer * axis * inner, "the source has outer * axis * inner elements");
    assert_eq!(values.len(), outer * inner, "a value for each maximum");
    assert_eq!(indices.len(), outer * inner, "an index for each maximum");
    let isa = Isa::current();
    let group = (CHUNK / (axis * inner).max(1)).max(1);
    let (values, indices) = (SharedMut::new(values), SharedMut::new(indices));
    parallel(outer.div_ceil(group), |i| {
        let start = i * group;
        let count = group.min(outer - start);
        // SAFETY: each task has a part of its own.
        let (values, indices) = unsafe {
            (values.slice(start * inner, count * inner), indices.slice(start * inner, count * inner))
        };
        max_rows(
            isa,
            axis,
            inner,
            &src[start * axis * inner..(start + count) * axis * inner],
            values,
            indices,
        );
    });
}

isa_fn! {
    fn max_rows<T: Float>(axis: usize, inner: usize, src: &[T], values: &mut [T], indices: &mut [i64]) {
        if inner == 0 {
            return;
        }
        let outputs = values.chunks_exact_mut(inner).zip(indices.chunks_exact_mut(inner));
        for (src, (values, indices)) in src.chunks_exact(axis * inner).zip(outputs) {
            values.copy_from_slice(&src[..inner]);
            indices.fill(0);
            for (k, row) in src.chunks_exact(inner).enumerate().skip(1) {
                for ((best, index), x) in values.iter_mut().zip(indices.iter_mut()).zip(row) {
                    let wins = *x > *best || (x.is_nan() && !best.is_nan());
                    *best = if wins { *x } else { *best };
                    *index = if wins { k as i64 } else { *index };
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
