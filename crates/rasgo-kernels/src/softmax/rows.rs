//! Softmax and its logarithm.

use super::{group, row_max, row_sum};
use crate::buffer::Element;
use crate::isa::isa_fn;
use crate::threads::{Scratch, SharedMut, parallel_chunks, parallel_scratch};
use crate::{Float, Isa};

/// Arrays `[outer, classes, inner]`, with a softmax along the middle.
#[derive(Debug, Clone, Copy)]
pub struct Axis {
    /// Elements before the axis.
    pub outer: usize,
    /// Elements of a softmax.
    pub classes: usize,
    /// The distance of two neighbours: 1 for rows that lie as they are.
    pub inner: usize,
}

impl Axis {
    /// Rows of classes.
    pub fn rows(rows: usize, classes: usize) -> Axis {
        Axis { outer: rows, classes, inner: 1 }
    }
}

/// Columns that are gathered into rows at a time, where the axis is not the innermost.
const COLUMNS: usize = 16;

/// Runs `rows` on groups of rows of up to two arrays. Columns are copied into rows first and back afterwards, so that the
/// bits do not depend on how an array lies.
fn each<T: Float + Element>(
    axis: Axis,
    src: [&[T]; 2],
    dst: &mut [T],
    rows: impl Fn(usize, [&[T]; 2], &mut [T]) + Sync,
) {
    let Axis { outer, classes, inner } = axis;
    let len = outer * classes * inner;
    assert!(src.iter().all(|src| src.len() == len) && dst.len() == len, "arrays of outer * classes * inner");
    if len == 0 {
        return;
    }
    if inner == 1 {
        let len = group(classes) * classes;
        return parallel_chunks(dst, len, |i, dst| {
            let range = i * len..i * len + dst.len();
            rows(classes, src.map(|src| &src[range.clone()]), dst);
        });
    }
    let blocks = inner.div_ceil(COLUMNS);
    let dst = SharedMut::new(dst);
    let place = COLUMNS * classes;
    parallel_scratch(outer * blocks, 3 * Scratch::bytes::<T>(place), |task, mut scratch| {
        let columns = task % blocks * COLUMNS..inner.min((task % blocks + 1) * COLUMNS);
        let start = task / blocks * classes * inner;
        let used = columns.len() * classes;
        let mut gathered = [scratch.take::<T>(place), scratch.take::<T>(place)];
        let results = scratch.take::<T>(place);
        for (to, from) in gathered.iter_mut().zip(src) {
            for j in 0..classes {
                let row = &from[start + j * inner..][columns.clone()];
                row.iter().enumerate().for_each(|(column, x)| to[column * classes + j] = *x);
            }
        }
        rows(classes, gathered.each_ref().map(|rows| &rows[..used]), &mut results[..used]);
        for j in 0..classes {
            // SAFETY: no two tasks have a column of one outer index in common.
            let row = unsafe { dst.slice(start + j * inner + columns.start, columns.len()) };
            row.iter_mut().enumerate().for_each(|(column, y)| *y = results[column * classes + j]);
        }
    });
}

/// `dst[o, j, i] = e^(src[o, j, i] - max) / sum over j of that`.
pub fn softmax<T: Float + Element>(axis: Axis, src: &[T], dst: &mut [T]) {
    let isa = Isa::current();
    each(axis, [src, src], dst, |classes, [src, _], dst| softmax_rows(isa, classes, src, dst));
}

/// `dst[o, j, i] = src[o, j, i] - ln(sum over j of e^src[o, j, i])`.
pub fn log_softmax<T: Float + Element>(axis: Axis, src: &[T], dst: &mut [T]) {
    let isa = Isa::current();
    each(axis, [src, src], dst, |classes, [src, _], dst| log_softmax_rows(isa, classes, src, dst));
}

/// `dx = y * (dy - sum over j of dy * y)`, where `y` is the softmax.
pub fn softmax_grad<T: Float + Element>(axis: Axis, y: &[T], dy: &[T], dx: &mut [T]) {
    let isa = Isa::current();
    each(axis, [y, dy], dx, |classes, [y, dy], dx| softmax_grad_rows(isa, classes, y, dy, dx));
}

/// `dx = dy - e^y * sum over j of dy`, where `y` is the logarithm of the softmax.
pub fn log_softmax_grad<T: Float + Element>(axis: Axis, y: &[T], dy: &[T], dx: &mut [T]) {
    let isa = Isa::current();
    each(axis, [y, dy], dx, |classes, [y, dy], dx| log_softmax_grad_rows(isa, classes, y, dy, dx));
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
