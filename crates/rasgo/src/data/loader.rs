//! Batches of a data set, epoch by epoch.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use rasgo_core::random::Key;
use rasgo_core::threads::parallel_chunks;
use rasgo_core::{Error, ErrorKind, Result, Tensor};

use super::ahead::Ahead;
use super::assemble::Recipe;
use super::batch::Batch;
use super::dataset::Dataset;
use super::options::LoaderOptions;

/// Makes batches of a data set. The batches of an epoch follow from the options and the epoch's number: neither
/// threads nor workers change a bit of them.
///
/// ```no_run
/// use rasgo::data::{Loader, LoaderOptions, Normalize, open, split};
/// let (train, _) = split(open("mnist")?.train, 5_000, 1)?;
/// let all: Vec<usize> = (0..55_000).collect();
/// let normalize = Normalize::measure(&train, &all)?;
/// let options = LoaderOptions::new().batch_size(128).shuffle(1).normalize(normalize).workers(2);
/// let loader = Loader::new(std::sync::Arc::new(train), options)?;
/// for epoch in 0..3 {
///     for batch in loader.epoch(epoch) {
///         let batch = batch?;
///         assert_eq!(batch.input.shape()[1..], [1, 28, 28]);
///     }
/// }
/// # Ok::<(), rasgo_core::Error>(())
/// ```
#[derive(Clone)]
pub struct Loader {
    plan: Arc<Plan>,
}

impl Loader {
    /// Checks the options; nothing is read yet.
    ///
    /// # Errors
    /// [`ErrorKind::Argument`] naming the option and what is allowed; [`ErrorKind::Index`] for an index that the data
    /// set does not have.
    pub fn new(dataset: Arc<dyn Dataset>, options: LoaderOptions) -> Result<Self> {
        options.check(&*dataset)?;
        let recipe = Recipe::new(dataset.shape(), options.normalize.clone(), options.augment.clone())?;
        let indices = options.indices.clone().unwrap_or_else(|| (0..dataset.len()).collect());
        Ok(Loader { plan: Arc::new(Plan { dataset, recipe, indices: Arc::new(indices), options }) })
    }

    /// The number of batches in an epoch.
    pub fn batches(&self) -> usize {
        let (samples, size) = (self.samples(), self.plan.options.batch_size);
        if self.plan.options.drop_last { samples / size } else { samples.div_ceil(size) }
    }

    /// The number of samples that are taken in turn.
    pub fn samples(&self) -> usize {
        self.plan.indices.len()
    }

    /// The number of samples in a batch, but for the last.
    pub fn batch_size(&self) -> usize {
        self.plan.options.batch_size
    }

    /// The data set.
    pub fn dataset(&self) -> &Arc<dyn Dataset> {
        &self.plan.dataset
    }

    /// The batches of an epoch.
    pub fn epoch(&self, epoch: u64) -> Epoch {
        self.epoch_from(epoch, 0)
    }

    /// The batches of an epoch from number `first_batch` on: for training that goes on in the middle of one.
    pub fn epoch_from(&self, epoch: u64, first_batch: usize) -> Epoch {
        let plan = self.plan.clone();
        let order = plan.order(epoch);
        let (next, end) = (first_batch.min(self.batches()), self.batches());
        let assemble = Arc::new(move |batch: usize| {
            // A worker must not die of a data set's panic: its batch would be waited for in vain.
            catch_unwind(AssertUnwindSafe(|| plan.batch(epoch, &order, batch)))
                .unwrap_or_else(|panic| Err(panicked(&*panic)))
        });
        let ahead = Ahead::start(self.plan.options.workers.min(end - next), next..end, assemble.clone());
        Epoch { assemble, ahead, next, end }
    }
}

impl fmt::Debug for Loader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Loader({} samples in {} batches)", self.samples(), self.batches())
    }
}

/// Makes the batch of a number.
pub(super) type Assemble = dyn Fn(usize) -> Result<Batch> + Send + Sync;

/// The batches of one epoch, in order. A sample that cannot be read is an error at its batch; one may go on after it.
/// Dropping this early ends the workers.
pub struct Epoch {
    assemble: Arc<Assemble>,
    ahead: Option<Ahead>,
    next: usize,
    end: usize,
}

impl Iterator for Epoch {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next == self.end {
            self.ahead = None;
            return None;
        }
        let batch = self.next;
        self.next += 1;
        Some(match &self.ahead {
            Some(ahead) => ahead.take(batch),
            None => (self.assemble)(batch),
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.end - self.next, Some(self.end - self.next))
    }
}

