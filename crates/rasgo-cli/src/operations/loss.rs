//! Losses.

use rasgo::ops::{
    BceWithLogitsOptions, CrossEntropyOptions, DiceLossOptions, FocalLossOptions, KlDivOptions, LossOptions,
    NllLossOptions, Reduction,
};
use rasgo::{Result, Tensor};

use super::{Attribute, Call, Operation, Outputs, output};

const CLASSES: &str =
    "input (N, C, …) or (C), target (N, …) or () of int64, weight (C); output () or the target's shape";
const PAIRS: &str =
    "input and target of any shapes that broadcast, weight of the input's; output () or their shape";
const SAME: &str =
    "input and target of one shape, weight and pos_weight broadcast to it; output () or that shape";

fn reduction(call: &Call, default: &str) -> Result<Reduction> {
    Ok(match call.choice("reduction", &["none", "mean", "sum"], default)? {
        "none" => Reduction::None,
        "sum" => Reduction::Sum,
        _ => Reduction::Mean,
    })
}

fn cross_entropy(call: &Call) -> Result<Outputs> {
    let options = CrossEntropyOptions {
        weight: call.constant("weight")?,
        ignore_index: call.integer("ignore_index", -100)?,
        label_smoothing: call.number("label_smoothing", 0.0)?,
        reduction: reduction(call, "mean")?,
    };
    output(call.tensor("input")?.cross_entropy(&call.tensor("target")?, options)?)
}

fn nll_loss(call: &Call) -> Result<Outputs> {
    let options = NllLossOptions {
        weight: call.constant("weight")?,
        ignore_index: call.integer("ignore_index", -100)?,
        reduction: reduction(call, "mean")?,
    };
    output(call.tensor("input")?.nll_loss(&call.tensor("target")?, options)?)
}

/// A loss of input and target, with the weight and the reduction.
fn pair(call: &Call, loss: impl Fn(&Tensor, &Tensor, LossOptions) -> Result<Tensor>) -> Result<Outputs> {
    let options = LossOptions { weight: call.optional("weight")?, reduction: reduction(call, "mean")? };
    output(loss(&call.tensor("input")?, &call.tensor("target")?, options)?)
}

fn smooth_l1_loss(call: &Call) -> Result<Outputs> {
    let (beta, reduction) = (call.number("beta", 1.0)?, reduction(call, "mean")?);
    output(call.tensor("input")?.smooth_l1_loss(&call.tensor("target")?, beta, reduction)?)
}

fn binary_cross_entropy(call: &Call) -> Result<Outputs> {
    let options = LossOptions { weight: call.constant("weight")?, reduction: reduction(call, "mean")? };
    output(call.tensor("input")?.binary_cross_entropy(&call.tensor("target")?, options)?)
}

fn binary_cross_entropy_with_logits(call: &Call) -> Result<Outputs> {
    let options = BceWithLogitsOptions {
        weight: call.constant("weight")?,
        pos_weight: call.constant("pos_weight")?,
        reduction: reduction(call, "mean")?,
    };
    output(call.tensor("input")?.binary_cross_entropy_with_logits(&call.tensor("target")?, options)?)
}

fn kl_div(call: &Call) -> Result<Outputs> {
    let (x, target) = (call.tensor("input")?, call.tensor("target")?);
    let log_target = call.flag("log_target", false)?;
    let batch_mean = call.text("reduction") == Some("batchmean");
    let reduction = if batch_mean { Reduction::Sum } else { reduction(call, "mean")? };
    let loss = x.kl_div(&target, KlDivOptions { log_target, reduction })?;
    match x.shape().first() {
        Some(&batch) if batch_mean => output((loss / Tensor::full([], batch as f64, x.dtype())?)?),
        _ => output(loss),
    }
}

fn sigmoid_focal_loss(call: &Call) -> Result<Outputs> {
    // torchvision's way to say that there is none.
    let alpha = Some(call.number("alpha", 0.25)?).filter(|alpha| *alpha != -1.0);
    let options =
        FocalLossOptions { alpha, gamma: call.number("gamma", 2.0)?, reduction: reduction(call, "none")? };
    output(call.tensor("input")?.sigmoid_focal_loss(&call.tensor("target")?, options)?)
}

