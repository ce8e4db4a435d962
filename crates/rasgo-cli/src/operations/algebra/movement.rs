//! Other shapes, parts, and joined tensors.

use rasgo::{Error, Result, Tensor};

use super::{Attribute, Call, Operation, Outputs, axis, output, signed, signed_or};

fn one(
    name: &'static str,
    formula: &'static str,
    shapes: &'static str,
    attributes: Vec<Attribute>,
    run: fn(&Call) -> Result<Outputs>,
) -> Operation {
    Operation { name, formula, shapes, inputs: &["input"], attributes, run }
}

fn required(call: &Call, name: &str) -> Result<Vec<isize>> {
    if call.has(name) { signed(call, name) } else { Err(call.needs(name)) }
}

fn narrow(call: &Call) -> Result<Outputs> {
    let (input, dim) = (call.tensor("input")?, axis(call, "dim")?);
    if !call.has("start") || !call.has("length") {
        return Err(call.needs(if call.has("start") { "length" } else { "start" }));
    }
    let start = call.integer("start", 0)?;
    // PyTorch counts a negative start from the end of the axis.
    let rank = input.shape().len() as isize;
    let place = usize::try_from(if dim < 0 { dim + rank } else { dim });
    let size = place.ok().and_then(|place| input.shape().get(place)).map_or(0, |&size| size as i64);
    let from_end = if start < 0 { start.saturating_add(size) } else { start };
    let Ok(from) = usize::try_from(from_end) else {
        let text = format!("--start {start} along an axis of {size} elements");
        return Err(Error::argument(text).op(call.name()).hint("a negative start counts from the end"));
    };
    output(input.narrow(dim, from, call.size("length", 0)?)?)
}

fn repeats(call: &Call, name: &str) -> Result<Vec<usize>> {
    call.sizes(name)?.ok_or_else(|| call.needs(name))
}

fn tile(call: &Call) -> Result<Outputs> {
    let input = call.tensor("input")?;
    let dims = repeats(call, "dims")?;
    let mut counts = vec![1; input.shape().len().saturating_sub(dims.len())];
    counts.extend(dims);
    output(input.repeat(&counts)?)
}

fn roll(call: &Call) -> Result<Outputs> {
    let (input, shifts) = (call.tensor("input")?, required(call, "shifts")?);
    if call.has("dims") {
        return output(input.roll(&shifts, &signed(call, "dims")?)?);
    }
    let rolled = input.flatten(0)?.roll(&shifts, &[0])?;
    output(rolled.reshape(input.shape().clone())?)
}

fn joined(
    name: &'static str,
    formula: &'static str,
    shapes: &'static str,
    run: fn(&Call) -> Result<Outputs>,
) -> Operation {
    let attributes = vec![Attribute::integer("dim", "0")];
    Operation { name, formula, shapes, inputs: &["tensors*"], attributes, run }
}

pub(super) fn operations() -> Vec<Operation> {
    vec![
        joined(
            "cat",
            "output = the tensors one after the other along dim",
            "all sizes but that of dim agree",
            |call| output(Tensor::cat(&call.list("tensors")?, signed_or(call, "dim", 0)?)?),
        ),
        joined("stack", "output = the tensors along a new axis dim", "all of one shape", |call| {
            output(Tensor::stack(&call.list("tensors")?, signed_or(call, "dim", 0)?)?)
        }),
        one(
            "permute",
            "axis i of output = axis dims[i] of input",
            "input of any shape; output its sizes in another order",
            vec![Attribute::integers("dims", "required")],
            |call| output(call.tensor("input")?.permute(&required(call, "dims")?)?),
        ),
        one(
            "transpose",
            "output = input with dim0 and dim1 in each other's place",
            "input of two axes or more; output with two sizes changed round",
            vec![Attribute::integer("dim0", "required"), Attribute::integer("dim1", "required")],
            |call| output(call.tensor("input")?.transpose(axis(call, "dim0")?, axis(call, "dim1")?)?),
        ),
        one(
            "reshape",
            "output = the values of input in their order",
            "output has the sizes of shape, where one may be -1",
            vec![Attribute::integers("shape", "required")],
            |call| output(call.tensor("input")?.view(&required(call, "shape")?)?),
        ),
        one(
            "flatten",
            "output = input with the axes from start_dim to end_dim joined",
            "(N, C, H, W) gives (N, C*H*W) for start_dim 1",
            vec![Attribute::integer("start_dim", "0"), Attribute::integer("end_dim", "-1")],
            |call| {
                let (start, end) = (signed_or(call, "start_dim", 0)?, signed_or(call, "end_dim", -1)?);
                output(call.tensor("input")?.flatten_axes(start, end)?)
            },
        ),
        one(
            "unflatten",
            "output = input with the axis dim cut into sizes",
            "(N, 6) gives (N, 2, 3) for dim 1 and sizes 2,3; one may be -1",
            vec![Attribute::integer("dim", "required"), Attribute::integers("sizes", "required")],
            |call| output(call.tensor("input")?.unflatten(axis(call, "dim")?, &required(call, "sizes")?)?),
        ),
        one(
            "squeeze",
            "output = input without axes of size 1",
            "without those of dim that have size 1, or all such",
            vec![Attribute::integers("dim", "all")],
            |call| {
                let input = call.tensor("input")?;
                // An empty list names none; no list, all.
                match call.integers("dim")? {
                    Some(none) if none.is_empty() => output(input),
                    _ => output(input.squeeze(&signed(call, "dim")?)?),
                }
            },
        ),
        one(
            "unsqueeze",
            "output = input with an axis of size 1 at dim",
            "one axis more",
            vec![Attribute::integer("dim", "required")],
            |call| output(call.tensor("input")?.unsqueeze(axis(call, "dim")?)?),
        ),
        one(
            "broadcast_to",
            "output = input repeated along axes of size 1",
            "output has the sizes of size, where -1 keeps that of input",
            vec![Attribute::integers("size", "required")],
            |call| output(call.tensor("input")?.expand(&required(call, "size")?)?),
        ),
        one(
            "repeat",
            "output = input, whole, repeats times along each axis",
            "repeats has as many numbers as input has axes, or more",
            vec![Attribute::integers("repeats", "required")],
            |call| output(call.tensor("input")?.repeat(&repeats(call, "repeats")?)?),
        ),
        one(
            "tile",
            "output = input, whole, dims times along each axis",
            "as repeat; missing numbers are 1",
            vec![Attribute::integers("dims", "required")],
            tile,
        ),
        one(
            "flip",
            "output[i] = input[size - 1 - i] along each of dims",
            "output as input",
            vec![Attribute::integers("dims", "required")],
            |call| output(call.tensor("input")?.flip(&required(call, "dims")?)?),
        ),
        one(
            "roll",
            "output[(i + shift) mod size] = input[i] along each of dims; flat without dims",
            "output as input",
            vec![Attribute::integers("shifts", "required"), Attribute::integers("dims", "flat")],
            roll,
        ),
        one(
            "narrow",
            "output = input[start .. start + length] along dim",
            "output has length along dim",
            vec![
                Attribute::integer("dim", "required"),
                Attribute::integer("start", "required"),
                Attribute::integer("length", "required"),
            ],
            narrow,
        ),
        one(
            "select",
            "output = input[index] along dim",
            "output is without dim",
            vec![Attribute::integer("dim", "required"), Attribute::integer("index", "required")],
            |call| output(call.tensor("input")?.select(axis(call, "dim")?, axis(call, "index")?)?),
        ),
    ]
}
