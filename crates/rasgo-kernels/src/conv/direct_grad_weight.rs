//! The gradient to the weight of few channels, without a matrix of patches.
//!
//! For one line `kh` of the kernel, `dw[kw * ic, oc] = sum over lines of the output of line[pixels, kw * ic]^T *
//! dy[pixels, oc]`: a step of the sum is an output pixel, whose `kw * ic` inputs are contiguous in the map. One call of a
//! micro-kernel sums over all pixels of an image in registers. Images are added in order within a chunk, whose results
//! are added by a pairwise tree.

use super::ConvProblem;
use super::direct::{Lines, panels};
use crate::gemm::strided::{Kernels, Tile, even};
use crate::rows::tree;
use crate::threads::{Scratch, SharedMut, parallel_scratch};
use crate::{Buffer, Isa};

/// The most pixels of a chunk, unless one image has more.
const CHUNK: usize = 4096;
/// Elements of `dy` that are summed at a time, about: they stay in the second-level cache for all lines of the kernel.
const BLOCK: usize = 24 << 10;

pub(super) fn grad_weight(p: &ConvProblem, src: &[f32], dy: &[f32], dw: &mut [f32], isa: Isa) {
    if src.is_empty() || dy.is_empty() {
        return dw.fill(0.0);
    }
    let kernels = Kernels::narrow(isa, p.oc);
    let [_, oh, ow] = p.output;
    let images = p.n * p.output[0];
    let (line_rows, len) = (p.kernel[2] * p.ic, p.ic * p.taps() * p.oc);
    let chunk = 1usize << (CHUNK / (oh * ow).max(1)).max(1).ilog2();
    let chunks = images.div_ceil(chunk);
    let rows = (BLOCK / (ow * p.oc)).clamp(1, oh);
    let lines = Lines::of(p);
    let scratch_len = lines.scratch(p, oh);
    let mut sums = Buffer::new::<f32>(chunks * len);
    let shared = SharedMut::new(sums.as_mut_slice::<f32>());
    parallel_scratch(chunks, Scratch::bytes::<f32>(scratch_len), |task, mut scratch| {
        // SAFETY: each chunk has a part of its own.
        let sums = unsafe { shared.slice(task * len, len) };
        let scratch = scratch.take::<f32>(scratch_len);
        for image in task * chunk..images.min((task + 1) * chunk) {
            let from = lines.get(p, src, image, 0..oh, scratch);
            for start in (0..oh).step_by(rows) {
                let reps = rows.min(oh - start);
                let line = from.wrapping_add(start * p.stride[1] * lines.len);
                let dy = &dy[(image * oh + start) * ow * p.oc..];
                let accumulate = image > task * chunk || start > 0;
                for kh in 0..p.kernel[1] {
                    let line = line.wrapping_add(kh * p.dilation[1] * lines.len);
                    for (outputs, _) in panels(kernels, p.oc) {
                        let columns = outputs.len();
                        let tall = even(line_rows, kernels.height_of(columns));
                        for row in (0..line_rows).step_by(tall) {
                            let tile = Tile {
                                k: ow,
                                a: line.wrapping_add(row),
                                a_row: 1,
                                a_step: p.stride[2] * p.ic,
                                b: dy[outputs.start..].as_ptr(),
                                b_step: p.oc,
                                dst: sums[(kh * line_rows + row) * p.oc + outputs.start..].as_mut_ptr(),
                                dst_row: p.oc,
                                accumulate,
                                reps,
                                a_rep: p.stride[1] * lines.len,
                                b_rep: ow * p.oc,
                                cols: columns,
                                b_ends: true,
                                ..Tile::PLAIN
                            };
                            // SAFETY: the lines hold every pixel that these rows of outputs read, `dy` their gradients,
                            // and the sums these rows and columns.
                            unsafe { kernels.get(tall.min(line_rows - row), columns)(&tile) };
                        }
                    }
                }
            }
        }
    });
    tree(len, sums.as_mut_slice::<f32>(), |a, b| a.iter_mut().zip(b).for_each(|(a, b)| *a += *b));
    // Row (tap, ic) and column oc are element (oc, ic, tap) of the weight.
    let (sums, taps) = (sums.as_slice::<f32>(), p.taps());
    for (oc, filter) in dw.chunks_exact_mut(p.ic * taps).enumerate() {
        for (at, x) in filter.iter_mut().enumerate() {
            *x = sums[(at % taps * p.ic + at / taps) * p.oc + oc];
        }
    }
}
