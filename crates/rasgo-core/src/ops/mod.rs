//! The operations, one file each: formula, attributes, validation, arithmetic, gradient, tests.

mod batch_norm;
mod binary;
mod cast;
mod conv;
mod cross_entropy;
mod dropout;
mod group_norm;
mod linear;
mod norm_grad;
mod permute;
mod pool;
mod prelu;
mod reduce;
mod reshape;
mod rows;
mod sided;
mod softmax;
mod unary;

#[cfg(test)]
mod grad_check;

pub use batch_norm::{BatchNormOptions, BatchNormOutput, PoolAfter};
pub use binary::binary;
pub use conv::ConvOptions;
pub use cross_entropy::CrossEntropyOptions;
pub use group_norm::RunningStatistics;
pub use pool::PoolOptions;

use crate::error::{Error, Result};
use crate::meta::{DType, Meta};

/// Runs a body with `T` bound to the float type of a dtype that `infer` has checked.
macro_rules! float {
    ($dtype:expr, $T:ident => $body:expr) => {
        match $dtype {
            crate::DType::F64 => {
                type $T = f64;
                $body
            }
            _ => {
                type $T = f32;
                $body
            }
        }
    };
}
pub(crate) use float;

/// Refuses sizes whose sums and products along an axis might not fit a machine word.
pub(crate) fn expect_sizes(axis: &str, sizes: &[usize]) -> Result<()> {
    const MOST: usize = 1 << 31;
    match sizes.iter().find(|&&size| size > MOST) {
        Some(size) => Err(Error::argument(format!("{size} along {axis}; {MOST} is the most"))),
        None => Ok(()),
    }
}

/// The axis that a user's number names: a negative one counts from the end.
pub(crate) fn axis_of(axis: isize, rank: usize) -> Result<usize> {
    let from_start = if axis < 0 { axis.checked_add_unsigned(rank) } else { Some(axis) };
    match from_start.and_then(|axis| usize::try_from(axis).ok()) {
        Some(axis) if axis < rank => Ok(axis),
        _ if rank == 0 => Err(Error::argument(format!("axis {axis} of a scalar, which has none"))),
        _ => Err(Error::argument(format!("axis {axis} of a tensor with {rank} axes"))
            .hint(format!("give -{rank}..={}", rank - 1))),
    }
}

/// Checks that all inputs have one float dtype.
fn expect_float(inputs: &[Meta]) -> Result<DType> {
    let dtype = inputs[0].dtype;
    for input in inputs {
        if !input.dtype.is_float() {
            return Err(Error::new(
                crate::ErrorKind::DType,
                format!("a tensor of {} where float32 or float64 is wanted", input.dtype),
            )
            .hint("convert it with .to_dtype(DType::F32)"));
        }
        if input.dtype != dtype {
            return Err(Error::new(
                crate::ErrorKind::DType,
                format!("{dtype} and {} do not mix", input.dtype),
            )
            .hint("convert one of them with .to_dtype"));
        }
    }
    Ok(dtype)
}

/// The error of a gradient rule that has no gradient itself.
fn no_second_gradient() -> Error {
    Error::new(crate::ErrorKind::State, "this gradient has no gradient of its own").hint(
        "second gradients exist for compositions of convolution, linear, arithmetic, activations, softmax, normalisation and average pooling",
    )
}
