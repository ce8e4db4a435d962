use std::path::PathBuf;

use clap::Args;
use rasgo::data::{is_sample_name, sample_by_name};
use rasgo::train::SavedModel;
use rasgo::{DType, Result, Tensor};
use serde_json::json;

use crate::terminal::{note, print};

/// An image file of any size and mode is brought to the model's input.
#[derive(Debug, Args)]
pub(crate) struct Predict {
    /// A run folder, or a model.safetensors
    run: PathBuf,
    /// Image files, or samples by name, as mnist:test:42
    #[arg(required = true)]
    images: Vec<String>,
    /// Turn dark and bright around, for images on the other ground than those of the training
    #[arg(long)]
    invert: bool,
    /// Classes to show for each image
    #[arg(long, value_name = "N", default_value_t = 3)]
    top: usize,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// 255 - x of a picture of bytes, 1 - x of floats.
fn inverted(image: &Tensor) -> Result<Tensor> {
    let shape = image.shape().clone();
    match image.dtype() {
        DType::U8 => {
            Tensor::from_vec(image.to_vec::<u8>()?.into_iter().map(|x| 255 - x).collect::<Vec<u8>>(), shape)
        }
        _ => image.clone().scale(-1.0)?.add_scalar(1.0),
    }
}

/// Whether a grey image is mostly bright and those that the model was trained on mostly dark, or the other way round.
fn other_ground(model: &SavedModel, image: &Tensor) -> Result<bool> {
    let [mean] = model.info.normalize.mean[..] else { return Ok(false) };
    let bytes = image.dtype() == DType::U8;
    let values = image.to_f64_vec()?;
    let own = values.iter().sum::<f64>() / values.len().max(1) as f64 / if bytes { 255.0 } else { 1.0 };
    let (own, mean) = (own - 0.5, f64::from(mean) - 0.5);
    Ok(own * mean < 0.0 && own.abs().min(mean.abs()) > 0.15)
}

impl Predict {
    pub(crate) fn run(self) -> Result<()> {
        let model = SavedModel::load(&self.run)?;
        let mut predictions = Vec::new();
        for image in &self.images {
            let mut input = if is_sample_name(image) {
                let (dataset, index) = sample_by_name(image)?;
                dataset.get(index)?.input
            } else {
                model.read(image)?
            };
            if self.invert {
                input = inverted(&input)?;
            } else if other_ground(&model, &input)? {
                note(&format!(
                    "{image} is bright where the training images are dark, or the other way round: is --invert meant?"
                ));
            }
            let probabilities = model.predict(&input)?;
            let mut order: Vec<usize> = (0..probabilities.len()).collect();
            order.sort_by(|&a, &b| probabilities[b].total_cmp(&probabilities[a]));
            let best: Vec<(&str, f32)> = order
                .iter()
                .map(|&class| (model.info.classes[class].as_str(), probabilities[class]))
                .collect();
            if self.json {
                let classes: Vec<_> =
                    best.iter().map(|(name, p)| json!({"name": name, "probability": p})).collect();
                predictions.push(json!({"image": image, "classes": classes}));
            } else {
                let shown =
                    best.iter().take(self.top.max(1)).map(|(name, p)| format!("{name} {:.2} %", 100.0 * p));
                print(&format!("{image}: {}", shown.collect::<Vec<_>>().join(", ")))?;
            }
        }
        if self.json {
            print(&json!({"predictions": predictions}).to_string())?;
        }
        Ok(())
    }
}
