//! Weights arranged for the micro-kernels, once for many products.

use super::strided::{Kernels, Panel};
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
    /// Panels `[panel][k = (tap, input)][width]`.
    Panels,
    /// The same, of a convolution that computes so many neighbouring pixels as one.
    Wide { pixels: usize, stride: usize },
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
        let (k, order) = (shape.k(), [shape.taps, shape.inputs]);
        let packed = arrange(isa, shape.groups, shape.out, k, |group, panel, to| {
            let from = weight[(group * shape.out + panel.cols.start) * k..].as_ptr();
            // SAFETY: a row of `k` for each output, and room for `k` rows of the panel's width.
            unsafe {
                pack_transposed(isa, from, k, panel.cols.len(), k, order, to.as_mut_ptr(), panel.width);
            }
        });
        PackedWeight { isa, shape, panels: packed }
    }

    /// What was arranged before, if it fits; else what is arranged now, in the place that is given for it.
    pub(crate) fn or_else<'a>(
        packed: Option<&'a PackedWeight>,
        shape: WeightShape,
        isa: Isa,
        arrange: impl FnOnce() -> PackedWeight,
        own: &'a mut Option<PackedWeight>,
    ) -> &'a PackedWeight {
        packed.filter(|packed| packed.fits(shape, isa)).unwrap_or_else(|| own.insert(arrange()))
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

/// The right sides of `groups` products of `k` steps, in panels `[panel][k][width]`: `fill` is given a group, a panel and
/// its place. Columns that a panel does not have are 0: their sums are computed, and not written.
pub(crate) fn arrange(
    isa: Isa,
    groups: usize,
    columns: usize,
    k: usize,
    fill: impl Fn(usize, &Panel, &mut [f32]) + Sync,
) -> Buffer {
    let panels = Kernels::narrow(isa, columns).panels(columns);
    let len = packed_len(&panels, k);
    let mut packed = Buffer::new::<f32>(groups * len);
    let shared = SharedMut::new(packed.as_mut_slice::<f32>());
    parallel(groups * panels.len(), |task| {
        let (group, panel) = (task / panels.len(), &panels[task % panels.len()]);
        // SAFETY: each panel has its own place.
        let to = unsafe { shared.slice(group * len + panel.at * k, panel.width * k) };
        if panel.cols.len() < panel.width {
            to.fill(0.0);
        }
        fill(group, panel, to);
    });
    packed
}

/// The length of the packed form of a right matrix with `k` rows.
pub(crate) fn packed_len(panels: &[Panel], k: usize) -> usize {
    panels.last().map_or(0, |last| last.at + last.width) * k
}
