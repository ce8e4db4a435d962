//! A run: from a configuration to a run folder.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use rasgo_core::{Error, ErrorKind, Result, random, trim_memory};
use serde::{Deserialize, Serialize};

use super::checkpoint::{self, Position};
use super::config::TrainConfig;
use super::evaluate::{Evaluation, evaluate};
use super::saved_model::SavedModel;
use crate::data::{self, Dataset, Loader, LoaderOptions, Normalize};
use crate::formats::{Disk, ResizeRule, weights_hash};
use crate::nn::{Module, ModuleExt};
use crate::optim::{Group, Optimizer};
use crate::zoo::Network;

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
    /// Mean loss of the epoch's steps.
    pub train_loss: f64,
    /// Loss on the held-out images.
    pub val_loss: Option<f64>,
    /// Accuracy on the held-out images, 0..1.
    pub val_accuracy: Option<f64>,
    /// Seconds since the run began or went on.
    pub seconds: f64,
    /// Training images a second.
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
    fn started(&mut self, _description: &str, _parameters: usize) {}
    /// After every step. `false` stops the run; it can be resumed from its last checkpoint.
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

/// Trains by a configuration and writes the run folder.
///
/// # Errors
/// Everything is checked before the folder is made; a folder that holds a run is not overwritten.
pub fn run(config: &TrainConfig, folder: impl AsRef<Path>, observer: &mut dyn Observer) -> Result<Outcome> {
    let folder = folder.as_ref();
    let session = Session::new(config)?;
    if folder.join("config.toml").exists() {
        return Err(Error::argument("the folder holds a run already")
            .file(folder)
            .hint("choose another --out, or go on with --resume"));
    }
    session.disk.create_folder(folder)?;
    session.disk.write_whole(folder.join("config.toml"), |file| file.put(config.to_toml().as_bytes()))?;
    session.train(folder, Position::default(), observer)
}

/// Goes on with a run, to the bit.
///
/// # Errors
/// If the folder has no `config.toml`, or the data has changed.
pub fn resume(folder: impl AsRef<Path>, observer: &mut dyn Observer) -> Result<Outcome> {
    let folder = folder.as_ref();
    if !folder.join("config.toml").exists() {
        return Err(Error::new(ErrorKind::Config, "no config.toml, so this is no run folder")
            .file(folder)
            .hint("give the folder that rasgo train made, as runs/mnist-rasgo-small-1"));
    }
    let config = TrainConfig::read(folder.join("config.toml"))?;
    if let Some(metrics) = finished(folder, &config) {
        return Ok(Outcome { folder: folder.to_path_buf(), metrics, test: None, was_finished: true });
    }
    let mut session = Session::new(&config)?;
    session.disk.remove_unfinished(folder)?;
    let at = checkpoint::read(folder, &mut session.network, &mut session.optimizer, session.fingerprint)?;
    let at = at.unwrap_or_default();
    let metrics = folder.join("metrics.jsonl");
    if metrics.exists() {
        session.disk.truncate(&metrics, at.metrics_bytes)?;
    }
    session.train(folder, at, observer)
}

fn finished(folder: &Path, config: &TrainConfig) -> Option<EpochMetrics> {
    let text = std::fs::read_to_string(folder.join("metrics.jsonl")).ok()?;
    let last: EpochMetrics = serde_json::from_str(text.lines().last()?).ok()?;
    let model = folder.join("model.safetensors").exists();
    (model && last.epoch == config.epochs).then_some(last)
}

struct Session {
    config: TrainConfig,
    disk: Disk,
    network: Network,
    optimizer: Optimizer,
    normalize: Normalize,
    train: Loader,
    validation: Option<Loader>,
    test: Option<Loader>,
    classes: Vec<String>,
    description: String,
    fingerprint: u64,
}

impl Session {
    fn new(config: &TrainConfig) -> Result<Session> {
        config.check()?;
        let architecture = config.architecture()?;
        let splits = data::open(&config.data)?;
        let classes = splits.train.classes().to_vec();
        let shape = splits.train.shape().to_vec();
        random::manual_seed(config.seed);
        let network = architecture.classes(classes.len()).input(&shape).build()?;
        let labels = splits.train.labels()?;
        let (kept, held_out) = match config.held_out {
            0 => ((0..labels.len()).collect(), Vec::new()),
            n => data::split_indices(&labels, n, 0)?,
        };
        if kept.len() < config.batch_size {
            let text = format!("batch size {} for {} training images", config.batch_size, kept.len());
            return Err(Error::argument(text).hint("give a smaller --batch-size"));
        }
        let normalize = Normalize::measure(&*splits.train, &kept)?;
        let fingerprint = splits.train.fingerprint();
        let plain = || LoaderOptions::new().batch_size(250).normalize(normalize.clone());
        let options = LoaderOptions::new()
            .batch_size(config.batch_size)
            .drop_last(true)
            .shuffle(config.seed)
            .augment(config.augment.augment())
            .normalize(normalize.clone())
            .indices(kept);
        let train = Loader::new(Arc::clone(&splits.train), options)?;
        let validation = match held_out.is_empty() {
            true => None,
            false => Some(Loader::new(Arc::clone(&splits.train), plain().indices(held_out))?),
        };
        let test = splits.test.map(|test: Arc<dyn Dataset>| Loader::new(test, plain())).transpose()?;
        let decay = config.weight_decay;
        let optimizer = Optimizer::new(config.optimizer, config.lr).group(move |_, shape| {
            let weight_decay = if shape.len() > 1 { decay } else { 0.0 };
            Some(Group { lr_scale: 1.0, weight_decay })
        });
        Ok(Session {
            config: config.clone(),
            disk: Disk::default(),
            network,
            optimizer,
            normalize,
            train,
            validation,
            test,
            classes,
            description: splits.description,
            fingerprint,
        })
    }

