//! Convolution in one, two and three dimensions: forward and both gradients.
//!
//! Each pass has one list of implementations, best first, down to the plain formula. The first that accepts the
//! problem runs; what it accepts depends on the shape of one sample, the instruction set and
//! [`settings::exact`](crate::settings::exact), never on the number of images, so that a row of a batch equals the single
//! prediction to the bit.

mod bias;
mod depthwise;
mod direct;
mod grad_weight;
mod half;
mod matrix_forward;
mod matrix_grad_input;
mod problem;
mod reference;
mod spread;
mod views;
mod winograd;

pub use bias::grad_bias;
pub use problem::ConvProblem;

use crate::gemm::PackedWeight;
use crate::{Epilogue, Float, Isa, Stored};

/// One way to compute a pass.
struct Implementation<F> {
    name: &'static str,
    accepts: fn(&ConvProblem, Isa) -> bool,
    run: F,
}

type ForwardFn = fn(&ConvProblem, &[f32], &[f32], Option<&PackedWeight>, Epilogue<'_, f32>, &mut [f32], Isa);
type GradInputFn = fn(&ConvProblem, &[f32], &[f32], Option<&[f32]>, &mut [f32], Isa);
type GradWeightFn = fn(&ConvProblem, &[f32], &[f32], &mut [f32], Isa);

static FORWARD: [Implementation<ForwardFn>; 5] = [
    Implementation { name: "depthwise", accepts: depthwise::accepts, run: depthwise::forward },
    Implementation { name: "winograd", accepts: winograd::accepts, run: winograd::forward },
    Implementation { name: "direct", accepts: direct::accepts, run: direct::forward },
    Implementation { name: "matrix", accepts: |_, _| true, run: matrix_forward::forward },
    Implementation {
        name: "reference",
        accepts: |_, _| true,
        run: |p, src, weight, _, epilogue, dst, _| reference::forward(p, src, weight, epilogue, dst),
    },
];

static GRAD_INPUT: [Implementation<GradInputFn>; 6] = [
    Implementation { name: "depthwise", accepts: depthwise::accepts, run: depthwise::grad_input },
    Implementation { name: "winograd", accepts: winograd::accepts, run: winograd::grad_input },
    Implementation { name: "spread", accepts: spread::accepts, run: spread::grad_input },
    Implementation { name: "direct", accepts: direct::accepts_grad_input, run: direct::grad_input },
    Implementation { name: "matrix", accepts: |_, _| true, run: matrix_grad_input::grad_input },
    Implementation {
        name: "reference",
        accepts: |_, _| true,
        run: |p, dy, weight, bias, dx, _| reference::grad_input(p, dy, weight, bias, dx),
    },
];

static GRAD_WEIGHT: [Implementation<GradWeightFn>; 4] = [
    Implementation { name: "depthwise", accepts: depthwise::accepts, run: depthwise::grad_weight },
    Implementation { name: "winograd", accepts: winograd::accepts, run: winograd::grad_weight },
    Implementation { name: "lines", accepts: |_, _| true, run: grad_weight::grad_weight },
    Implementation {
        name: "reference",
        accepts: |_, _| true,
        run: |p, src, dy, dw, _| reference::grad_weight(p, src, dy, dw),
    },
];

fn choose<'a, F>(list: &'a [Implementation<F>], p: &ConvProblem, isa: Isa) -> &'a Implementation<F> {
    list.iter().find(|entry| (entry.accepts)(p, isa)).expect("the reference accepts everything")
}

/// The names of the implementations that run forward, the gradient to the input and that to the weight.
pub fn chosen(p: &ConvProblem, isa: Isa) -> [&'static str; 3] {
    [choose(&FORWARD, p, isa).name, choose(&GRAD_INPUT, p, isa).name, choose(&GRAD_WEIGHT, p, isa).name]
}

/// Arranges the weights for [`forward`], once for many calls; `None` where the implementation reads them as they are.
pub fn pack_weight(p: &ConvProblem, weight: &[f32]) -> Option<PackedWeight> {
    p.check();
    let isa = Isa::current();
    match choose(&FORWARD, p, isa).name {
        "winograd" => Some(winograd::pack(p, weight, isa)),
        "direct" => Some(direct::pack(p, weight, isa)),
        "matrix" => Some(PackedWeight::new(matrix_forward::weight_shape(p), weight, isa)),
        _ => None,
    }
}

