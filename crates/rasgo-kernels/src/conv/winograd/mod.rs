//! Winograd's convolution for 3x3 taps and stride 1: all three passes.
//!
//! A tile of `M x M` outputs is made with `(M + 2)^2` multiplications for each pair of channels, where the formula has
//! `9 M^2`: `F(4x4, 3x3)` has a quarter of them, `F(2x2, 3x3)` four ninths. The rest is sums on vectors of channels.
//!
//! It pays from about 16 channels on both sides. The rounding error is larger than that of the plain sum. Of 64 channels of
//! uniform values, in units of the root mean square of the result (test `winograd_has_the_stated_error`):
//!
//! | | root mean square | largest |
//! |---|---|---|
//! | plain sum | 3e-7 | 3e-6 |
//! | `F(2x2, 3x3)` | 3e-7 | 2e-6 |
//! | `F(4x4, 3x3)` | 1.8e-6 | 2.6e-5 |
//!
//! An infinity in the input becomes NaN in all outputs of its tile. [`settings::exact`] turns it off.

mod filter;
mod grad_weight;
mod kind;
mod product;
mod scheme;
mod tiles;

use super::ConvProblem;
use crate::gemm::packed::{Form, PackedWeight, WeightShape};
use crate::{Epilogue, Isa, settings};
use filter::Filters;
use kind::Kind;
use tiles::Maps;

/// Channels on both sides from which it pays.
const CHANNELS: usize = 16;

/// Whether it computes all three passes of the problem.
pub(super) fn accepts(p: &ConvProblem, _: Isa) -> bool {
    let square = p.kernel == [1, 3, 3] && p.stride == [1; 3] && p.dilation == [1; 3];
    let flat = p.padding[0] == 0 && p.input[0] == p.output[0] && p.padding[1..].iter().all(|&pad| pad <= 2);
    !settings::exact()
        && square
        && flat
        && p.groups == 1
        && p.ic.min(p.oc) >= CHANNELS
        && p.output[1].min(p.output[2]) >= 2
}

fn maps(p: &ConvProblem) -> Maps {
    Maps {
        images: p.n * p.input[0],
        input: [p.input[1], p.input[2]],
        output: [p.output[1], p.output[2]],
        padding: [p.padding[1], p.padding[2]],
        step: Kind::of(p).step,
    }
}

pub(super) fn forward(
    p: &ConvProblem,
    src: &[f32],
    weight: &[f32],
    packed: Option<&PackedWeight>,
    epilogue: Epilogue<'_, f32>,
    dst: &mut [f32],
    isa: Isa,
) {
    let mut filters = filters(p, weight);
    let packed = packed.filter(|packed| packed.fits(weight_shape(p), isa)).map(|packed| packed.group(0));
    let transformed = packed.filter(|_| !product::is_large(Kind::of(p), filters));
    filters.arranged = packed.filter(|_| transformed.is_none());
    product::run(isa, p, maps(p), filters, transformed, src, epilogue, dst);
}

fn filters<'a>(p: &ConvProblem, weight: &'a [f32]) -> Filters<'a> {
    Filters { weight, oc: p.oc, ic: p.ic, mirrored: false, arranged: None }
}

fn weight_shape(p: &ConvProblem) -> WeightShape {
    let form = Form::Winograd(Kind::of(p).step);
    WeightShape { groups: 1, out: p.oc, inputs: p.ic, taps: p.taps(), form }
}

/// Transforms the filters once for many calls of [`forward`]; those of which there are so many that reading them, four
/// times what they were, takes longer than transforming them again, are arranged for that.
pub(super) fn pack(p: &ConvProblem, weight: &[f32], isa: Isa) -> PackedWeight {
    let (filters, kind) = (filters(p, weight), Kind::of(p));
    let panels = match product::is_large(kind, filters) {
        true => product::arrange_filters(isa, filters),
        false => product::transform_filters(isa, kind, filters),
    };
    PackedWeight::arranged(weight_shape(p), isa, panels)
}

/// The gradient to the input is the forward, over `dy`, of the mirrored filters with the channels' roles changed.
pub(super) fn grad_input(
    p: &ConvProblem,
    dy: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    dx: &mut [f32],
    isa: Isa,
) {
    let mirrored = ConvProblem {
        ic: p.oc,
        oc: p.ic,
        input: p.output,
        output: p.input,
        padding: [0, 2 - p.padding[1], 2 - p.padding[2]],
        ..*p
    };
    let filters = Filters { mirrored: true, ..filters(p, weight) };
    product::run(isa, &mirrored, maps(&mirrored), filters, None, dy, Epilogue::bias(bias), dx);
}

pub(super) fn grad_weight(p: &ConvProblem, src: &[f32], dy: &[f32], dw: &mut [f32], isa: Isa) {
    if src.is_empty() || dy.is_empty() {
        return dw.fill(0.0);
    }
    grad_weight::run(isa, p, maps(p), src, dy, dw);
}
