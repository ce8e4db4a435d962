//! Linear layers and embeddings.

use rasgo::Result;

use super::{Attribute, Call, Operation, Outputs, output};

fn linear(call: &Call) -> Result<Outputs> {
    output(call.tensor("input")?.linear(&call.tensor("weight")?, call.optional("bias")?.as_ref())?)
}

fn embedding(call: &Call) -> Result<Outputs> {
    let padding_idx = if call.has("padding_idx") { Some(call.integer("padding_idx", 0)?) } else { None };
    output(call.tensor("weight")?.embedding(&call.tensor("input")?, padding_idx)?)
}

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation {
            name: "embedding",
            formula: "output[…, d] = weight[input[…], d]; the row padding_idx gets no gradient",
            shapes: "input (…) of int64, weight (rows, features); output (…, features)",
            inputs: &["input", "weight"],
            attributes: vec![Attribute::integer("padding_idx", "none")],
            run: embedding,
        },
        Operation {
            name: "linear",
            formula: "output[…, o] = sum over i of input[…, i] weight[o, i] + bias[o]",
            shapes: "input (…, in), weight (out, in), bias (out); output (…, out); weight (in): output (…)",
            inputs: &["input", "weight", "bias?"],
            attributes: vec![],
            run: linear,
        },
    ]
}
