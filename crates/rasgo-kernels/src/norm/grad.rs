//! Gradients of normalisation, with the activation behind it.

use super::{Act, Relu, Relu6};
use crate::buffer::Element;
use crate::isa::isa_fn;
use crate::rows::{RowChunks, copies, flat_chunk, fold, sum_chunks, widen};
use crate::threads::parallel_chunks;
use crate::{Activation, Buffer, Float, Isa, Stored};

/// What forward computed, which its gradient needs again; a value for each channel.
#[derive(Debug, Clone, Copy)]
pub struct NormGrad<'a, T> {
    /// Mean of the batch.
    pub mean: &'a [T],
    /// What it lost by rounding.
    pub low: &'a [T],
    /// `1 / sqrt(var + eps)`
    pub rstd: &'a [T],
    /// As given to the forward pass.
    pub scale: &'a [T],
    /// As given to the forward pass.
    pub shift: &'a [T],
    /// What forward ended in: `dy' = dy` where that has a slope at `(src - mean) * scale + shift`, and 0 elsewhere.
    pub activation: Activation,
}

/// `dbeta[c] = sum of dy'` and `dgamma[c] = sum of dy' * xhat`, `xhat = (src - mean) * rstd`.
pub fn grad_sums<S: Stored>(
    rows: usize,
    rows_per_sample: usize,
    p: &NormGrad<'_, S::Wide>,
    src: &[S],
    dy: &[S],
    dbeta: &mut [S::Wide],
    dgamma: &mut [S::Wide],
) {
    let c = p.mean.len();
    assert!(src.len() == rows * c && dy.len() == rows * c, "source and gradient have rows * c elements");
    let isa = Isa::current();
    let width = c * copies(c);
    let wide = [p.mean, p.scale, p.shift].map(widen);
    let [mean, scale, shift] = [0, 1, 2].map(|i| wide[i].as_slice::<S::Wide>());
    let mut both = Buffer::new::<S::Wide>(2 * c);
    let both = both.as_mut_slice::<S::Wide>();
    sum_chunks(RowChunks::new(rows, rows_per_sample, c), 2 * width, both, |rows, sums| {
        let range = rows.start * c..rows.end * c;
        let (src, dy) = (&src[range.clone()], &dy[range]);
        match p.activation {
            Activation::None => plain_sums(isa, c, src, dy, mean, sums),
            Activation::Relu => act_sums::<S, Relu>(isa, c, src, dy, mean, scale, shift, sums),
            Activation::Relu6 => act_sums::<S, Relu6>(isa, c, src, dy, mean, scale, shift, sums),
        }
    });
    finish_sums(p, both, dbeta, dgamma);
}

/// Takes the sums of `dy'` and of `dy' * (src - mean)` apart.
pub(super) fn finish_sums<T: Float>(p: &NormGrad<'_, T>, both: &[T], dbeta: &mut [T], dgamma: &mut [T]) {
    let c = p.mean.len();
    dbeta.copy_from_slice(&both[..c]);
    for j in 0..c {
        dgamma[j] = (both[c + j] - p.low[j] * both[j]) * p.rstd[j];
    }
}

/// Brings the folded halves of a wide row of two sums together: `[dbeta[c], dgamma[c], ...]`.
#[inline(always)]
pub(super) fn fold_both<T: Float>(c: usize, sums: &mut [T]) {
    let width = sums.len() / 2;
    let (first, second) = sums.split_at_mut(width);
    fold(c, first);
    fold(c, second);
    sums.copy_within(width..width + c, c);
}

