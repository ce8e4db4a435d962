//! Files that hold named arrays, or one without a name.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use rasgo_core::{DType, Error, ErrorKind, Result, Tensor};

use super::transposition::transposition;
use crate::formats::{Array, Loaded, Npz, first_of, npy, safetensors};

/// The names of the arrays that count.
pub(super) const NAMES: [&str; 4] = ["x", "y", "x_test", "y_test"];

/// An open `.npz` or `.safetensors` file.
pub(super) struct ArrayFile {
    pub(super) path: PathBuf,
    source: Source,
}

enum Source {
    Npz(Npz),
    Safetensors(Loaded),
}

/// What a file is by its first bytes; safetensors has none of its own, so its ending decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Npy,
    Npz,
    Safetensors,
}

/// The kind of a file, if it is one of arrays.
pub(super) fn kind_of(path: &Path) -> Option<Kind> {
    let mut start = Vec::new();
    let is_file = fs::metadata(path).is_ok_and(|about| about.is_file());
    if is_file {
        // What cannot be read is told by whoever opens it.
        let _ = fs::File::open(path).and_then(|file| file.take(6).read_to_end(&mut start));
    }
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase());
    match (&start[..], ending.as_deref()) {
        (b"\x93NUMPY", _) => Some(Kind::Npy),
        ([b'P', b'K', 3 | 5, 4 | 6, ..], _) => Some(Kind::Npz),
        (_, Some("npy")) => Some(Kind::Npy),
        (_, Some("npz")) => Some(Kind::Npz),
        (_, Some("safetensors")) => Some(Kind::Safetensors),
        _ => None,
    }
}

impl ArrayFile {
    /// Opens a file of named arrays.
    pub(super) fn open(path: &Path, kind: Kind) -> Result<ArrayFile> {
        let source = match kind {
            Kind::Npz => Source::Npz(Npz::open(path)?),
            Kind::Safetensors => Source::Safetensors(safetensors::load(path)?),
            Kind::Npy => {
                return Err(Error::new(
                    ErrorKind::Data,
                    "this is one array, and a data set has samples and labels",
                )
                .file(path)
                .hint("save both in one file: np.savez(\"data.npz\", x=x, y=y)"));
            }
        };
        Ok(ArrayFile { path: path.to_path_buf(), source })
    }

    /// The array of that name, if there is one.
    pub(super) fn find(&self, name: &str) -> Result<Option<Tensor>> {
        match &self.source {
            Source::Npz(npz) => npz.find(name)?,
            Source::Safetensors(loaded) => loaded.find(name),
        }
        .map(counted)
        .transpose()
    }

    /// The array of labels of that name, if there is one.
    pub(super) fn find_labels(&self, name: &str) -> Result<Option<Tensor>> {
        self.find(name).map_err(|error| match &self.source {
            Source::Npz(npz) if npz.texts(name).is_ok() => {
                self.wrong(format!("{name} has texts, and labels are whole numbers")).hint(format!(
                    "names, {name} = np.unique({name}, return_inverse=True), and save names as classes"
                ))
            }
            _ => error,
        })
    }

    /// The array of labels of that name, which must be there.
    pub(super) fn labels(&self, name: &str) -> Result<Tensor> {
        self.find_labels(name)?.ok_or_else(|| self.missing(name))
    }

    /// The array of that name, which must be there.
    pub(super) fn array(&self, name: &str) -> Result<Tensor> {
        self.find(name)?.ok_or_else(|| self.missing(name))
    }

    fn missing(&self, name: &str) -> Error {
        let names = self.names();
        let near = names.iter().find(|other| other.to_lowercase().starts_with(name));
        let error = match names.is_empty() {
            true => self.wrong("it holds no arrays".to_string()),
            false => {
                let there = first_of(8, names.iter().copied());
                self.wrong(format!("there is no array {name}, but {there}"))
            }
        };
        error.hint(match near {
            Some(near) if !NAMES.contains(near) => format!("is {near} meant? Name it {name}"),
            _ => "np.savez(\"data.npz\", x=x, y=y) writes samples (N, C, …) and labels (N)".to_string(),
        })
    }

