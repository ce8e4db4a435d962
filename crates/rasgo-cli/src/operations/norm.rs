//! Normalisations and dropout.

use rasgo::ops::BatchNormOptions;
use rasgo::random::Key;
use rasgo::{Error, Result, Tensor};

use super::{Attribute, Call, Operation, Outputs, output};

/// Both running statistics, or neither.
fn running(call: &Call) -> Result<Option<(Tensor, Tensor)>> {
    match (call.constant("running_mean")?, call.constant("running_var")?) {
        (Some(mean), Some(var)) => Ok(Some((mean, var))),
        (None, None) => Ok(None),
        _ => Err(Error::argument("one of running_mean and running_var without the other")
            .op(call.name())
            .hint("give both, or neither")),
    }
}

fn no_statistics(call: &Call, attribute: &str) -> Error {
    Error::argument(format!("running_mean and running_var are missing, and {attribute} asks for them"))
        .op(call.name())
        .hint("give them, or take the statistics of the input")
}

fn with_running(y: Tensor, (mean, var): (Tensor, Tensor)) -> Result<Outputs> {
    Ok(vec![("output", y), ("running_mean", mean), ("running_var", var)])
}

fn batch_norm(call: &Call) -> Result<Outputs> {
    let x = call.tensor("input")?;
    let (weight, bias) = (call.optional("weight")?, call.optional("bias")?);
    let (weight, bias) = (weight.as_ref(), bias.as_ref());
    let options = BatchNormOptions { eps: call.number("eps", 1e-5)?, ..BatchNormOptions::default() };
    let momentum = call.number("momentum", 0.1)?;
    let running = running(call)?;
    if !call.flag("training", false)? {
        let (mean, var) = running.ok_or_else(|| no_statistics(call, "training=false"))?;
        return output(x.batch_norm_with(weight, bias, &mean, &var, options)?);
    }
    let batch = x.batch_norm(weight, bias, options)?;
    match running {
        None => output(batch.output),
        Some((mean, var)) => {
            let after = batch.running((&mean, &var), momentum)?;
            with_running(batch.output, after)
        }
    }
}

fn instance_norm(call: &Call) -> Result<Outputs> {
    let x = call.tensor("input")?;
    let (weight, bias) = (call.optional("weight")?, call.optional("bias")?);
    let (weight, bias) = (weight.as_ref(), bias.as_ref());
    let (eps, momentum) = (call.number("eps", 1e-5)?, call.number("momentum", 0.1)?);
    let own = call.flag("use_input_stats", true)?;
    match running(call)? {
        None if own => output(x.instance_norm(weight, bias, eps)?),
        None => Err(no_statistics(call, "use_input_stats=false")),
        Some((mean, var)) if own => {
            let (y, after) = x.instance_norm_running((&mean, &var), weight, bias, momentum, eps)?;
            with_running(y, after)
        }
        Some((mean, var)) => output(x.instance_norm_with((&mean, &var), weight, bias, eps)?),
    }
}

fn group_norm(call: &Call) -> Result<Outputs> {
    if !call.has("num_groups") {
        return Err(call.needs("num_groups"));
    }
    let (weight, bias) = (call.optional("weight")?, call.optional("bias")?);
    let (groups, eps) = (call.size("num_groups", 1)?, call.number("eps", 1e-5)?);
    output(call.tensor("input")?.group_norm(groups, weight.as_ref(), bias.as_ref(), eps)?)
}

fn layer_norm(call: &Call) -> Result<Outputs> {
    let shape = call.sizes("normalized_shape")?.ok_or_else(|| call.needs("normalized_shape"))?;
    let (weight, bias) = (call.optional("weight")?, call.optional("bias")?);
    let eps = call.number("eps", 1e-5)?;
    output(call.tensor("input")?.layer_norm(shape, weight.as_ref(), bias.as_ref(), eps)?)
}

