//! Normalisation itself: a subtraction, a multiplication and an addition for each element.

use super::{Act, with_act};
use crate::isa::isa_fn;
use crate::rows::{flat_chunk, widen};
use crate::threads::parallel_chunks;
use crate::{Activation, Float, Isa, Stored};

/// `scale = gamma * rstd`, and `shift = beta - low * scale` for what the mean lost by rounding.
pub fn scale_shift<T: Float>(
    rstd: &[T],
    low: &[T],
    gamma: &[T],
    beta: &[T],
    scale: &mut [T],
    shift: &mut [T],
) {
    for j in 0..scale.len() {
        scale[j] = gamma[j] * rstd[j];
        shift[j] = beta[j] - low[j] * scale[j];
    }
}

/// `dst[rows, c] = act((src - mean[c]) * scale[c] + shift[c] + add)`, where `add` has the shape of `src`, if it is there.
pub fn normalize<S: Stored>(
    src: &[S],
    mean: &[S::Wide],
    scale: &[S::Wide],
    shift: &[S::Wide],
    add: Option<&[S]>,
    activation: Activation,
    dst: &mut [S],
) {
    assert_eq!(src.len(), dst.len(), "source and destination have the same length");
    assert!(add.is_none_or(|add| add.len() == dst.len()), "what is added has that length too");
    let (isa, c) = (Isa::current(), mean.len());
    assert!(scale.len() == c && shift.len() == c, "a scale and a shift for each mean");
    assert!(if c == 0 { dst.is_empty() } else { dst.len().is_multiple_of(c) }, "whole rows of channels");
    let (wide, len) = ([mean, scale, shift].map(widen), flat_chunk(c));
    let wide: [&[S::Wide]; 3] = std::array::from_fn(|i| wide[i].as_slice());
    parallel_chunks(dst, len, |i, dst| {
        let range = i * len..i * len + dst.len();
        with_act!(activation, A => match add {
            Some(add) => sum_rows::<S, A>(isa, &src[range.clone()], &add[range], &wide, dst),
            None => rows::<S, A>(isa, &src[range], &wide, dst),
        });
    });
}

isa_fn! {
    fn rows<S: Stored, A: Act>(src: &[S], wide: &[&[S::Wide]; 3], dst: &mut [S]) {
        let width = wide[0].len();
        for (dst, src) in dst.chunks_mut(width).zip(src.chunks(width)) {
            let len = src.len();
            let (dst, mean, scale, shift) = (&mut dst[..len], &wide[0][..len], &wide[1][..len], &wide[2][..len]);
            for j in 0..len {
                dst[j] = S::narrow(A::apply((src[j].wide() - mean[j]) * scale[j] + shift[j]));
            }
        }
    }
}

isa_fn! {
    fn sum_rows<S: Stored, A: Act>(src: &[S], add: &[S], wide: &[&[S::Wide]; 3], dst: &mut [S]) {
        let width = wide[0].len();
        for ((dst, src), add) in dst.chunks_mut(width).zip(src.chunks(width)).zip(add.chunks(width)) {
            let len = src.len();
            let (dst, add) = (&mut dst[..len], &add[..len]);
            let (mean, scale, shift) = (&wide[0][..len], &wide[1][..len], &wide[2][..len]);
            for j in 0..len {
                let y = (src[j].wide() - mean[j]) * scale[j] + shift[j];
                dst[j] = S::narrow(A::apply(y + add[j].wide()));
            }
        }
    }
}