    /// The names of the classes, if the file has some: a list of texts `classes`, or such a list as JSON in the
    /// metadata.
    pub(super) fn classes(&self) -> Result<Option<Vec<String>>> {
        match &self.source {
            Source::Npz(npz) => npz.texts("classes"),
            Source::Safetensors(loaded) => loaded
                .metadata
                .get("classes")
                .map(|text| {
                    serde_json::from_str(text).map_err(|error| {
                        self.wrong(format!("its classes are no list of texts: {error}")).hint(
                            "write them into the metadata as JSON: {\"classes\": \"[\\\"a\\\", \\\"b\\\"]\"}",
                        )
                    })
                })
                .transpose(),
        }
    }

    fn names(&self) -> Vec<&str> {
        match &self.source {
            Source::Npz(npz) => npz.names().collect(),
            Source::Safetensors(loaded) => loaded.tensors.iter().map(|(name, _)| name.as_str()).collect(),
        }
    }

    pub(super) fn wrong(&self, message: String) -> Error {
        Error::new(ErrorKind::Data, message).file(&self.path)
    }
}

/// The numbers of an array. Truth values count as 0 and 1, so they leave the bytes, which count as shares of 255.
fn counted(array: Array) -> Result<Tensor> {
    if array.is_bool { array.tensor.to_dtype(DType::I64) } else { Ok(array.tensor) }
}

/// Samples as a data set has them: bytes stay bytes, all else becomes f32 and must be finite. `name` is what to call
/// the array.
pub(super) fn samples_of(array: Tensor, name: &str) -> Result<Tensor> {
    let data = |message: String| Error::new(ErrorKind::Data, message);
    if array.dtype() == DType::U8 {
        return Ok(array);
    }
    let floats = array.to_dtype(DType::F32)?;
    let values = floats.as_slice::<f32>()?;
    let Some(at) = values.iter().position(|value| !value.is_finite()) else { return Ok(floats) };
    let sample = values.len() / floats.shape().first().copied().unwrap_or(1).max(1);
    let found = array.to_f64_vec()?[at];
    let error = match found.is_finite() {
        true => {
            data(format!("sample {} of {name} has the value {found:e}, too large for float32", at / sample))
        }
        false => data(format!("sample {} of {name} has the value {found}", at / sample)),
    };
    Err(error.hint("samples must be finite numbers: leave that one out, or fill the gap"))
}

/// Reads samples without labels for a model whose input has that shape, as one tensor (N, …): an `.npy` file of one
/// sample or a batch, or the array `x` of an `.npz` or `.safetensors` file; types as for [`open`](super::open). `None` if the
/// file is none of these.
///
/// # Errors
/// [`ErrorKind::Data`] for another shape, no samples, or values that are not finite; damaged files are
/// [`ErrorKind::Format`].
pub fn read_samples(path: impl AsRef<Path>, shape: &[usize]) -> Result<Option<Tensor>> {
    let path = path.as_ref();
    let array = match kind_of(path) {
        None => return Ok(None),
        Some(Kind::Npy) => counted(npy::load_array(path)?)?,
        Some(kind) => ArrayFile::open(path, kind)?.array("x")?,
    };
    let batch = match array.shape()[..] == *shape {
        true => array.reshape([&[1], shape].concat())?,
        false => array,
    };
    if batch.shape().len() != shape.len() + 1 || batch.shape()[1..] != *shape {
        let sizes: Vec<String> = shape.iter().map(usize::to_string).collect();
        let text = format!("an array of shape {}, and the model takes ({})", batch.shape(), sizes.join(", "));
        return Err(Error::new(ErrorKind::Data, text)
            .file(path)
            .hint(transposition(batch.shape(), shape).unwrap_or_else(|| {
                "give one sample of that shape, or a batch with N before it".to_string()
            })));
    }
    if batch.shape()[0] == 0 {
        return Err(Error::new(ErrorKind::Data, "there are no samples in it").file(path));
    }
    samples_of(batch, "the array").map(Some).map_err(|error| error.file(path))
}
