//! The options of a loader.

use rasgo_core::{Error, Result};

use super::augment::Augment;
use super::dataset::{Dataset, no_such_sample};
use super::transform::Normalize;

/// How a [`Loader`](super::Loader) makes batches: 64 samples, in the data set's order, all of them, unchanged but for
/// the scale of bytes, on the calling thread.
#[derive(Clone, Debug)]
pub struct LoaderOptions {
    pub(super) batch_size: usize,
    pub(super) shuffle: Option<u64>,
    pub(super) drop_last: bool,
    pub(super) augment: Option<Augment>,
    pub(super) augment_seed: Option<u64>,
    pub(super) normalize: Option<Normalize>,
    pub(super) workers: usize,
    pub(super) indices: Option<Vec<usize>>,
}

impl Default for LoaderOptions {
    fn default() -> Self {
        LoaderOptions {
            batch_size: 64,
            shuffle: None,
            drop_last: false,
            augment: None,
            augment_seed: None,
            normalize: None,
            workers: 0,
            indices: None,
        }
    }
}

impl LoaderOptions {
    /// The most workers; more than this is a slip of the hand.
    pub const MAX_WORKERS: usize = 256;

    /// The defaults.
    pub fn new() -> Self {
        LoaderOptions::default()
    }

    /// Sets the number of samples in a batch.
    #[must_use]
    pub fn batch_size(mut self, batch_size: usize) -> Self {
        self.batch_size = batch_size;
        self
    }

    /// Takes the samples in a random order that follows from this seed and the epoch.
    #[must_use]
    pub fn shuffle(mut self, seed: u64) -> Self {
        self.shuffle = Some(seed);
        self
    }

    /// Leaves out the last batch if it is smaller than the others.
    #[must_use]
    pub fn drop_last(mut self, drop_last: bool) -> Self {
        self.drop_last = drop_last;
        self
    }

    /// Changes every sample at random; see [`augment_seed`](LoaderOptions::augment_seed).
    #[must_use]
    pub fn augment(mut self, augment: impl Into<Option<Augment>>) -> Self {
        self.augment = augment.into();
        self
    }

    /// Sets the seed of augmentation. Without it, that of [`shuffle`](LoaderOptions::shuffle) is used, or 0.
    #[must_use]
    pub fn augment_seed(mut self, seed: u64) -> Self {
        self.augment_seed = Some(seed);
        self
    }

    /// Normalises every sample, after augmentation.
    #[must_use]
    pub fn normalize(mut self, normalize: impl Into<Option<Normalize>>) -> Self {
        self.normalize = normalize.into();
        self
    }

    /// Sets the number of threads that prepare batches ahead. With 0, each batch is made when it is asked for, by all
    /// threads that compute.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// Takes only the samples with these indices.
    #[must_use]
    pub fn indices(mut self, indices: Vec<usize>) -> Self {
        self.indices = Some(indices);
        self
    }

    /// Checks all options but those that [`Recipe`](super::assemble::Recipe) checks.
    pub(super) fn check(&self, dataset: &dyn Dataset) -> Result<()> {
        if self.batch_size == 0 {
            return Err(Error::argument("a batch size of 0").hint("use 1 or more"));
        }
        if self.workers > Self::MAX_WORKERS {
            return Err(Error::argument(format!("{} workers", self.workers))
                .hint(format!("use at most {}; 0 loads without any", Self::MAX_WORKERS)));
        }
        if self.augment_seed.is_some() && self.augment.is_none() {
            return Err(Error::argument("a seed of augmentation without augmentation")
                .hint("set augment, or leave out augment_seed"));
        }
        let len = dataset.len();
        if let Some(&index) = self.indices.iter().flatten().find(|&&index| index >= len) {
            return Err(no_such_sample(index, len, "the data set"));
        }
        let samples = self.indices.as_ref().map_or(len, Vec::len);
        if samples == 0 {
            return Err(
                Error::argument("no samples to load").hint("the data set or the list of indices is empty")
            );
        }
        if self.drop_last && samples < self.batch_size {
            return Err(Error::argument(format!(
                "{samples} samples make no batch of {}, and smaller ones are dropped",
                self.batch_size
            ))
            .hint("lower batch_size or keep the last batch"));
        }
        Ok(())
    }
}
