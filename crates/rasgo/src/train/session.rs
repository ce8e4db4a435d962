//! The steps of a run.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rasgo_core::ops::CrossEntropyOptions;
use rasgo_core::{Error, ErrorKind, Gradients, Result, random, settings, trim_memory};

use super::checkpoint::{self, Identity, Position, Trained};
use super::config::{AugmentConfig, BATCH_SIZE, TrainConfig, short};
use super::evaluate::evaluate_by;
use super::observer::{EpochMetrics, Observer, Outcome, Progress, Setup};
use super::saved_model::ModelInfo;
use super::trainer::Trainer;
use super::weight_mean::WeightMean;
use crate::data::{self, Batch, Dataset, Loader, LoaderOptions, Normalize, Splits, samples_called, word_for};
use crate::formats::{ResizeRule, weights_hash};
use crate::nn::{Module, ModuleExt};
use crate::optim::{Group, Optimizer, clip_grad_norm};

/// Everything that a run holds between its steps.
pub(super) struct Session<'a> {
    trainer: &'a Trainer,
    /// With all that was left unsaid.
    pub(super) config: TrainConfig,
    folder: PathBuf,
    trained: Trained,
    info: ModelInfo,
    train: Loader,
    validation: Option<Loader>,
    test: Option<Loader>,
    description: String,
    notes: Vec<String>,
    identity: Identity,
    saved_at: Instant,
}

/// Nothing can be learned where all samples are of one class.
fn expect_two_classes(labels: &[i64], classes: &[String]) -> Result<()> {
    let Some(first) = labels.first() else {
        return Err(Error::new(ErrorKind::Data, "there is nothing to train on"));
    };
    if labels.iter().any(|label| label != first) {
        return Ok(());
    }
    let class = usize::try_from(*first).ok().and_then(|class| classes.get(class));
    let name = class.map_or(first.to_string(), |name| format!("{name:?}"));
    let text = match labels.len() {
        1 => format!("the only training sample is of class {name}"),
        count => format!("all {count} training samples are of one class, {name}"),
    };
    Err(Error::new(ErrorKind::Data, text).hint("give samples of two classes or more"))
}

