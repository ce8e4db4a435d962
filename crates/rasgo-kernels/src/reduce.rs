//! Sums and maxima over axes.
//!
//! Sums over rows add in the type of the data: chunks short enough that rounding stays small, and a pairwise tree
//! above them. Sums of a flat array add in f64: beside the reading of memory the wider sums are free, and squares
//! and products of f32 are exact in them and cannot overflow.

mod fold;
mod lines;

pub use fold::{arg_extreme, extreme, fold_axes};
pub use lines::{Running, argsort, cumsum, products_of_others};

use crate::buffer::Element;
use crate::isa::isa_fn;
use crate::rows::{CHUNK, RowChunks, copies, fold, sum_chunks, tree};
use crate::threads::{SharedMut, parallel_chunks};
use crate::{Buffer, Float, Isa, Stored};

/// Sums side by side in a flat sum.
const LANES: usize = 32;

/// `dst[cols] = sum over rows of src[rows, cols]`.
pub fn column_sums<S: Stored>(rows: usize, cols: usize, src: &[S], dst: &mut [S::Wide]) {
    assert_eq!(src.len(), rows * cols, "the source has rows * cols elements");
    assert_eq!(dst.len(), cols, "the destination has cols elements");
    let isa = Isa::current();
    sum_chunks(RowChunks::new(rows, 1, cols), cols * copies(cols), dst, |rows, sums| {
        sum_rows(isa, cols, &src[rows.start * cols..rows.end * cols], sums);
    });
}

isa_fn! {
    /// The sums of the columns in `sums[..c]`; `sums` is a wide row.
    fn sum_rows<S: Stored>(c: usize, src: &[S], sums: &mut [S::Wide]) {
        sums.fill(S::Wide::ZERO);
        let width = sums.len();
        let mut fours = src.chunks_exact(4 * width);
        for four in fours.by_ref() {
            let (ab, cd) = four.split_at(2 * width);
            let ((a, b), (c, d)) = (ab.split_at(width), cd.split_at(width));
            for ((((sum, a), b), c), d) in sums.iter_mut().zip(a).zip(b).zip(c).zip(d) {
                *sum += (a.wide() + b.wide()) + (c.wide() + d.wide());
            }
        }
        for row in fours.remainder().chunks(width) {
            for (sum, x) in sums.iter_mut().zip(row) {
                *sum += x.wide();
            }
        }
        fold(c, sums);
    }
}

/// `dst = sum of src over the axes marked in reduced`; `dst` has the other axes, in order.
pub fn sum_axes<T: Float + Element>(shape: &[usize], reduced: &[bool], src: &[T], dst: &mut [T]) {
    fold::over_axes(shape, reduced, src, dst, sum_middle);
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

#[cfg(test)]
mod tests;
