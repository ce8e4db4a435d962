//! Data sets: where samples come from, how they are changed, and how they become batches.
//!
//! - [`Dataset`]: samples with labels; [`IdxDataset`] reads MNIST and its kin, [`ImageFolder`] a folder of images for each
//!   class, [`ArrayDataset`] arrays of any rank; [`Subset`] and [`split`] part one.
//! - [`open`]: a data set by name, folder or file of arrays `x`, `y` and, for a test part, `x_test`, `y_test`; [`sample_by_name`]: one sample, as `mnist:test:42`; [`read_samples`]:
//!   samples without labels from a file of arrays.
//! - [`Normalize`] and [`Augment`]: what is done to a sample.
//! - [`Loader`]: batches, in a seeded order, the same to the bit for any number of threads and workers.

mod ahead;
mod array_file;
mod arrays;
mod assemble;
mod augment;
mod batch;
mod dataset;
mod find;
mod folder;
mod idx;
mod idx_file;
mod image_folder;
mod known;
mod labels;
mod loader;
mod options;
mod resample;
mod sample_name;
mod save;
mod split;
mod transform;
mod transposition;

pub use array_file::read_samples;
pub use arrays::ArrayDataset;
pub use augment::Augment;
pub use batch::{Batch, batch_of};
pub use dataset::{Dataset, Sample, samples_called, word_for};
pub use find::{Splits, find_mnist, open};
pub use idx::{IdxDataset, Part};
pub use image_folder::ImageFolder;
pub use loader::{Epoch, Loader};
pub use options::LoaderOptions;
pub use sample_name::{is_sample_name, sample_by_name};
pub use split::{Subset, split, split_indices};
pub use transform::Normalize;
pub use transposition::transposition;

pub(crate) use labels::unseen;
