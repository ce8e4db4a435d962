//! Comparisons, logic and choice. Masks are u8 tensors of 0 and 1.

use rasgo::Result;

use super::{Attribute, Call, Operation, Outputs, operand, output, signed_or};

macro_rules! comparisons {
    ($($name:literal, $formula:literal, $method:ident;)*) => {
        vec![$(Operation {
            name: $name,
            formula: $formula,
            shapes: "input and other broadcast, or other is a number; output (u8) the shape of both",
            inputs: &["input", "other?"],
            attributes: vec![Attribute::number("other", "the tensor other")],
            run: |call| output(call.tensor("input")?.$method(operand(call, "other")?)?),
        }),*]
    };
}

macro_rules! questions {
    ($($name:literal, $formula:literal, $method:ident;)*) => {
        [$(Operation {
            name: $name,
            formula: $formula,
            shapes: "input of any shape; output (u8) the same",
            inputs: &["input"],
            attributes: vec![],
            run: |call| output(call.tensor("input")?.$method()?),
        }),*]
    };
}

macro_rules! logic {
    ($($name:literal, $formula:literal, $method:ident;)*) => {
        [$(Operation {
            name: $name,
            formula: $formula,
            shapes: "input and other broadcast; output (u8) the shape of both",
            inputs: &["input", "other"],
            attributes: vec![],
            run: |call| output(call.tensor("input")?.$method(&call.tensor("other")?)?),
        }),*]
    };
}

fn where_(call: &Call) -> Result<Outputs> {
    let condition = call.tensor("condition")?;
    output(condition.where_(operand(call, "input")?, operand(call, "other")?)?)
}

fn masked_fill(call: &Call) -> Result<Outputs> {
    if !call.has("value") {
        return Err(call.needs("value"));
    }
    output(call.tensor("input")?.masked_fill(&call.tensor("mask")?, call.number("value", 0.0)?)?)
}

fn triangle(name: &'static str, formula: &'static str, run: fn(&Call) -> Result<Outputs>) -> Operation {
    Operation {
        name,
        formula,
        shapes: "input (…, M, N); output the same",
        inputs: &["input"],
        attributes: vec![Attribute::integer("diagonal", "0")],
        run,
    }
}

pub(super) fn operations() -> Vec<Operation> {
    let mut all = comparisons! {
        "eq", "output = 1 where input = other, else 0", eq;
        "ge", "output = 1 where input >= other, else 0", ge;
        "gt", "output = 1 where input > other, else 0", gt;
        "le", "output = 1 where input <= other, else 0", le;
        "lt", "output = 1 where input < other, else 0", lt;
        "ne", "output = 1 where input is not other, else 0", ne;
    };
    all.extend(questions! {
        "isfinite", "output = 1 where input is neither NaN nor infinite, else 0", isfinite;
        "isinf", "output = 1 where input is infinite, else 0", isinf;
        "isnan", "output = 1 where input is NaN, else 0", isnan;
        "logical_not", "output = 1 where input is 0, else 0", logical_not;
    });
    all.extend(logic! {
        "logical_and", "output = 1 where neither is 0, else 0", logical_and;
        "logical_or", "output = 1 where not both are 0, else 0", logical_or;
        "logical_xor", "output = 1 where just one is 0, else 0", logical_xor;
    });
    all.extend([
        Operation {
            name: "where",
            formula: "output = input where condition is not 0, else other",
            shapes: "condition (u8), input and other broadcast, or are numbers; output the shape of all",
            inputs: &["condition", "input?", "other?"],
            attributes: vec![
                Attribute::number("input", "the tensor input"),
                Attribute::number("other", "the tensor other"),
            ],
            run: where_,
        },
        Operation {
            name: "masked_fill",
            formula: "output = value where mask is not 0, else input",
            shapes: "input of any shape, mask (u8) broadcasts to it; output as input",
            inputs: &["input", "mask"],
            attributes: vec![Attribute::number("value", "required")],
            run: masked_fill,
        },
        triangle("tril", "output[i, j] = input[i, j] where j <= i + diagonal, else 0", |call| {
            output(call.tensor("input")?.tril(signed_or(call, "diagonal", 0)?)?)
        }),
        triangle("triu", "output[i, j] = input[i, j] where j >= i + diagonal, else 0", |call| {
            output(call.tensor("input")?.triu(signed_or(call, "diagonal", 0)?)?)
        }),
    ]);
    all
}
