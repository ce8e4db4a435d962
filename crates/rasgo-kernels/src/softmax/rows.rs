//! Softmax and its logarithm.

use super::{group, row_max, row_sum};
use crate::isa::isa_fn;
use crate::threads::parallel_chunks;
use crate::{Float, Isa};

fn check(classes: usize, lens: &[usize]) {
    assert!(lens.iter().all(|&len| len == lens[0]), "all arrays have the same length");
    assert!(if classes == 0 { lens[0] == 0 } else { lens[0].is_multiple_of(classes) }, "whole rows");
}

/// `dst[r, j] = e^(src[r, j] - max) / sum over j of that`.
pub fn softmax<T: Float>(classes: usize, src: &[T], dst: &mut [T]) {
    check(classes, &[src.len(), dst.len()]);
    let (isa, len) = (Isa::current(), group(classes) * classes.max(1));
    parallel_chunks(dst, len, |i, dst| softmax_rows(isa, classes, &src[i * len..], dst));
}

/// `dst[r, j] = src[r, j] - ln(sum over j of e^src[r, j])`.
pub fn log_softmax<T: Float>(classes: usize, src: &[T], dst: &mut [T]) {
    check(classes, &[src.len(), dst.len()]);
    let (isa, len) = (Isa::current(), group(classes) * classes.max(1));
    parallel_chunks(dst, len, |i, dst| log_softmax_rows(isa, classes, &src[i * len..], dst));
}

/// `dx = y * (dy - sum over j of dy * y)`, where `y` is the softmax.
pub fn softmax_grad<T: Float>(classes: usize, y: &[T], dy: &[T], dx: &mut [T]) {
    check(classes, &[y.len(), dy.len(), dx.len()]);
    let (isa, len) = (Isa::current(), group(classes) * classes.max(1));
    parallel_chunks(dx, len, |i, dx| softmax_grad_rows(isa, classes, &y[i * len..], &dy[i * len..], dx));
}

/// `dx = dy - e^y * sum over j of dy`, where `y` is the logarithm of the softmax.
pub fn log_softmax_grad<T: Float>(classes: usize, y: &[T], dy: &[T], dx: &mut [T]) {
    check(classes, &[y.len(), dy.len(), dx.len()]);
    let (isa, len) = (Isa::current(), group(classes) * classes.max(1));
    parallel_chunks(dx, len, |i, dx| log_softmax_grad_rows(isa, classes, &y[i * len..], &dy[i * len..], dx));
}

isa_fn! {
    fn softmax_rows<T: Float>(classes: usize, src: &[T], dst: &mut [T]) {
        for (src, dst) in src.chunks_exact(classes).zip(dst.chunks_exact_mut(classes)) {
            let max = row_max(src);
            for (dst, src) in dst.iter_mut().zip(src) {
                *dst = (*src - max).exp();
            }
            let sum = row_sum(classes, |j| dst[j]);
            for dst in dst {
                *dst = *dst / sum;
            }
        }
    }
}

/// The row's maximum and `ln(sum of e^(x - max))`, apart: large logits keep their differences exact this way.
#[inline(always)]
pub(super) fn max_and_log_sum<T: Float>(row: &[T]) -> (T, T) {
    let max = row_max(row);
    (max, row_sum(row.len(), |j| (row[j] - max).exp()).ln())
}

isa_fn! {
    fn log_softmax_rows<T: Float>(classes: usize, src: &[T], dst: &mut [T]) {
        for (src, dst) in src.chunks_exact(classes).zip(dst.chunks_exact_mut(classes)) {
            let (max, sum) = max_and_log_sum(src);
            for (dst, src) in dst.iter_mut().zip(src) {
                *dst = (*src - max) - sum;
            }
        }
    }
}

isa_fn! {
    fn softmax_grad_rows<T: Float>(classes: usize, y: &[T], dy: &[T], dx: &mut [T]) {
        for ((y, dy), dx) in
            y.chunks_exact(classes).zip(dy.chunks_exact(classes)).zip(dx.chunks_exact_mut(classes))
        {
            let sum = row_sum(classes, |j| dy[j] * y[j]);
            for ((dx, y), dy) in dx.iter_mut().zip(y).zip(dy) {
                *dx = *y * (*dy - sum);
            }
        }
    }
}

isa_fn! {
    fn log_softmax_grad_rows<T: Float>(classes: usize, y: &[T], dy: &[T], dx: &mut [T]) {
        for ((y, dy), dx) in
            y.chunks_exact(classes).zip(dy.chunks_exact(classes)).zip(dx.chunks_exact_mut(classes))
        {
            let sum = row_sum(classes, |j| dy[j]);
            for ((dx, y), dy) in dx.iter_mut().zip(y).zip(dy) {
                *dx = *dy - y.exp() * sum;
            }
        }
    }
}
