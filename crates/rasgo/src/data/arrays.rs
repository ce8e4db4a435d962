//! Data sets of arrays: sequences, images and video, as `.npz` or `.safetensors`.

use std::collections::HashSet;
use std::fmt;
use std::path::Path;
use std::sync::OnceLock;

use rasgo_core::{DType, Error, ErrorKind, Result, Shape, Tensor};

use super::array_file::{ArrayFile, Kind, samples_of};
use super::dataset::{Dataset, Sample, hash_header, no_such_sample};
use super::idx::Part;
use super::labels;
use crate::formats::{Hash64, for_each_piece};

/// Samples and labels of one part, in memory.
///
/// Samples are (N, C, L), (N, C, H, W) or (N, C, D, H, W): bytes count as 0..1, all else is taken as it is, as float32. In
/// memory truth values are bytes, so turn them into numbers first: `x.to_dtype(DType::F32)`. Labels are N whole numbers,
/// counted from 0.
///
/// ```
/// use rasgo::data::{ArrayDataset, Dataset};
/// use rasgo_core::Tensor;
/// let x = Tensor::rand([10, 2, 50]);
/// let y = Tensor::from_vec((0..10i64).map(|i| i % 2).collect(), [10])?;
/// let series = ArrayDataset::new(x, y)?.with_classes(vec!["calm".into(), "storm".into()])?;
/// assert_eq!((series.len(), &series.shape()[..]), (10, &[2, 50][..]));
/// # Ok::<(), rasgo_core::Error>(())
/// ```
pub struct ArrayDataset {
    name: String,
    part: Part,
    shape: Shape,
    classes: Vec<String>,
    samples: Tensor,
    labels: Vec<i64>,
    fingerprint: OnceLock<u64>,
}

impl ArrayDataset {
    /// From samples and labels. Classes are called by their numbers.
    ///
    /// # Errors
    /// [`ErrorKind::Data`] naming the first sample that is wrong: other shapes, lengths that differ, no samples, labels
    /// that are no whole numbers of 0 or more or have gaps above 9, values that are not finite.
    pub fn new(x: Tensor, y: Tensor) -> Result<ArrayDataset> {
        let unnamed = ArrayDataset::of_part(x, y, "arrays", Part::Train)?;
        let classes = numbered(unnamed.labels.iter().copied())?;
        unnamed.with_classes(classes)
    }

    /// Without names of classes yet.
    pub(super) fn of_part(x: Tensor, y: Tensor, name: &str, part: Part) -> Result<ArrayDataset> {
        let end = if part == Part::Test { "_test" } else { "" };
        let data = |message: String| Error::new(ErrorKind::Data, message);
        let axes = match x.shape().len() {
            3 => ["N", "C", "L"].as_slice(),
            4 => &["N", "C", "H", "W"],
            5 => &["N", "C", "D", "H", "W"],
            _ => {
                let text = format!("x{end} has the shape {}, which are no samples", x.shape());
                return Err(data(text).hint(match x.shape().len() {
                    2 => "series of one channel are (N, 1, L): x[:, None]",
                    _ => "samples are (N, C, L), (N, C, H, W) or (N, C, D, H, W), with N and C in front",
                }));
            }
        };
        if let Some(axis) = x.shape().iter().position(|&size| size == 0) {
            let (shape, all, axis) = (x.shape(), axes.join(", "), axes[axis]);
            let why = match axis {
                "N" => "there are no samples",
                _ => "samples without values are no samples",
            };
            let text = format!("x{end} has the shape {shape}: it is ({all}), and {axis} is 0: {why}");
            return Err(data(text));
        }
        let count = x.shape()[0];
        let labels = labels_of(&y, &format!("y{end}"))?;
        if labels.len() != count {
            let text = format!("x{end} has {count} samples, and y{end} has {} labels", labels.len());
            return Err(data(text).hint("each sample has one label"));
        }
        let shape = x.shape()[1..].iter().copied().collect();
        let samples = samples_of(x.detach().to_plain(), &format!("x{end}"))?;
        let (name, classes) = (name.to_string(), Vec::new());
        Ok(ArrayDataset { name, part, shape, classes, samples, labels, fingerprint: OnceLock::new() })
    }

    /// The same samples with names of the classes.
    ///
    /// # Errors
    /// [`ErrorKind::Data`] if a label has no name, or two classes have one.
    pub fn with_classes(mut self, classes: Vec<String>) -> Result<ArrayDataset> {
        let data = |message: String| Error::new(ErrorKind::Data, message);
        let count = classes.len();
        if let Some(at) = self.labels.iter().position(|&label| label as usize >= count) {
            return Err(data(format!(
                "{} has the label {}, and there are {count} classes",
                self.name(at),
                self.labels[at]
            ))
            .hint("labels are counted from 0"));
        }
        let mut seen = HashSet::new();
        if let Some(twice) = classes.iter().find(|&class| !seen.insert(class)) {
            return Err(data(format!("two classes are called {twice:?}")));
        }
        self.classes = classes;
        self.fingerprint = OnceLock::new();
        Ok(self)
    }
}

