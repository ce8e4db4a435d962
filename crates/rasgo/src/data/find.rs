//! Data sets by name or folder.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rasgo_core::{Error, ErrorKind, Result, settings};

use super::dataset::Dataset;
use super::folder::{self, Holding};
use super::idx::{self, IdxDataset, Part};
use super::image_folder::ImageFolder;
use super::{array_file, arrays, known, samples_called, word_for};

/// What [`open`] has found.
#[derive(Clone)]
pub struct Splits {
    /// To train on; a part may be held out of it for validation.
    pub train: Arc<dyn Dataset>,
    /// For the end, if the data set has such a part.
    pub test: Option<Arc<dyn Dataset>>,
    /// One line for people: what it is, how much, and from where.
    pub description: String,
}

impl fmt::Debug for Splits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Splits({})", self.description)
    }
}

/// Opens a data set: `mnist`, found as [`find_mnist`] says, the path of a folder of images or of IDX files, or of a file of
/// arrays.
///
/// A folder of images has one sub-folder for each class, or such folders in `train` and, if there is a test part, in `test`
/// or `val`; see [`ImageFolder`].
///
/// A file of arrays is an `.npz` or `.safetensors` with samples `x` (N, C, L), (N, C, H, W) or (N, C, D, H, W) and labels
/// `y` (N); it may have a test part `x_test`, `y_test`, and names of the `classes`. uint8 counts as 0..1; all other types,
/// as float16, bfloat16, float64, bool and whole numbers, become float32 with the values they have. See
/// [`ArrayDataset`](super::ArrayDataset).
///
/// ```no_run
/// let data = rasgo::data::open("mnist")?;
/// assert_eq!(data.train.len(), 60_000);
/// # Ok::<(), rasgo_core::Error>(())
/// ```
///
/// # Errors
/// [`ErrorKind::Data`] if there is nothing of that name, or the folder holds no data set; what is there is said.
/// Damaged files are [`ErrorKind::Format`].
pub fn open(name_or_path: impl AsRef<Path>) -> Result<Splits> {
    let path = name_or_path.as_ref();
    if path == Path::new("mnist") {
        return open_mnist(&find_mnist()?);
    }
    if let Some(kind) = array_file::kind_of(path) {
        return open_arrays(path, kind);
    }
    if let Holding::Images { train, test } = folder::holding(path)? {
        return open_images(path, &train, test.as_deref());
    }
    let name = path.display().to_string();
    let train = IdxDataset::open_named(path, Part::Train, &name)?;
    let has_test = ["images", "labels"].iter().any(|kind| idx::find_file(path, Part::Test, kind).is_some());
    let test = if has_test { Some(IdxDataset::open_named(path, Part::Test, &name)?) } else { None };
    // A class that occurs in one part only is a class of both.
    let classes = match &test {
        Some(test) if test.classes().len() > train.classes().len() => test.classes(),
        _ => train.classes(),
    }
    .to_vec();
    let test = test.map(|test| test.with_classes(classes.clone())).transpose()?;
    splits(train.with_classes(classes)?, test, path)
}

fn open_arrays(path: &Path, kind: array_file::Kind) -> Result<Splits> {
    let (train, test) = arrays::open(path, kind)?;
    let size = train.shape().to_vec();
    Ok(described("arrays", &size, train, test, path))
}

fn open_images(path: &Path, train: &Path, test: Option<&Path>) -> Result<Splits> {
    let train = ImageFolder::open(train)?;
    let test = test.map(|test| ImageFolder::open_test(test, &train)).transpose()?;
    let size = train.shape()[1..].to_vec();
    Ok(described("images", &size, train, test, path))
}

/// Both parts with the line that tells of them.
fn described<D: Dataset + 'static>(
    what: &str,
    size: &[usize],
    train: D,
    test: Option<D>,
    path: &Path,
) -> Splits {
    let samples = samples_called(train.shape());
    let tested = test.as_ref().map_or(format!("no test {samples}"), |test| {
        format!("{} test {}", test.len(), word_for(test.len(), samples))
    });
    let sizes: Vec<String> = size.iter().map(usize::to_string).collect();
    let classes = train.classes().len();
    let description = format!(
        "{what}: {} training and {tested}, {}, {classes} {}, from {}",
        train.len(),
        sizes.join(" x "),
        word_for(classes, "classes"),
        path.display()
    );
    let test = test.map(|test| Arc::new(test) as Arc<dyn Dataset>);
    Splits { train: Arc::new(train), test, description }
}

