use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use rasgo::train::{EpochMetrics, Observer, Progress, TrainConfig, resume, run};
use rasgo::{Error, ErrorKind, Result};

use crate::report;
use crate::terminal::{print, whole};

/// Options override the file of `--config`.
#[derive(Debug, Args)]
pub(crate) struct Train {
    /// `mnist`, or a folder of IDX files [default: mnist]
    data: Option<String>,
    /// A configuration, as the config.toml of a run
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A model of the zoo, or a model file [default: rasgo-small]
    #[arg(long, value_name = "NAME or FILE.toml")]
    model: Option<String>,
    /// Passes over the training images [default: 4]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u64).range(1..))]
    epochs: Option<u64>,
    /// Images of one step [default: 128]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = positive)]
    batch_size: Option<usize>,
    /// The peak of the learning rate [default: 0.01]
    #[arg(long, value_name = "X", allow_negative_numbers = true, value_parser = finite)]
    lr: Option<f64>,
    /// The seed of weights, order and augmentation [default: 0]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Training images held out for validation [default: 1000]
    #[arg(long, value_name = "N")]
    held_out: Option<usize>,
    /// The run folder [default: runs/<data>-<model>-<n>]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Go on with a run that was stopped
    #[arg(
        long,
        value_name = "DIR",
        conflicts_with_all = ["data", "config", "model", "epochs", "batch_size", "lr", "seed", "held_out", "out"]
    )]
    resume: Option<PathBuf>,
    /// Print one JSON object with the result, and nothing else, on standard output
    #[arg(long)]
    json: bool,
}

fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("it must be a whole number of 1 or more".to_string()),
        Ok(n) => Ok(n),
    }
}

fn finite(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(x) if x.is_finite() && x > 0.0 => Ok(x),
        _ => Err("it must be a number above 0".to_string()),
    }
}

impl Train {
    pub(crate) fn run(self) -> Result<()> {
        let mut watch = Watch::new()?;
        let outcome = match &self.resume {
            Some(folder) => resume(folder, &mut watch)?,
            None => {
                let config = self.configuration()?;
                let folder = self.out.clone().unwrap_or_else(|| free_folder(&config));
                run(&config, folder, &mut watch)?
            }
        };
        watch.bar.finish_and_clear();
        let folder = outcome.folder.display();
        if outcome.was_finished {
            eprintln!("{folder} is finished already: nothing was changed");
        } else {
            report::write(&outcome.folder)?;
        }
        if self.json {
            print(&serde_json::to_string(&outcome.metrics).expect("metrics have a text"));
            return Ok(());
        }
        if let Some(test) = &outcome.test {
            let images: usize = test.confusion.iter().flatten().sum();
            print(&format!(
                "{:.2} % of {} test images, after {:.0} s",
                100.0 * test.accuracy,
                whole(images as u64),
                outcome.metrics.seconds
            ));
        }
        print(&format!("the run is in {folder}; next:"));
        print(&format!("  rasgo predict {folder} mnist:test:42"));
        print(&format!("  rasgo eval {folder}"));
        Ok(())
    }

    fn configuration(&self) -> Result<TrainConfig> {
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
        take!(data, model, epochs, batch_size, lr, seed, held_out);
        config.check()?;
        Ok(config)
    }
}

/// The next free `runs/<data>-<model>-<n>`.
fn free_folder(config: &TrainConfig) -> PathBuf {
    let stem = |text: &str| {
        Path::new(text).file_stem().map_or("data".into(), |stem| stem.to_string_lossy().into_owned())
    };
    let name = format!("{}-{}", stem(&config.data), stem(&config.model));
    (1..)
        .map(|n| Path::new("runs").join(format!("{name}-{n}")))
        .find(|path| !path.exists())
        .expect("a free number")
}

/// Shows progress, and stops after the step on Ctrl-C.
struct Watch {
    bar: ProgressBar,
    stop: Arc<AtomicBool>,
}

impl Watch {
    fn new() -> Result<Watch> {
        let stop = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stop);
        ctrlc::set_handler(move || flag.store(true, Ordering::Relaxed))
            .map_err(|error| Error::new(ErrorKind::State, format!("Ctrl-C cannot be caught: {error}")))?;
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        let style =
            ProgressStyle::with_template("epoch {prefix} [{bar:30}] {pos}/{len} loss {msg} {eta} left");
        bar.set_style(style.expect("the template is right").progress_chars("=> "));
        Ok(Watch { bar, stop })
    }

    fn line(&self, text: &str) {
        self.bar.suspend(|| eprintln!("{text}"));
    }
}

impl Observer for Watch {
    fn started(&mut self, description: &str, parameters: usize) {
        self.line(&format!("{description}; {} parameters", whole(parameters as u64)));
    }

    fn step(&mut self, progress: Progress) -> bool {
        if self.bar.length() != Some(progress.steps) || progress.step == 1 {
            self.bar.set_length(progress.steps);
            self.bar.set_prefix(format!("{}/{}", progress.epoch, progress.epochs));
            self.bar.reset();
        }
        self.bar.set_message(format!("{:.3}", progress.loss));
        self.bar.set_position(progress.step);
        !self.stop.load(Ordering::Relaxed)
    }

    fn epoch(&mut self, metrics: &EpochMetrics) {
        let validation = metrics
            .val_accuracy
            .map_or(String::new(), |accuracy| format!(", {:.2} % of the held-out images", 100.0 * accuracy));
        self.line(&format!(
            "epoch {}: loss {:.4}{validation}, {:.0} images/s, {:.0} s",
            metrics.epoch, metrics.train_loss, metrics.images_per_second, metrics.seconds
        ));
    }
}
