//! Activations: functions of each element, and softmax along an axis.

use rasgo::{Error, Result, Tensor};

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

fn gelu(call: &Call) -> Result<Outputs> {
    let tanh = call.choice("approximate", &["none", "tanh"], "none")? == "tanh";
    of(call, if tanh { Tensor::gelu_tanh } else { Tensor::gelu })
}

fn prelu(call: &Call) -> Result<Outputs> {
    output(call.tensor("input")?.prelu(&call.tensor("weight")?)?)
}

fn softmax(call: &Call) -> Result<Outputs> {
    if !call.has("dim") {
        return Err(call.needs("dim"));
    }
    let dim = call.integer("dim", -1)?;
    let dim = isize::try_from(dim)
        .map_err(|_| Error::argument(format!("--dim {dim}: no tensor has so many axes")).op(call.name()))?;
    let x = call.tensor("input")?;
    output(if call.name() == "softmax" { x.softmax(dim)? } else { x.log_softmax(dim)? })
}

pub(super) fn operations() -> Vec<Operation> {
    let along_axis = |name, formula| Operation {
        attributes: vec![Attribute::integer("dim", "required")],
        ..map(name, formula, vec![], softmax)
    };
    vec![
        map("relu", "output = max(input, 0)", vec![], |call| of(call, Tensor::relu)),
        map("relu6", "output = min(max(input, 0), 6)", vec![], |call| of(call, Tensor::relu6)),
        map(
            "leaky_relu",
            "output = input where positive, negative_slope * input elsewhere",
            vec![Attribute::number("negative_slope", "0.01")],
            |call| {
                let slope = call.number("negative_slope", 0.01)?;
                of(call, |x| x.leaky_relu(slope))
            },
        ),
        Operation {
            inputs: &["input", "weight"],
            shapes: "input (N, C, …) or of any shape, weight (C) or (1); output as input",
            ..map("prelu", "output = input where positive, weight[c] * input elsewhere", vec![], prelu)
        },
        map(
            "elu",
            "output = input where positive, alpha * (e^input - 1) elsewhere",
            vec![Attribute::number("alpha", "1")],
            |call| {
                let alpha = call.number("alpha", 1.0)?;
                of(call, |x| x.elu(alpha))
            },
        ),
        map("selu", "output = 1.0507 * elu(input, alpha = 1.6733)", vec![], |call| of(call, Tensor::selu)),
        map(
            "celu",
            "output = input where positive, alpha * (e^(input / alpha) - 1) elsewhere",
            vec![Attribute::number("alpha", "1")],
            |call| {
                let alpha = call.number("alpha", 1.0)?;
                of(call, |x| x.celu(alpha))
            },
        ),
        map(
            "gelu",
            "output = input * Phi(input), Phi the normal distribution function; tanh: input / 2 * (1 + tanh(sqrt(2 / pi) (input + 0.044715 input^3)))",
            vec![Attribute::text("approximate", "none")],
            gelu,
        ),
        map("silu", "output = input * sigmoid(input)", vec![], |call| of(call, Tensor::silu)),
        map("hardswish", "output = input * min(max(input + 3, 0), 6) / 6", vec![], |call| {
            of(call, Tensor::hardswish)
        }),
        map("hardsigmoid", "output = min(max(input + 3, 0), 6) / 6", vec![], |call| {
            of(call, Tensor::hardsigmoid)
        }),
        map(
            "hardtanh",
            "output = min(max(input, min_val), max_val)",
            vec![Attribute::number("min_val", "-1"), Attribute::number("max_val", "1")],
            |call| {
                let (low, high) = (call.number("min_val", -1.0)?, call.number("max_val", 1.0)?);
                of(call, |x| x.hardtanh(low, high))
            },
        ),
        map("sigmoid", "output = 1 / (1 + e^-input)", vec![], |call| of(call, Tensor::sigmoid)),
        map("tanh", "output = (e^input - e^-input) / (e^input + e^-input)", vec![], |call| {
            of(call, Tensor::tanh)
        }),
        map(
            "softplus",
            "output = ln(1 + e^(beta * input)) / beta, and input where beta * input > threshold",
            vec![Attribute::number("beta", "1"), Attribute::number("threshold", "20")],
            |call| {
                let (beta, threshold) = (call.number("beta", 1.0)?, call.number("threshold", 20.0)?);
                of(call, |x| x.softplus(beta, threshold))
            },
        ),
        map("mish", "output = input * tanh(softplus(input))", vec![], |call| of(call, Tensor::mish)),
        map("logsigmoid", "output = ln(1 / (1 + e^-input))", vec![], |call| of(call, Tensor::logsigmoid)),
        map("softsign", "output = input / (1 + |input|)", vec![], |call| of(call, Tensor::softsign)),
        along_axis("softmax", "output = e^input / sum over the axis dim of e^input"),
        along_axis("log_softmax", "output = input - ln(sum over the axis dim of e^input)"),
    ]
}
