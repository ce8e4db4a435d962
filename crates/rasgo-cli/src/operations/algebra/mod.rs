//! The algebra of tensors around networks.

mod arithmetic;
mod compare;
mod movement;
mod order;
mod reduce;

use rasgo::ops::Operand;
use rasgo::{Error, Result};

use super::{Attribute, Call, Operation, Outputs, output};

pub(super) fn operations() -> Vec<Operation> {
    [
        arithmetic::operations(),
        compare::operations(),
        movement::operations(),
        order::operations(),
        reduce::operations(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Axes and positions, negative ones from the end; none given is the empty list.
fn signed(call: &Call, name: &str) -> Result<Vec<isize>> {
    let numbers = call.integers(name)?.unwrap_or_default();
    numbers.into_iter().map(|number| signed_one(call, name, number)).collect()
}

/// One axis or position.
fn signed_or(call: &Call, name: &str, default: i64) -> Result<isize> {
    signed_one(call, name, call.integer(name, default)?)
}

/// One axis that must be given.
fn axis(call: &Call, name: &str) -> Result<isize> {
    if call.has(name) { signed_or(call, name, 0) } else { Err(call.needs(name)) }
}

/// One axis or none.
fn axis_if_given(call: &Call, name: &str) -> Result<Option<isize>> {
    call.has(name).then(|| axis(call, name)).transpose()
}

fn signed_one(call: &Call, name: &str, number: i64) -> Result<isize> {
    isize::try_from(number)
        .map_err(|_| Error::argument(format!("--{name} {number} is too large")).op(call.name()))
}

/// The tensor of that name, or the number that the attribute of that name gives.
fn operand(call: &Call, name: &str) -> Result<Operand> {
    match (call.optional(name)?, call.has(name)) {
        (Some(_), true) => Err(Error::argument(format!("{name} is given as a tensor and as a number"))
            .op(call.name())
            .hint("leave one of them out")),
        (Some(tensor), false) => Ok(Operand::Tensor(tensor)),
        (None, true) => Ok(Operand::Number(call.number(name, 0.0)?)),
        (None, false) => Err(Error::argument(format!("there is no tensor {name} and no --{name}"))
            .op(call.name())
            .hint("give one of them")),
    }
}
