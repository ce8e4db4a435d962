//! The operations, one file each: formula, attributes, validation, arithmetic, gradient, tests.

mod batch_norm;
mod binary;
mod broadcast;
mod cast;
mod cat;
mod choose;
mod compare;
mod conv;
mod dropout;
mod embedding;
mod flip;
mod group_norm;
mod index;
mod interpolate;
mod linear;
mod loss;
mod math;
mod matmul;
mod narrow;
mod norm_grad;
mod one_hot;
mod operand;
mod order;
mod pad;
mod permute;
mod pixel_shuffle;
mod pool;
mod prelu;
mod reduce;
mod reshape;
mod sided;
mod softmax;
mod unary;
mod unfold;
mod with_number;

#[cfg(test)]
mod grad_check;
#[cfg(test)]
mod stored_check;

pub use rasgo_kernels::Activation;

pub(crate) use cast::Cast;

pub use batch_norm::{BatchNormOptions, BatchNormOutput, PoolAfter};
pub use binary::binary;
pub use conv::{ConvOptions, ConvTransposeOptions};
pub use group_norm::RunningStatistics;
pub use interpolate::{InterpolateMode, InterpolateOptions, InterpolateTo};
pub use loss::{
    BceWithLogitsOptions, CrossEntropyOptions, DiceLossOptions, FocalLossOptions, KlDivOptions, LossOptions,
    NllLossOptions, Reduction,
};
pub(crate) use math::negative;
pub use operand::Operand;
pub use pad::PadMode;
pub use pool::{AvgPoolOptions, MaxPoolOptions, MaxUnpoolOptions};
pub use unfold::UnfoldOptions;
pub(crate) use with_number::with_number;

use crate::error::{Error, Result};
use crate::meta::{DType, Meta};
use crate::op::Mask;

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

/// Runs a body with `S` bound to the type that maps are stored in, of a dtype that `infer` has checked; what belongs to
/// channels is of `<S as Stored>::Wide`.
macro_rules! stored {
    ($dtype:expr, $S:ident => $body:expr) => {
        match $dtype {
            crate::DType::F64 => {
                type $S = f64;
                $body
            }
            crate::DType::Bf16 => {
                type $S = rasgo_kernels::Bf16;
                $body
            }
            _ => {
                type $S = f32;
                $body
            }
        }
    };
}
pub(crate) use stored;

/// As [`float!`], and for 64-bit integers.
macro_rules! number {
    ($dtype:expr, $T:ident => $body:expr) => {
        match $dtype {
            crate::DType::I64 => {
                type $T = i64;
                $body
            }
            float => crate::ops::float!(float, $T => $body),
        }
    };
}
pub(crate) use number;

/// Runs a body with `T` bound to the element type of any dtype: for what only moves values.
macro_rules! any {
    ($dtype:expr, $T:ident => $body:expr) => {
        match $dtype {
            crate::DType::U8 => {
                type $T = u8;
                $body
            }
            crate::DType::Bf16 => {
                type $T = rasgo_kernels::Bf16;
                $body
            }
            number => crate::ops::number!(number, $T => $body),
        }
    };
}
pub(crate) use any;

/// Refuses sizes whose sums and products along an axis might not fit a machine word.
pub(crate) fn expect_sizes(axis: &str, sizes: &[usize]) -> Result<()> {
    const MOST: usize = 1 << 31;
    match sizes.iter().find(|&&size| size > MOST) {
        Some(size) => Err(Error::argument(format!("{size} along {axis}; {MOST} is the most"))),
        None => Ok(()),
    }
}

/// What the spatial axes of (N, C, …) are called; of fewer than three the last are there.
pub(crate) const AXES: [&str; 3] = ["depth", "height", "width"];