    fn train(mut self, folder: &Path, mut at: Position, observer: &mut dyn Observer) -> Result<Outcome> {
        let start = Instant::now();
        observer.started(&self.description, self.network.parameter_count());
        if at == Position::default() {
            checkpoint::write(&self.disk, folder, &self.network, &self.optimizer, at, self.fingerprint)?;
        }
        let mut last = None;
        while at.epoch < self.config.epochs {
            let train_loss = self.epoch(&mut at, folder, observer)?;
            let mut metrics = self.measure(at, train_loss, start)?;
            let done = at.epoch == self.config.epochs;
            let mut test = None;
            if done {
                test = self.test.as_ref().map(|test| evaluate(&self.network, test)).transpose()?;
                metrics.test_loss = test.as_ref().map(|test| test.loss);
                metrics.test_accuracy = test.as_ref().map(|test| test.accuracy);
                metrics.seconds = start.elapsed().as_secs_f64();
                self.save_model(folder)?;
            }
            let line = serde_json::to_string(&metrics).expect("metrics have a text");
            self.disk.append_line(folder.join("metrics.jsonl"), &line)?;
            at.metrics_bytes += line.len() as u64 + 1;
            checkpoint::write(&self.disk, folder, &self.network, &self.optimizer, at, self.fingerprint)?;
            observer.epoch(&metrics);
            last = Some((metrics, test));
        }
        let (metrics, test) = match last {
            Some(last) => last,
            // Killed between the last checkpoint and the model: only the evaluation is left to do.
            None => {
                self.network.eval();
                self.save_model(folder)?;
                let test = self.test.as_ref().map(|test| evaluate(&self.network, test)).transpose()?;
                (self.measure(at, f64::NAN, start)?, test)
            }
        };
        Ok(Outcome { folder: folder.to_path_buf(), metrics, test, was_finished: false })
    }

    /// One epoch; gives the mean loss.
    fn epoch(&mut self, at: &mut Position, folder: &Path, observer: &mut dyn Observer) -> Result<f64> {
        let steps = self.train.batches() as u64;
        let total = steps * self.config.epochs;
        self.network.train();
        let smoothing = rasgo_core::ops::CrossEntropyOptions { label_smoothing: self.config.label_smoothing };
        let mut sum = 0.0;
        for (i, batch) in self.train.epoch(at.epoch).enumerate() {
            let batch = batch?;
            let factor = self.config.schedule.factor(at.step, total, self.config.warmup);
            self.optimizer.set_lr(self.config.lr * factor);
            let loss = self.network.forward(batch.input)?.cross_entropy(&batch.target, smoothing)?;
            let value = f64::from(loss.item::<f32>()?);
            if !value.is_finite() {
                return Err(Error::new(
                    ErrorKind::NotFinite,
                    format!("the loss became {value} at step {}", at.step + 1),
                )
                .hint(format!(
                    "try a smaller --lr than {}; the last good checkpoint is in {}",
                    self.config.lr,
                    folder.display()
                )));
            }
            let grads = loss.backward()?;
            self.optimizer.step(&mut self.network, grads)?;
            sum += value;
            at.step += 1;
            let progress = Progress {
                epoch: at.epoch + 1,
                epochs: self.config.epochs,
                step: i as u64 + 1,
                steps,
                loss: value,
            };
            if !observer.step(progress) {
                return Err(Error::new(ErrorKind::Interrupted, format!("stopped after step {}", at.step))
                    .hint(format!("go on with: rasgo train --resume {}", folder.display())));
            }
        }
        at.epoch += 1;
        self.network.eval();
        // Evaluation has other batch sizes; what the steps kept would lie idle beside it.
        trim_memory();
        Ok(sum / steps.max(1) as f64)
    }

    fn measure(&self, at: Position, train_loss: f64, start: Instant) -> Result<EpochMetrics> {
        let images = (self.train.batches() * self.train.batch_size()) as f64;
        let seconds = start.elapsed().as_secs_f64();
        let validation =
            self.validation.as_ref().map(|loader| evaluate(&self.network, loader)).transpose()?;
        Ok(EpochMetrics {
            epoch: at.epoch,
            step: at.step,
            train_loss,
            val_loss: validation.as_ref().map(|validation| validation.loss),
            val_accuracy: validation.as_ref().map(|validation| validation.accuracy),
            seconds,
            images_per_second: images * at.epoch as f64 / seconds,
            weights_hash: weights_hash(&self.network.state_dict())?,
            test_loss: None,
            test_accuracy: None,
        })
    }

    fn save_model(&mut self, folder: &Path) -> Result<()> {
        let architecture = self.network.architecture().clone();
        let mut network = architecture.build()?;
        network.load_state_dict(&self.network.state_dict())?;
        let model = SavedModel {
            network,
            classes: self.classes.clone(),
            normalize: self.normalize.clone(),
            resize: ResizeRule::default(),
            data: self.config.data.clone(),
        };
        model.save(&self.disk, folder.join("model.safetensors"))
    }
}
