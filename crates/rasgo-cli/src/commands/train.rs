use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use rasgo::data::{self, word_for};
use rasgo::train::{EpochMetrics, Observer, Outcome, Progress, Setup, TrainConfig, Trainer};
use rasgo::{Error, ErrorKind, Result, zoo};

use crate::configuration::Configuration;
use crate::paths::from_here;
use crate::precision::in_precision;
use crate::report;
use crate::terminal::{note, print, whole};

/// What stands below the options.
const FORMATS: &str = "\
An .npz or .safetensors file holds samples x, (N, C, L), (N, C, H, W) or (N, C, D, H, W), and labels y, (N), whole numbers from 0. \
It may also hold x_test and y_test, which are measured at the end and choose nothing, and names of the classes: an array of \
texts `classes`, or in the metadata of a .safetensors file a JSON list of that name. From NumPy:

  np.savez(\"data.npz\", x=x, y=y, x_test=x_test, y_test=y_test, classes=[\"left\", \"right\"])

A model file lists its layers, with PyTorch's names and options; the channels that come in are inferred:

  input = [1, 28, 28]
  [[layer]]
  type = \"Conv2d\"
  out_channels = 8
  kernel_size = 3
  [[layer]]
  type = \"ReLU\"
  [[layer]]
  type = \"Flatten\"
  [[layer]]
  type = \"Linear\"

`rasgo summary lenet5 --toml` prints any model in this form.";

/// Options override the file of `--config`.
#[derive(Debug, Args)]
#[command(after_help = FORMATS)]
pub(crate) struct Train {
    #[command(flatten)]
    configuration: Configuration,
    /// The run folder [default: runs/<data>-<model>-<n>]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Go on with a run that was stopped; it has its own configuration
    #[arg(long, value_name = "DIR", conflicts_with_all = ["Configuration", "out"])]
    resume: Option<PathBuf>,
    /// Threads that load ahead; with 0 the computing threads make each batch between steps
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u16).range(..=256))]
    workers: u16,
    /// Print one JSON object with the result, and nothing else, on standard output
    #[arg(long)]
    json: bool,
}

impl Train {
    pub(crate) fn run(self) -> Result<()> {
        let mut watch = Watch::new()?;
        let trainer = Trainer::new().workers(usize::from(self.workers));
        let outcome = match &self.resume {
            Some(folder) => trainer.resume(folder, &mut watch)?,
            None => {
                let config = self.configuration.read()?;
                match &self.out {
                    Some(folder) => trainer.run(&config, folder, &mut watch)?,
                    None => run_in_free_folder(trainer, &config, &mut watch)?,
                }
            }
        };
        watch.bar.finish_and_clear();
        let folder = outcome.folder.display();
        if outcome.was_finished {
            note(&format!("{folder} is finished already: nothing was changed"));
        }
        // A run that was killed between its last line and its report gets the report now.
        if !outcome.was_finished || !outcome.folder.join("report.html").exists() {
            report::write(&outcome)?;
        }
        if self.json {
            return print(&serde_json::to_string(&outcome.metrics).expect("metrics have a text"));
        }
        let data = TrainConfig::read(outcome.folder.join("config.toml"))?.data;
        let tested = match &outcome.test {
            Some(test) => Some(test.confusion.iter().flatten().sum()),
            // A run that was finished before has the number in its data alone, if they are still there.
            None => data::open(&data).ok().and_then(|splits| Some(splits.test?.len())),
        };
        let data = from_here(&data);
        let sample = match tested {
            Some(count) => format!("{data}:test:{}", 42.min(count.saturating_sub(1))),
            None => format!("{data}:train:0"),
        };
        if let (Some(test), Some(count)) = (&outcome.test, tested) {
            print(&format!(
                "{:.2} % of {} test {}, after {:.0} s",
                100.0 * test.accuracy,
                whole(count as u64),
                word_for(count, watch.samples),
                outcome.metrics.seconds
            ))?;
        }
        print(&format!("the run is in {folder}; next:"))?;
        // As it was called: after `cargo run` there is no rasgo on the path.
        let rasgo = std::env::args().next().unwrap_or("rasgo".to_string());
        print(&format!("  {rasgo} predict {folder} {sample}"))?;
        print(&format!("  {rasgo} eval {folder}"))
    }
}

/// Trains in the next free `runs/<data>-<model>-<n>`; where somebody else takes it meanwhile, in the one after.
fn run_in_free_folder(trainer: Trainer, config: &TrainConfig, watch: &mut Watch) -> Result<Outcome> {
    // The model's name may follow from the data.
    let splits = data::open(&config.data)?;
    let model = config.for_data(&*splits.train)?.model;
    let trainer = trainer.data(splits);
    let stem = |text: &str| {
        Path::new(text).file_stem().map_or("data".into(), |stem| stem.to_string_lossy().into_owned())
    };
    let name = format!("{}-{}", stem(&config.data), stem(model.as_deref().unwrap_or(zoo::DEFAULT)));
    let mut number = 0u64;
    loop {
        number += 1;
        let folder = Path::new("runs").join(format!("{name}-{number}"));
        if folder.exists() {
            continue;
        }
        match trainer.run(config, folder, watch) {
            Err(error) if error.kind() == ErrorKind::Exists => {}
            result => return result,
        }
    }
}

/// Shows progress, and stops after the step on Ctrl-C.
struct Watch {
    bar: ProgressBar,
    /// What the samples are called.
    samples: &'static str,
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
        Ok(Watch { bar, samples: "samples", stop })
    }

    fn line(&self, text: &str) {
        self.bar.suspend(|| note(text));
    }
}

impl Observer for Watch {
    fn started(&mut self, setup: &Setup) {
        self.samples = setup.samples;
        let (parameters, precision) = (whole(setup.parameters as u64), in_precision(setup.precision));
        self.line(&format!("{}; {parameters} parameters{precision}", setup.description));
        for text in &setup.notes {
            self.line(&format!("note: {text}"));
        }
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
        let samples = self.samples;
        let validation = metrics.val_accuracy.map_or(String::new(), |accuracy| {
            format!(", {:.2} % of the held-out {samples}", 100.0 * accuracy)
        });
        self.line(&format!(
            "epoch {}: loss {:.4}{validation}, {:.0} {samples}/s, {:.0} s",
            metrics.epoch, metrics.train_loss, metrics.images_per_second, metrics.seconds
        ));
    }
}