/// One part of MNIST, without reading the other.
pub(super) fn open_mnist_part(folder: &Path, part: Part) -> Result<IdxDataset> {
    let data = IdxDataset::open_named(folder, part, "mnist")?;
    if data.classes().len() == 10 && data.classes()[0] != "0" {
        return Ok(data); // Fashion-MNIST with names of its own
    }
    data.with_classes((0..10).map(|digit| digit.to_string()).collect()).map_err(|e| e.file(folder))
}

fn open_mnist(folder: &Path) -> Result<Splits> {
    let train = open_mnist_part(folder, Part::Train)?;
    splits(train, Some(open_mnist_part(folder, Part::Test)?), folder)
}

fn splits(train: IdxDataset, test: Option<IdxDataset>, folder: &Path) -> Result<Splits> {
    if let Some(test) = test.as_ref().filter(|test| test.shape() != train.shape()) {
        return Err(Error::new(
            ErrorKind::Data,
            format!("images to train on are {}, and to test on {}", train.shape(), test.shape()),
        )
        .file(folder)
        .hint("the parts belong to different data sets"));
    }
    let what = known::name(train.raw_labels()).unwrap_or("IDX files");
    let size = train.shape()[1..].to_vec();
    Ok(described(what, &size, train, test, folder))
}

/// The folder that holds MNIST: `$RASGO_DATA/mnist`, or `data/mnist` in the working directory or one above it.
///
/// # Errors
/// [`ErrorKind::Data`] naming the places and the files.
pub fn find_mnist() -> Result<PathBuf> {
    let working = std::env::current_dir().map_err(|source| Error::io(".", source))?;
    find_among(&places(settings::data_folder().as_deref(), &working))
}

/// Where to look, first place first.
fn places(data: Option<&Path>, working: &Path) -> Vec<PathBuf> {
    let named = data.map(|folder| folder.join("mnist"));
    named.into_iter().chain(working.ancestors().map(|folder| folder.join("data").join("mnist"))).collect()
}

fn find_among(places: &[PathBuf]) -> Result<PathBuf> {
    if let Some(found) = places.iter().find(|place| idx::has_files(place)) {
        return Ok(found.clone());
    }
    let searched: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
    let files: Vec<String> = [Part::Train, Part::Test]
        .into_iter()
        .flat_map(|part| ["images", "labels"].map(|kind| idx::file_name(part, kind)))
        .collect();
    Err(Error::new(ErrorKind::Data, format!("MNIST was not found in {}", searched.join(", "))).hint(format!(
        "put {} (raw or .gz) in one of these folders, or set RASGO_DATA to the folder that holds mnist",
        files.join(", ")
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_named_folder_comes_before_the_working_directory_and_its_parents() {
        let found = places(Some(Path::new("/sets")), Path::new("/home/me/work"));
        let expected = [
            "/sets/mnist",
            "/home/me/work/data/mnist",
            "/home/me/data/mnist",
            "/home/data/mnist",
            "/data/mnist",
        ];
        assert_eq!(found, expected.map(PathBuf::from));
    }

    #[test]
    fn an_empty_folder_is_passed_over_and_all_places_are_named() {
        let root = tempfile::tempdir().unwrap();
        let inner = root.path().join("a");
        std::fs::create_dir_all(inner.join("data/mnist")).unwrap();
        let list = places(None, &inner);
        let error = find_among(&list[..2]).unwrap_err();
        let text = error.to_string();
        for part in ["a/data/mnist", "t10k-labels-idx1-ubyte", "train-images-idx3-ubyte", "RASGO_DATA"] {
            assert!(text.contains(part), "{text}");
        }
        assert!(text.contains(&root.path().join("data/mnist").display().to_string()), "{text}");
        std::fs::create_dir_all(root.path().join("data/mnist")).unwrap();
        std::fs::write(root.path().join("data/mnist/train-labels-idx1-ubyte.gz"), b"").unwrap();
        assert_eq!(find_among(&list[..2]).unwrap(), root.path().join("data/mnist"));
    }
}
