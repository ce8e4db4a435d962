//! The whole configuration of a run; a run folder keeps it as `config.toml`.

use std::path::Path;

use rasgo_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use super::precision::Precision;
use super::views::Views;
use crate::data::{Augment, Dataset, samples_called};
use crate::optim::{Rule, Schedule};
use crate::text_file::read_text;
use crate::zoo::{self, Architecture};

/// Random changes of training images, and of nothing else; zero turns one off.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AugmentConfig {
    /// Degrees to both sides.
    pub rotation: f64,
    /// Share by which an image grows or shrinks.
    pub scale: f64,
    /// Pixels along each axis.
    pub shift: f64,
    /// Whether half of the images are mirrored, left to right.
    #[serde(skip_serializing_if = "is_default")]
    pub flip: bool,
    /// Pixels by which an image is extended on all sides, by its mirror image, before a part of its size is cut out.
    #[serde(skip_serializing_if = "is_default")]
    pub crop: usize,
    /// Pixels: the side of a square anywhere in an image that its mean takes the place of.
    #[serde(skip_serializing_if = "is_default")]
    pub cutout: usize,
}

/// So that a configuration from before an option was there has the same text as ever, and its run can be resumed.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Default for AugmentConfig {
    fn default() -> Self {
        AugmentConfig { rotation: 10.0, scale: 0.1, shift: 1.5, ..AugmentConfig::NONE }
    }
}

impl AugmentConfig {
    /// No change.
    pub const NONE: AugmentConfig =
        AugmentConfig { rotation: 0.0, scale: 0.0, shift: 0.0, flip: false, crop: 0, cutout: 0 };

    pub(super) fn augment(&self) -> Augment {
        let AugmentConfig { rotation, scale, shift, flip, crop, cutout } = *self;
        Augment {
            rotation,
            scale: (1.0 - scale, 1.0 + scale),
            shift,
            flip,
            crop,
            cutout,
            ..Augment::default()
        }
    }
}

/// Samples of one forward, where nothing is said and there are enough.
pub(super) const BATCH_SIZE: usize = 128;

/// Everything that decides a run's result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainConfig {
    /// `mnist`, a folder of images or of IDX files, or a file of arrays (`.npz`, `.safetensors`).
    pub data: String,
    /// A model of the zoo, or a model file. Unsaid, the zoo's for such data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Passes over the training samples.
    pub epochs: u64,
    /// Samples of one forward. Unsaid, 128, or as many as there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_size: Option<usize>,
    /// Batches of one step, whose gradients are averaged: a larger batch than memory holds.
    pub accumulate: usize,
    /// The peak of the learning rate.
    pub lr: f64,
    /// How the learning rate goes.
    pub schedule: Schedule,
    /// The share of the run over which it rises.
    pub warmup: f64,
    /// Weight decay of filters and matrices; biases and normalisations have none.
    pub weight_decay: f64,
    /// The largest 2-norm of all gradients together; beyond it they are scaled down. 0 leaves them as they are.
    pub clip_grad_norm: f64,
    /// The decay of a running mean of the weights, which is what is evaluated and saved; 0 has none. 0.999 is usual.
    pub ema: f64,
    /// The share of the target that is spread over all classes.
    pub label_smoothing: f64,
    /// The type of the values between layers, in training and wherever the model is measured or predicts.
    #[serde(skip_serializing_if = "is_default")]
    pub precision: Precision,
    /// Training samples that are held out for validation; with 0 there is none. Unsaid, a tenth of them, 1000 at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_out: Option<usize>,
    /// The seed of weights, order and augmentation.
    pub seed: u64,
    /// Whether convolutions keep to the rounding error of the plain sum ([`settings::exact`](rasgo_core::settings::exact)).
    pub exact: bool,
    /// The update rule.
    pub optimizer: Rule,
    /// Random changes of training images. Unsaid, the default for images, and none for sequences and video.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub augment: Option<AugmentConfig>,
    /// What predictions are the mean of, wherever the model is measured or predicts: of the image alone, if unsaid.
    #[serde(skip_serializing_if = "is_default")]
    pub views: Views,
}

impl Default for TrainConfig {
    fn default() -> Self {
        TrainConfig {
            data: "mnist".to_string(),
            model: None,
            epochs: 4,
            batch_size: None,
            accumulate: 1,
            lr: 0.01,
            schedule: Schedule::OneCycle,
            warmup: 0.25,
            weight_decay: 0.01,
            clip_grad_norm: 0.0,
            ema: 0.0,
            label_smoothing: 0.05,
            precision: Precision::F32,
            held_out: None,
            seed: 0,
            exact: false,
            optimizer: Rule::AdamW { betas: (0.9, 0.99), eps: 1e-8, amsgrad: false },
            augment: None,
            views: Views::ONE,
        }
    }
}