impl<'a> Session<'a> {
    pub(super) fn new(
        trainer: &'a Trainer,
        config: &TrainConfig,
        splits: Splits,
        folder: &Path,
    ) -> Result<Session<'a>> {
        config.check()?;
        let said = config.batch_size;
        let config = config.for_data(&*splits.train)?;
        let architecture = config.architecture()?;
        let classes = splits.train.classes().to_vec();
        let shape = splits.train.shape().to_vec();
        random::manual_seed(config.seed);
        let network = architecture.build_for(&shape, classes.len())?;
        let labels = splits.train.labels()?;
        expect_two_classes(&labels, &classes)?;
        let (kept, held_out) = match config.held_out.unwrap_or(0) {
            0 => ((0..labels.len()).collect(), Vec::new()),
            n => data::split_indices(&labels, n, 0).map_err(|error| {
                error.hint(format!("give a --held-out from 0 to {}", labels.len().saturating_sub(1)))
            })?,
        };
        let batch_size = config.batch_size.unwrap_or(BATCH_SIZE);
        let step_images = batch_size.saturating_mul(config.accumulate);
        if kept.len() < step_images {
            let what = samples_called(&shape);
            let text = format!(
                "a step takes {step_images} {}, and there {} {} to train on",
                word_for(step_images, what),
                if kept.len() == 1 { "is" } else { "are" },
                kept.len()
            );
            return Err(Error::argument(text).hint("give a smaller --batch-size or --accumulate"));
        }
        let mut notes = Vec::new();
        if said.is_none() && batch_size < BATCH_SIZE {
            let what = word_for(kept.len(), samples_called(&shape));
            notes.push(format!(
                "batch size {batch_size}, as there are only {} {what} to train on",
                kept.len()
            ));
        }
        let tested = splits.test.as_ref().map_or(Ok(Vec::new()), |test| test.labels())?;
        notes.extend(data::unseen(&labels, &tested, &classes));
        let normalize = Normalize::measure(&*splits.train, &kept)?;
        let identity = Identity { configuration: config.to_toml(), data: splits.train.fingerprint() };
        let plain =
            || LoaderOptions::new().batch_size(250).normalize(normalize.clone()).workers(trainer.workers);
        let options = plain()
            .batch_size(batch_size)
            .drop_last(true)
            .shuffle(config.seed)
            .augment(config.augment.filter(|augment| *augment != AugmentConfig::NONE).map(|a| a.augment()))
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
        let mean = (config.ema > 0.0).then(|| WeightMean::new(config.ema, &network)).transpose()?;
        let info = ModelInfo {
            classes,
            normalize,
            resize: ResizeRule::default(),
            data: config.data.clone(),
            views: config.views,
            precision: config.precision,
        };
        Ok(Session {
            trainer,
            config,
            folder: folder.to_path_buf(),
            trained: Trained { network, mean, optimizer },
            info,
            train,
            validation,
            test,
            description: splits.description,
            notes,
            identity,
            saved_at: Instant::now(),
        })
    }

    pub(super) fn read_checkpoint(&mut self) -> Result<Option<Position>> {
        checkpoint::read(&self.folder, &mut self.trained, &self.identity)
    }

    fn write_checkpoint(&mut self, at: Position) -> Result<()> {
        checkpoint::write(&self.trainer.disk, &self.folder, &self.trained, at, &self.identity)?;
        self.saved_at = Instant::now();
        Ok(())
    }

    pub(super) fn train(mut self, at: Position, observer: &mut dyn Observer) -> Result<Outcome> {
        let resume = format!("go on with: rasgo train --resume {}", self.folder.display());
        let exact = self.config.exact || settings::exact();
        settings::with_exact(exact, || self.epochs(at, observer)).map_err(|error| {
            match (error.kind(), error.hint_text()) {
                (ErrorKind::Io, Some(hint)) => {
                    let hint = format!("{hint}; then {resume}");
                    error.hint(hint)
                }
                (ErrorKind::Io | ErrorKind::Interrupted, None) => error.hint(resume),
                _ => error,
            }
        })
    }

    fn epochs(&mut self, mut at: Position, observer: &mut dyn Observer) -> Result<Outcome> {
        observer.started(&Setup {
            description: self.description.clone(),
            samples: samples_called(self.train.dataset().shape()),
            parameters: self.trained.network.parameter_count(),
            precision: self.config.precision,
            notes: self.notes.clone(),
        });
        if at == Position::default() {
            self.write_checkpoint(at)?;
        }
        loop {
            let images_per_second = self.epoch(&mut at, observer)?;
            let start = Instant::now();
            let network = self.trained.result();
            let evaluate = |loader| evaluate_by(|batch| self.info.forward(network, batch), loader);
            let validation = self.validation.as_ref().map(evaluate).transpose()?;
            let done = at.epoch >= self.config.epochs;
            let test = self.test.as_ref().filter(|_| done).map(evaluate).transpose()?;
            at.seconds += start.elapsed().as_secs_f64();
            let metrics = EpochMetrics {
                epoch: at.epoch,
                step: at.step,
                train_loss: at.loss_sum / (self.steps() * self.config.accumulate as u64) as f64,
                val_loss: validation.as_ref().map(|validation| validation.loss),
                val_accuracy: validation.as_ref().map(|validation| validation.accuracy),
                seconds: at.seconds,
                images_per_second,
                weights_hash: weights_hash(&network.state_dict())?,
                test_loss: test.as_ref().map(|test| test.loss),
                test_accuracy: test.as_ref().map(|test| test.accuracy),
            };
            if done {
                self.save_model()?;
            }
            let line = serde_json::to_string(&metrics).expect("metrics have a text");
            let path = self.folder.join("metrics.jsonl");
            self.trainer.disk.append_line(&path, &line)?;
            // The checkpoint will say how long the file is.
            self.trainer.disk.sync(&path)?;
            at.metrics_bytes += line.len() as u64 + 1;
            at.loss_sum = 0.0;
            self.write_checkpoint(at)?;
            observer.epoch(&metrics);
            if done {
                return Ok(Outcome { folder: self.folder.clone(), metrics, test, was_finished: false });
            }
        }
    }

    /// Steps of an epoch.
    fn steps(&self) -> u64 {
        (self.train.batches() / self.config.accumulate) as u64
    }

    /// The rest of an epoch; gives the images a second.
    fn epoch(&mut self, at: &mut Position, observer: &mut dyn Observer) -> Result<f64> {
        let steps = self.steps();
        let (config, accumulate) = (&self.config, self.config.accumulate as u64);
        let (lr, schedule, warmup, clip) = (config.lr, config.schedule, config.warmup, config.clip_grad_norm);
        let (total, before) = (steps.saturating_mul(config.epochs), at.seconds);
        let (start, first_step) = (Instant::now(), at.epoch_step);
        self.trained.network.train();
        let mut batches = self.train.epoch_from(at.epoch, (first_step * accumulate) as usize);
        while at.epoch_step < steps {
            let mut grads = Gradients::default();
            let mut loss = 0.0;
            for batch in batches.by_ref().take(self.config.accumulate) {
                let (value, more) = self.gradients(batch?, at.step)?;
                grads.accumulate(more)?;
                loss += value;
            }
            let Trained { network, mean, optimizer } = &mut self.trained;
            if clip > 0.0 {
                clip_grad_norm(network, &mut grads, clip)?;
            }
            optimizer.set_lr(lr * schedule.factor(at.step, total, warmup));
            optimizer.step(network, grads)?;
            if let Some(mean) = mean {
                mean.update(network, at.step)?;
            }
            at.step += 1;
            at.epoch_step += 1;
            at.loss_sum += loss;
            at.seconds = before + start.elapsed().as_secs_f64();
            let progress = Progress {
                epoch: at.epoch + 1,
                epochs: self.config.epochs,
                step: at.epoch_step,
                steps,
                loss: loss / accumulate as f64,
            };
            let stop = !observer.step(progress);
            if stop || self.saved_at.elapsed() > self.trainer.checkpoint_every {
                self.write_checkpoint(*at)?;
            }
            if stop {
                return Err(Error::new(ErrorKind::Interrupted, format!("stopped after step {}", at.step)));
            }
        }
        let images = (at.epoch_step - first_step) * accumulate * self.train.batch_size() as u64;
        at.epoch += 1;
        at.epoch_step = 0;
        self.trained.network.eval();
        // Evaluation has other batch sizes; what the steps kept would lie idle beside it.
        trim_memory();
        Ok(images as f64 / start.elapsed().max(Duration::from_micros(1)).as_secs_f64())
    }

    /// The loss of one batch, and its share of the step's gradients.
    fn gradients(&self, batch: Batch, step: u64) -> Result<(f64, Gradients)> {
        let label_smoothing = self.config.label_smoothing;
        let options = CrossEntropyOptions { label_smoothing, ..CrossEntropyOptions::default() };
        let Session { config, trained, .. } = self;
        let loss = config
            .precision
            .run(batch.input, |x| trained.network.forward(x))?
            .cross_entropy(&batch.target, options)?;
        let value = f64::from(loss.item::<f32>()?);
        if !value.is_finite() {
            let text = format!("the loss became {value} at step {}", step + 1);
            return Err(Error::new(ErrorKind::NotFinite, text).hint(format!(
                "try a smaller --lr than {}; the last good checkpoint is kept in {}",
                short(self.config.lr),
                self.folder.join("checkpoint").display()
            )));
        }
        let loss = match self.config.accumulate {
            1 => loss,
            n => loss.scale(1.0 / n as f64)?,
        };
        Ok((value, loss.backward()?))
    }

    pub(super) fn save_model(&self) -> Result<()> {
        self.info.save(self.trained.result(), &self.trainer.disk, self.folder.join("model.safetensors"))
    }
}
