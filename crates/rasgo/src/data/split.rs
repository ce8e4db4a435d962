//! Parts of a data set.

use std::fmt;
use std::sync::Arc;

use rasgo_core::random::Key;
use rasgo_core::{Error, Result, Shape};

use super::dataset::{Dataset, Sample, no_such_sample, word_for};
use crate::formats::Hash64;

/// Some samples of a data set, in a stated order.
#[derive(Clone)]
pub struct Subset {
    dataset: Arc<dyn Dataset>,
    indices: Vec<usize>,
}

impl Subset {
    /// The samples with these indices.
    ///
    /// # Errors
    /// [`ErrorKind::Index`](rasgo_core::ErrorKind::Index) for an index that the data set does not have.
    pub fn new(dataset: Arc<dyn Dataset>, indices: Vec<usize>) -> Result<Self> {
        match indices.iter().find(|&&index| index >= dataset.len()) {
            Some(&index) => Err(no_such_sample(index, dataset.len(), "the data set")),
            None => Ok(Subset { dataset, indices }),
        }
    }

    /// The indices in the whole data set.
    pub fn indices(&self) -> &[usize] {
        &self.indices
    }

    fn whole(&self, index: usize) -> Result<usize> {
        let found = self.indices.get(index).copied();
        found.ok_or_else(|| no_such_sample(index, self.indices.len(), "this part of the data set"))
    }
}

impl fmt::Debug for Subset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Subset({} of {} samples)", self.indices.len(), self.dataset.len())
    }
}

impl Dataset for Subset {
    fn len(&self) -> usize {
        self.indices.len()
    }

    fn get(&self, index: usize) -> Result<Sample> {
        self.dataset.get(self.whole(index)?)
    }

    fn classes(&self) -> &[String] {
        self.dataset.classes()
    }

    fn shape(&self) -> &Shape {
        self.dataset.shape()
    }

    fn name(&self, index: usize) -> String {
        self.whole(index).map_or_else(|_| format!("sample {index}"), |whole| self.dataset.name(whole))
    }

    fn label(&self, index: usize) -> Result<i64> {
        self.dataset.label(self.whole(index)?)
    }

    /// Of the whole data set's and the indices, so that no sample is read.
    fn fingerprint(&self) -> u64 {
        let mut hash = Hash64::new();
        hash.write_number(self.dataset.fingerprint());
        self.indices.iter().for_each(|&index| hash.write_number(index as u64));
        hash.finish()
    }
}

/// Parts a data set in one to train on and one of `held_out` samples; see [`split_indices`].
///
/// # Errors
/// As [`split_indices`], and labels that cannot be read.
pub fn split(dataset: Arc<dyn Dataset>, held_out: usize, seed: u64) -> Result<(Subset, Subset)> {
    let (train, rest) = split_indices(&dataset.labels()?, held_out, seed)?;
    Ok((Subset::new(dataset.clone(), train)?, Subset::new(dataset, rest)?))
}

/// Parts the samples with these labels: (those to train on, the `held_out` others), both in ascending order.
///
/// Each class gives its share, rounded so that the sum is exact, and keeps at least one sample to train on where
/// that is possible. Which samples are held out follows from the seed alone.
///
/// ```
/// let labels = [0, 0, 0, 0, 0, 0, 1, 1, 1];
/// let (train, held_out) = rasgo::data::split_indices(&labels, 3, 7)?;
/// assert_eq!(held_out.iter().filter(|&&i| labels[i] == 0).count(), 2);
/// assert_eq!(train.len(), 6);
/// # Ok::<(), rasgo_core::Error>(())
/// ```
///
/// # Errors
/// [`ErrorKind::Argument`](rasgo_core::ErrorKind::Argument) if no sample or every sample would be held out.
pub fn split_indices(labels: &[i64], held_out: usize, seed: u64) -> Result<(Vec<usize>, Vec<usize>)> {
    if held_out == 0 || held_out >= labels.len() {
        return Err(Error::argument(format!(
            "{held_out} of {} {} cannot be held out",
            labels.len(),
            word_for(labels.len(), "samples")
        ))
        .hint("at least one sample must be on each side"));
    }
    let mut order: Vec<usize> = Key::new(seed, 0).named("split").permutation(labels.len());
    // Stable: within a class the permutation's order stays.
    order.sort_by_key(|&index| labels[index]);
    let classes: Vec<&[usize]> = order.chunk_by(|&a, &b| labels[a] == labels[b]).collect();
    let shares = shares(&classes.iter().map(|class| class.len()).collect::<Vec<_>>(), held_out);
    let mut sides = (Vec::new(), Vec::new());
    for (class, share) in classes.iter().zip(shares) {
        sides.1.extend_from_slice(&class[..share]);
        sides.0.extend_from_slice(&class[share..]);
    }
    sides.0.sort_unstable();
    sides.1.sort_unstable();
    Ok(sides)
}

/// How many each class gives: the whole part of its share, then one more by the largest remainders, first to the
/// classes that keep a sample.
fn shares(counts: &[usize], held_out: usize) -> Vec<usize> {
    let total: usize = counts.iter().sum();
    let exact = |count: usize| held_out as u128 * count as u128;
    let mut shares: Vec<usize> =
        counts.iter().map(|&count| (exact(count) / total as u128) as usize).collect();
    let mut by_remainder: Vec<usize> = (0..counts.len()).collect();
    by_remainder.sort_by_key(|&class| std::cmp::Reverse(exact(counts[class]) % total as u128));
    let mut missing = held_out - shares.iter().sum::<usize>();
    for kept in [1, 0] {
        while missing > 0 {
            let before = missing;
            for &class in &by_remainder {
                if missing > 0 && shares[class] + kept < counts[class] {
                    shares[class] += 1;
                    missing -= 1;
                }
            }
            if missing == before {
                break;
            }
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_exact_in_sum_and_follow_the_counts() {
        assert_eq!(shares(&[60, 30, 10], 10), [6, 3, 1]);
        assert_eq!(shares(&[5, 5, 5], 4), [2, 1, 1]);
        assert_eq!(shares(&[1, 1, 8], 3), [0, 0, 3]);
        assert_eq!(shares(&[1, 1, 1], 2), [1, 1, 0]);
        assert_eq!(shares(&[2, 1], 2), [1, 1]);
    }
}
