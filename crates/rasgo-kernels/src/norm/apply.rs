//! Normalisation itself: one multiplication and one addition for each element.

use super::relu;
use crate::buffer::Element;
use crate::isa::isa_fn;
use crate::rows::{flat_chunk, widen};
use crate::threads::parallel_chunks;
use crate::{Float, Isa};

/// `scale = gamma * rstd` and `shift = beta - mean * scale`; `gamma` is 1 and `beta` 0 where they are missing.
pub fn scale_shift<T: Float>(
    mean: &[T],
    rstd: &[T],
    gamma: Option<&[T]>,
    beta: Option<&[T]>,
    scale: &mut [T],
    shift: &mut [T],
) {
    for j in 0..scale.len() {
        scale[j] = gamma.map_or(rstd[j], |gamma| gamma[j] * rstd[j]);
        shift[j] = beta.map_or(T::ZERO, |beta| beta[j]) - mean[j] * scale[j];
    }
}

/// `dst[rows, c] = src * scale[c] + shift[c]`, and ReLU of that if `relu`.
pub fn normalize<T: Float + Element>(src: &[T], scale: &[T], shift: &[T], relu: bool, dst: &mut [T]) {
    assert_eq!(src.len(), dst.len(), "source and destination have the same length");
    let isa = Isa::current();
    for_chunks(scale, shift, dst, |start, scale, shift, dst| {
        let src = &src[start..start + dst.len()];
        if relu {
            scale_relu_chunk(isa, src, scale, shift, dst)
        } else {
            scale_chunk(isa, src, scale, shift, dst)
        }
    });
}

/// `data[rows, c] = data * scale[c] + shift[c]`, and ReLU of that if `relu`.
pub fn normalize_in_place<T: Float + Element>(data: &mut [T], scale: &[T], shift: &[T], relu: bool) {
    let isa = Isa::current();
    for_chunks(scale, shift, data, |_, scale, shift, data| {
        if relu {
            scale_relu_in_place(isa, data, scale, shift)
        } else {
            scale_in_place(isa, data, scale, shift)
        }
    });
}

/// Runs `body(start, wide scale, wide shift, chunk)` on chunks of whole wide rows.
fn for_chunks<T: Float + Element>(
    scale: &[T],
    shift: &[T],
    dst: &mut [T],
    body: impl Fn(usize, &[T], &[T], &mut [T]) + Sync,
) {
    let c = scale.len();
    assert_eq!(shift.len(), c, "a shift for each scale");
    assert!(if c == 0 { dst.is_empty() } else { dst.len().is_multiple_of(c) }, "whole rows of channels");
    let (scale, shift, len) = (widen(scale), widen(shift), flat_chunk(c));
    let (scale, shift) = (scale.as_slice::<T>(), shift.as_slice::<T>());
    parallel_chunks(dst, len, |i, dst| body(i * len, scale, shift, dst));
}

isa_fn! {
    fn scale_chunk<T: Float>(src: &[T], scale: &[T], shift: &[T], dst: &mut [T]) {
        let width = scale.len();
        for (dst, src) in dst.chunks_mut(width).zip(src.chunks(width)) {
            for (((dst, src), scale), shift) in dst.iter_mut().zip(src).zip(scale).zip(shift) {
                *dst = *src * *scale + *shift;
            }
        }
    }
}

isa_fn! {
    fn scale_relu_chunk<T: Float>(src: &[T], scale: &[T], shift: &[T], dst: &mut [T]) {
        let width = scale.len();
        for (dst, src) in dst.chunks_mut(width).zip(src.chunks(width)) {
            for (((dst, src), scale), shift) in dst.iter_mut().zip(src).zip(scale).zip(shift) {
                *dst = relu(*src * *scale + *shift);
            }
        }
    }
}

isa_fn! {
    fn scale_in_place<T: Float>(data: &mut [T], scale: &[T], shift: &[T]) {
        for row in data.chunks_mut(scale.len()) {
            for ((x, scale), shift) in row.iter_mut().zip(scale).zip(shift) {
                *x = *x * *scale + *shift;
            }
        }
    }
}

isa_fn! {
    fn scale_relu_in_place<T: Float>(data: &mut [T], scale: &[T], shift: &[T]) {
        for row in data.chunks_mut(scale.len()) {
            for ((x, scale), shift) in row.iter_mut().zip(scale).zip(shift) {
                *x = relu(*x * *scale + *shift);
            }
        }
    }
}