/// Checks one axis of a window that slides.
pub(crate) fn expect_window(along: &str, kernel: usize, stride: usize, dilation: usize) -> Result<()> {
    match kernel == 0 || stride == 0 || dilation == 0 {
        true => Err(Error::argument(format!(
            "kernel {kernel}, stride {stride} and dilation {dilation} along {along} must be 1 or more"
        ))
        .hint("1 is the least of each: a window of one cell, at every place, without gaps")),
        false => Ok(()),
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

/// The axes that a user's numbers name, in their order; none may come twice.
pub(crate) fn axes_of(axes: &[isize], rank: usize) -> Result<Vec<usize>> {
    let mut found = Vec::with_capacity(axes.len());
    for &axis in axes {
        let axis = axis_of(axis, rank)?;
        if found.contains(&axis) {
            return Err(Error::argument(format!("axis {axis} comes twice in {axes:?}"))
                .hint("name each axis once; a negative one counts from the end"));
        }
        found.push(axis);
    }
    Ok(found)
}

/// An axis in the order of memory: the elements before it, its size, the elements after it.
pub(crate) fn blocks(meta: &Meta, axis: usize) -> (usize, usize, usize) {
    let order = meta.memory_order();
    let place = order.iter().position(|&other| other == axis).expect("the order names every axis");
    let product = |axes: &[usize]| axes.iter().map(|&axis| meta.shape[axis]).product();
    (product(&order[..place]), meta.shape[axis], product(&order[place + 1..]))
}

/// Checks that all inputs have one float dtype.
fn expect_float(inputs: &[Meta]) -> Result<DType> {
    expect_kind(inputs, |dtype| matches!(dtype, DType::F32 | DType::F64), "float32 or float64")
}

/// Checks that the inputs at the positions of maps have one float dtype and all others the one that it is computed in;
/// the dtype of the maps.
fn expect_maps_and_channels(inputs: &[Meta], maps: Mask) -> Result<DType> {
    let dtype = inputs[0].dtype;
    if dtype != DType::Bf16 {
        return expect_float(inputs);
    }
    let wanted = |position| if maps.has(position) { dtype } else { DType::F32 };
    match inputs.iter().enumerate().find(|&(position, input)| input.dtype != wanted(position)) {
        None => Ok(dtype),
        Some((_, input)) => {
            let text = format!("{dtype} and {} do not mix", input.dtype);
            Err(Error::new(crate::ErrorKind::DType, text).hint("convert one of them with .to_dtype"))
        }
    }
}

/// Checks that all inputs have one dtype that arithmetic exists for.
fn expect_numbers(inputs: &[Meta]) -> Result<DType> {
    expect_kind(inputs, |dtype| dtype != DType::U8, "float32, float64 or int64")
}

/// Checks that all inputs have one dtype.
fn expect_same(inputs: &[Meta]) -> Result<DType> {
    expect_kind(inputs, |_| true, "any")
}

fn expect_kind(inputs: &[Meta], fits: fn(DType) -> bool, wanted: &str) -> Result<DType> {
    let dtype = inputs[0].dtype;
    for input in inputs {
        if !fits(input.dtype) {
            return Err(Error::new(
                crate::ErrorKind::DType,
                format!("a tensor of {} where {wanted} is wanted", input.dtype),
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

/// Checks that a dtype holds a number that stands beside a tensor of it: floats round, whole numbers do not.
fn numbers_fit(dtype: DType, number: f64) -> Result<()> {
    let range = match dtype {
        DType::F32 | DType::F64 | DType::Bf16 => return Ok(()),
        DType::I64 => -(2f64.powi(63))..2f64.powi(63),
        DType::U8 => 0.0..256.0,
    };
    if number.trunc() == number && range.contains(&number) {
        return Ok(());
    }
    Err(Error::new(crate::ErrorKind::DType, format!("{number} beside a tensor of {dtype}"))
        .hint("convert the tensor with .to_dtype(DType::F32)"))
}

/// The error of a gradient rule that has no gradient itself.
fn no_second_gradient() -> Error {
    Error::new(crate::ErrorKind::State, "this gradient has no gradient of its own").hint(
        "most operations have second gradients; of those that run several layers in one pass call the separate ones",
    )
}