impl ExactSizeIterator for Epoch {}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Epoch(batch {} of {})", self.next, self.end)
    }
}

/// Everything that an epoch needs, shared with the workers.
struct Plan {
    dataset: Arc<dyn Dataset>,
    recipe: Recipe,
    indices: Arc<Vec<usize>>,
    options: LoaderOptions,
}

/// A sample's place in a batch, and what came of it: its label or why there is none.
struct Slot<'a> {
    pixels: &'a mut [f32],
    label: Result<i64>,
}

/// Values that one task of a parallel region writes, so that small samples do not each cost a hand-over.
const TASK: usize = 1 << 14;

impl Plan {
    fn order(&self, epoch: u64) -> Arc<Vec<usize>> {
        let Some(seed) = self.options.shuffle else { return self.indices.clone() };
        let key = Key::new(seed, 0).named("shuffle").child(epoch);
        Arc::new(key.permutation(self.indices.len()).into_iter().map(|i| self.indices[i]).collect())
    }

    fn batch(&self, epoch: u64, order: &[usize], batch: usize) -> Result<Batch> {
        let size = self.options.batch_size;
        let indices = order[batch * size..order.len().min((batch + 1) * size)].to_vec();
        let shape = self.dataset.shape();
        let len = shape.elements();
        let sizes: Vec<usize> = std::iter::once(indices.len()).chain(shape.iter().copied()).collect();
        let mut labels: Result<Vec<i64>> = Ok(Vec::new());
        let input = Tensor::from_fn_channels_last(sizes, |dst: &mut [f32]| {
            let mut slots: Vec<Slot<'_>> =
                dst.chunks_exact_mut(len).map(|pixels| Slot { pixels, label: Ok(0) }).collect();
            let per_task = (TASK / len).max(1);
            parallel_chunks(&mut slots, per_task, |task, slots| {
                for (i, slot) in slots.iter_mut().enumerate() {
                    let index = indices[task * per_task + i];
                    slot.label = self.sample(epoch, index, slot.pixels);
                }
            });
            // The first sample in the order of the batch decides which error is told.
            labels = slots.into_iter().map(|slot| slot.label).collect();
        });
        Ok(Batch { input, target: Tensor::from_vec(labels?, [indices.len()])?, indices })
    }

    /// Writes one sample. A panic in the data set is an error like another.
    fn sample(&self, epoch: u64, index: usize, pixels: &mut [f32]) -> Result<i64> {
        let written = catch_unwind(AssertUnwindSafe(|| self.write_sample(epoch, index, pixels)));
        let (kind, reason, cause) = match written {
            Ok(Ok(label)) => return Ok(label),
            Ok(Err(cause)) => (cause.kind(), cause.summary(), Some(cause)),
            Err(panic) => {
                let cause = panicked(&*panic);
                (cause.kind(), cause.summary(), None)
            }
        };
        let name = catch_unwind(AssertUnwindSafe(|| self.dataset.name(index))).unwrap_or_default();
        let plain = format!("sample {index}");
        let what = if name.is_empty() || name == plain { plain } else { format!("{plain} ({name})") };
        let error = Error::new(kind, format!("{what}: {reason}"));
        Err(match cause {
            Some(cause) => match cause.hint_text() {
                Some(hint) => error.hint(hint),
                None => error,
            }
            .source(cause),
            None => error,
        })
    }

    fn write_sample(&self, epoch: u64, index: usize, pixels: &mut [f32]) -> Result<i64> {
        let sample = self.dataset.get(index)?;
        let classes = self.dataset.classes().len();
        if !usize::try_from(sample.label).is_ok_and(|label| label < classes) {
            return Err(Error::new(
                ErrorKind::Index,
                format!("has the label {}, and there are {classes} classes", sample.label),
            )
            .hint("a label is an index into the classes, counted from 0"));
        }
        let seed = self.options.augment_seed.or(self.options.shuffle).unwrap_or(0);
        let key = Key::new(seed, 0).named("augment").child(epoch).child(index as u64);
        self.recipe.write(sample.input, Some(key), pixels)?;
        Ok(sample.label)
    }
}

fn panicked(panic: &(dyn Any + Send)) -> Error {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message");
    Error::new(ErrorKind::Data, format!("the data set panicked: {text}"))
}
