//! Linear layers.

use rasgo::Result;

use super::{Call, Operation, Outputs, output};

fn linear(call: &Call) -> Result<Outputs> {
    output(call.tensor("input")?.linear(&call.tensor("weight")?, call.optional("bias")?.as_ref())?)
}

pub(super) fn operations() -> Vec<Operation> {
    vec![Operation {
        name: "linear",
        formula: "output = input weight^T + bias",
        shapes: "input (N, in), weight (out, in), bias (out); output (N, out)",
        inputs: &["input", "weight", "bias?"],
        attributes: vec![],
        run: linear,
    }]
}
