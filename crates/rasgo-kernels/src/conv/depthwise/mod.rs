//! Depthwise convolution: each channel is convolved with a filter of its own.
//!
//! No matrix product hides here: an output pixel is the sum over taps of two rows of channels multiplied
//! element by element, so the kernels go along the channels, a vector at a time, and hold several pixels in registers.
//!
//! Forward and the gradient to the input are one gather (`gather`, its kernel `window`) over other pairs of pixels
//! (`axis`); the gradient to the weight sums over pixels (`grad_weight`, its kernel
//! `correlate`).

mod axis;
mod correlate;
mod gather;
mod grad_weight;
mod lanes;
#[cfg(test)]
mod tests;
mod window;

pub(in crate::conv) use self::grad_weight::grad_weight;

use super::ConvProblem;
use crate::{Epilogue, Isa};

pub(super) fn accepts(p: &ConvProblem, _: Isa) -> bool {
    p.groups == p.ic && p.oc == p.ic && p.ic >= lanes::LEAST
}

pub(super) fn forward(
    p: &ConvProblem,
    src: &[f32],
    weight: &[f32],
    _: Option<&crate::gemm::PackedWeight>,
    epilogue: Epilogue<'_, f32>,
    dst: &mut [f32],
    isa: Isa,
) {
    gather::gather(p, false, src, weight, epilogue, dst, isa);
}

pub(super) fn grad_input(
    p: &ConvProblem,
    dy: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    dx: &mut [f32],
    isa: Isa,
) {
    gather::gather(p, true, dy, weight, Epilogue::bias(bias), dx, isa);
}
