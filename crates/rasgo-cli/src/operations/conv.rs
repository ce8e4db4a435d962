//! Convolutions and transposed convolutions.

use rasgo::Result;
use rasgo::ops::{ConvOptions, ConvTransposeOptions};

use super::{Attribute, Call, Operation, Outputs, output};

const SHAPES: [&str; 3] = [
    "input (N, C, L), weight (O, C / groups, k), bias (O); output (N, O, l)",
    "input (N, C, H, W), weight (O, C / groups, kh, kw), bias (O); output (N, O, h, w)",
    "input (N, C, D, H, W), weight (O, C / groups, kd, kh, kw), bias (O); output (N, O, d, h, w)",
];
const TRANSPOSED_SHAPES: [&str; 3] = [
    "input (N, C, L), weight (C, O / groups, k), bias (O); output (N, O, l)",
    "input (N, C, H, W), weight (C, O / groups, kh, kw), bias (O); output (N, O, h, w)",
    "input (N, C, D, H, W), weight (C, O / groups, kd, kh, kw), bias (O); output (N, O, d, h, w)",
];

fn conv(call: &Call) -> Result<Outputs> {
    let (x, weight) = (call.spatial("input")?, call.tensor("weight")?);
    let named = call.text("padding").filter(|text| matches!(*text, "same" | "valid"));
    let padding = if named.is_some() { None } else { call.axes("padding", 0)? };
    let mut options = ConvOptions {
        stride: call.axes("stride", 1)?.unwrap_or([1; 3]),
        padding: padding.unwrap_or([0; 3]).map(|both| (both, both)),
        dilation: call.axes("dilation", 1)?.unwrap_or([1; 3]),
        groups: call.size("groups", 1)?,
        ..ConvOptions::default()
    };
    if named == Some("same") {
        options = options.same(weight.shape().get(2..).unwrap_or_default())?;
    }
    output(x.conv(&weight, call.optional("bias")?.as_ref(), &options)?)
}

fn conv_transpose(call: &Call) -> Result<Outputs> {
    let (x, weight) = (call.spatial("input")?, call.tensor("weight")?);
    let options = ConvTransposeOptions {
        stride: call.axes("stride", 1)?.unwrap_or([1; 3]),
        padding: call.axes("padding", 0)?.unwrap_or([0; 3]),
        output_padding: call.axes("output_padding", 0)?.unwrap_or([0; 3]),
        dilation: call.axes("dilation", 1)?.unwrap_or([1; 3]),
        groups: call.size("groups", 1)?,
        output_size: call.axes("output_size", 1)?,
    };
    output(x.conv_transpose(&weight, call.optional("bias")?.as_ref(), &options)?)
}

pub(super) fn operations() -> Vec<Operation> {
    let forward = |(name, shapes)| Operation {
        name,
        formula: "output[n, o, p] = bias[o] + sum over c, k of input[n, c, p * stride - padding + k * dilation] * weight[o, c, k]",
        shapes,
        inputs: &["input", "weight", "bias?"],
        attributes: vec![
            Attribute::axes("stride", "1"),
            Attribute::axes("padding", "0; also same or valid"),
            Attribute::axes("dilation", "1"),
            Attribute::integer("groups", "1"),
        ],
        run: conv,
    };
    let transposed = |(name, shapes)| Operation {
        name,
        formula: "output[n, o, p * stride - padding + k * dilation] += input[n, c, p] * weight[c, o, k], over bias[o]",
        shapes,
        inputs: &["input", "weight", "bias?"],
        attributes: vec![
            Attribute::axes("stride", "1"),
            Attribute::axes("padding", "0"),
            Attribute::axes("output_padding", "0"),
            Attribute::integer("groups", "1"),
            Attribute::axes("dilation", "1"),
            Attribute::axes("output_size", "what output_padding makes"),
        ],
        run: conv_transpose,
    };
    let names = ["conv1d", "conv2d", "conv3d"].into_iter().zip(SHAPES);
    let transposed_names =
        ["conv_transpose1d", "conv_transpose2d", "conv_transpose3d"].into_iter().zip(TRANSPOSED_SHAPES);
    names.map(forward).chain(transposed_names.map(transposed)).collect()
}
