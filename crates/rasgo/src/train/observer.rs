//! What a run tells of itself.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::evaluate::Evaluation;
use super::precision::Precision;

/// A run that is about to begin.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The data, in one line.
    pub description: String,
    /// What the samples are called: images, sequences or videos.
    pub samples: &'static str,
    /// Parameters of the network.
    pub parameters: usize,
    /// The type of the values between layers.
    pub precision: Precision,
    /// What is unusual, a line each.
    pub notes: Vec<String>,
}

/// Where training is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// This epoch, from 1.
    pub epoch: u64,
    /// All epochs.
    pub epochs: u64,
    /// Steps done in this epoch.
    pub step: u64,
    /// All steps of an epoch.
    pub steps: u64,
    /// The loss of the last step.
    pub loss: f64,
}

/// A line of `metrics.jsonl`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EpochMetrics {
    /// Epochs done.
    pub epoch: u64,
    /// Steps done.
    pub step: u64,
    /// Mean loss of the epoch's steps, on augmented images and with label smoothing.
    pub train_loss: f64,
    /// Cross entropy on the held-out images, as they are.
    pub val_loss: Option<f64>,
    /// Accuracy on the held-out images, 0..1.
    pub val_accuracy: Option<f64>,
    /// Seconds of the whole run so far, evaluation included, pauses excluded.
    pub seconds: f64,
    /// Training images a second in the epoch's steps, evaluation excluded.
    pub images_per_second: f64,
    /// A hash of every tensor of the model.
    pub weights_hash: String,
    /// Loss on the test images, in the last line.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub test_loss: Option<f64>,
    /// Accuracy on the test images, in the last line.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub test_accuracy: Option<f64>,
}

/// Watches a run, and may stop it.
pub trait Observer {
    /// The run is set up.
    fn started(&mut self, _setup: &Setup) {}
    /// After every step. `false` stops the run; it can be resumed from there.
    fn step(&mut self, _progress: Progress) -> bool {
        true
    }
    /// After every epoch.
    fn epoch(&mut self, _metrics: &EpochMetrics) {}
}

/// Watches nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {}

/// What a run came to.
#[derive(Debug)]
pub struct Outcome {
    /// The run folder.
    pub folder: PathBuf,
    /// The last line of `metrics.jsonl`.
    pub metrics: EpochMetrics,
    /// On the test images, where the data has some and the run finished now.
    pub test: Option<Evaluation>,
    /// Whether the run had been finished before, so that nothing was done.
    pub was_finished: bool,
}
