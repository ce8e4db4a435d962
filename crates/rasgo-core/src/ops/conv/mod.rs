//! Convolution (cross-correlation) and transposed convolution in 1, 2 and 3 dimensions, with their gradients.
//!
//! ```text
//! y[n, o, p] = b[o] + sum over c, t of x[n, c, p * stride - padding + t * dilation] * w[o, c, t]
//! out = floor((in + padding before and after - dilation * (kernel - 1) - 1) / stride) + 1
//! ```
//!
//! Convolution is linear in x and in w, so its gradients are linear maps of the same family, and their gradients are
//! again members of it: [`Conv`], [`Transposed`] (the gradient to x, which is the transposed convolution) and
//! [`GradWeight`] close under differentiation.

mod forward;
mod grad_weight;
mod options;
#[cfg(test)]
mod tests;
mod transposed;

pub use options::{ConvOptions, ConvTransposeOptions};

use rasgo_kernels::conv::ConvProblem;

use super::AXES;
use crate::error::{Error, Result};
use crate::meta::{Meta, Shape};
use crate::reach::Window;

/// The name that errors have: of the dimensions of a tensor, or the usual two where it has none that fit.
fn name_of(names: [&'static str; 3], spatial: usize) -> &'static str {
    names[if (1..=3).contains(&spatial) { spatial - 1 } else { 1 }]
}

/// The name of a convolution over so many spatial axes.
fn conv_name(spatial: usize) -> &'static str {
    name_of(["conv1d", "conv2d", "conv3d"], spatial)
}

/// The name of a transposed convolution over so many spatial axes.
fn transposed_name(spatial: usize) -> &'static str {
    name_of(["conv_transpose1d", "conv_transpose2d", "conv_transpose3d"], spatial)
}

/// What kernels see of a convolution from x to y; in a transposed one x is the result.
fn problem(options: &ConvOptions, x: &Shape, weight: &Shape, y: &Shape) -> ConvProblem {
    let (n, ic, input) = x.image();
    let (_, oc, output) = y.image();
    let (_, _, kernel) = weight.image();
    let ConvOptions { mut stride, padding, mut dilation, groups, .. } = *options;
    let mut padding = padding.map(|(before, _)| before);
    // Axes that the tensor does not have are single cells, whatever the options say of them.
    let missing = ..5 - x.len();
    stride[missing].fill(1);
    padding[missing].fill(0);
    dilation[missing].fill(1);
    ConvProblem { n, ic, oc, groups, input, output, kernel, stride, padding, dilation }
}

/// What one of three axes of y reads of x; transposed, what one of x reads of y.
fn window(options: &ConvOptions, weight: &Shape, axis: usize) -> Window {
    let (_, _, kernel) = weight.image();
    let padding = options.padding[axis].0 as isize;
    Window { kernel: kernel[axis], stride: options.stride[axis], padding, dilation: options.dilation[axis] }
}

/// Checks the axes of an input (N, C, …) and a weight of the same rank.
fn expect_ranks(x: &Shape, weight: &Shape) -> Result<()> {
    let rank = x.len();
    if !(3..=5).contains(&rank) {
        return Err(Error::shape(format!("input {x} has {rank} axes"))
            .hint("give (N, C, L), (N, C, H, W) or (N, C, D, H, W); add the batch axis with .reshape"));
    }
    if weight.len() != rank {
        return Err(Error::shape(format!("input {x} has {rank} axes, weight {weight} has {}", weight.len()))
            .hint("both have two axes and then the spatial ones; add the batch axis with .reshape"));
    }
    if weight[0] == 0 || weight[1] == 0 {
        return Err(Error::shape(format!("weight {weight} has no channels"))
            .hint("a convolution needs at least one channel in and one out"));
    }
    Ok(())
}

/// Refuses an axis without cells, unless the batch is empty too: then there is nothing to compute.
fn expect_cells(x: &Shape, axis: usize, size: usize) -> Result<()> {
    match size == 0 && x[0] != 0 {
        true => Err(Error::shape(format!("input {x} has nothing along {}", AXES[axis]))
            .hint("use a larger input, or fewer steps before it")),
        false => Ok(()),
    }
}

/// Checks a bias of so many output channels.
fn expect_bias(bias: Option<&Meta>, channels: usize) -> Result<()> {
    match bias {
        Some(bias) if *bias.shape != [channels] => Err(Error::shape(format!(
            "bias {} for {channels} output channels: it must be [{channels}]",
            bias.shape
        ))
        .hint("give one value for each output channel, or no bias")),
        _ => Ok(()),
    }
}
