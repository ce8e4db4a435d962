//! Arithmetic of two tensors or of a tensor and a number, functions of each element, matrix products.

use rasgo::ops::Operand;
use rasgo::{Result, Tensor};

use super::{Attribute, Call, Operation, Outputs, operand, output};

const TWO: &str = "input and other broadcast, or other is a number; output the shape of both";

fn binary(
    name: &'static str,
    formula: &'static str,
    attributes: Vec<Attribute>,
    run: fn(&Call) -> Result<Outputs>,
) -> Operation {
    Operation { name, formula, shapes: TWO, inputs: &["input", "other?"], attributes, run }
}

fn other() -> Attribute {
    Attribute::number("other", "the tensor other")
}

/// input op other, and the same for a number.
fn apply(
    call: &Call,
    tensors: fn(Tensor, Tensor) -> Result<Tensor>,
    number: fn(Tensor, f64) -> Result<Tensor>,
) -> Result<Outputs> {
    let input = call.tensor("input")?;
    output(match operand(call, "other")? {
        Operand::Tensor(other) => tensors(input, other)?,
        Operand::Number(other) => number(input, other)?,
    })
}

/// other scaled by alpha, which is left alone where it is not given.
fn scaled(call: &Call) -> Result<Operand> {
    let (other, alpha) = (operand(call, "other")?, call.number("alpha", 1.0)?);
    Ok(match other {
        other if !call.has("alpha") => other,
        Operand::Tensor(tensor) => Operand::Tensor(tensor.scale(alpha)?),
        Operand::Number(number) => Operand::Number(number * alpha),
    })
}

fn add(call: &Call) -> Result<Outputs> {
    let input = call.tensor("input")?;
    output(match scaled(call)? {
        Operand::Tensor(other) => input + other,
        Operand::Number(other) => input + other,
    }?)
}

fn sub(call: &Call) -> Result<Outputs> {
    let input = call.tensor("input")?;
    output(match scaled(call)? {
        Operand::Tensor(other) => input - other,
        Operand::Number(other) => input - other,
    }?)
}

fn rsub(call: &Call) -> Result<Outputs> {
    let input = call.tensor("input")?;
    output(match operand(call, "other")? {
        Operand::Tensor(other) => other - input,
        Operand::Number(other) => other - input,
    }?)
}

fn tensors_only(
    name: &'static str,
    formula: &'static str,
    shapes: &'static str,
    inputs: &'static [&'static str],
    run: fn(&Call) -> Result<Outputs>,
) -> Operation {
    Operation { name, formula, shapes, inputs, attributes: vec![], run }
}

fn clamp(call: &Call) -> Result<Outputs> {
    let bound = |name| call.has(name).then(|| call.number(name, 0.0)).transpose();
    output(call.tensor("input")?.clamp(bound("min")?, bound("max")?)?)
}

macro_rules! maps {
    ($($name:literal, $formula:literal, $method:ident;)*) => {
        vec![$(Operation {
            name: $name,
            formula: $formula,
            shapes: "input of any shape; output the same",
            inputs: &["input"],
            attributes: vec![],
            run: |call| output(call.tensor("input")?.$method()?),
        }),*]
    };
}

pub(super) fn operations() -> Vec<Operation> {
    let mut all = maps! {
        "abs", "output = |input|", abs;
        "ceil", "output = the next whole number above", ceil;
        "cos", "output = cos(input)", cos;
        "erf", "output = 2 / sqrt(pi) * integral of e^(-t^2) from 0 to input", erf;
        "exp", "output = e^input", exp;
        "expm1", "output = e^input - 1", expm1;
        "floor", "output = the next whole number below", floor;
        "log", "output = ln(input)", log;
        "log10", "output = log10(input)", log10;
        "log1p", "output = ln(1 + input)", log1p;
        "log2", "output = log2(input)", log2;
        "reciprocal", "output = 1 / input", reciprocal;
        "round", "output = the nearest whole number, the even one of two", round;
        "rsqrt", "output = 1 / sqrt(input)", rsqrt;
        "sign", "output = -1, 0 or 1", sign;
        "sin", "output = sin(input)", sin;
        "sqrt", "output = sqrt(input)", sqrt;
        "square", "output = input^2", square;
        "trunc", "output = the whole part of input", trunc;
    };
    all.extend([
        binary(
            "add",
            "output = input + alpha * other",
            vec![other(), Attribute::number("alpha", "1")],
            add,
        ),
        binary(
            "sub",
            "output = input - alpha * other",
            vec![other(), Attribute::number("alpha", "1")],
            sub,
        ),
        binary("rsub", "output = other - input", vec![other()], rsub),
        binary("mul", "output = input * other", vec![other()], |call| {
            apply(call, |x, y| x * y, |x, a| x * a)
        }),
        binary("div", "output = input / other", vec![other()], |call| {
            apply(call, |x, y| x / y, |x, a| x / a)
        }),
        Operation {
            name: "pow",
            formula: "output = input^exponent",
            shapes: "input and exponent broadcast, or exponent is a number; output the shape of both",
            inputs: &["input", "exponent?"],
            attributes: vec![Attribute::number("exponent", "the tensor exponent")],
            run: |call| output(call.tensor("input")?.pow(operand(call, "exponent")?)?),
        },
        Operation {
            name: "clamp",
            formula: "output = min(max(input, min), max)",
            shapes: "input of any shape; output the same",
            inputs: &["input"],
            attributes: vec![Attribute::number("min", "no bound"), Attribute::number("max", "no bound")],
            run: clamp,
        },
        Operation {
            name: "neg",
            formula: "output = -input",
            shapes: "input of any shape; output the same",
            inputs: &["input"],
            attributes: vec![],
            run: |call| output((-call.tensor("input")?)?),
        },
        tensors_only(
            "maximum",
            "output = the larger of input and other",
            "input and other broadcast; output the shape of both",
            &["input", "other"],
            |call| output(call.tensor("input")?.maximum(&call.tensor("other")?)?),
        ),
        tensors_only(
            "minimum",
            "output = the smaller of input and other",
            "input and other broadcast; output the shape of both",
            &["input", "other"],
            |call| output(call.tensor("input")?.minimum(&call.tensor("other")?)?),
        ),
        tensors_only(
            "matmul",
            "output[…, m, n] = sum over k of input[…, m, k] * other[…, k, n]",
            "input (…, M, K) or (K), other (…, K, N) or (K), … broadcast; output (…, M, N) without the vectors' axes",
            &["input", "other"],
            |call| output(call.tensor("input")?.matmul(&call.tensor("other")?)?),
        ),
        tensors_only(
            "bmm",
            "output[b, m, n] = sum over k of input[b, m, k] * mat2[b, k, n]",
            "input (B, M, K), mat2 (B, K, N); output (B, M, N)",
            &["input", "mat2"],
            |call| output(call.tensor("input")?.bmm(&call.tensor("mat2")?)?),
        ),
    ]);
    all
}
