//! Poolings and max unpooling.

use rasgo::Result;
use rasgo::ops::{AvgPoolOptions, MaxPoolOptions, MaxUnpoolOptions};

use super::{Attribute, Call, Operation, Outputs, output};

const POOLED: [&str; 3] = [
    "input (N, C, L); output (N, C, l)",
    "input (N, C, H, W); output (N, C, h, w)",
    "input (N, C, D, H, W); output (N, C, d, h, w)",
];
const WITH_INDICES: [&str; 3] = [
    "input (N, C, L); output and indices (N, C, l)",
    "input (N, C, H, W); output and indices (N, C, h, w), indices into the input's planes",
    "input (N, C, D, H, W); output and indices (N, C, d, h, w), indices into the input's planes",
];
const UNPOOLED: [&str; 3] = [
    "input and indices (N, C, l); output (N, C, L)",
    "input and indices (N, C, h, w); output (N, C, H, W)",
    "input and indices (N, C, d, h, w); output (N, C, D, H, W)",
];

/// The size of the window.
fn kernel(call: &Call) -> Result<[usize; 3]> {
    call.axes("kernel_size", 1)?.ok_or_else(|| call.needs("kernel_size"))
}

/// The sizes of an adaptive pooling's output, at the end of three axes.
fn output_size(call: &Call) -> Result<[Option<usize>; 3]> {
    let sizes = call.sizes_or_none("output_size")?.ok_or_else(|| call.needs("output_size"))?;
    let dims = call.dims();
    let mut axes = [None; 3];
    match sizes.len() {
        1 => axes[3 - dims..].fill(sizes[0]),
        n if n == dims => axes[3 - dims..].copy_from_slice(&sizes),
        n => return Err(call.wrong_count("output_size", n)),
    }
    Ok(axes)
}

/// Output and indices. PyTorch's flag that asks for the indices is taken, and they are given in any case.
fn with_indices(call: &Call, (y, indices): (rasgo::Tensor, rasgo::Tensor)) -> Result<Outputs> {
    call.flag("return_indices", true)?;
    Ok(vec![("output", y), ("indices", indices)])
}

fn max_pool(call: &Call) -> Result<Outputs> {
    let kernel = kernel(call)?;
    let options = MaxPoolOptions {
        kernel,
        stride: call.axes("stride", 1)?.unwrap_or(kernel),
        padding: call.axes("padding", 0)?.unwrap_or([0; 3]),
        dilation: call.axes("dilation", 1)?.unwrap_or([1; 3]),
        ceil_mode: call.flag("ceil_mode", false)?,
    };
    with_indices(call, call.spatial("input")?.max_pool_with_indices(&options)?)
}

fn avg_pool(call: &Call) -> Result<Outputs> {
    let kernel = kernel(call)?;
    let divisor = call.dims() > 1 && call.has("divisor_override");
    let options = AvgPoolOptions {
        kernel,
        stride: call.axes("stride", 1)?.unwrap_or(kernel),
        padding: call.axes("padding", 0)?.unwrap_or([0; 3]),
        ceil_mode: call.flag("ceil_mode", false)?,
        count_include_pad: call.flag("count_include_pad", true)?,
        divisor_override: divisor.then(|| call.integer("divisor_override", 1)).transpose()?,
    };
    output(call.spatial("input")?.avg_pool(&options)?)
}

fn adaptive_avg_pool(call: &Call) -> Result<Outputs> {
    output(call.spatial("input")?.adaptive_avg_pool(output_size(call)?)?)
}

fn adaptive_max_pool(call: &Call) -> Result<Outputs> {
    with_indices(call, call.spatial("input")?.adaptive_max_pool_with_indices(output_size(call)?)?)
}

fn max_unpool(call: &Call) -> Result<Outputs> {
    let kernel = kernel(call)?;
    let options = MaxUnpoolOptions {
        kernel,
        stride: call.axes("stride", 1)?.unwrap_or(kernel),
        padding: call.axes("padding", 0)?.unwrap_or([0; 3]),
        output_size: call.axes("output_size", 1)?,
    };
    output(call.spatial("input")?.max_unpool(&call.spatial("indices")?, &options)?)
}

pub(super) fn operations() -> Vec<Operation> {
    let window = || {
        vec![
            Attribute::axes("kernel_size", "required"),
            Attribute::axes("stride", "kernel_size"),
            Attribute::axes("padding", "0"),
        ]
    };
    let with = |mut attributes: Vec<Attribute>, more: Vec<Attribute>| {
        attributes.extend(more);
        attributes
    };
    let mut all = Vec::new();
    for dims in 0..3 {
        let mut push = |names: [&'static str; 3],
                        formula,
                        shapes: [&'static str; 3],
                        inputs,
                        attributes,
                        run| {
            all.push(Operation { name: names[dims], formula, shapes: shapes[dims], inputs, attributes, run });
        };
        push(
            ["max_pool1d", "max_pool2d", "max_pool3d"],
            "output[n, c, p] = max over k of input[n, c, p * stride - padding + k * dilation]",
            WITH_INDICES,
            &["input"],
            with(
                window(),
                vec![
                    Attribute::axes("dilation", "1"),
                    Attribute::flag("ceil_mode"),
                    Attribute::flag("return_indices"),
                ],
            ),
            max_pool as fn(&Call) -> Result<Outputs>,
        );
        let mut options = with(
            window(),
            vec![Attribute::flag("ceil_mode"), Attribute::flag_or("count_include_pad", "true")],
        );
        if dims > 0 {
            options.push(Attribute::integer("divisor_override", "the number of cells"));
        }
        push(
            ["avg_pool1d", "avg_pool2d", "avg_pool3d"],
            "output[n, c, p] = sum over k of input[n, c, p * stride - padding + k] / cells of the window",
            POOLED,
            &["input"],
            options,
            avg_pool,
        );
        push(
            ["adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d"],
            "output[n, c, i] = mean of input[n, c, floor(i * in / out) .. ceil((i + 1) * in / out)]",
            POOLED,
            &["input"],
            vec![Attribute::axes("output_size", "required; none keeps an axis")],
            adaptive_avg_pool,
        );
        push(
            ["adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d"],
            "output[n, c, i] = max of input[n, c, floor(i * in / out) .. ceil((i + 1) * in / out)]",
            WITH_INDICES,
            &["input"],
            vec![
                Attribute::axes("output_size", "required; none keeps an axis"),
                Attribute::flag("return_indices"),
            ],
            adaptive_max_pool,
        );
        push(
            ["max_unpool1d", "max_unpool2d", "max_unpool3d"],
            "output[n, c, indices[n, c, p]] = input[n, c, p], 0 elsewhere; of equal indices the last",
            UNPOOLED,
            &["input", "indices"],
            with(
                window(),
                vec![Attribute::axes("output_size", "(in - 1) * stride - 2 * padding + kernel_size")],
            ),
            max_unpool,
        );
    }
    all
}
