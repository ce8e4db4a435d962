//! The options that decide a run's result.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use rasgo::Result;
use rasgo::optim::{Rule, Schedule};
use rasgo::train::{Precision, TrainConfig};

use crate::numbers::{above_zero, not_negative, positive, share};
use crate::precision::precision;

/// What `train` may be told; what is left out has its default, or that of `--config`.
#[derive(Debug, Args)]
pub(crate) struct Configuration {
    /// `mnist`, a folder of images with a sub-folder for each class, or these in train and test, a folder of IDX files, or
    /// an .npz or .safetensors file with x (N, C, …) and y (N), and x_test and y_test if there is a test part
    /// [default: mnist]
    data: Option<String>,
    /// A configuration, as the config.toml of a run
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A model of the zoo, or a model file, whose form is shown below [default: rasgo-small, -1d for sequences, -3d for
    /// video]
    #[arg(long, value_name = "NAME or FILE.toml")]
    model: Option<String>,
    /// Passes over the training samples [default: 4]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u64).range(1..))]
    epochs: Option<u64>,
    /// Samples of one batch [default: 128, or as many as there are]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = positive)]
    batch_size: Option<usize>,
    /// The peak of the learning rate [default: 0.01]
    #[arg(long, value_name = "X", allow_negative_numbers = true, value_parser = above_zero)]
    lr: Option<f64>,
    /// The update rule: sgd (momentum 0.9, Nesterov), adam, adamw, rmsprop, or muon for filters and matrices with adamw for
    /// the rest [default: adamw]
    #[arg(long, value_name = "NAME")]
    optimizer: Option<OptimizerName>,
    /// How the learning rate goes over the run [default: one-cycle]
    #[arg(long, value_name = "NAME")]
    schedule: Option<ScheduleName>,
    /// Weight decay of filters and matrices [default: 0.01]
    #[arg(long, value_name = "X", allow_negative_numbers = true, value_parser = not_negative)]
    weight_decay: Option<f64>,
    /// The share of the target that is spread over all classes [default: 0.05]
    #[arg(long, value_name = "X", allow_negative_numbers = true, value_parser = share)]
    label_smoothing: Option<f64>,
    /// Batches of one step, whose gradients are averaged [default: 1]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = positive)]
    accumulate: Option<usize>,
    /// Scale the gradients down to this 2-norm where they are larger [default: 0, never]
    #[arg(long, value_name = "X", allow_negative_numbers = true, value_parser = not_negative)]
    clip_grad_norm: Option<f64>,
    /// The decay of a running mean of the weights, to be evaluated and saved, as 0.999 [default: 0, none]
    #[arg(long, value_name = "X", allow_negative_numbers = true, value_parser = share)]
    ema: Option<f64>,
    /// The seed of weights, order and augmentation [default: 0]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// The type of the values between layers; weights, their gradients, the optimiser and the loss are f32 in both. bf16 has
    /// half the memory and three digits. eval and predict use it too [default: f32]
    #[arg(long, value_name = "TYPE", value_parser = precision())]
    precision: Option<Precision>,
    /// Convolve by the plain sum alone: slower, and a smaller rounding error than Winograd's
    #[arg(long)]
    exact: bool,
    /// Training samples held out for validation [default: a tenth, 1000 at most]
    #[arg(long, value_name = "N")]
    held_out: Option<usize>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum OptimizerName {
    Sgd,
    Adam,
    Adamw,
    Rmsprop,
    Muon,
}

impl OptimizerName {
    /// The rule of that name; the numbers are those of the rule before, where it has them.
    fn rule(self, before: Rule) -> Rule {
        let (betas, eps) = match before {
            Rule::Adam { betas, eps, .. }
            | Rule::AdamW { betas, eps, .. }
            | Rule::Muon { betas, eps, .. } => (betas, eps),
            _ => ((0.9, 0.999), 1e-8),
        };
        let amsgrad = matches!(before, Rule::Adam { amsgrad: true, .. } | Rule::AdamW { amsgrad: true, .. });
        match (self, before) {
            (OptimizerName::Sgd, Rule::Sgd { .. })
            | (OptimizerName::Rmsprop, Rule::RmsProp { .. })
            | (OptimizerName::Muon, Rule::Muon { .. }) => before,
            (OptimizerName::Sgd, _) => Rule::Sgd { momentum: 0.9, dampening: 0.0, nesterov: true },
            (OptimizerName::Adam, _) => Rule::Adam { betas, eps, amsgrad },
            (OptimizerName::Adamw, _) => Rule::AdamW { betas, eps, amsgrad },
            (OptimizerName::Rmsprop, _) => {
                Rule::RmsProp { alpha: 0.99, eps: 1e-8, momentum: 0.0, centered: false }
            }
            (OptimizerName::Muon, _) => Rule::Muon { momentum: 0.95, nesterov: true, betas, eps },
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ScheduleName {
    Constant,
    Linear,
    Cosine,
    Step,
    OneCycle,
}

impl ScheduleName {
    fn schedule(self) -> Schedule {
        match self {
            ScheduleName::Constant => Schedule::Constant,
            ScheduleName::Linear => Schedule::Linear,
            ScheduleName::Cosine => Schedule::Cosine,
            ScheduleName::Step => Schedule::Step,
            ScheduleName::OneCycle => Schedule::OneCycle,
        }
    }
}

impl Configuration {
    /// The file of `--config`, or the defaults, with the options over it; checked.
    pub(crate) fn read(&self) -> Result<TrainConfig> {
        let mut config = match &self.config {
            Some(path) => TrainConfig::read(path)?,
            None => TrainConfig::default(),
        };
        macro_rules! take {
            ($($field:ident),*) => {$(
                if let Some(value) = &self.$field {
                    config.$field = value.clone();
                }
            )*};
        }
        take!(
            data,
            epochs,
            lr,
            weight_decay,
            label_smoothing,
            accumulate,
            clip_grad_norm,
            ema,
            seed,
            precision
        );
        config.exact |= self.exact;
        config.model = self.model.clone().or(config.model);
        config.batch_size = self.batch_size.or(config.batch_size);
        config.held_out = self.held_out.or(config.held_out);
        if let Some(name) = self.optimizer {
            config.optimizer = name.rule(config.optimizer);
        }
        if let Some(name) = self.schedule {
            config.schedule = name.schedule();
        }
        config.check()?;
        Ok(config)
    }
}
