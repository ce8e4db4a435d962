//! Convolution with one tap: a matrix product that reads its left side as it lies, without a copy.
//!
//! Forward is `dst[pixels, oc] = src[pixels, ic] * weight[ic, oc]`, the gradient to the input `dx[pixels, ic] =
//! dy[pixels, oc] * weight[oc, ic]`. A task takes a block of pixels that stays in its second-level cache, and runs the
//! panels of the weight past it.

use super::ConvProblem;
use super::direct::{Panels, arrange, panels};
use crate::gemm::PackedWeight;
use crate::gemm::strided::{Kernels, Tile, even};
use crate::threads::{SharedMut, parallel};
use crate::{Epilogue, Isa};

/// Elements of the left side of a task, about.
const BLOCK: usize = 32 << 10;
/// The longest rows: of longer ones too few stay in the first-level cache beside the panel.
const K: usize = 8192;

/// Whether rows of `k` elements are read as they lie. Rows a page apart fall into the same sets of the first-level cache,
/// which has room for eight of them.
fn lies_well(k: usize, isa: Isa) -> bool {
    k <= K && (!k.is_multiple_of(512) || Kernels::of(isa).height() <= 8)
}

pub(super) fn accepts(p: &ConvProblem, isa: Isa) -> bool {
    p.is_pointwise() && p.groups == 1 && lies_well(p.ic, isa)
}

pub(super) fn accepts_grad_input(p: &ConvProblem, isa: Isa) -> bool {
    p.is_pointwise() && p.groups == 1 && lies_well(p.oc, isa)
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
    let panels = Panels::of(p, weight, packed, isa);
    run([p.ic, p.oc], Kernels::narrow(isa, p.oc), panels.values(), src, epilogue, dst);
}

pub(super) fn grad_input(
    p: &ConvProblem,
    dy: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    dx: &mut [f32],
    isa: Isa,
) {
    let kernels = Kernels::narrow(isa, p.ic);
    let panels = arrange(kernels, p.ic, p.oc, |inputs, width, to| {
        for (oc, row) in weight.chunks_exact(p.ic).enumerate() {
            // SAFETY: row `oc` of the panel.
            unsafe {
                std::ptr::copy_nonoverlapping(row[inputs.start..].as_ptr(), to.add(oc * width), inputs.len())
            };
        }
    });
    run([p.oc, p.ic], kernels, panels.as_slice(), dy, Epilogue::bias(bias), dx);
}

/// `dst[rows, columns] = src[rows, k] * panels[k, columns]`.
fn run(
    [k, columns]: [usize; 2],
    kernels: &Kernels,
    weight: &[f32],
    src: &[f32],
    epilogue: Epilogue<'_, f32>,
    dst: &mut [f32],
) {
    let all = dst.len() / columns;
    let tallest = kernels.height_of(columns);
    let block = (BLOCK / k / tallest).max(1) * tallest;
    // Few pixels are shared out too: a tile is worth a task.
    let block = block.min(all.div_ceil(crate::gemm::driver::TASKS).next_multiple_of(tallest)).max(1);
    let dst = SharedMut::new(dst);
    parallel(all.div_ceil(block), |task| {
        let rows = task * block..all.min((task + 1) * block);
        for (panel, (outputs, width)) in panels(kernels, columns).enumerate() {
            let tall = even(rows.len(), kernels.height_of(outputs.len()));
            for row in rows.clone().step_by(tall) {
                let to = row * columns + outputs.start;
                let tile = Tile {
                    k,
                    a: src[row * k..].as_ptr(),
                    a_row: k,
                    a_step: 1,
                    b: weight[panel * k * kernels.width()..].as_ptr(),
                    b_step: width,
                    dst: dst.as_ptr().wrapping_add(to),
                    dst_row: columns,
                    cols: outputs.len(),
                    finish: epilogue.from(outputs.start, to),
                    ..Tile::PLAIN
                };
                // SAFETY: the source holds these rows, the panel `k` rows of its width; this task alone writes them.
                unsafe { kernels.multiply(tall.min(rows.end - row), outputs.len(), &tile) };
            }
        }
    });
}
