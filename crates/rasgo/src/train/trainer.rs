//! How a run is begun and resumed.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;
use std::time::Duration;

use rasgo_core::{Error, ErrorKind, Result};

use super::checkpoint::{self, Position};
use super::config::TrainConfig;
use super::observer::{EpochMetrics, Observer, Outcome};
use super::session::Session;
use crate::data::{self, Splits};
use crate::formats::Disk;

/// Trains by a [`TrainConfig`] and leaves a run folder. What is set here is how this machine does it; none of it
/// changes a bit of the result, but for the data.
///
/// ```no_run
/// use rasgo::prelude::*;
/// let config = TrainConfig { epochs: 1, ..TrainConfig::default() };
/// let outcome = Trainer::new().run(&config, "runs/first", &mut train::Silent)?;
/// println!("{:.2} % of the held-out images", 100.0 * outcome.metrics.val_accuracy.unwrap_or(0.0));
/// # Ok::<(), rasgo::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Trainer {
    data: Option<Splits>,
    pub(super) workers: usize,
    pub(super) checkpoint_every: Duration,
    pub(super) disk: Disk,
}

impl Default for Trainer {
    fn default() -> Trainer {
        Trainer { data: None, workers: 0, checkpoint_every: Duration::from_secs(120), disk: Disk::default() }
    }
}

impl Trainer {
    /// Opens the data that the configuration names, and loads on the computing threads.
    pub fn new() -> Trainer {
        Trainer::default()
    }

    /// Trains on these data instead of those that the configuration names.
    #[must_use]
    pub fn data(mut self, data: Splits) -> Trainer {
        self.data = Some(data);
        self
    }

    /// Threads that prepare batches ahead; with 0, the default, the computing threads make each batch.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Trainer {
        self.workers = workers;
        self
    }

    /// A checkpoint is written after every epoch, and after a step if the last one is older than this; 2 minutes by
    /// default.
    #[must_use]
    pub fn checkpoint_every(mut self, time: Duration) -> Trainer {
        self.checkpoint_every = time;
        self
    }

    /// Writes through this disk.
    #[must_use]
    pub fn disk(mut self, disk: Disk) -> Trainer {
        self.disk = disk;
        self
    }

    /// Begins a run. Its `config.toml` has whole paths, so that it can be evaluated and resumed from any folder.
    ///
    /// # Errors
    /// Everything is checked before the folder is made; a folder that holds a run is not overwritten. A loss that is
    /// not finite is [`ErrorKind::NotFinite`]; an observer that says stop leads to [`ErrorKind::Interrupted`]. The last
    /// checkpoint stays good whatever happens.
    pub fn run(
        &self,
        config: &TrainConfig,
        folder: impl AsRef<Path>,
        observer: &mut dyn Observer,
    ) -> Result<Outcome> {
        let folder = folder.as_ref();
        config.check()?;
        expect_no_run(folder)?;
        let config = &config.with_whole_paths();
        let session = Session::new(self, config, self.splits(config)?, folder)?;
        self.disk.create_folder(folder)?;
        let _lock = lock(folder)?;
        expect_no_run(folder)?;
        let text = session.config.to_toml();
        self.disk.write_whole(folder.join("config.toml"), |file| file.put(text.as_bytes()))?;
        session.train(Position::default(), observer)
    }

    /// Goes on with a run, to the bit; one that is finished is left as it is.
    ///
    /// # Errors
    /// If the folder has no `config.toml`, another process trains in it, or the configuration, the data or the model
    /// file have changed since the run began.
    pub fn resume(&self, folder: impl AsRef<Path>, observer: &mut dyn Observer) -> Result<Outcome> {
        let folder = folder.as_ref();
        if !folder.join("config.toml").exists() {
            return Err(Error::new(ErrorKind::Config, "no config.toml, so this is no run folder")
                .file(folder)
                .hint("give the folder that rasgo train made, as runs/mnist-rasgo-small-1"));
        }
        let config = TrainConfig::read(folder.join("config.toml"))?;
        let was_finished =
            |metrics| Outcome { folder: folder.to_path_buf(), metrics, test: None, was_finished: true };
        if folder.join("model.safetensors").exists()
            && let Some(metrics) = last_metrics(folder).filter(|metrics| metrics.epoch == config.epochs)
        {
            return Ok(was_finished(metrics));
        }
        let _lock = lock(folder)?;
        let mut session = Session::new(self, &config, self.splits(&config)?, folder)?;
        let at = session.read_checkpoint()?.unwrap_or_default();
        checkpoint::remove_leftovers(&self.disk, folder)?;
        let metrics = folder.join("metrics.jsonl");
        if metrics.exists() || at.metrics_bytes > 0 {
            self.disk.truncate(&metrics, at.metrics_bytes)?;
        }
        if at.epoch >= config.epochs {
            // All was done, and the model has been lost since.
            session.save_model()?;
            return last_metrics(folder).map(was_finished).ok_or_else(|| {
                Error::format(&metrics, "the last line is no longer what the run wrote".to_string())
            });
        }
        session.train(at, observer)
    }

    fn splits(&self, config: &TrainConfig) -> Result<Splits> {
        self.data.clone().map_or_else(|| data::open(&config.data), Ok)
    }
}

/// Checks that a run may begin there.
///
/// # Errors
/// [`ErrorKind::Exists`] if there is anything that a run leaves.
fn expect_no_run(folder: &Path) -> Result<()> {
    let left = ["config.toml", "checkpoint", "metrics.jsonl", "model.safetensors"];
    if left.iter().all(|name| !folder.join(name).exists()) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Exists, "the folder holds a run already")
        .file(folder)
        .hint("choose another --out, or go on with --resume"))
}

/// Keeps other processes from training in the folder, as long as the file is held.
///
/// # Errors
/// [`ErrorKind::Exists`] if another one does.
fn lock(folder: &Path) -> Result<File> {
    let path = folder.join(".lock");
    let file = File::create(&path).map_err(|error| Error::io(&path, error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(Error::new(ErrorKind::Exists, "another process trains in this folder")
                .file(folder)
                .hint("wait until it has finished, or stop it"))
        }
        // Some network file systems have no locks.
        Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => Ok(file),
        Err(TryLockError::Error(error)) => Err(Error::io(&path, error)),
    }
}

/// The last line of a run's `metrics.jsonl`, if it has one.
fn last_metrics(folder: &Path) -> Option<EpochMetrics> {
    let text = std::fs::read_to_string(folder.join("metrics.jsonl")).ok()?;
    serde_json::from_str(text.lines().last()?).ok()
}
