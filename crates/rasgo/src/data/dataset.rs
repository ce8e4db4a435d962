//! What a data set is.

use rasgo_core::{Error, ErrorKind, Result, Shape, Tensor};

use crate::formats::{Hash64, for_each_piece};

/// One sample: what a network sees, and the class it should name.
#[derive(Clone, Debug)]
pub struct Sample {
    /// (C, H, W), or C and other spatial sizes: u8 in 0..=255 or f32.
    pub input: Tensor,
    /// The index of the class.
    pub label: i64,
}

/// Samples with labels, read one by one, from several threads at once.
///
/// Four methods are enough; a data set that knows its labels without reading samples should say so in
/// [`label`](Dataset::label).
///
/// ```
/// use rasgo::data::{Dataset, Sample};
/// use rasgo_core::{Result, Shape, Tensor};
///
/// /// Pictures of 4 x 4 pixels: class 0 is dark, class 1 is bright.
/// struct Shades {
///     shape: Shape,
///     classes: Vec<String>,
/// }
///
/// impl Dataset for Shades {
///     fn len(&self) -> usize {
///         100
///     }
///     fn get(&self, index: usize) -> Result<Sample> {
///         let label = (index % 2) as i64;
///         let input = Tensor::from_vec(vec![(label * 200) as u8 + index as u8 / 2; 16], [1, 4, 4])?;
///         Ok(Sample { input, label })
///     }
///     fn classes(&self) -> &[String] {
///         &self.classes
///     }
///     fn shape(&self) -> &Shape {
///         &self.shape
///     }
/// }
///
/// let data = Shades { shape: [1, 4, 4].into(), classes: vec!["dark".into(), "bright".into()] };
/// assert_eq!(data.labels()?[..4], [0, 1, 0, 1]);
/// # Ok::<(), rasgo_core::Error>(())
/// ```
pub trait Dataset: Send + Sync {
    /// The number of samples.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A sample.
    ///
    /// # Errors
    /// An index that is too large ([`ErrorKind::Index`]); a sample that cannot be read.
    fn get(&self, index: usize) -> Result<Sample>;

    /// The names of the classes; a label is an index into them.
    fn classes(&self) -> &[String];

    /// The shape of one sample, (C, H, W).
    fn shape(&self) -> &Shape;

    /// What to call a sample in messages and tables: `mnist:test:42`, or a file.
    fn name(&self, index: usize) -> String {
        format!("sample {index}")
    }

    /// The label of a sample.
    ///
    /// # Errors
    /// As [`get`](Dataset::get).
    fn label(&self, index: usize) -> Result<i64> {
        Ok(self.get(index)?.label)
    }

    /// All labels.
    ///
    /// # Errors
    /// As [`get`](Dataset::get).
    fn labels(&self) -> Result<Vec<i64>> {
        (0..self.len()).map(|index| self.label(index)).collect()
    }

    /// A hash of the contents, by which a resumed run knows that its data are the same. A sample that cannot be read
    /// counts with its error.
    fn fingerprint(&self) -> u64 {
        let mut hash = Hash64::new();
        hash_header(&mut hash, self.len(), self.shape(), self.classes());
        for index in 0..self.len() {
            let added = self.get(index).and_then(|sample| {
                hash.write_number(sample.label as u64);
                for_each_piece(&sample.input, |piece| {
                    hash.write(piece);
                    Ok(())
                })
            });
            if let Err(error) = added {
                hash.write_text(&error.summary());
            }
        }
        hash.finish()
    }
}

/// What samples of a shape are called: sequences (C, L), images (C, H, W), videos (C, D, H, W), or just samples.
pub fn samples_called(shape: &[usize]) -> &'static str {
    match shape.len() {
        2 => "sequences",
        3 => "images",
        4 => "videos",
        _ => "samples",
    }
}

/// The word for so many, which is given in the plural.
///
/// ```
/// use rasgo::data::word_for;
/// assert_eq!([word_for(1, "images"), word_for(0, "images"), word_for(1, "classes")], ["image", "images", "class"]);
/// ```
pub fn word_for(count: usize, many: &str) -> &str {
    match (count, many.strip_suffix("sses")) {
        (1, Some(_)) => &many[..many.len() - 2],
        (1, None) => many.strip_suffix('s').unwrap_or(many),
        _ => many,
    }
}

/// Adds what is known of a data set without its samples.
pub(super) fn hash_header(hash: &mut Hash64, len: usize, shape: &Shape, classes: &[String]) {
    hash.write_number(len as u64);
    hash.write_number(shape.len() as u64);
    shape.iter().for_each(|&size| hash.write_number(size as u64));
    classes.iter().for_each(|class| hash.write_text(class));
}

/// The error for an index beyond the last sample.
pub(super) fn no_such_sample(index: usize, len: usize, what: &str) -> Error {
    let error =
        Error::new(ErrorKind::Index, format!("there is no sample {index} in {what}, which has {len}"));
    if len == 0 { error } else { error.hint(format!("samples are counted from 0 to {}", len - 1)) }
}
