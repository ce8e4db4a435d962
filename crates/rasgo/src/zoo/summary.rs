//! A row for each layer: the same forward, on tensors without values.

use std::collections::HashMap;

use rasgo_core::op::Event;
use rasgo_core::reach::{Coverage, fields};
use rasgo_core::{DType, Result, Tensor, observe};
use serde::Serialize;

use super::seen::Seen;
use crate::nn::{Item, Module, ModuleExt, Visitable, shape_only_forward, walk};

/// One layer of a summary.
#[derive(Clone, Debug, Serialize)]
pub struct LayerRow {
    /// The layer's path, as among the weights.
    pub path: String,
    /// The layer's type.
    #[serde(rename = "type")]
    pub kind: String,
    /// The shape of its output for one input, without the batch.
    pub output: Vec<usize>,
    /// Its parameters.
    pub parameters: usize,
    /// Multiply-adds for one input.
    pub multiply_adds: u64,
    /// Input pixels along each spatial axis that one output depends on, padding included; a whole axis once a layer has
    /// seen it all.
    pub receptive_field: Vec<usize>,
    /// Input pixels along each spatial axis from one output's field to its neighbour's: the product of the strides so
    /// far. `None` where it differs from place to place, or one output is all that there is to see.
    pub effective_stride: Vec<Option<usize>>,
    /// How far the first output's field begins before the input along each spatial axis. `None` as the stride.
    pub effective_padding: Vec<Option<i64>>,
    /// Which part of the input at least one of the layer's outputs depends on.
    #[serde(flatten)]
    pub seen: Seen,
}

/// A model, layer by layer.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// The model's name.
    pub model: String,
    /// The shape of one input.
    pub input: Vec<usize>,
    /// All parameters.
    pub parameters: usize,
    /// All multiply-adds for one input.
    pub multiply_adds: u64,
    /// Which part of the input the model's output depends on.
    #[serde(flatten)]
    pub seen: Seen,
    /// The layers in the order in which they run.
    pub layers: Vec<LayerRow>,
}

impl Summary {
    /// Bytes of activations for one input, if every layer's output is kept, as in training.
    pub fn activation_bytes(&self) -> usize {
        self.layers.iter().map(|row| row.output.iter().product::<usize>() * 4).sum()
    }
}

/// Runs the model once on an input without values and collects its layers.
///
/// Receptive fields and coverage follow the operations that the model really calls, over branches too: see
/// [`fields`] and [`Coverage`].
pub fn summarize(name: &str, model: &impl Module, input: &[usize]) -> Result<Summary> {
    let shape: Vec<usize> = std::iter::once(1).chain(input.iter().copied()).collect();
    // An input that wants a gradient makes the operations leave records, from which is read what they see of it.
    let x = Tensor::shape_only(shape, DType::F32).requires_grad();
    let (output, events) = observe(|| shape_only_forward(|| model.forward(x.clone())));
    let seen = |y: &Tensor| Seen::of(Coverage::of(y, &x).ok(), input.len().saturating_sub(1));
    let whole = seen(&output?);
    let parameters = parameters_by_layer(model);
    let mut multiply_adds: HashMap<String, u64> = HashMap::new();
    let mut layers: Vec<LayerRow> = Vec::new();
    for event in events {
        match event {
            Event::Op { layer: Some(layer), multiply_adds: count, .. } => {
                let sum = multiply_adds.entry(layer.to_string()).or_default();
                *sum = sum.saturating_add(count);
            }
            Event::Op { .. } => {}
            Event::Layer { path, kind, output } => {
                let fields = fields(&output, &x);
                layers.push(LayerRow {
                    kind: kind.to_string(),
                    output: output.shape()[1..].to_vec(),
                    parameters: parameters.get(&*path).copied().unwrap_or(0),
                    multiply_adds: 0,
                    receptive_field: fields.iter().map(|field| field.size).collect(),
                    effective_stride: fields.iter().map(|field| field.stride).collect(),
                    effective_padding: fields.iter().map(|field| field.padding).collect(),
                    seen: seen(&output),
                    path: path.to_string(),
                });
            }
        }
    }
    for row in &mut layers {
        row.multiply_adds = multiply_adds.get(&row.path).copied().unwrap_or(0);
    }
    Ok(Summary {
        model: name.to_string(),
        input: input.to_vec(),
        parameters: model.parameter_count(),
        multiply_adds: multiply_adds.values().fold(0, |sum: u64, count| sum.saturating_add(*count)),
        seen: whole,
        layers,
    })
}

fn parameters_by_layer(model: &dyn Visitable) -> HashMap<String, usize> {
    let mut counts = HashMap::new();
    walk(model, |path, item| {
        if let (Item::Parameter(parameter), Some((layer, _))) = (item, path.rsplit_once('.')) {
            *counts.entry(layer.to_string()).or_default() += parameter.shape().elements();
        }
    });
    counts
}
