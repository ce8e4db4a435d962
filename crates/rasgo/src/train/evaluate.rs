//! How good a network is on a data set.

use rasgo_core::{Error, ErrorKind, Result, Tensor, no_grad};
use serde::Serialize;

use crate::data::{Batch, Loader};
use crate::nn::Module;

/// The result of an evaluation.
#[derive(Clone, Debug, Serialize)]
pub struct Evaluation {
    /// Share of images whose class was found, 0..1.
    pub accuracy: f64,
    /// Mean cross entropy.
    pub loss: f64,
    /// `confusion[class][prediction]`: how many images.
    pub confusion: Vec<Vec<usize>>,
    /// The wrong predictions that the network was most sure of, surest first, 40 at most.
    pub mistakes: Vec<Mistake>,
}

/// An image that was taken for another class.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Mistake {
    /// Which sample of the data set.
    pub index: usize,
    /// Its class.
    pub class: usize,
    /// What it was taken for.
    pub prediction: usize,
    /// How sure the network was of that, 0..1.
    pub probability: f64,
}

/// Mistakes that are kept.
const MISTAKES: usize = 40;

impl Evaluation {
    /// Of the images of a class, the share that was found; `None` if there are none.
    pub fn recall(&self, class: usize) -> Option<f64> {
        ratio(self.confusion[class][class], self.confusion[class].iter().sum())
    }

    /// Of the images that were taken for a class, the share that was of it; `None` if none was.
    pub fn precision(&self, class: usize) -> Option<f64> {
        ratio(self.confusion[class][class], self.confusion.iter().map(|row| row[class]).sum())
    }
}

fn ratio(part: usize, all: usize) -> Option<f64> {
    (all > 0).then(|| part as f64 / all as f64)
}

/// Runs a network, which must be in evaluation, over a loader that does not shuffle or augment.
pub fn evaluate(network: &dyn Module, loader: &Loader) -> Result<Evaluation> {
    evaluate_by(|batch| network.predict(batch), loader)
}

/// As [`evaluate`], of any function from a batch to the scores of the classes (N, classes).
pub fn evaluate_by(forward: impl Fn(Tensor) -> Result<Tensor>, loader: &Loader) -> Result<Evaluation> {
    let classes = loader.dataset().classes().len();
    let mut confusion = vec![vec![0; classes]; classes];
    let (mut loss, mut found, mut images) = (0.0, 0usize, 0usize);
    let mut mistakes = Vec::new();
    for batch in loader.epoch(0) {
        let Batch { input, target, indices } = batch?;
        let size = indices.len();
        let logits = no_grad(|| forward(input))?;
        if logits.shape()[..] != [size, classes] {
            let text =
                format!("the network gives {} for {size} samples of {classes} classes", logits.shape());
            return Err(Error::new(ErrorKind::Data, text));
        }
        loss += f64::from(logits.cross_entropy(&target, Default::default())?.item::<f32>()?) * size as f64;
        let guesses = logits.argmax(1, false)?;
        let rows = logits.softmax(1)?;
        let rows = rows.as_slice::<f32>()?.chunks_exact(classes);
        let pairs = target.as_slice::<i64>()?.iter().zip(guesses.as_slice::<i64>()?);
        for (i, ((&class, &prediction), row)) in pairs.zip(rows).enumerate() {
            let class = usize::try_from(class).unwrap_or(0);
            let prediction = prediction as usize;
            confusion[class][prediction] += 1;
            if class == prediction {
                found += 1;
            } else {
                let probability = f64::from(row[prediction]);
                mistakes.push(Mistake { index: indices[i], class, prediction, probability });
            }
        }
        mistakes.sort_by(|a, b| b.probability.total_cmp(&a.probability).then(a.index.cmp(&b.index)));
        mistakes.truncate(MISTAKES);
        images += size;
    }
    let Some(accuracy) = ratio(found, images) else {
        return Err(Error::new(ErrorKind::Data, "there is no sample to evaluate on"));
    };
    Ok(Evaluation { accuracy, loss: loss / images as f64, confusion, mistakes })
}
