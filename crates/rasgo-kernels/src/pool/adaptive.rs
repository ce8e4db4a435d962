//! Adaptive pooling: the size of the output is given, windows are floor(o * in / out) .. ceil((o + 1) * in / out).

use super::avg::{Average, cell_counts};
use super::max::{Geometry, forward};
use super::windows::adaptive_axes;
use crate::Stored;

/// An adaptive pooling in one, two or three dimensions; axes that are missing come first and have size 1. The
/// output may be larger than the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AdaptiveProblem {
    /// Images.
    pub n: usize,
    /// Channels.
    pub c: usize,
    /// Depth, height and width of the input.
    pub input: [usize; 3],
    /// Depth, height and width of the output.
    pub output: [usize; 3],
}

/// `dst[n, o, c] = mean over the window of src`.
pub fn adaptive_avg_forward<S: Stored>(p: &AdaptiveProblem, src: &[S], dst: &mut [S]) {
    if dst.is_empty() {
        return;
    }
    let axes = adaptive_axes(p.input, p.output);
    let average = Average { n: p.n, c: p.c, input: p.input, output: p.output, axes: &axes };
    average.forward(&cell_counts(&axes), src, dst);
}

/// `dx[n, i, c] = sum over the windows that cover i of dy / cells`.
pub fn adaptive_avg_backward<S: Stored>(p: &AdaptiveProblem, dy: &[S], dx: &mut [S]) {
    if dy.is_empty() {
        return dx.fill(S::default());
    }
    let axes = adaptive_axes(p.input, p.output);
    let average = Average { n: p.n, c: p.c, input: p.input, output: p.output, axes: &axes };
    average.backward(&cell_counts(&axes), dy, dx);
}

/// `dst[n, o, c] = max over the window of src`; `indices` are pixel numbers of the input plane, as PyTorch's.
/// The first of equal maxima wins, a NaN wins over all. [`scatter`](super::scatter) is the gradient.
pub fn adaptive_max_forward<S: Stored>(p: &AdaptiveProblem, src: &[S], dst: &mut [S], indices: &mut [i64]) {
    if dst.is_empty() {
        return;
    }
    let axes = adaptive_axes(p.input, p.output);
    let (n, c, input, output) = (p.n, p.c, p.input, p.output);
    let geometry = Geometry { n, c, input, output, kernel: [1; 3], axes: &axes, flat: true };
    forward(&geometry, src, dst, Some(indices));
}
