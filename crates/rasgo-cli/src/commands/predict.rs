use std::path::{Path, PathBuf};

use clap::Args;
use rasgo::data::{is_sample_name, read_samples, sample_by_name, samples_called, transposition};
use rasgo::formats::{Disk, npy};
use rasgo::nn::ModuleExt;
use rasgo::train::SavedModel;
use rasgo::{DType, Error, ErrorKind, Result, Tensor};
use serde_json::json;

use crate::numbers::positive;
use crate::terminal::{note, print, print_error};

/// An image file of any size and mode is brought to the model's input; arrays must have its shape, alone or as a batch.
///
/// The model computes in the type of values that it was trained in, f32 or bf16, with its normalisations folded into the layers
/// before them: probabilities may differ from those of eval in the digits that the type does not hold.
#[derive(Debug, Args)]
pub(crate) struct Predict {
    /// A run folder, or a model.safetensors
    run: PathBuf,
    /// Image files; .npy files of one sample or a batch; .npz or .safetensors files with x; or samples by name, as
    /// mnist:test:42
    #[arg(required = true)]
    images: Vec<String>,
    /// Turn dark and bright of files around, for images on the other ground than those of the training; samples by name
    /// stay as they are
    #[arg(long)]
    invert: bool,
    /// Classes to show for each sample [default: 3, or all with --json]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = positive)]
    top: Option<usize>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Write the probabilities as an array (N, classes) of float32
    #[arg(long, value_name = "FILE.npy", value_parser = npy_path)]
    out: Option<PathBuf>,
}

fn npy_path(text: &str) -> std::result::Result<PathBuf, String> {
    match text.ends_with(".npy") {
        true => Ok(PathBuf::from(text)),
        false => Err("an array is written, and its name ends in .npy".to_string()),
    }
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

/// Whether an argument names a sample of a data set, and no file.
fn names_sample(argument: &str) -> bool {
    is_sample_name(argument) && !Path::new(argument).exists()
}

impl Predict {
    /// The samples that one argument names, with what to call each.
    fn samples(&self, model: &SavedModel, argument: &str) -> Result<Vec<(String, Tensor)>> {
        let one = |sample: Tensor| Ok(vec![(argument.to_string(), sample)]);
        let shape = &model.network.architecture().input[..];
        if names_sample(argument) {
            let (dataset, index) = sample_by_name(argument)?;
            if dataset.shape()[..] != *shape {
                let text =
                    format!("{argument} has the shape {}, and the model takes {shape:?}", dataset.shape());
                let error = Error::new(ErrorKind::Data, text);
                return Err(match transposition(dataset.shape(), shape) {
                    Some(hint) => error.hint(hint),
                    None => error,
                });
            }
            return one(dataset.get(index)?.input);
        }
        match read_samples(argument, shape)? {
            None => one(model.read(argument)?),
            Some(batch) if batch.shape()[0] == 1 => one(batch.reshape(shape)?),
            Some(batch) => (0..batch.shape()[0])
                .map(|i| Ok((format!("{argument}:{i}"), batch.narrow(0, i, 1)?.reshape(shape)?)))
                .collect(),
        }
    }

    /// Turns images of a file around where that is asked for, and else asks whether it is meant.
    fn on_right_ground(&self, model: &SavedModel, name: &str, sample: Tensor) -> Result<Tensor> {
        if self.invert {
            return inverted(&sample);
        }
        if sample.shape().len() == 3 && other_ground(model, &sample)? {
            note(&format!(
                "{name} is bright where the training images are dark, or the other way round: is --invert meant?"
            ));
        }
        Ok(sample)
    }

    /// What to call the samples that one argument names, and their probabilities, row by row.
    fn probabilities(&self, model: &SavedModel, argument: &str) -> Result<(Vec<String>, Vec<f32>)> {
        let (mut names, mut samples) = (Vec::new(), Vec::new());
        for (name, sample) in self.samples(model, argument)? {
            samples.push(match names_sample(argument) {
                true => sample,
                false => self.on_right_ground(model, &name, sample)?,
            });
            names.push(name);
        }
        Ok((names, model.predict_all(&samples)?.to_vec::<f32>()?))
    }

    pub(crate) fn run(self) -> Result<()> {
        let mut model = SavedModel::load(&self.run)?;
        model.network.fuse()?;
        let shape = &model.network.architecture().input;
        if self.invert && shape.len() != 3 {
            let text = format!("--invert is for images, and the model takes {}", samples_called(shape));
            return Err(Error::argument(text).hint("leave it out"));
        }
        if self.invert && self.images.iter().all(|argument| names_sample(argument)) {
            let text = "--invert is for files, and all inputs are samples by name";
            return Err(Error::argument(text).hint("leave it out"));
        }
        let top = self.top.unwrap_or(if self.json { usize::MAX } else { 3 });
        let (mut rows, mut predictions, mut errors) = (Vec::new(), Vec::new(), Vec::new());
        for argument in &self.images {
            let (names, probabilities) = match self.probabilities(&model, argument) {
                Ok(found) => found,
                Err(error) => {
                    let error = about(argument, error);
                    predictions.push(json!({"image": argument, "error": error.summary()}));
                    if self.images.len() > 1 {
                        print_error(&error);
                    }
                    errors.push(error);
                    continue;
                }
            };
            for (name, row) in names.iter().zip(probabilities.chunks_exact(model.info.classes.len())) {
                let mut order: Vec<usize> = (0..row.len()).collect();
                order.sort_by(|&a, &b| row[b].total_cmp(&row[a]));
                let best = order.iter().take(top).map(|&class| (&model.info.classes[class], row[class]));
                if self.json {
                    let classes: Vec<_> =
                        best.map(|(name, p)| json!({"name": name, "probability": p})).collect();
                    predictions.push(json!({"image": name, "classes": classes}));
                } else {
                    let shown = best.map(|(name, p)| format!("{name} {:.2} %", 100.0 * p));
                    print(&format!("{name}: {}", shown.collect::<Vec<_>>().join(", ")))?;
                }
            }
            rows.extend(probabilities);
        }
        if let Some(path) = self.out.as_ref().filter(|_| !rows.is_empty()) {
            let classes = model.info.classes.len();
            let count = rows.len() / classes;
            npy::save(&Disk::default(), path, &Tensor::from_vec(rows, [count, classes])?)?;
        }
        if self.json {
            print(&json!({"predictions": predictions}).to_string())?;
        }
        self.outcome(errors)
    }

    /// The error with which the command ends, if there was one: of one input its own, else how many there were.
    fn outcome(&self, mut errors: Vec<Error>) -> Result<()> {
        let (failed, all) = (errors.len(), self.images.len());
        match errors.pop() {
            None => Ok(()),
            Some(error) if all == 1 => Err(error),
            Some(error) => {
                let text = format!("{failed} of {all} inputs could not be predicted");
                let last = Error::new(error.kind(), text);
                Err(match &self.out {
                    Some(path) if failed < all => {
                        last.hint(format!("{} has the rows of the others", path.display()))
                    }
                    _ => last,
                })
            }
        }
    }
}

/// An error that names the input, if it does not yet.
fn about(argument: &str, error: Error) -> Error {
    let text = error.summary();
    if text.contains(argument) {
        return error;
    }
    let named = Error::new(error.kind(), format!("{argument}: {text}"));
    match error.hint_text() {
        Some(hint) => named.hint(hint),
        None => named,
    }
}
