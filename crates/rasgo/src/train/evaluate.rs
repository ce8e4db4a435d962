//! How good a network is on a data set.

use rasgo_core::{Error, ErrorKind, Result, no_grad};
use serde::Serialize;

use crate::data::Loader;
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
}

impl Evaluation {
    /// Of the images of each class, the share that was found.
    pub fn recall(&self, class: usize) -> f64 {
        ratio(self.confusion[class][class], self.confusion[class].iter().sum())
    }

    /// Of the images that were taken for a class, the share that was of it.
    pub fn precision(&self, class: usize) -> f64 {
        ratio(self.confusion[class][class], self.confusion.iter().map(|row| row[class]).sum())
    }
}

fn ratio(part: usize, all: usize) -> f64 {
    if all == 0 { 0.0 } else { part as f64 / all as f64 }
}

/// Runs a network, which must be in evaluation, over a loader that does not shuffle or augment.
pub fn evaluate(network: &dyn Module, loader: &Loader) -> Result<Evaluation> {
    let classes = loader.dataset().classes().len();
    let mut confusion = vec![vec![0; classes]; classes];
    let (mut loss, mut found, mut images) = (0.0, 0usize, 0usize);
    for batch in loader.epoch(0) {
        let batch = batch?;
        let (size, target) = (batch.len(), batch.target);
        let logits = no_grad(|| network.forward(batch.input))?;
        loss += f64::from(logits.cross_entropy(&target, Default::default())?.item::<f32>()?) * size as f64;
        for (&class, guess) in target.as_slice::<i64>()?.iter().zip(logits.argmax_rows()?) {
            let class = usize::try_from(class).unwrap_or(0);
            confusion[class][guess] += 1;
            found += usize::from(class == guess);
        }
        images += size;
    }
    if images == 0 {
        return Err(Error::new(ErrorKind::Data, "there is no image to evaluate on"));
    }
    Ok(Evaluation { accuracy: ratio(found, images), loss: loss / images as f64, confusion })
}
