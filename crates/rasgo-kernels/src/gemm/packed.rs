//! Weights arranged for the micro-kernels, once for many products.

use super::level::{Level, packed_len};
use super::transposed::pack_transposed;
use crate::threads::{SharedMut, parallel};
use crate::{Buffer, Isa};

/// The sizes of a weight `[groups * out, in, taps]`; of a matrix `[out, in]` there is one group and one tap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WeightShape {
    pub(crate) groups: usize,
    pub(crate) out: usize,
    pub(crate) inputs: usize,
    pub(crate) taps: usize,
    pub(crate) form: Form,
}

/// How weights are arranged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Panels of the widths of [`Level`], `[panel][k = (tap, input)][width]`.
    Panels,
    /// The same, of the widths of [`Kernels`](super::strided::Kernels).
    StridedPanels,
    /// Filters, transformed for tiles of so many outputs along an axis, or arranged for that.
    Winograd(usize),
}

impl WeightShape {
    /// The length of the sums.
    pub(crate) fn k(&self) -> usize {
        self.inputs * self.taps
    }

    fn len(&self) -> usize {
        self.groups * self.out * self.k()
    }
}

/// The weights of a convolution or a linear layer, arranged for the kernels of one instruction set.
#[derive(Debug)]
pub struct PackedWeight {
    isa: Isa,
    shape: WeightShape,
    panels: Buffer,
}

impl PackedWeight {
    /// Each group in panels `[panel][k = (tap, input)][width]`.
    pub(crate) fn new(shape: WeightShape, weight: &[f32], isa: Isa) -> PackedWeight {
        assert_eq!(weight.len(), shape.len(), "the weight has groups * out * inputs * taps elements");
        let k = shape.k();
        let panels = Level::of(isa).panels(shape.out);
        let group_len = packed_len(&panels, k);
        let mut packed = Buffer::new::<f32>(shape.groups * group_len);
        let shared = SharedMut::new(packed.as_mut_slice::<f32>());
        parallel(shape.groups * panels.len(), |task| {
            let (group, panel) = (task / panels.len(), &panels[task % panels.len()]);
            let first = group * shape.out;
            let from = &weight[(first + panel.cols.start) * k..(first + panel.cols.end) * k];
            let order = [shape.taps, shape.inputs];
            // SAFETY: each panel has its own place; it holds k rows of its width.
            unsafe {
                let to = shared.slice(group * group_len + panel.at * k, panel.width * k).as_mut_ptr();
                pack_transposed(isa, from.as_ptr(), k, panel.cols.len(), k, order, to, panel.width);
            }
        });
        PackedWeight { isa, shape, panels: packed }
    }

    /// Weights that their kernel has arranged itself.
    pub(crate) fn arranged(shape: WeightShape, isa: Isa, panels: Buffer) -> PackedWeight {
        PackedWeight { isa, shape, panels }
    }

    /// Whether this arrangement is of weights of that shape and for that instruction set.
    pub(crate) fn fits(&self, shape: WeightShape, isa: Isa) -> bool {
        self.shape == shape && self.isa == isa
    }

    /// The panels of one group.
    pub(crate) fn group(&self, group: usize) -> &[f32] {
        let len = self.panels.bytes() / size_of::<f32>() / self.shape.groups;
        &self.panels.as_slice::<f32>()[group * len..][..len]
    }
}