/// The labels of an array that has as many.
fn labels_of(y: &Tensor, name: &str) -> Result<Vec<i64>> {
    let data = |message: String| Error::new(ErrorKind::Data, message);
    if y.shape().len() != 1 {
        let text =
            format!("{name} has the shape {}, and labels are one number for each sample, (N)", y.shape());
        return Err(data(text).hint("labels that stand in a column: y.ravel(); one of K: y.argmax(axis=1)"));
    }
    let labels = match y.dtype() {
        DType::I64 => y.to_vec::<i64>()?,
        DType::U8 => y.to_vec::<u8>()?.into_iter().map(i64::from).collect(),
        other => {
            let text = format!("{name} has values of {other}, and labels are whole numbers");
            return Err(data(text).hint("y.astype(np.int64), if they are whole"));
        }
    };
    match labels.iter().position(|&label| label < 0) {
        Some(at) => Err(data(format!("label {at} of {name} is {}", labels[at]))
            .hint("labels are classes, counted from 0")),
        None => Ok(labels),
    }
}

/// Names of classes that have none: their numbers.
fn numbered(labels: impl Iterator<Item = i64> + Clone) -> Result<Vec<String>> {
    labels::check_gaps(labels.clone().map(|label| label as usize), "label")?;
    Ok((0..=labels.max().unwrap_or(0)).map(|class| class.to_string()).collect())
}

/// Reads the training part of a file, and its test part if it has one.
pub(super) fn open(path: &Path, kind: Kind) -> Result<(ArrayDataset, Option<ArrayDataset>)> {
    let file = ArrayFile::open(path, kind)?;
    let name = path.display().to_string();
    let part = |part: Part, x: Tensor, y: Tensor| {
        ArrayDataset::of_part(x, y, &name, part).map_err(|error| error.file(path))
    };
    let train = part(Part::Train, file.array("x")?, file.labels("y")?)?;
    let test = match (file.find("x_test")?, file.find_labels("y_test")?) {
        (Some(x), Some(y)) => Some(part(Part::Test, x, y)?),
        (None, None) => None,
        (has_x, _) => {
            let (found, missing) = if has_x.is_some() { ("x_test", "y_test") } else { ("y_test", "x_test") };
            return Err(file.wrong(format!("there is an array {found} and no {missing}")));
        }
    };
    if let Some(test) = &test {
        let (ours, theirs) = (&train.samples, &test.samples);
        if train.shape != test.shape || ours.dtype() != theirs.dtype() {
            let text = format!(
                "x has {} of shape {}, and x_test {} of shape {}",
                ours.dtype(),
                train.shape,
                theirs.dtype(),
                test.shape
            );
            return Err(file.wrong(text).hint("both parts hold samples of one shape and type"));
        }
    }
    let classes = match file.classes()? {
        Some(classes) => classes,
        // A class that occurs in one part only is a class of both.
        None => numbered(train.labels.iter().chain(test.iter().flat_map(|test| &test.labels)).copied())
            .map_err(|error| error.file(path))?,
    };
    let named = |part: ArrayDataset| part.with_classes(classes.clone()).map_err(|error| error.file(path));
    Ok((named(train)?, test.map(named).transpose()?))
}

impl fmt::Debug for ArrayDataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ArrayDataset({}:{}, {} x {})", self.name, self.part, self.labels.len(), self.shape)
    }
}

impl Dataset for ArrayDataset {
    fn len(&self) -> usize {
        self.labels.len()
    }

    fn get(&self, index: usize) -> Result<Sample> {
        let label = self.label(index)?;
        let input = self.samples.narrow(0, index, 1)?.reshape(self.shape.clone())?;
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
        let label = self.labels.get(index).copied();
        label.ok_or_else(|| no_such_sample(index, self.labels.len(), &format!("{}:{}", self.name, self.part)))
    }

    fn fingerprint(&self) -> u64 {
        *self.fingerprint.get_or_init(|| {
            let mut hash = Hash64::new();
            hash_header(&mut hash, self.len(), &self.shape, &self.classes);
            let pieces = for_each_piece(&self.samples, |piece| {
                hash.write(piece);
                Ok(())
            });
            if let Err(error) = pieces {
                hash.write_text(&error.summary());
            }
            self.labels.iter().for_each(|&label| hash.write_number(label as u64));
            hash.finish()
        })
    }
}