isa_fn! {
    fn act_sums<S: Stored, A: Act>(
        c: usize, src: &[S], dy: &[S], mean: &[S::Wide], scale: &[S::Wide], shift: &[S::Wide], sums: &mut [S::Wide],
    ) {
        sums.fill(S::Wide::ZERO);
        let width = mean.len();
        let (dbeta, dgamma) = sums.split_at_mut(width);
        for (src, dy) in src.chunks(width).zip(dy.chunks(width)) {
            let len = src.len();
            let (dy, dbeta, dgamma) = (&dy[..len], &mut dbeta[..len], &mut dgamma[..len]);
            let (mean, scale, shift) = (&mean[..len], &scale[..len], &shift[..len]);
            for j in 0..len {
                // Read in any case: a load that depends on a comparison is slower than a choice.
                let (x, dy) = (src[j].wide() - mean[j], dy[j].wide());
                let dy = if A::passes(x * scale[j] + shift[j]) { dy } else { S::Wide::ZERO };
                dbeta[j] += dy;
                dgamma[j] += dy * x;
            }
        }
        fold_both(c, sums);
    }
}

isa_fn! {
    fn plain_sums<S: Stored>(c: usize, src: &[S], dy: &[S], mean: &[S::Wide], sums: &mut [S::Wide]) {
        sums.fill(S::Wide::ZERO);
        let width = mean.len();
        let (dbeta, dgamma) = sums.split_at_mut(width);
        for (src, dy) in src.chunks(width).zip(dy.chunks(width)) {
            let len = src.len();
            let (dy, dbeta, dgamma, mean) = (&dy[..len], &mut dbeta[..len], &mut dgamma[..len], &mean[..len]);
            for j in 0..len {
                let dy = dy[j].wide();
                dbeta[j] += dy;
                dgamma[j] += dy * (src[j].wide() - mean[j]);
            }
        }
        fold_both(c, sums);
    }
}

/// The gradient of the batch's statistics as two vectors: `dx = scale * dy' + ((src - mean) * slope + offset)`.
/// `rows` counts every element of a channel.
pub(super) fn slope_offset<T: Float + Element>(
    rows: usize,
    p: &NormGrad<'_, T>,
    dbeta: &[T],
    dgamma: &[T],
) -> (Buffer, Buffer) {
    let (c, count) = (p.mean.len(), T::from_f64(rows.max(1) as f64));
    let (mut slope, mut offset) = (Buffer::new::<T>(c), Buffer::new::<T>(c));
    for j in 0..c {
        let by = -(p.scale[j] * p.rstd[j] * (dgamma[j] / count));
        slope.as_mut_slice::<T>()[j] = by;
        offset.as_mut_slice::<T>()[j] = -(p.scale[j] * (dbeta[j] / count)) - p.low[j] * by;
    }
    (slope, offset)
}

/// `dx = gamma * rstd * (dy' - mean(dy') - xhat * mean(dy' * xhat))`, with the sums of [`grad_sums`].
pub fn grad_input<S: Stored>(
    rows: usize,
    p: &NormGrad<'_, S::Wide>,
    src: &[S],
    dy: &[S],
    dbeta: &[S::Wide],
    dgamma: &[S::Wide],
    dx: &mut [S],
) {
    let c = p.mean.len();
    assert!(src.len() == rows * c && dy.len() == rows * c, "source and gradient have rows * c elements");
    assert_eq!(dx.len(), rows * c, "the gradient has rows * c elements");
    let isa = Isa::current();
    let (slope, offset) = slope_offset(rows, p, dbeta, dgamma);
    let wide = [p.mean, p.scale, p.shift, slope.as_slice(), offset.as_slice()].map(widen);
    let wide: [&[S::Wide]; 5] = std::array::from_fn(|i| wide[i].as_slice());
    let len = flat_chunk(c);
    parallel_chunks(dx, len, |i, dx| {
        let range = i * len..i * len + dx.len();
        let (src, dy) = (&src[range.clone()], &dy[range]);
        match p.activation {
            Activation::None => plain_input(isa, src, dy, &wide, dx),
            Activation::Relu => act_input::<S, Relu>(isa, src, dy, &wide, dx),
            Activation::Relu6 => act_input::<S, Relu6>(isa, src, dy, &wide, dx),
        }
    });
}

