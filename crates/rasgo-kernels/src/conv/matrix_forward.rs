//! Forward as a matrix product: `dst[pixels, oc] = col[pixels, taps * ic] * weight[taps * ic, oc]`.

use super::{ConvProblem, views};
use crate::gemm::driver::{Epilogue, Place, Right, rows_product};
use crate::gemm::level::{Level, Panel, packed_len};
use crate::gemm::transposed::pack_transposed;
use crate::threads::{SharedMut, parallel};
use crate::{Buffer, Isa};

/// The weights of [`forward`](super::forward), arranged for the kernels of one instruction set.
#[derive(Debug)]
pub struct PackedWeight {
    isa: Isa,
    len: usize,
    panels: Buffer,
}

impl PackedWeight {
    /// The instruction set whose kernels read this arrangement.
    pub fn isa(&self) -> Isa {
        self.isa
    }
}

/// Arranges the weights for [`forward`](super::forward), once for many calls (inference).
pub fn pack_weight(p: &ConvProblem, weight: &[f32]) -> PackedWeight {
    p.check();
    assert_eq!(weight.len(), p.weight_len(), "the weight has oc * ic / groups * taps elements");
    pack(p, weight, Isa::current())
}

/// Each group in panels `[panel][k = (tap, ic)][width]`.
fn pack(p: &ConvProblem, weight: &[f32], isa: Isa) -> PackedWeight {
    let (gi, go, taps) = (p.group_ic(), p.group_oc(), p.taps());
    let k = gi * taps;
    let panels = Level::of(isa).panels(go);
    let group_len = packed_len(&panels, k);
    let mut packed = Buffer::new::<f32>(p.groups * group_len);
    let shared = SharedMut::new(packed.as_mut_slice::<f32>());
    parallel(p.groups * panels.len(), |task| {
        let (group, panel) = (task / panels.len(), &panels[task % panels.len()]);
        let from = &weight[(group * go + panel.cols.start) * k..(group * go + panel.cols.end) * k];
        // SAFETY: each panel has its own place; it holds k rows of its width.
        unsafe {
            let to = shared.slice(group * group_len + panel.at * k, panel.width * k).as_mut_ptr();
            pack_transposed(isa, from.as_ptr(), k, panel.cols.len(), k, [taps, gi], to, panel.width);
        }
    });
    PackedWeight { isa, len: weight.len(), panels: packed }
}

pub(super) fn forward(
    p: &ConvProblem,
    src: &[f32],
    weight: &[f32],
    packed: Option<&PackedWeight>,
    bias: Option<&[f32]>,
    relu: bool,
    dst: &mut [f32],
    isa: Isa,
) {
    let (go, k) = (p.group_oc(), p.group_ic() * p.taps());
    let own;
    let packed = match packed {
        Some(packed) if packed.isa == isa && packed.len == weight.len() => packed,
        _ => {
            own = pack(p, weight, isa);
            &own
        }
    };
    let panels: Vec<Panel> = Level::of(isa).panels(go);
    let group_len = packed_len(&panels, k);
    let [_, oh, ow] = p.output;
    let dst = SharedMut::new(dst);
    for group in 0..p.groups {
        let col = views::col(p, group, src);
        let right = &packed.panels.as_slice::<f32>()[group * group_len..][..group_len];
        let stride = [p.output_pixels() * p.oc, oh * ow * p.oc, ow * p.oc, p.oc];
        let place = Place { base: group * go, stride };
        let bias = bias.map(|bias| &bias[group * go..][..go]);
        rows_product(isa, &col, Right::Packed(right), go, dst, place, Epilogue { bias, relu });
    }
}
