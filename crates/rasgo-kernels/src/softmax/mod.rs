//! Softmax along an axis, and the loss on rows of it.

mod cross_entropy;
mod rows;
#[cfg(test)]
mod tests;

pub use cross_entropy::{
    CrossEntropy, bad_target, cross_entropy_backward, cross_entropy_forward, target_weight_sum,
};
pub use rows::{Axis, log_softmax, log_softmax_grad, softmax, softmax_grad};

/// Maxima and sums side by side along a row.
const LANES: usize = 16;

use crate::Float;
use crate::rows::{CHUNK, tree};

/// Rows of a task.
fn group(classes: usize) -> usize {
    // An exponential costs about as much as moving four elements.
    (CHUNK / 4 / classes.max(1)).max(1)
}

/// The largest element; NaNs are passed over.
#[inline(always)]
fn row_max<T: Float>(row: &[T]) -> T {
    let mut best = [T::NEG_INFINITY; LANES];
    let lanes = row.chunks_exact(LANES);
    let rest = lanes.remainder();
    for x in lanes {
        for l in 0..LANES {
            best[l] = best[l].max(x[l]);
        }
    }
    for (best, x) in best.iter_mut().zip(rest) {
        *best = best.max(*x);
    }
    best.into_iter().fold(T::NEG_INFINITY, T::max)
}

/// The sum of `f(j)` for `j` below `len`: lanes, then a tree.
#[inline(always)]
fn row_sum<T: Float>(len: usize, f: impl Fn(usize) -> T) -> T {
    let mut sums = [T::ZERO; LANES];
    let whole = len - len % LANES;
    for start in (0..whole).step_by(LANES) {
        for l in 0..LANES {
            sums[l] += f(start + l);
        }
    }
    for j in whole..len {
        sums[j - whole] += f(j);
    }
    tree(1, &mut sums, |a, b| a[0] += b[0]);
    sums[0]
}