/// `dst[n, o, oc] = sum over k, ic of src[n, o * stride + k * dilation - padding, ic] * weight[oc, ic, k]`, and then
/// the epilogue, of which output channels are the columns.
///
/// `packed` is what [`pack_weight`] made of the same weights, or `None`; it saves time, not more.
pub fn forward<S: Stored>(
    p: &ConvProblem,
    src: &[S],
    weight: &[S::Wide],
    packed: Option<&PackedWeight>,
    epilogue: Epilogue<'_, S>,
    dst: &mut [S],
) {
    check(p, src.len(), weight.len(), dst.len());
    epilogue.check(p.oc, dst.len());
    let (isa, weight_f32) = (Isa::current(), S::Wide::as_f32(weight));
    if let (Some(src), Some(weight)) = (S::as_bf16(src), weight_f32) {
        let dst = S::as_bf16_mut(dst).expect("one type for all");
        return half::forward(p, src, weight, epilogue.as_bf16(), dst, isa);
    }
    let (src, dst) = wide(src, dst);
    let epilogue = epilogue.as_wide();
    let (Some(src_f32), Some(weight_f32)) = (S::Wide::as_f32(src), weight_f32) else {
        return reference::forward(p, src, weight, epilogue, dst);
    };
    let (epilogue, dst) = (epilogue.as_f32(), S::Wide::as_f32_mut(dst).expect("one type for all"));
    (choose(&FORWARD, p, isa).run)(p, src_f32, weight_f32, packed, epilogue, dst, isa);
}

/// The gradient to the input, given that to the output: `dx[n, i, ic] = sum over o, k, oc of dy[n, o, oc] *
/// weight[oc, ic, k]` where `o * stride + k * dilation - padding = i`, plus `bias[ic]`, where there is one: then it is
/// the forward of the transposed convolution.
pub fn grad_input<S: Stored>(
    p: &ConvProblem,
    dy: &[S],
    weight: &[S::Wide],
    bias: Option<&[S::Wide]>,
    dx: &mut [S],
) {
    check(p, dx.len(), weight.len(), dy.len());
    assert!(bias.is_none_or(|bias| bias.len() == p.ic), "the bias has ic elements");
    let (isa, weight_f32) = (Isa::current(), S::Wide::as_f32(weight));
    let bias_f32 = bias.and_then(S::Wide::as_f32);
    if let (Some(dy), Some(weight)) = (S::as_bf16(dy), weight_f32) {
        let dx = S::as_bf16_mut(dx).expect("one type for all");
        return half::grad_input(p, dy, weight, bias_f32, dx, isa);
    }
    let (dy, dx) = wide(dy, dx);
    let (Some(dy_f32), Some(weight_f32)) = (S::Wide::as_f32(dy), weight_f32) else {
        return reference::grad_input(p, dy, weight, bias, dx);
    };
    let dx = S::Wide::as_f32_mut(dx).expect("one type for all");
    (choose(&GRAD_INPUT, p, isa).run)(p, dy_f32, weight_f32, bias_f32, dx, isa);
}

/// The gradient to the weight, in PyTorch's order: `dw[oc, ic, k] = sum over n, o of src[n, o * stride + k *
/// dilation - padding, ic] * dy[n, o, oc]`.
pub fn grad_weight<S: Stored>(p: &ConvProblem, src: &[S], dy: &[S], dw: &mut [S::Wide]) {
    check(p, src.len(), dw.len(), dy.len());
    let isa = Isa::current();
    if let (Some(src), Some(dy)) = (S::as_bf16(src), S::as_bf16(dy)) {
        let dw = S::Wide::as_f32_mut(dw).expect("sums of bfloat16 are f32");
        return half::grad_weight(p, src, dy, dw, isa);
    }
    let [src, dy] = [src, dy].map(|map| S::as_wide(map).expect("it is not bfloat16"));
    let (Some(src_f32), Some(dy_f32)) = (S::Wide::as_f32(src), S::Wide::as_f32(dy)) else {
        return reference::grad_weight(p, src, dy, dw);
    };
    let dw = S::Wide::as_f32_mut(dw).expect("one type for all");
    (choose(&GRAD_WEIGHT, p, isa).run)(p, src_f32, dy_f32, dw, isa);
}

/// Both maps as what they are computed in, which they are.
fn wide<'a, S: Stored>(src: &'a [S], dst: &'a mut [S]) -> (&'a [S::Wide], &'a mut [S::Wide]) {
    (S::as_wide(src).expect("it is not bfloat16"), S::as_wide_mut(dst).expect("it is not bfloat16"))
}

fn check(p: &ConvProblem, src: usize, weight: usize, dst: usize) {
    p.check();
    assert_eq!(src, p.src_len(), "the input has n * pixels * ic elements");
    assert_eq!(weight, p.weight_len(), "the weight has oc * ic / groups * taps elements");
    assert_eq!(dst, p.dst_len(), "the output has n * pixels * oc elements");
}
