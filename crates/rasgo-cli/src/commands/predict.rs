use std::path::PathBuf;

use clap::Args;
use rasgo::Result;
use rasgo::data::{is_sample_name, sample_by_name};
use rasgo::train::SavedModel;
use serde_json::json;

use crate::terminal::print;

/// An image file of any size and mode is brought to the model's input.
#[derive(Debug, Args)]
pub(crate) struct Predict {
    /// A run folder, or a model.safetensors
    run: PathBuf,
    /// Image files, or samples by name, as mnist:test:42
    #[arg(required = true)]
    images: Vec<String>,
    /// Classes to show for each image
    #[arg(long, value_name = "N", default_value_t = 3)]
    top: usize,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Predict {
    pub(crate) fn run(self) -> Result<()> {
        let model = SavedModel::load(&self.run)?;
        let mut predictions = Vec::new();
        for image in &self.images {
            let probabilities = if is_sample_name(image) {
                let (dataset, index) = sample_by_name(image)?;
                model.predict(&dataset.get(index)?.input)?
            } else {
                model.predict_file(image)?
            };
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
