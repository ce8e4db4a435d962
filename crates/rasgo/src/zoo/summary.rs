//! A row for each layer: the same forward, on tensors without values.

use std::collections::HashMap;

use rasgo_core::op::{Event, Window};
use rasgo_core::{DType, Result, Tensor, no_grad, observe};
use serde::Serialize;

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
    /// Input pixels along each spatial axis that one output depends on; a whole axis once a layer has seen it all.
    pub receptive_field: Vec<usize>,
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
/// Receptive fields follow the chain of layers: of a window of k cells with dilation d,
/// `field += d (k - 1) * jump`, `jump *= stride`.
pub fn summarize(name: &str, model: &impl Module, input: &[usize]) -> Result<Summary> {
    let shape: Vec<usize> = std::iter::once(1).chain(input.iter().copied()).collect();
    let x = Tensor::shape_only(shape, DType::F32);
    let (output, events) = observe(|| no_grad(|| shape_only_forward(|| model.forward(x))));
    output?;
    let parameters = parameters_by_layer(model);
    let mut multiply_adds: HashMap<String, u64> = HashMap::new();
    let mut layers: Vec<LayerRow> = Vec::new();
    let spatial = &input[1..];
    let (mut field, mut jump) = (vec![1; spatial.len()], vec![1; spatial.len()]);
    for event in events {
        match event {
            Event::Op { layer: Some(layer), multiply_adds: count, .. } => {
                let sum = multiply_adds.entry(layer.to_string()).or_default();
                *sum = sum.saturating_add(count);
            }
            Event::Op { .. } => {}
            Event::Layer { path, kind, output, window } => {
                if let Some(window) = window {
                    grow(&mut field, &mut jump, &window, spatial);
                } else if kind == "Linear" || kind == "Flatten" {
                    field = spatial.to_vec();
                }
                layers.push(LayerRow {
                    kind: kind.to_string(),
                    output: output.shape()[1..].to_vec(),
                    parameters: parameters.get(&*path).copied().unwrap_or(0),
                    multiply_adds: 0,
                    receptive_field: field.clone(),
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
        layers,
    })
}

fn grow(field: &mut [usize], jump: &mut [usize], window: &Window, spatial: &[usize]) {
    let first = 3 - spatial.len();
    for axis in 0..spatial.len() {
        match window.kernel {
            Some(kernel) => {
                let reach = window.dilation[first + axis] * (kernel[first + axis] - 1);
                // A model file may say any number.
                field[axis] = field[axis].saturating_add(reach.saturating_mul(jump[axis]));
                jump[axis] = jump[axis].saturating_mul(window.stride[first + axis]);
            }
            None => field[axis] = spatial[axis].max(field[axis]),
        }
    }
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
