//! The product as its formula says: the oracle, and the way of `f64`.

use crate::threads::parallel_chunks;
use crate::{Epilogue, Float};

/// As [`gemm`](super::gemm).
pub(super) fn gemm<T: Float>(
    m: usize,
    n: usize,
    k: usize,
    a: &[T],
    trans_a: bool,
    b: &[T],
    trans_b: bool,
    epilogue: Epilogue<'_, T>,
    dst: &mut [T],
) {
    if m == 0 || n == 0 {
        return;
    }
    parallel_chunks(dst, n, |i, row| {
        for (j, out) in row.iter_mut().enumerate() {
            let mut sum = T::ZERO;
            for p in 0..k {
                let left = if trans_a { a[p * m + i] } else { a[i * k + p] };
                let right = if trans_b { b[j * k + p] } else { b[p * n + j] };
                sum += left * right;
            }
            *out = epilogue.apply(i * n + j, n, sum);
        }
    });
}