fn dropout(call: &Call) -> Result<Outputs> {
    let (x, p) = (call.tensor("input")?, call.number("p", 0.5)?);
    let key = Key::new(call.integer("seed", 0)? as u64, 0);
    let rank = x.shape().len();
    let channels = call.name() != "dropout";
    if channels {
        let (least, most) = [(2, 3), (3, 4), (4, 5)][call.dims() - 1];
        if !(least..=most).contains(&rank) {
            let text = format!("input {} has {rank} axes, not {most}", x.shape());
            return Err(Error::shape(text).op(call.name()).hint("give (N, C, …)"));
        }
    }
    if !call.flag("training", true)? {
        // Also a probability that is not used must be one.
        let none = Tensor::zeros([0], x.dtype())?;
        none.dropout(p, key)?;
        return output(x);
    }
    match channels {
        false => output(x.dropout(p, key)?),
        // As in PyTorch three axes of dropout2d are (N, C, L), and the fewest of the others are one sample.
        true if rank == call.dims() + 1 && call.dims() != 2 => {
            let shape = x.shape().clone();
            let one: Vec<usize> = std::iter::once(1).chain(shape.iter().copied()).collect();
            output(x.reshape(one)?.dropout_channels(p, key)?.reshape(shape)?)
        }
        true => output(x.dropout_channels(p, key)?),
    }
}

pub(super) fn operations() -> Vec<Operation> {
    let eps = || Attribute::number("eps", "1e-5");
    let momentum = || Attribute::number("momentum", "0.1");
    let mut all = vec![
        Operation {
            name: "batch_norm",
            formula: "output = (input - mean[c]) / sqrt(var[c] + eps) * weight[c] + bias[c], with the batch's statistics in training and the running ones else",
            shapes: "input (N, C, …), all others (C); output as input, running_mean and running_var (C) where training changes them",
            inputs: &["input", "running_mean?", "running_var?", "weight?", "bias?"],
            attributes: vec![Attribute::flag("training"), momentum(), eps()],
            run: batch_norm,
        },
        Operation {
            name: "instance_norm",
            formula: "output = (input - mean[n, c]) / sqrt(var[n, c] + eps) * weight[c] + bias[c]",
            shapes: "input (N, C, …), all others (C); output as input, running_mean and running_var (C) where they change",
            inputs: &["input", "running_mean?", "running_var?", "weight?", "bias?"],
            attributes: vec![Attribute::flag_or("use_input_stats", "true"), momentum(), eps()],
            run: instance_norm,
        },
        Operation {
            name: "group_norm",
            formula: "output = (input - mean[n, group of c]) / sqrt(var[n, group of c] + eps) * weight[c] + bias[c]",
            shapes: "input (N, C, …), weight and bias (C); output as input",
            inputs: &["input", "weight?", "bias?"],
            attributes: vec![Attribute::integer("num_groups", "required"), eps()],
            run: group_norm,
        },
        Operation {
            name: "layer_norm",
            formula: "output = (input - mean) / sqrt(var + eps) * weight + bias, with the statistics of the last axes",
            shapes: "input (…, normalized_shape), weight and bias of normalized_shape; output as input",
            inputs: &["input", "weight?", "bias?"],
            attributes: vec![Attribute::integers("normalized_shape", "required"), eps()],
            run: layer_norm,
        },
    ];
    let dropouts = [
        (
            "dropout",
            "output = input / (1 - p), and 0 for each element with probability p",
            "input of any shape",
        ),
        (
            "dropout1d",
            "output = input / (1 - p), and 0 for each channel with probability p",
            "input (N, C, L)",
        ),
        (
            "dropout2d",
            "output = input / (1 - p), and 0 for each channel with probability p",
            "input (N, C, H, W)",
        ),
        (
            "dropout3d",
            "output = input / (1 - p), and 0 for each channel with probability p",
            "input (N, C, D, H, W)",
        ),
    ];
    all.extend(dropouts.map(|(name, formula, shapes)| Operation {
        name,
        formula,
        shapes,
        inputs: &["input"],
        attributes: vec![
            Attribute::number("p", "0.5"),
            Attribute::flag_or("training", "true"),
            Attribute::integer("seed", "0"),
        ],
        run: dropout,
    }));
    all
}
