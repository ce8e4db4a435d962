//! Picking and placing by an index, order, classes as rows.

use rasgo::Result;

use super::{Attribute, Call, Operation, Outputs, axis, output, signed_or};

fn indexed(
    name: &'static str,
    formula: &'static str,
    shapes: &'static str,
    inputs: &'static [&'static str],
    run: fn(&Call) -> Result<Outputs>,
) -> Operation {
    Operation { name, formula, shapes, inputs, attributes: vec![Attribute::integer("dim", "required")], run }
}

fn ordered(
    name: &'static str,
    formula: &'static str,
    shapes: &'static str,
    attributes: Vec<Attribute>,
    run: fn(&Call) -> Result<Outputs>,
) -> Operation {
    Operation { name, formula, shapes, inputs: &["input"], attributes, run }
}

fn order() -> Vec<Attribute> {
    // rasgo's order is stable always, so the attribute changes nothing.
    vec![Attribute::integer("dim", "-1"), Attribute::flag("descending"), Attribute::flag("stable")]
}

fn sort(call: &Call) -> Result<Outputs> {
    call.flag("stable", false)?;
    let (dim, descending) = (signed_or(call, "dim", -1)?, call.flag("descending", false)?);
    let (values, indices) = call.tensor("input")?.sort(dim, descending)?;
    Ok(vec![("output", values), ("indices", indices)])
}

fn argsort(call: &Call) -> Result<Outputs> {
    call.flag("stable", false)?;
    let (dim, descending) = (signed_or(call, "dim", -1)?, call.flag("descending", false)?);
    output(call.tensor("input")?.argsort(dim, descending)?)
}

fn topk(call: &Call) -> Result<Outputs> {
    if !call.has("k") {
        return Err(call.needs("k"));
    }
    // Unsorted is any order, also this one.
    call.flag("sorted", true)?;
    let (dim, largest) = (signed_or(call, "dim", -1)?, call.flag("largest", true)?);
    let (values, indices) = call.tensor("input")?.topk(call.size("k", 0)?, dim, largest)?;
    Ok(vec![("output", values), ("indices", indices)])
}

fn one_hot(call: &Call) -> Result<Outputs> {
    let input = call.tensor("input")?;
    match call.integer("num_classes", -1)? {
        -1 => output(input.one_hot(None)?),
        _ => output(input.one_hot(call.size("num_classes", 0)?)?),
    }
}

pub(super) fn operations() -> Vec<Operation> {
    vec![
        indexed(
            "index_select",
            "output[i] = input[index[i]] along dim",
            "index (K), i64; output has K along dim",
            &["input", "index"],
            |call| output(call.tensor("input")?.index_select(axis(call, "dim")?, &call.tensor("index")?)?),
        ),
        indexed(
            "index_add",
            "output = input, and output[index[i]] += source[i] along dim",
            "index (K), i64; source as input, with K along dim",
            &["input", "index", "source"],
            |call| {
                let (index, source) = (call.tensor("index")?, call.tensor("source")?);
                output(call.tensor("input")?.index_add(axis(call, "dim")?, &index, &source)?)
            },
        ),
        indexed(
            "gather",
            "output[i, j] = input[index[i, j], j] for dim 0, and so for others",
            "index (i64) is nowhere larger than input but along dim; output as index",
            &["input", "index"],
            |call| output(call.tensor("input")?.gather(axis(call, "dim")?, &call.tensor("index")?)?),
        ),
        indexed(
            "scatter",
            "output = input, and output[index[i, j], j] = src[i, j] for dim 0, and so for others",
            "index (i64) is nowhere larger than src, nor than input but along dim",
            &["input", "index", "src"],
            |call| {
                let (index, src) = (call.tensor("index")?, call.tensor("src")?);
                output(call.tensor("input")?.scatter(axis(call, "dim")?, &index, &src)?)
            },
        ),
        indexed(
            "scatter_add",
            "output = input, and output[index[i, j], j] += src[i, j] for dim 0, and so for others",
            "index (i64) is nowhere larger than src, nor than input but along dim",
            &["input", "index", "src"],
            |call| {
                let (index, src) = (call.tensor("index")?, call.tensor("src")?);
                output(call.tensor("input")?.scatter_add(axis(call, "dim")?, &index, &src)?)
            },
        ),
        ordered(
            "sort",
            "output = input in rising order along dim, indices = where it stood",
            "as input",
            order(),
            sort,
        ),
        ordered(
            "argsort",
            "output = the positions of input in rising order along dim",
            "as input",
            order(),
            argsort,
        ),
        ordered(
            "topk",
            "output = the k largest along dim, indices = where they stood; the first of equals",
            "k along dim",
            vec![
                Attribute::integer("k", "required"),
                Attribute::integer("dim", "-1"),
                Attribute::flag_or("largest", "true"),
                Attribute::flag_or("sorted", "true"),
            ],
            topk,
        ),
        ordered(
            "one_hot",
            "output[…, c] = 1 where input[…] = c, else 0",
            "input (…), i64; output (…, num_classes)",
            vec![Attribute::integer("num_classes", "the largest + 1")],
            one_hot,
        ),
    ]
}
