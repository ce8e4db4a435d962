//! Poolings.

use rasgo::Result;
use rasgo::ops::PoolOptions;

use super::{Attribute, Call, Operation, Outputs};

const SHAPES: [&str; 3] = [
    "input (N, C, L); output and indices (N, C, l)",
    "input (N, C, H, W); output and indices (N, C, h, w)",
    "input (N, C, D, H, W); output and indices (N, C, d, h, w)",
];

fn max_pool(call: &Call) -> Result<Outputs> {
    let kernel = call.axes("kernel_size", 1)?.ok_or_else(|| call.needs("kernel_size"))?;
    let options = PoolOptions {
        stride: call.axes("stride", 1)?.unwrap_or(kernel),
        padding: call.axes("padding", 0)?.unwrap_or([0; 3]),
        dilation: call.axes("dilation", 1)?.unwrap_or([1; 3]),
        ceil_mode: call.flag("ceil_mode", false)?,
        ..PoolOptions::new(kernel)
    };
    let (y, indices) = call.spatial("input")?.max_pool_with_indices(&options)?;
    Ok(vec![("output", y), ("indices", indices)])
}

pub(super) fn operations() -> Vec<Operation> {
    let max = |(name, shapes)| Operation {
        name,
        formula: "output[n, c, p] = max over k of input[n, c, p * stride - padding + k * dilation]",
        shapes,
        inputs: &["input"],
        attributes: vec![
            Attribute::axes("kernel_size", "required"),
            Attribute::axes("stride", "kernel_size"),
            Attribute::axes("padding", "0"),
            Attribute::axes("dilation", "1"),
            Attribute::flag("ceil_mode"),
        ],
        run: max_pool,
    };
    ["max_pool1d", "max_pool2d", "max_pool3d"].into_iter().zip(SHAPES).map(max).collect()
}
