//! Normalisation itself: a subtraction, a multiplication and an addition for each element.

use super::relu;
use crate::buffer::Element;
use crate::isa::isa_fn;
use crate::rows::{flat_chunk, widen};
use crate::threads::parallel_chunks;
use crate::{Float, Isa};

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

/// `dst[rows, c] = (src - mean[c]) * scale[c] + shift[c]`, and ReLU of that if `relu`.
pub fn normalize<T: Float + Element>(
    src: &[T],
    mean: &[T],
    scale: &[T],
    shift: &[T],
    relu: bool,
    dst: &mut [T],
) {
    assert_eq!(src.len(), dst.len(), "source and destination have the same length");
    let (isa, c) = (Isa::current(), mean.len());
    assert!(scale.len() == c && shift.len() == c, "a scale and a shift for each mean");
    assert!(if c == 0 { dst.is_empty() } else { dst.len().is_multiple_of(c) }, "whole rows of channels");
    let (wide, len) = ([mean, scale, shift].map(widen), flat_chunk(c));
    let wide: [&[T]; 3] = std::array::from_fn(|i| wide[i].as_slice::<T>());
    parallel_chunks(dst, len, |i, dst| {
        let src = &src[i * len..][..dst.len()];
        if relu {
            relu_rows(isa, src, &wide, dst);
        } else {
            plain_rows(isa, src, &wide, dst);
        }
    });
}

isa_fn! {
    fn relu_rows<T: Float>(src: &[T], wide: &[&[T]; 3], dst: &mut [T]) {
        rows::<T, true>(src, wide, dst);
    }
}

isa_fn! {
    fn plain_rows<T: Float>(src: &[T], wide: &[&[T]; 3], dst: &mut [T]) {
        rows::<T, false>(src, wide, dst);
    }
}

#[inline(always)]
fn rows<T: Float, const RELU: bool>(src: &[T], wide: &[&[T]; 3], dst: &mut [T]) {
    let width = wide[0].len();
    for (dst, src) in dst.chunks_mut(width).zip(src.chunks(width)) {
        let len = src.len();
        let (dst, mean, scale, shift) = (&mut dst[..len], &wide[0][..len], &wide[1][..len], &wide[2][..len]);
        for j in 0..len {
            let y = (src[j] - mean[j]) * scale[j] + shift[j];
            dst[j] = if RELU { relu(y) } else { y };
        }
    }
}