/// A number without rows of zeros.
pub(super) fn short(value: f64) -> String {
    match value == 0.0 || (1e-4..1e6).contains(&value.abs()) {
        true => value.to_string(),
        false => format!("{value:e}"),
    }
}

impl TrainConfig {
    /// Reads a `config.toml`.
    pub fn read(path: impl AsRef<Path>) -> Result<TrainConfig> {
        let path = path.as_ref();
        let text = read_text(path)?;
        toml::from_str(&text).map_err(|error| Error::config(error.message().replace('\n', " ")).file(path))
    }

    /// The text of a `config.toml`.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a configuration has a text")
    }

    /// The same, with a value for all that is left unsaid, as it is for these data.
    ///
    /// # Errors
    /// [`ErrorKind::Argument`] for augmentation or views of what is no image.
    pub fn for_data(&self, data: &dyn Dataset) -> Result<TrainConfig> {
        let shape = data.shape();
        let mut config = self.clone();
        config.model.get_or_insert_with(|| zoo::default_for(shape).to_string());
        let held_out = *config.held_out.get_or_insert((data.len() / 10).min(1000));
        let fitting = data.len().saturating_sub(held_out) / config.accumulate.max(1);
        config.batch_size.get_or_insert(BATCH_SIZE.min(fitting.max(1)));
        let images = shape.len() == 3;
        self.views.check(shape)?;
        let usual = if images { AugmentConfig::default() } else { AugmentConfig::NONE };
        let augment = *config.augment.get_or_insert(usual);
        if !images && augment != AugmentConfig::NONE {
            let text = format!(
                "augmentation changes images, and these are {} of shape {shape}",
                samples_called(shape)
            );
            return Err(Error::new(ErrorKind::Argument, text)
                .hint("leave [augment] out of the configuration, or turn all of it off"));
        }
        Ok(config)
    }

    /// The same, with paths that hold in any working folder; `mnist` and the zoo's models are names and stay so.
    pub(super) fn with_whole_paths(&self) -> TrainConfig {
        let whole = |path: &str| -> Option<String> {
            let found = Path::new(path).exists().then(|| std::path::absolute(path).ok())??;
            found.to_str().map(String::from)
        };
        let mut config = self.clone();
        if config.data != "mnist" {
            config.data = whole(&config.data).unwrap_or(config.data);
        }
        config.model = config.model.map(|model| match model.ends_with(".toml") {
            true => whole(&model).unwrap_or(model),
            false => model,
        });
        config
    }

    /// The model's layers, from the zoo or from a file; those for images where none is said.
    pub fn architecture(&self) -> Result<Architecture> {
        match self.model.as_deref().unwrap_or(zoo::DEFAULT) {
            file if file.ends_with(".toml") => Architecture::read(file),
            name => Ok(zoo::named(name)?.architecture()),
        }
    }

    /// Checks every value, before anything is created.
    pub fn check(&self) -> Result<()> {
        let wrong = |name: &str, value: String, hint: &str| {
            Err(Error::argument(format!("{name} {value}")).hint(hint))
        };
        if self.batch_size == Some(0) {
            return wrong("batch size", "0".into(), "give 1 or more, as 128");
        }
        if self.epochs == 0 {
            return wrong("epochs", "0".into(), "give 1 or more");
        }
        if self.accumulate == 0 {
            return wrong("accumulate", "0".into(), "give 1 or more batches a step");
        }
        let numbers = [
            ("learning rate", self.lr, self.lr > 0.0),
            ("weight decay", self.weight_decay, self.weight_decay >= 0.0),
            ("clip_grad_norm", self.clip_grad_norm, self.clip_grad_norm >= 0.0),
            ("ema", self.ema, (0.0..1.0).contains(&self.ema)),
            ("label smoothing", self.label_smoothing, (0.0..1.0).contains(&self.label_smoothing)),
            ("warm-up", self.warmup, (0.0..1.0).contains(&self.warmup)),
        ];
        for (name, value, ok) in numbers {
            if !ok || !value.is_finite() {
                return wrong(name, short(value), "give a finite number in its range, as lr 0.01");
            }
        }
        self.optimizer.check()?;
        self.augment.unwrap_or_default().augment().check()
    }
}
