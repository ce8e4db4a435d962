//! Logits (N, C, …) and targets that are classes (N, …): what the losses on them check alike.

use std::panic::Location;

use rasgo_kernels::softmax;

use crate::error::{Error, ErrorKind, Result};
use crate::meta::{DType, Meta, Shape};
use crate::scope;
use crate::tensor::Tensor;

/// Targets as int64; PyTorch also takes bytes.
#[track_caller]
pub(super) fn as_classes(target: &Tensor) -> Result<Tensor> {
    match target.dtype() {
        DType::U8 => target.to_dtype(DType::I64),
        _ => Ok(target.clone().to_plain()),
    }
}

/// The number of classes of an input (N, C, …) or (C).
pub(super) fn classes_of(shape: &Shape) -> usize {
    shape.get(1).or(shape.first()).copied().unwrap_or(0)
}

/// Checks an input, its classes, and a weight for each class.
pub(super) fn check(input: &Meta, target: &Meta, weight: Option<&Meta>) -> Result<()> {
    if !input.dtype.is_float() || target.dtype != DType::I64 {
        let text =
            format!("input of {} and target of {}: float and int64 are wanted", input.dtype, target.dtype);
        return Err(Error::new(ErrorKind::DType, text)
            .hint("a target of floats holds a probability for each class and has the input's shape"));
    }
    let fits = match &input.shape[..] {
        [] => false,
        [_] => target.shape.is_empty(),
        [n, _, spatial @ ..] => target.shape.split_first() == Some((n, spatial)),
    };
    if !fits {
        return Err(Error::shape(format!("input {} and target {}", input.shape, target.shape))
            .hint("give an input (N, C, …) and a target (N, …), or an input (C) and one class"));
    }
    let classes = classes_of(&input.shape);
    match weight {
        Some(weight) if weight.dtype != input.dtype => Err(Error::new(
            ErrorKind::DType,
            format!("{} and a weight of {} do not mix", input.dtype, weight.dtype),
        )
        .hint("convert one of them with .to_dtype")),
        Some(weight) if *weight.shape != [classes] => Err(Error::shape(format!(
            "weight {} for {classes} classes: it must be [{classes}]",
            weight.shape
        ))),
        _ => Ok(()),
    }
}

/// Checks that every target is a class or the ignored one. Values are no matter of `infer`, which knows shapes.
#[track_caller]
pub(super) fn check_values(
    op: &'static str,
    input: &Tensor,
    target: &Tensor,
    ignore_index: i64,
) -> Result<()> {
    if input.is_shape_only()
        || target.is_shape_only()
        || target.dtype() != DType::I64
        || input.shape().is_empty()
    {
        return Ok(());
    }
    let classes = classes_of(input.shape());
    let Some((place, class)) = softmax::bad_target(target.raw::<i64>(), classes, Some(ignore_index)) else {
        return Ok(());
    };
    let place = match &target.shape().place(place)[..] {
        [] => String::new(),
        [row] => format!(" at row {row}"),
        indices => format!(" at {indices:?}"),
    };
    let text = format!("target {class}{place} is not in 0..{classes}");
    let error =
        Error::new(ErrorKind::Index, text).op(op).hint("give the model as many classes as the data has");
    Err(scope::annotate(error).at(Location::caller()))
}
