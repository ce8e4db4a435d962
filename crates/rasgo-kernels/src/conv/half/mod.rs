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
use crate::isa::isa_fn;
use crate::threads::parallel_chunks;
use crate::{Bf16, Buffer, Epilogue, Isa};
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
    let ordered = Ordered::new(p, weight, isa);
    let ordered = ordered.values();
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
            let filters = &ordered[first * distance..][..columns.len() * distance];
            let panels = Panels::of_columns(isa, distance, columns.len(), filters, distance);
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
    let ordered = Ordered::new(p, weight, isa);
    let ordered = ordered.values();
    let (gi, go) = (p.group_ic(), p.group_oc());
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
                // Step (tap, output channel) is contiguous over the input channels.
                let row = |step: usize| {
                    ((group * go + step % go) * p.taps() + taps.order[step / go]) * gi + columns.start
                };
                let panels = Panels::of_rows(isa, k, columns.len(), ordered, row);
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

/// Filters with the taps before the channels: `[oc][taps][ic]`.
enum Ordered<'a> {
    AsGiven(&'a [f32]),
    Copied(Buffer),
}

impl Ordered<'_> {
    /// Of `[oc][ic][taps]`.
    fn new<'a>(p: &ConvProblem, weight: &'a [f32], isa: Isa) -> Ordered<'a> {
        let (gi, taps) = (p.group_ic(), p.taps());
        if taps == 1 || gi == 1 {
            return Ordered::AsGiven(weight);
        }
        let mut copy = Buffer::new::<f32>(weight.len());
        parallel_chunks(&mut copy.as_mut_slice::<f32>()[..weight.len()], gi * taps, |oc, ordered| {
            order(isa, &weight[oc * gi * taps..][..gi * taps], taps, ordered);
        });
        Ordered::Copied(copy)
    }

    fn values(&self) -> &[f32] {
        match self {
            Ordered::AsGiven(values) => values,
            Ordered::Copied(copy) => copy.as_slice::<f32>(),
        }
    }
}

isa_fn! {
    fn order(filter: &[f32], taps: usize, ordered: &mut [f32]) {
        let channels = filter.len() / taps;
        if taps == 9 {
            for tap in 0..9 {
                let (from, to) = (&filter.as_chunks::<9>().0[..channels], &mut ordered[tap * channels..][..channels]);
                for i in 0..channels {
                    to[i] = from[i][tap];
                }
            }
            return;
        }
        for (tap, ordered) in ordered.chunks_exact_mut(channels).enumerate() {
            for (to, from) in ordered.iter_mut().zip(filter[tap..].iter().step_by(taps)) {
                *to = *from;
            }
        }
    }
}