fn dice_loss(call: &Call) -> Result<Outputs> {
    let options = DiceLossOptions {
        smooth: call.number("smooth", 1.0)?,
        per_channel: call.flag("per_channel", false)?,
        reduction: reduction(call, "mean")?,
    };
    output(call.tensor("input")?.dice_loss(&call.tensor("target")?, options)?)
}

fn huber_loss(call: &Call) -> Result<Outputs> {
    let delta = call.number("delta", 1.0)?;
    pair(call, |x, target, options| x.huber_loss(target, delta, options))
}

pub(super) fn operations() -> Vec<Operation> {
    let loss = |name, formula, shapes, inputs, mut attributes: Vec<Attribute>, run| {
        let default = if name == "sigmoid_focal_loss" { "none" } else { "mean" };
        attributes.push(Attribute::text("reduction", default));
        Operation { name, formula, shapes, inputs, attributes, run }
    };
    let number = Attribute::number;
    vec![
        loss(
            "cross_entropy",
            "losses = -sum over c of weight[c] q[c] log_softmax(input)[c], q = (1 - label_smoothing) [c = target] + label_smoothing / C; a target of probabilities, in the input's shape, stands for [c = target]",
            CLASSES,
            &["input", "target", "weight?"],
            vec![Attribute::integer("ignore_index", "-100"), number("label_smoothing", "0")],
            cross_entropy,
        ),
        loss(
            "nll_loss",
            "losses = -weight[target] input[target]",
            CLASSES,
            &["input", "target", "weight?"],
            vec![Attribute::integer("ignore_index", "-100")],
            nll_loss,
        ),
        loss(
            "mse_loss",
            "losses = weight (input - target)^2; the mean divides by the sum of the weights",
            PAIRS,
            &["input", "target", "weight?"],
            vec![],
            |call| pair(call, |x, target, options| x.mse_loss(target, options)),
        ),
        loss(
            "l1_loss",
            "losses = weight |input - target|; the mean divides by the sum of the weights",
            PAIRS,
            &["input", "target", "weight?"],
            vec![],
            |call| pair(call, |x, target, options| x.l1_loss(target, options)),
        ),
        loss(
            "smooth_l1_loss",
            "losses = d^2 / (2 beta) where |d| < beta, |d| - beta / 2 beyond; d = input - target",
            PAIRS,
            &["input", "target"],
            vec![number("beta", "1")],
            smooth_l1_loss,
        ),
        loss(
            "huber_loss",
            "losses = weight d^2 / 2 where |d| <= delta, weight delta (|d| - delta / 2) beyond; d = input - target",
            PAIRS,
            &["input", "target", "weight?"],
            vec![number("delta", "1")],
            huber_loss,
        ),
        loss(
            "binary_cross_entropy",
            "losses = -weight (target ln input + (1 - target) ln(1 - input)), each logarithm at least -100",
            SAME,
            &["input", "target", "weight?"],
            vec![],
            binary_cross_entropy,
        ),
        loss(
            "binary_cross_entropy_with_logits",
            "losses = weight (pos_weight target ln(1 + e^-input) + (1 - target) ln(1 + e^input))",
            SAME,
            &["input", "target", "weight?", "pos_weight?"],
            vec![],
            binary_cross_entropy_with_logits,
        ),
        loss(
            "kl_div",
            "losses = target (ln target - input), or e^target (target - input) with log_target; batchmean is the sum divided by N",
            PAIRS,
            &["input", "target"],
            vec![Attribute::flag("log_target")],
            kl_div,
        ),
        loss(
            "sigmoid_focal_loss",
            "losses = a (1 - p_t)^gamma binary_cross_entropy_with_logits, p = sigmoid(input), p_t = p target + (1 - p)(1 - target), a = alpha target + (1 - alpha)(1 - target), 1 for alpha -1",
            SAME,
            &["input", "target"],
            vec![number("alpha", "0.25"), number("gamma", "2")],
            sigmoid_focal_loss,
        ),
        loss(
            "dice_loss",
            "losses = 1 - (2 sum input target + smooth) / (sum input + sum target + smooth), of each sample or of each channel",
            "input and target (N, …) of one shape; output (), (N) or (N, C)",
            &["input", "target"],
            vec![number("smooth", "1"), Attribute::flag("per_channel")],
            dice_loss,
        ),
    ]
}
