//! Padding, interpolation and pixel shuffles: other spatial sizes.

use rasgo::ops::{InterpolateMode, InterpolateOptions, InterpolateTo, PadMode};
use rasgo::{Error, Result};

use super::{Attribute, Call, Operation, Outputs, output};

fn pad(call: &Call) -> Result<Outputs> {
    let numbers = call.integers("pad")?.ok_or_else(|| call.needs("pad"))?;
    if !numbers.len().is_multiple_of(2) {
        return Err(Error::argument(format!("--pad has {} numbers", numbers.len()))
            .op(call.name())
            .hint("give two for each axis, before and after, the last axis first"));
    }
    let value = call.number("value", 0.0)?;
    let named = call.text("mode").unwrap_or("constant");
    let mode = match PadMode::named(named, value) {
        Ok(mode) => mode,
        Err(error) => return Err(error.op(call.name())),
    };
    if !matches!(mode, PadMode::Constant(_)) && value != 0.0 {
        return Err(Error::argument(format!("--value {value} with mode {named}"))
            .op(call.name())
            .hint("it belongs to the mode constant"));
    }
    let pads: Vec<(isize, isize)> =
        numbers.chunks_exact(2).rev().map(|pair| (pair[0] as isize, pair[1] as isize)).collect();
    output(call.tensor("input")?.pad(&pads, mode)?)
}

/// One value for all spatial axes or one for each, at the end of three.
fn axes<T: Copy>(call: &Call, name: &str, values: Vec<T>, spatial: usize) -> Result<[T; 3]> {
    match values[..] {
        [all] => Ok([all; 3]),
        _ if values.len() == spatial && (2..=3).contains(&spatial) => {
            Ok(std::array::from_fn(|axis| values[(axis + spatial).saturating_sub(3)]))
        }
        _ => Err(Error::argument(format!("--{name} has {} values for {spatial} axes", values.len()))
            .op(call.name())
            .hint("give one, or one for each spatial axis")),
    }
}

fn interpolate(call: &Call) -> Result<Outputs> {
    let x = call.tensor("input")?;
    let spatial = x.shape().len().saturating_sub(2);
    let to = match (call.sizes("size")?, call.numbers("scale_factor")?) {
        (Some(sizes), None) => InterpolateTo::Size(axes(call, "size", sizes, spatial)?),
        (None, Some(factors)) => InterpolateTo::ScaleFactor(axes(call, "scale-factor", factors, spatial)?),
        _ => {
            return Err(
                Error::argument("--size or --scale-factor, one of them must be given").op(call.name())
            );
        }
    };
    let named = call.text("mode").unwrap_or("nearest");
    let mode = InterpolateMode::named(named, spatial)?;
    if call.has("align_corners") && !mode.has_corners() {
        return Err(Error::argument(format!("--align-corners with mode {named}"))
            .op(call.name())
            .hint("it belongs to linear, bilinear, bicubic and trilinear"));
    }
    output(x.interpolate(&InterpolateOptions {
        align_corners: call.flag("align_corners", false)?,
        recompute_scale_factor: call.flag("recompute_scale_factor", false)?,
        ..InterpolateOptions::new(to, mode)
    })?)
}

fn factor(call: &Call, name: &str) -> Result<usize> {
    match call.has(name) {
        true => call.size(name, 1),
        false => Err(call.needs(name)),
    }
}

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation {
            name: "pad",
            formula: "output[p] = input[p - before]; outside it the value, the mirror, the edge or the other end",
            shapes: "input of any shape, (N, C, …) or (C, …) unless the mode is constant; output: each axis before + size + after",
            inputs: &["input"],
            attributes: vec![
                Attribute::integers(
                    "pad",
                    "required; before,after of the last axis, then of the one before it",
                ),
                Attribute::text("mode", "constant; also reflect, replicate, circular"),
                Attribute::number("value", "0"),
            ],
            run: pad,
        },
        Operation {
            name: "interpolate",
            formula: "output[n, c, o] = input[n, c, ·] at (o + 1/2) * in / out - 1/2, between its neighbours as the mode says",
            shapes: "input (N, C, L), (N, C, H, W) or (N, C, D, H, W); output (N, C, size)",
            inputs: &["input"],
            attributes: vec![
                Attribute::axes("size", "this or scale_factor"),
                Attribute::numbers("scale_factor", "this or size"),
                Attribute::text(
                    "mode",
                    "nearest; also nearest-exact, linear, bilinear, bicubic, trilinear, area",
                ),
                Attribute::flag("align_corners"),
                Attribute::flag("recompute_scale_factor"),
            ],
            run: interpolate,
        },
        Operation {
            name: "pixel_shuffle",
            formula: "output[…, c, h * r + i, w * r + j] = input[…, c * r * r + i * r + j, h, w]",
            shapes: "input (…, C * r * r, H, W); output (…, C, H * r, W * r)",
            inputs: &["input"],
            attributes: vec![Attribute::integer("upscale_factor", "required")],
            run: |call| output(call.tensor("input")?.pixel_shuffle(factor(call, "upscale_factor")?)?),
        },
        Operation {
            name: "pixel_unshuffle",
            formula: "output[…, c * r * r + i * r + j, h, w] = input[…, c, h * r + i, w * r + j]",
            shapes: "input (…, C, H * r, W * r); output (…, C * r * r, H, W)",
            inputs: &["input"],
            attributes: vec![Attribute::integer("downscale_factor", "required")],
            run: |call| output(call.tensor("input")?.pixel_unshuffle(factor(call, "downscale_factor")?)?),
        },
    ]
}
