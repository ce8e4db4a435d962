//! Normalisation: the same shift and scale for every sample, measured on the training side.

use rasgo_core::threads::parallel_chunks;
use rasgo_core::{DType, Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use super::dataset::Dataset;

/// Per channel `y = (x - mean) / std`, after bytes were scaled from 0..=255 to 0..1.
///
/// It is stored with a model, so that prediction uses what training used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Normalize {
    /// What is subtracted, one number a channel.
    pub mean: Vec<f32>,
    /// What is divided by, one number a channel.
    pub std: Vec<f32>,
}

/// Samples whose sums are taken in one go. The tree of sums depends on it and not on threads.
const CHUNK: usize = 64;

impl Normalize {
    /// From numbers that are known.
    ///
    /// ```
    /// let mnist = rasgo::data::Normalize::new(vec![0.1307], vec![0.3081])?;
    /// assert_eq!(mnist.mean.len(), 1);
    /// # Ok::<(), rasgo_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Argument`] as [`check`](Normalize::check).
    pub fn new(mean: Vec<f32>, std: Vec<f32>) -> Result<Self> {
        let channels = mean.len();
        let normalize = Normalize { mean, std };
        normalize.check(channels)?;
        Ok(normalize)
    }

    /// Checks that the numbers fit samples with that many channels.
    ///
    /// # Errors
    /// [`ErrorKind::Argument`] for another count, a mean that is not finite, or a deviation that is not above 0.
    pub fn check(&self, channels: usize) -> Result<()> {
        if self.mean.len() != channels || self.std.len() != channels {
            return Err(Error::argument(format!(
                "normalisation has {} means and {} deviations for {channels} channels",
                self.mean.len(),
                self.std.len()
            ))
            .hint("give one of each for every channel"));
        }
        let bad = |x: &&f32, low: f32| !x.is_finite() || **x <= low;
        if let Some(mean) = self.mean.iter().find(|x| bad(x, f32::NEG_INFINITY)) {
            return Err(
                Error::argument(format!("normalisation has the mean {mean}")).hint("means are finite")
            );
        }
        if let Some(std) = self.std.iter().find(|x| bad(x, 0.0)) {
            return Err(Error::argument(format!("normalisation has the deviation {std}"))
                .hint("deviations are finite and greater than 0"));
        }
        Ok(())
    }

    /// Mean and deviation of each channel over the samples with these indices: pass those that are trained on, and
    /// no others. Sums are in f64 with a fixed order, so the result does not depend on threads. A channel that never
    /// changes gets the deviation 1.
    ///
    /// # Errors
    /// No indices; a sample that cannot be read or has values that are not finite.
    pub fn measure(dataset: &dyn Dataset, indices: &[usize]) -> Result<Self> {
        if indices.is_empty() {
            return Err(
                Error::argument("mean and deviation of no samples").hint("pass the indices to train on")
            );
        }
        let channels = dataset.shape().first().copied().unwrap_or(0);
        let mut chunks: Vec<Result<Vec<Sums>>> = indices.chunks(CHUNK).map(|_| Ok(Vec::new())).collect();
        parallel_chunks(&mut chunks, 1, |i, chunk| {
            let start = i * CHUNK;
            chunk[0] = sum(dataset, &indices[start..indices.len().min(start + CHUNK)], channels);
        });
        let mut total = vec![Sums::default(); channels];
        for chunk in chunks {
            total.iter_mut().zip(chunk?).for_each(|(total, part)| total.add(part));
        }
        let mean = total.iter().map(|sums| sums.mean() as f32).collect();
        let std =
            total.iter().map(|sums| sums.deviation() as f32).map(|x| if x > 0.0 { x } else { 1.0 }).collect();
        Normalize::new(mean, std)
    }

    pub(super) fn apply(&self, channel: usize, value: f32) -> f32 {
        (value - self.mean[channel]) / self.std[channel]
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    count: f64,
    sum: f64,
    squares: f64,
}

impl Sums {
    fn add(&mut self, other: Sums) {
        self.count += other.count;
        self.sum += other.sum;
        self.squares += other.squares;
    }

    fn of_bytes(values: &[u8]) -> Sums {
        let (sum, squares) = values.iter().fold((0u64, 0u64), |(sum, squares), &x| {
            (sum + u64::from(x), squares + u64::from(u32::from(x) * u32::from(x)))
        });
        Sums {
            count: values.len() as f64,
            sum: sum as f64 / 255.0,
            squares: squares as f64 / (255.0 * 255.0),
        }
    }

    fn of_floats(values: &[f32]) -> Sums {
        let mut sums = Sums { count: values.len() as f64, ..Sums::default() };
        for &x in values {
            sums.sum += f64::from(x);
            sums.squares += f64::from(x) * f64::from(x);
        }
        sums
    }

    fn mean(&self) -> f64 {
        self.sum / self.count
    }

    /// Rounding of the squares may leave a little of nothing, which counts as nothing.
    fn deviation(&self) -> f64 {
        let (mean, square) = (self.mean(), self.squares / self.count);
        let variance = square - mean * mean;
        if variance > 1e-12 * square { variance.sqrt() } else { 0.0 }
    }
}

fn sum(dataset: &dyn Dataset, indices: &[usize], channels: usize) -> Result<Vec<Sums>> {
    let mut total = vec![Sums::default(); channels];
    for &index in indices {
        let input = dataset.get(index)?.input;
        let pixels = input.shape().elements() / channels.max(1);
        if input.shape() != dataset.shape() || pixels == 0 {
            return Err(Error::shape(format!(
                "{} has the shape {}, and the data set's is {}",
                dataset.name(index),
                input.shape(),
                dataset.shape()
            )));
        }
        let plain = input.to_plain();
        let parts: Vec<Sums> = match plain.dtype() {
            DType::U8 => plain.as_slice::<u8>()?.chunks_exact(pixels).map(Sums::of_bytes).collect(),
            _ => plain.as_slice::<f32>()?.chunks_exact(pixels).map(Sums::of_floats).collect(),
        };
        if parts.iter().any(|part| !part.squares.is_finite()) {
            return Err(Error::new(
                ErrorKind::NotFinite,
                format!("{} has values that are not finite", dataset.name(index)),
            ));
        }
        total.iter_mut().zip(parts).for_each(|(total, part)| total.add(part));
    }
    Ok(total)
}