isa_fn! {
    fn act_input<S: Stored, A: Act>(src: &[S], dy: &[S], wide: &[&[S::Wide]; 5], dx: &mut [S]) {
        let width = wide[0].len();
        for ((src, dy), dx) in src.chunks(width).zip(dy.chunks(width)).zip(dx.chunks_mut(width)) {
            let len = src.len();
            let (dy, dx) = (&dy[..len], &mut dx[..len]);
            // One by one: as an array's map the lengths are lost, and each read is checked.
            let (mean, scale, shift) = (&wide[0][..len], &wide[1][..len], &wide[2][..len]);
            let (slope, offset) = (&wide[3][..len], &wide[4][..len]);
            for j in 0..len {
                // Read in any case: a load that depends on a comparison is slower than a choice.
                let (x, dy) = (src[j].wide() - mean[j], dy[j].wide());
                let dy = if A::passes(x * scale[j] + shift[j]) { dy } else { S::Wide::ZERO };
                dx[j] = S::narrow(scale[j] * dy + (x * slope[j] + offset[j]));
            }
        }
    }
}

isa_fn! {
    fn plain_input<S: Stored>(src: &[S], dy: &[S], wide: &[&[S::Wide]; 5], dx: &mut [S]) {
        let width = wide[0].len();
        for ((src, dy), dx) in src.chunks(width).zip(dy.chunks(width)).zip(dx.chunks_mut(width)) {
            let len = src.len();
            let (dy, dx) = (&dy[..len], &mut dx[..len]);
            let (mean, scale) = (&wide[0][..len], &wide[1][..len]);
            let (slope, offset) = (&wide[3][..len], &wide[4][..len]);
            for j in 0..len {
                let x = src[j].wide() - mean[j];
                dx[j] = S::narrow(scale[j] * dy[j].wide() + (x * slope[j] + offset[j]));
            }
        }
    }
}

/// The gradient with constant statistics, as in evaluation: `dx = dy' * scale`. Without an activation, `src` is not read.
pub fn grad_input_eval<S: Stored>(p: &NormGrad<'_, S::Wide>, src: &[S], dy: &[S], dx: &mut [S]) {
    let c = p.mean.len();
    assert_eq!(dy.len(), dx.len(), "both gradients have the same length");
    let isa = Isa::current();
    let (wide, len) = ([p.mean, p.scale, p.shift].map(widen), flat_chunk(c));
    let [mean, scale, shift] = [0, 1, 2].map(|i| wide[i].as_slice::<S::Wide>());
    parallel_chunks(dx, len, |i, dx| {
        let range = i * len..i * len + dx.len();
        match p.activation {
            Activation::None => plain_eval(isa, &dy[range], scale, dx),
            Activation::Relu => {
                act_eval::<S, Relu>(isa, &src[range.clone()], &dy[range], mean, scale, shift, dx);
            }
            Activation::Relu6 => {
                act_eval::<S, Relu6>(isa, &src[range.clone()], &dy[range], mean, scale, shift, dx);
            }
        }
    });
}

isa_fn! {
    fn act_eval<S: Stored, A: Act>(
        src: &[S], dy: &[S], mean: &[S::Wide], scale: &[S::Wide], shift: &[S::Wide], dx: &mut [S],
    ) {
        let width = scale.len();
        for ((src, dy), dx) in src.chunks(width).zip(dy.chunks(width)).zip(dx.chunks_mut(width)) {
            let len = src.len();
            let (dy, dx) = (&dy[..len], &mut dx[..len]);
            let (mean, scale, shift) = (&mean[..len], &scale[..len], &shift[..len]);
            for j in 0..len {
                let dy = dy[j].wide() * scale[j];
                let passes = A::passes((src[j].wide() - mean[j]) * scale[j] + shift[j]);
                dx[j] = S::narrow(if passes { dy } else { S::Wide::ZERO });
            }
        }
    }
}

isa_fn! {
    fn plain_eval<S: Stored>(dy: &[S], scale: &[S::Wide], dx: &mut [S]) {
        for (dy, dx) in dy.chunks(scale.len()).zip(dx.chunks_mut(scale.len())) {
            for ((dx, dy), scale) in dx.iter_mut().zip(dy).zip(scale) {
                *dx = S::narrow(dy.wide() * *scale);
            }
        }
    }
}
