//! Reductions over axes.

use rasgo::{Error, Result, Tensor};

use super::{Attribute, Call, Operation, Outputs, axis, axis_if_given, output, signed};

fn over(
    name: &'static str,
    formula: &'static str,
    attributes: Vec<Attribute>,
    run: fn(&Call) -> Result<Outputs>,
) -> Operation {
    Operation {
        name,
        formula,
        shapes: "input of any shape; output without the axes of dim, or with size 1 there",
        inputs: &["input"],
        attributes,
        run,
    }
}

/// Several axes, all by default, and whether they stay.
fn axes() -> Vec<Attribute> {
    vec![Attribute::integers("dim", "all"), Attribute::flag("keepdim")]
}

/// One axis, or all, and whether it stays.
fn one(default: &'static str) -> Vec<Attribute> {
    vec![Attribute::integer("dim", default), Attribute::flag("keepdim")]
}

fn corrected() -> Vec<Attribute> {
    let mut attributes = axes();
    attributes.push(Attribute::number("correction", "1"));
    attributes
}

macro_rules! over_axes {
    ($($name:literal, $formula:literal, $method:ident;)*) => {
        vec![$(over($name, $formula, axes(), |call| {
            output(call.tensor("input")?.$method(&signed(call, "dim")?, call.flag("keepdim", false)?)?)
        })),*]
    };
}

fn norm(call: &Call) -> Result<Outputs> {
    let (dim, keep) = (signed(call, "dim")?, call.flag("keepdim", false)?);
    output(call.tensor("input")?.norm(call.number("p", 2.0)?, &dim, keep)?)
}

/// Without dim there is no axis that could stay, as in PyTorch.
fn all_of(call: &Call, reduce: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Outputs> {
    if call.has("keepdim") {
        let error = Error::argument("--keepdim without --dim").op(call.name());
        return Err(error.hint("give the axis that is to stay with size 1"));
    }
    output(reduce(&call.tensor("input")?)?)
}

fn logsumexp(call: &Call) -> Result<Outputs> {
    if !call.has("dim") {
        return Err(call.needs("dim"));
    }
    output(call.tensor("input")?.logsumexp(&signed(call, "dim")?, call.flag("keepdim", false)?)?)
}

pub(super) fn operations() -> Vec<Operation> {
    let mut all = over_axes! {
        "all", "output = 1 where no element over dim is 0, else 0", all;
        "amax", "output = the largest over dim; equal ones share the gradient", amax;
        "amin", "output = the smallest over dim; equal ones share the gradient", amin;
        "any", "output = 1 where an element over dim is not 0, else 0", any;
        "mean", "output = sum of input over dim / number of elements", mean_axes;
        "sum", "output = sum of input over dim", sum_axes;
    };
    all.extend([
        over(
            "var",
            "output = sum of (input - mean)^2 over dim / (number - correction)",
            corrected(),
            |call| {
                let (dim, keep) = (signed(call, "dim")?, call.flag("keepdim", false)?);
                output(call.tensor("input")?.var(&dim, call.number("correction", 1.0)?, keep)?)
            },
        ),
        over("std", "output = sqrt(var)", corrected(), |call| {
            let (dim, keep) = (signed(call, "dim")?, call.flag("keepdim", false)?);
            output(call.tensor("input")?.std(&dim, call.number("correction", 1.0)?, keep)?)
        }),
        over("logsumexp", "output = ln(sum of e^input over dim)", axes(), logsumexp),
        over(
            "norm",
            "output = (sum of |input|^p over dim)^(1 / p); the largest |input| for p = inf, the least for -inf, how many are not 0 for 0",
            [vec![Attribute::number("p", "2")], axes()].concat(),
            norm,
        ),
        over(
            "max",
            "output = the largest along dim, indices = where; over all without dim",
            one("all"),
            |call| {
                let (input, keep) = (call.tensor("input")?, call.flag("keepdim", false)?);
                let Some(dim) = axis_if_given(call, "dim")? else { return all_of(call, Tensor::max_all) };
                let (values, indices) = input.max(dim, keep)?;
                Ok(vec![("output", values), ("indices", indices)])
            },
        ),
        over(
            "min",
            "output = the smallest along dim, indices = where; over all without dim",
            one("all"),
            |call| {
                let (input, keep) = (call.tensor("input")?, call.flag("keepdim", false)?);
                let Some(dim) = axis_if_given(call, "dim")? else { return all_of(call, Tensor::min_all) };
                let (values, indices) = input.min(dim, keep)?;
                Ok(vec![("output", values), ("indices", indices)])
            },
        ),
        over("argmax", "output = where the largest stands along dim, or among all", one("all"), |call| {
            let keep = call.flag("keepdim", false)?;
            output(call.tensor("input")?.argmax(axis_if_given(call, "dim")?, keep)?)
        }),
        over("argmin", "output = where the smallest stands along dim, or among all", one("all"), |call| {
            let keep = call.flag("keepdim", false)?;
            output(call.tensor("input")?.argmin(axis_if_given(call, "dim")?, keep)?)
        }),
        over("prod", "output = product of input along dim, or of all", one("all"), |call| {
            let Some(dim) = axis_if_given(call, "dim")? else {
                return all_of(call, |input| input.prod(None, false));
            };
            output(call.tensor("input")?.prod(dim, call.flag("keepdim", false)?)?)
        }),
        Operation {
            name: "cumsum",
            formula: "output[i] = input[0] + … + input[i] along dim",
            shapes: "input of any shape; output the same",
            inputs: &["input"],
            attributes: vec![Attribute::integer("dim", "required")],
            run: |call| output(call.tensor("input")?.cumsum(axis(call, "dim")?)?),
        },
    ]);
    all
}
