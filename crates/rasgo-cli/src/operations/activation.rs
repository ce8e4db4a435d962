//! Functions of each element.

use rasgo::{Result, Tensor};

use super::{Attribute, Call, Operation, Outputs, output};

fn map(
    name: &'static str,
    formula: &'static str,
    attributes: Vec<Attribute>,
    run: fn(&Call) -> Result<Outputs>,
) -> Operation {
    Operation {
        name,
        formula,
        shapes: "input of any shape; output the same",
        inputs: &["input"],
        attributes,
        run,
    }
}

fn of(call: &Call, function: impl Fn(Tensor) -> Result<Tensor>) -> Result<Outputs> {
    output(function(call.tensor("input")?)?)
}

pub(super) fn operations() -> Vec<Operation> {
    vec![
        map("relu", "output = max(input, 0)", vec![], |call| of(call, Tensor::relu)),
        map(
            "leaky_relu",
            "output = input where positive, negative_slope * input elsewhere",
            vec![Attribute::number("negative_slope", "0.01")],
            |call| {
                let slope = call.number("negative_slope", 0.01)?;
                of(call, |x| x.leaky_relu(slope))
            },
        ),
    ]
}
