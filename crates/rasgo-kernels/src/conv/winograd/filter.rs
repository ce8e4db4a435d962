//! Filters in the transformed domain: `panel[plane][input channel][output channels of the panel]`. Planes lie an odd
//! number of cache lines apart, so that those of one filter do not fall into the same sets of a cache.

use std::ops::Range;

use super::scheme::Scheme;
use super::tiles::odd_lines;
use crate::Isa;
use crate::gemm::transposed::pack_transposed;
use crate::simd::Vector;

/// Taps of a filter.
pub(super) const TAPS: usize = 9;

/// Input channels that are transformed at a time: their filters, arranged by taps, stay in the first-level cache.
pub(super) const INPUTS: usize = 16;

/// Distance of the planes of a panel.
pub(super) fn plane(inputs: usize, width: usize) -> usize {
    odd_lines(inputs * width)
}

/// The filters `[oc][ic][3][3]` of a layer, for its forward or for the gradient to its input.
#[derive(Debug, Clone, Copy)]
pub(super) struct Filters<'a> {
    pub(super) weight: &'a [f32],
    pub(super) oc: usize,
    pub(super) ic: usize,
    /// What [`arrange`](Filters::arrange) made of them, panel after panel and in each block after block of inputs, if it did.
    pub(super) arranged: Option<&'a [f32]>,
    /// The gradient to the input: what goes in are the outputs' channels, and the taps are mirrored.
    pub(super) mirrored: bool,
}

impl Filters<'_> {
    /// Channels that are summed over.
    pub(super) fn inputs(&self) -> usize {
        if self.mirrored { self.oc } else { self.ic }
    }

    /// Channels of the result.
    pub(super) fn outputs(&self) -> usize {
        if self.mirrored { self.ic } else { self.oc }
    }

    /// `[tap][input][width]` of some inputs and the outputs of a panel; columns that the panel does not have keep what
    /// they held.
    pub(super) fn arrange(
        &self,
        isa: Isa,
        inputs: Range<usize>,
        outputs: Range<usize>,
        width: usize,
        to: &mut [f32],
    ) {
        let (count, to) = (inputs.len(), to[..TAPS * inputs.len() * width].as_mut_ptr());
        if self.mirrored {
            for (i, oc) in inputs.enumerate() {
                let from = &self.weight[(oc * self.ic + outputs.start) * TAPS..][..outputs.len() * TAPS];
                // SAFETY: a row for each output, of nine taps, which lie `count * width` elements apart.
                unsafe {
                    let to = to.wrapping_add(i * width);
                    pack_transposed(
                        isa,
                        from.as_ptr(),
                        TAPS,
                        outputs.len(),
                        TAPS,
                        [1, TAPS],
                        to,
                        count * width,
                    );
                }
            }
        } else {
            let ld = self.ic * TAPS;
            let from = &self.weight[outputs.start * ld + inputs.start * TAPS..]
                [..(outputs.len() - 1) * ld + count * TAPS];
            // SAFETY: a row for each output, of `count` inputs with their taps.
            unsafe {
                pack_transposed(
                    isa,
                    from.as_ptr(),
                    ld,
                    outputs.len(),
                    count * TAPS,
                    [TAPS, count],
                    to,
                    width,
                );
            }
        }
    }

    /// Transforms the filters of some inputs of a panel by `transform`, a block of inputs at a time; `scratch` holds
    /// `TAPS * INPUTS * width` elements and `to` planes of these inputs.
    pub(super) fn panel(
        &self,
        isa: Isa,
        inputs: Range<usize>,
        outputs: Range<usize>,
        width: usize,
        scratch: &mut [f32],
        to: &mut [f32],
        transform: unsafe fn(Isa, usize, usize, usize, bool, *const f32, *mut f32),
    ) {
        for start in inputs.clone().step_by(INPUTS) {
            let block = start..inputs.end.min(start + INPUTS);
            let from = match self.arranged {
                // Blocks before this one are whole, as are panels.
                Some(all) => &all[TAPS * (outputs.start * self.inputs() + start * width)..],
                None => {
                    self.arrange(isa, block.clone(), outputs.clone(), width, scratch);
                    &*scratch
                }
            };
            assert!(from.len() >= TAPS * block.len() * width, "the block's taps");
            let to = &mut to[(start - inputs.start) * width..];
            // SAFETY: they are there, and each plane of the panel holds all inputs.
            unsafe {
                let (from, to) = (from.as_ptr(), to.as_mut_ptr());
                transform(isa, block.len(), width, plane(inputs.len(), width), self.mirrored, from, to);
            }
        }
    }
}

/// `G g G^T` of `count` rows of filters `[tap][count][width]`, to planes that far apart.
///
/// # Safety
/// Both sides hold these rows; `width` is whole vectors.
#[inline(always)]
pub(super) unsafe fn transform<V: Vector, S: Scheme<N, M>, const N: usize, const M: usize>(
    count: usize,
    width: usize,
    plane: usize,
    mirrored: bool,
    from: *const f32,
    to: *mut f32,
) {
    for at in (0..count * width).step_by(V::LANES) {
        let mut lines = [[V::zero(); 3]; N];
        for j in 0..3 {
            let mut column = [V::zero(); 3];
            for i in 0..3 {
                let tap = if mirrored { TAPS - 1 - (i * 3 + j) } else { i * 3 + j };
                let from = from.wrapping_add(tap * count * width + at);
                // The same place in the next block, which follows where filters were arranged before.
                V::prefetch(from.wrapping_add(TAPS * count * width));
                // SAFETY: the caller's promise.
                column[i] = unsafe { V::load(from) };
            }
            let column = S::filter(column);
            for i in 0..N {
                lines[i][j] = column[i];
            }
        }
        for i in 0..N {
            let line = S::filter(lines[i]);
            for j in 0..N {
                // SAFETY: the caller's promise.
                unsafe { line[j].store(to.wrapping_add((i * N + j) * plane + at)) };
            }
        }
    }
}

/// `G^T u G` of each row and column of planes `[rows][width]`, to `[row][tap][width]`.
///
/// # Safety
/// Both sides hold these rows; `width` is whole vectors.
#[inline(always)]
pub(super) unsafe fn inverse<V: Vector, S: Scheme<N, M>, const N: usize, const M: usize>(
    rows: usize,
    width: usize,
    plane: usize,
    from: *const f32,
    to: *mut f32,
) {
    for row in 0..rows {
        for v in (0..width).step_by(V::LANES) {
            let mut lines = [[V::zero(); N]; 3];
            for j in 0..N {
                let mut column = [V::zero(); N];
                for i in 0..N {
                    // SAFETY: the caller's promise.
                    column[i] = unsafe { V::load(from.wrapping_add((i * N + j) * plane + row * width + v)) };
                }
                let column = S::grad_filter(column);
                for i in 0..3 {
                    lines[i][j] = column[i];
                }
            }
            for i in 0..3 {
                let line = S::grad_filter(lines[i]);
                for j in 0..3 {
                    // SAFETY: the caller's promise.
                    unsafe { line[j].store(to.wrapping_add((row * TAPS + i * 3 + j) * width + v)) };
                }
            }
        }
    }
}
