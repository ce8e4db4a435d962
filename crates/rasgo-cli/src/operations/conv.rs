//! Convolutions.

use rasgo::Result;
use rasgo::ops::ConvOptions;

use super::{Attribute, Call, Operation, Outputs, output};

const SHAPES: [&str; 3] = [
    "input (N, C, L), weight (O, C / groups, k), bias (O); output (N, O, l)",
    "input (N, C, H, W), weight (O, C / groups, kh, kw), bias (O); output (N, O, h, w)",
    "input (N, C, D, H, W), weight (O, C / groups, kd, kh, kw), bias (O); output (N, O, d, h, w)",
];

fn conv(call: &Call) -> Result<Outputs> {
    let (x, weight) = (call.spatial("input")?, call.tensor("weight")?);
    let padding = call.axes("padding", 0)?.unwrap_or([0; 3]);
    let options = ConvOptions {
        stride: call.axes("stride", 1)?.unwrap_or([1; 3]),
        padding: padding.map(|both| (both, both)),
        dilation: call.axes("dilation", 1)?.unwrap_or([1; 3]),
        groups: call.size("groups", 1)?,
        ..ConvOptions::default()
    };
    output(x.conv(&weight, call.optional("bias")?.as_ref(), &options)?)
}

pub(super) fn operations() -> Vec<Operation> {
    let conv = |(name, shapes)| Operation {
        name,
        formula: "output[n, o, p] = bias[o] + sum over c, k of input[n, c, p * stride - padding + k * dilation] * weight[o, c, k]",
        shapes,
        inputs: &["input", "weight", "bias?"],
        attributes: vec![
            Attribute::axes("stride", "1"),
            Attribute::axes("padding", "0"),
            Attribute::axes("dilation", "1"),
            Attribute::integer("groups", "1"),
        ],
        run: conv,
    };
    ["conv1d", "conv2d", "conv3d"].into_iter().zip(SHAPES).map(conv).collect()
}
