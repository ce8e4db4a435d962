//! Convolution of maps of bfloat16: forward and both gradients, as products of matrices.
//!
//! The left side of forward is the pixels, a row of all taps and channels each; that of the gradient to the input the
//! pixels of `dy`, phase by phase of the stride ([`left`]). The gradient to the weight sums over pixels ([`weight`]).
//! Few channels in a group have no use for products: depthwise convolutions and first layers are computed as those of
//! `f32` between two conversions, some images at a time ([`around`]).
//!
//! Linear layers come here too, as convolutions of single pixels.

mod around;
mod left;
mod lines;
mod product;
mod taps;
mod weight;

use super::ConvProblem;
use crate::gemm::half::pack::Panels;
use crate::{Bf16, Epilogue, Isa};
use left::Left;
use product::Target;
use taps::Taps;

/// Words of a right side that are packed at a time, at most: of the largest linear layers not all.
const PACKED: usize = 1 << 21;

/// Channels from which on products are worth it: with fewer, rows are many short copies.
const CHANNELS: usize = 16;

/// Whether maps of so many channels in a group are multiplied.
fn suits(p: &ConvProblem, channels: usize) -> bool {
    channels >= CHANNELS || p.taps() == 1 && p.groups == 1
}

pub(super) fn forward(
    p: &ConvProblem,
    src: &[Bf16],
    weight: &[f32],
    epilogue: Epilogue<'_, Bf16>,
    dst: &mut [Bf16],
    isa: Isa,
) {
    if !suits(p, p.group_ic()) {
        return around::forward(p, src, weight, epilogue, dst);
    }
    let (gi, go, taps) = (p.group_ic(), p.group_oc(), Taps::forward(p));
    let distance = gi * p.taps();
    let target = Target::whole(p.output, p.oc, dst, epilogue);
    for group in 0..p.groups {
        let left = Left {
            n: p.n,
            src,
            size: p.input,
            channels: p.ic,
            group: group * gi..(group + 1) * gi,
            taps: &taps,
        };
        for columns in product::parts(go, distance) {
            let first = group * go + columns.start;
            let filters = &weight[first * distance..][..columns.len() * distance];
            let panels = match p.taps() {
                1 => Panels::of_columns(isa, distance, columns.len(), filters, distance),
                taps => Panels::of_filters(isa, columns.len(), filters, [gi, taps]),
            };
            product::run(isa, &left, &panels, &target, first);
        }
    }
}

pub(super) fn grad_input(
    p: &ConvProblem,
    dy: &[Bf16],
    weight: &[f32],
    bias: Option<&[f32]>,
    dx: &mut [Bf16],
    isa: Isa,
) {
    if !suits(p, p.group_oc()) {
        return around::grad_input(p, dy, weight, bias, dx);
    }
    let (gi, go, all_taps) = (p.group_ic(), p.group_oc(), p.taps());
    let whole = Target::whole(p.input, p.ic, dx, Epilogue::bias(bias));
    for (phase, taps) in Taps::mirrored(p) {
        let target = whole.every(p.stride, phase, taps.output);
        for group in 0..p.groups {
            let left = Left {
                n: p.n,
                src: dy,
                size: p.output,
                channels: p.oc,
                group: group * go..(group + 1) * go,
                taps: &taps,
            };
            let k = go * taps.order.len();
            for columns in product::parts(gi, k) {
                let filters = &weight[(group * go * gi + columns.start) * all_taps..];
                let (count, distance) = (columns.len(), gi * all_taps);
                let panels = match all_taps {
                    1 => Panels::of_rows(isa, k, count, filters, |row| row * distance),
                    _ => Panels::of_turned_filters(isa, go, count, filters, distance, all_taps, &taps.order),
                };
                product::run(isa, &left, &panels, &target, group * gi + columns.start);
            }
        }
    }
}

pub(super) fn grad_weight(p: &ConvProblem, src: &[Bf16], dy: &[Bf16], dw: &mut [f32], isa: Isa) {
    if !suits(p, p.group_ic()) {
        return around::grad_weight(p, src, dy, dw);
    }
    weight::grad_weight(p, src, dy, dw, isa);
}
