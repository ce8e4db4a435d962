//! Forward as a matrix product: `dst[pixels, oc] = col[pixels, taps * ic] * weight[taps * ic, oc]`.

use super::{ConvProblem, views};
use crate::gemm::driver::{Place, Right, rows_product};
use crate::gemm::packed::{Form, PackedWeight, WeightShape};
use crate::threads::SharedMut;
use crate::{Epilogue, Isa};

pub(super) fn weight_shape(p: &ConvProblem) -> WeightShape {
    WeightShape {
        groups: p.groups,
        out: p.group_oc(),
        inputs: p.group_ic(),
        taps: p.taps(),
        form: Form::Panels,
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
    let go = p.group_oc();
    let mut own = None;
    let arrange = || PackedWeight::new(weight_shape(p), weight, isa);
    let packed = PackedWeight::or_else(packed, weight_shape(p), isa, arrange, &mut own);
    let [_, oh, ow] = p.output;
    let dst = SharedMut::new(dst);
    for group in 0..p.groups {
        let col = views::col(p, group, src);
        let stride = [p.output_pixels() * p.oc, oh * ow * p.oc, ow * p.oc, p.oc];
        let place = Place { base: group * go, stride };
        let bias = epilogue.bias.map(|bias| &bias[group * go..][..go]);
        let right = Right::Packed(packed.group(group));
        rows_product(isa, &col, right, go, dst, place, Epilogue { bias, ..epilogue });
    }
}
