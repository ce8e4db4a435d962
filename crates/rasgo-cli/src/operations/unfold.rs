//! Patches as columns, and back.

use rasgo::Result;
use rasgo::ops::UnfoldOptions;

use super::{Attribute, Call, Operation, Outputs, output};

/// Height and width, from one number or two.
fn pair(call: &Call, name: &str) -> Result<Option<[usize; 2]>> {
    match call.sizes(name)?.as_deref() {
        None => Ok(None),
        Some(&[both]) => Ok(Some([both; 2])),
        Some(&[height, width]) => Ok(Some([height, width])),
        Some(values) => Err(call.wrong_count(name, values.len())),
    }
}

fn options(call: &Call) -> Result<UnfoldOptions> {
    Ok(UnfoldOptions {
        kernel: pair(call, "kernel_size")?.ok_or_else(|| call.needs("kernel_size"))?,
        dilation: pair(call, "dilation")?.unwrap_or([1; 2]),
        padding: pair(call, "padding")?.unwrap_or([0; 2]),
        stride: pair(call, "stride")?.unwrap_or([1; 2]),
    })
}

fn unfold(call: &Call) -> Result<Outputs> {
    output(call.batched("input", "(N, C, H, W)")?.unfold(&options(call)?)?)
}

fn fold(call: &Call) -> Result<Outputs> {
    let output_size = pair(call, "output_size")?.ok_or_else(|| call.needs("output_size"))?;
    output(call.batched("input", "(N, C * kh * kw, L)")?.fold(output_size, &options(call)?)?)
}

pub(super) fn operations() -> Vec<Operation> {
    let options = |mut first: Vec<Attribute>| {
        first.extend([
            Attribute::axes("kernel_size", "required"),
            Attribute::axes("dilation", "1"),
            Attribute::axes("padding", "0"),
            Attribute::axes("stride", "1"),
        ]);
        first
    };
    vec![
        Operation {
            name: "unfold",
            formula: "output[n, (c, i, j), (p, q)] = input[n, c, p * stride - padding + i * dilation, q * stride - padding + j * dilation]",
            shapes: "input (N, C, H, W); output (N, C * kh * kw, L), a column for each place of the window",
            inputs: &["input"],
            attributes: options(vec![]),
            run: unfold,
        },
        Operation {
            name: "fold",
            formula: "output[n, c, y, x] = sum of the cells of input that unfold takes from there",
            shapes: "input (N, C * kh * kw, L); output (N, C, H, W)",
            inputs: &["input"],
            attributes: options(vec![Attribute::axes("output_size", "required")]),
            run: fold,
        },
    ]
}
