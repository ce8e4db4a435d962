//! From sums to filters in PyTorch's order.

use std::ops::Range;

use super::plan::{Plan, Shape};
use crate::Isa;
use crate::gemm::strided::Panel;
use crate::gemm::transposed::pack_transposed;
use crate::threads::{Scratch, SharedMut, parallel, parallel_scratch};

/// Input or output channels that are written at a time.
const WRITTEN: usize = 64;

impl Plan<'_> {
    /// Writes inputs `inputs` of the filters of one panel of a group, in PyTorch's order.
    ///
    /// # Safety
    /// Nobody else writes these.
    unsafe fn write_panel(
        &self,
        isa: Isa,
        group: usize,
        panel: &Panel,
        inputs: Range<usize>,
        sums: &[f32],
        scratch: &mut [f32],
        dw: *mut f32,
    ) {
        let (gi, taps, width) = (self.p.group_ic(), self.p.taps(), panel.width);
        let sums = &sums[panel.at * self.rows..][..self.rows * width];
        let rows = scratch.chunks_exact_mut(width).take(inputs.len() * taps);
        // Rows come by taps and then inputs, and are wanted by inputs and then taps.
        for (at, to) in rows.enumerate() {
            let row = at % taps * gi + inputs.start + at / taps;
            to.copy_from_slice(&sums[row * width..][..width]);
        }
        let first = ((group * self.p.group_oc() + panel.cols.start) * gi + inputs.start) * taps;
        let (rows, outputs) = (inputs.len() * taps, panel.cols.len());
        // SAFETY: the scratch holds the rows, and these filters as many elements each.
        unsafe {
            let (from, to) = (scratch.as_ptr(), dw.add(first));
            pack_transposed(isa, from, width, rows, outputs, [1, outputs], to, gi * taps);
        }
    }

    /// Writes the filters of some output channels of a group, in PyTorch's order, where they are not panels.
    ///
    /// # Safety
    /// Nobody else writes these.
    unsafe fn write_outputs(&self, group: usize, outputs: Range<usize>, sums: &[f32], dw: *mut f32) {
        let p = self.p;
        let (gi, go, taps) = (p.group_ic(), p.group_oc(), p.taps());
        let joined = taps / self.lines.len();
        for oc in outputs {
            for (tap, i) in (0..taps).flat_map(|tap| (0..gi).map(move |i| (tap, i))) {
                let row = self.lines[tap / joined].row + tap % joined * gi + i;
                let sum = match self.shape {
                    Shape::Wide(pixels) => {
                        let (width, step) = (self.panels[0].width, p.stride[2] * gi);
                        (0..pixels).map(|pixel| sums[(row + pixel * step) * width + pixel * go + oc]).sum()
                    }
                    _ => sums[oc * self.rows + row],
                };
                // SAFETY: an element of these filters.
                unsafe { *dw.add(((group * go + oc) * gi + i) * taps + tap) = sum };
            }
        }
    }

    /// Writes the filters of a group.
    pub(super) fn write(&self, isa: Isa, group: usize, sums: &[f32], dw: SharedMut<'_, f32>) {
        let (gi, go, taps) = (self.p.group_ic(), self.p.group_oc(), self.p.taps());
        if self.shape == Shape::TapsFirst {
            let blocks = gi.div_ceil(WRITTEN);
            let len = WRITTEN.min(gi) * taps * self.kernels.width();
            return parallel_scratch(
                self.panels.len() * blocks,
                Scratch::bytes::<f32>(len),
                |task, mut scratch| {
                    let (panel, block) = (&self.panels[task / blocks], task % blocks);
                    let inputs = block * WRITTEN..gi.min((block + 1) * WRITTEN);
                    let scratch = scratch.take::<f32>(len);
                    // SAFETY: each task writes inputs and outputs of its own.
                    unsafe { self.write_panel(isa, group, panel, inputs, sums, scratch, dw.as_ptr()) };
                },
            );
        }
        parallel(go.div_ceil(WRITTEN), |task| {
            let outputs = task * WRITTEN..go.min((task + 1) * WRITTEN);
            // SAFETY: each task writes the filters of its own outputs.
            unsafe { self.write_outputs(group, outputs, sums, dw.as_ptr()) };
        });
    }
}
