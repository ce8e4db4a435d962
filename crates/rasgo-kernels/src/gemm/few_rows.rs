//! Products of a few rows with a matrix that lies transposed: a linear layer of one sample, or a few.
//!
//! The matrix is far larger than all else and each element of it is used once for each row, so the time is that of reading
//! it. It is read as it lies, row after row: pieces of as many rows as a vector has lanes are transposed in registers, and so
//! become steps of the sums of these columns. A packed copy would be written and read besides.
//!
//! The sums are those of [`rows_product`](super::driver::rows_product), in its order: a row has the same bits in either.

use std::ops::Range;

use super::strided::{STEPS, even};
use crate::epilogue::Finish;
use crate::simd::{MOST_LANES, Vector, simd_fn};
use crate::threads::{SharedMut, parallel};
use crate::{Epilogue, Isa};

/// The most rows.
pub(super) const ROWS: usize = 4;
/// Columns of a task: some ten microseconds where there are thousands of steps.
const COLS: usize = 32;
/// How far ahead the matrix is asked for, in elements.
const AHEAD: usize = 192;

/// `dst[m, n] = a[m, k] * b[n, k]^T`, then the epilogue, for at most [`ROWS`] rows.
pub(super) fn few_rows(
    isa: Isa,
    [m, n, k]: [usize; 3],
    a: &[f32],
    b: &[f32],
    epilogue: Epilogue<'_, f32>,
    dst: &mut [f32],
) {
    assert!(a.len() == m * k && b.len() == n * k && dst.len() == m * n, "whole matrices");
    let dst = SharedMut::new(dst);
    let product =
        Product { n, k, block: even(k, STEPS), a: a.as_ptr(), b: b.as_ptr(), finish: epilogue.from(0, 0) };
    let columns = [columns::<1>, columns::<2>, columns::<3>, columns::<4>][m - 1];
    parallel(n.div_ceil(COLS), |task| {
        // SAFETY: the matrices have these sizes, and this task alone writes these columns.
        unsafe { columns(isa, &product, task * COLS..n.min((task + 1) * COLS), dst.as_ptr()) };
    });
}

/// The matrices, and how long the sums are that are added up.
#[derive(Debug, Clone, Copy)]
struct Product {
    n: usize,
    k: usize,
    block: usize,
    a: *const f32,
    b: *const f32,
    finish: Finish,
}

// SAFETY: the pointers are to slices that live as long as the region, and are only read.
unsafe impl Sync for Product {}

simd_fn! {
    /// Some columns of all `MR` rows.
    ///
    /// # Safety
    /// The matrices have the sizes that the product says, `dst` that of the result; nobody else uses its columns.
    unsafe fn columns<V, const MR: usize>(p: &Product, columns: Range<usize>, dst: *mut f32) {
        let mut start = columns.start;
        while start < columns.end {
            let count = (columns.end - start).min(V::LANES);
            // Lanes without a column repeat the last, and are not stored.
            let mut rows = [p.b; MOST_LANES];
            for lane in 0..V::LANES {
                rows[lane] = p.b.wrapping_add((start + lane.min(count - 1)) * p.k);
            }
            let mut total = [V::zero(); MR];
            let mut from = 0;
            while from < p.k {
                let end = p.k.min(from + p.block);
                let mut sums = [V::zero(); MR];
                let mut step = from;
                // SAFETY: the rows have `k` steps.
                unsafe {
                    while step + V::LANES <= end {
                        add_steps::<V, MR, false>(p, &rows, step, V::LANES, &mut sums);
                        step += V::LANES;
                    }
                    if step < end {
                        add_steps::<V, MR, true>(p, &rows, step, end - step, &mut sums);
                    }
                }
                for r in 0..MR {
                    total[r] = if from == 0 { sums[r] } else { total[r].add(sums[r]) };
                }
                from = end;
            }
            for r in 0..MR {
                let at = r * p.n + start;
                let finish = p.finish.further(start, at);
                // SAFETY: the result has these columns, as have bias and what is added.
                unsafe {
                    let bias = finish.bias::<V, true>(0, count);
                    let y = finish.apply::<V, true>(total[r], bias, 0, count);
                    y.store_first(dst.wrapping_add(at), count);
                }
            }
            start += V::LANES;
        }
    }
}

/// Adds `n` steps, as many as a vector has lanes or a `PART` of them, to the sums of all rows.
///
/// # Safety
/// The rows of both matrices have these steps.
#[inline(always)]
unsafe fn add_steps<V: Vector, const MR: usize, const PART: bool>(
    p: &Product,
    rows: &[*const f32; MOST_LANES],
    step: usize,
    n: usize,
    sums: &mut [V; MR],
) {
    let mut piece = [V::zero(); MOST_LANES];
    for lane in 0..V::LANES {
        let from = rows[lane].wrapping_add(step);
        V::prefetch(from.wrapping_add(AHEAD));
        // SAFETY: the caller's promise.
        piece[lane] = unsafe { if PART { V::load_first(from, n) } else { V::load(from) } };
    }
    let steps = V::transpose(piece);
    for j in 0..V::LANES {
        if !PART || j < n {
            for r in 0..MR {
                // SAFETY: the caller's promise.
                let left = V::splat(unsafe { *p.a.wrapping_add(r * p.k + step + j) });
                sums[r] = left.mul_add(steps[j], sums[r]);
            }
        }
    }
}
