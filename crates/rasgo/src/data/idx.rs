//! Data sets of IDX files: MNIST and those in its form.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rasgo_core::{Error, ErrorKind, Result, Shape, Tensor};

use super::dataset::{Dataset, Sample, hash_header, no_such_sample};
use super::{idx_file, known, labels};
use crate::formats::Hash64;

/// The part of a data set that is trained on, or the one that is kept for the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// Trained on.
    Train,
    /// Kept for the end.
    Test,
}

impl Part {
    /// `train` or `test`.
    pub fn name(self) -> &'static str {
        match self {
            Part::Train => "train",
            Part::Test => "test",
        }
    }

    /// How the files of the part begin.
    fn stem(self) -> &'static str {
        match self {
            Part::Train => "train",
            Part::Test => "t10k",
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Images and labels of one part, in memory.
///
/// The files are `train-images-idx3-ubyte` and `train-labels-idx1-ubyte`, or `t10k-…` for the test part; a dot may
/// stand before `idx`, and `.gz` at the end. Whether a file is gzip is told by its content.
pub struct IdxDataset {
    name: String,
    part: Part,
    shape: Shape,
    classes: Vec<String>,
    images: Vec<u8>,
    labels: Vec<u8>,
    fingerprint: OnceLock<u64>,
}

impl IdxDataset {
    /// Reads one part of a folder.
    ///
    /// # Errors
    /// [`ErrorKind::Data`] for missing files, images and labels that differ in number, or labels with gaps above 9;
    /// [`ErrorKind::Format`] naming the file for a wrong magic number, size or length, or a damaged gzip file.
    pub fn open(folder: impl AsRef<Path>, part: Part) -> Result<Self> {
        let folder = folder.as_ref();
        IdxDataset::open_named(folder, part, &folder.display().to_string())
    }

    /// As [`open`](IdxDataset::open); samples are called `<name>:train:0` and so on.
    pub(super) fn open_named(folder: &Path, part: Part, name: &str) -> Result<Self> {
        let paths = [find_file(folder, part, "images"), find_file(folder, part, "labels")];
        let [Some(images_path), Some(labels_path)] = paths else {
            let missing: Vec<String> = ["images", "labels"]
                .into_iter()
                .zip(&paths)
                .filter(|(_, path)| path.is_none())
                .map(|(kind, _)| file_name(part, kind))
                .collect();
            return Err(Error::new(
                ErrorKind::Data,
                format!("there is no {} here", missing.join(" and no ")),
            )
            .file(folder)
            .hint("raw or with .gz at the end, both are read"));
        };
        let images = idx_file::read(&images_path, 3)?;
        let labels = idx_file::read(&labels_path, 1)?;
        if images.sizes[0] != labels.sizes[0] {
            return Err(Error::new(
                ErrorKind::Data,
                format!(
                    "{} images, but {} labels in {}",
                    images.sizes[0],
                    labels.sizes[0],
                    labels_path.display()
                ),
            )
            .file(images_path)
            .hint("the two files belong to different parts or data sets"));
        }
        labels::check_gaps(labels.values.iter().map(|&label| usize::from(label)), "label")
            .map_err(|error| error.file(&labels_path))?;
        let classes = known::classes(&labels.values).unwrap_or_else(|| {
            let largest = labels.values.iter().max().copied().unwrap_or(0);
            (0..=largest).map(|class| class.to_string()).collect()
        });
        Ok(IdxDataset {
            name: name.to_string(),
            part,
            shape: [1, images.sizes[1], images.sizes[2]].into(),
            classes,
            images: images.values,
            labels: labels.values,
            fingerprint: OnceLock::new(),
        })
    }

    /// The same samples with other names of the classes.
    ///
    /// # Errors
    /// [`ErrorKind::Data`] if a label has no name.
    pub fn with_classes(mut self, classes: Vec<String>) -> Result<Self> {
        if let Some(at) = self.labels.iter().position(|&label| usize::from(label) >= classes.len()) {
            return Err(Error::new(
                ErrorKind::Data,
                format!(
                    "{} has the label {}, and there are {} classes",
                    self.name(at),
                    self.labels[at],
                    classes.len()
                ),
            )
            .hint(format!("labels must lie in 0 to {}", classes.len().saturating_sub(1))));
        }
        self.classes = classes;
        self.fingerprint = OnceLock::new();
        Ok(self)
    }

    /// The labels as the file has them.
    pub(super) fn raw_labels(&self) -> &[u8] {
        &self.labels
    }

    /// The part that was read.
    pub fn part(&self) -> Part {
        self.part
    }
}

impl fmt::Debug for IdxDataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IdxDataset({}:{}, {} x {})", self.name, self.part, self.labels.len(), self.shape)
    }
}

impl Dataset for IdxDataset {
    fn len(&self) -> usize {
        self.labels.len()
    }

    fn get(&self, index: usize) -> Result<Sample> {
        let label = self.label(index)?;
        let size = self.shape.elements();
        let input = Tensor::from_slice(&self.images[index * size..][..size], self.shape.clone())?;
        Ok(Sample { input, label })
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn shape(&self) -> &Shape {
        &self.shape
    }

    fn name(&self, index: usize) -> String {
        format!("{}:{}:{index}", self.name, self.part)
    }

    fn label(&self, index: usize) -> Result<i64> {
        let label = self.labels.get(index).map(|&label| i64::from(label));
        label.ok_or_else(|| no_such_sample(index, self.len(), &format!("{}:{}", self.name, self.part)))
    }

    fn fingerprint(&self) -> u64 {
        *self.fingerprint.get_or_init(|| {
            let mut hash = Hash64::new();
            hash_header(&mut hash, self.len(), &self.shape, &self.classes);
            hash.write(&self.images);
            hash.write(&self.labels);
            hash.finish()
        })
    }
}

/// The name of a file in its first spelling.
pub(super) fn file_name(part: Part, kind: &str) -> String {
    format!("{}-{kind}-idx{}-ubyte", part.stem(), if kind == "images" { 3 } else { 1 })
}

/// The file of that kind in a folder: raw before gzip, `-idx` before `.idx`.
pub(super) fn find_file(folder: &Path, part: Part, kind: &str) -> Option<PathBuf> {
    let name = file_name(part, kind);
    let other = name.replace("-idx", ".idx");
    [name.clone(), other.clone(), format!("{name}.gz"), format!("{other}.gz")]
        .into_iter()
        .map(|name| folder.join(name))
        .find(|path| path.is_file())
}

/// Whether a folder has any of the files.
pub(super) fn has_files(folder: &Path) -> bool {
    [Part::Train, Part::Test]
        .into_iter()
        .any(|part| ["images", "labels"].into_iter().any(|kind| find_file(folder, part, kind).is_some()))
}
