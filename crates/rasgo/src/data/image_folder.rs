//! Folders of images, with a sub-folder for each class.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use rasgo_core::threads::parallel_chunks;
use rasgo_core::{Error, ErrorKind, Result, Shape, Tensor};

use super::arrays::ArrayDataset;
use super::dataset::{Dataset, Sample};
use super::idx::Part;
use crate::formats::{ImageOptions, first_of, read_image};

/// Endings of the files that are taken for images: torchvision's.
const IMAGES: [&str; 9] = ["jpg", "jpeg", "png", "ppm", "bmp", "pgm", "tif", "tiff", "webp"];

/// The images of one size in a folder, decoded into memory as bytes (3, H, W): a sub-folder is a class, and its name the
/// class's.
///
/// Classes and files are in torchvision's order: classes by their names, in each class the folders within it by their
/// paths, in each folder the files by their names. Files whose names do not end as an image's are passed over, and so is
/// what is hidden, whose name begins with a dot.
///
/// ```no_run
/// use rasgo::data::{Dataset, ImageFolder};
/// let pets = ImageFolder::open("pets")?; // pets/cat/1.jpg, pets/cat/2.jpg, pets/dog/1.png
/// assert_eq!(pets.classes(), ["cat", "dog"]);
/// assert_eq!(pets.labels()?, [0, 0, 1]);
/// # Ok::<(), rasgo_core::Error>(())
/// ```
pub struct ImageFolder {
    files: Vec<PathBuf>,
    images: ArrayDataset,
}

impl ImageFolder {
    /// Reads a folder.
    ///
    /// # Errors
    /// [`ErrorKind::Data`] where there is no sub-folder, one has no image in it, or an image has not the size of the first;
    /// [`ErrorKind::Format`] for a file that is no image or is damaged. Each names the file or folder.
    pub fn open(folder: impl AsRef<Path>) -> Result<ImageFolder> {
        ImageFolder::read(folder.as_ref(), None)
    }

    /// Reads the test part: its images have the size of those to train on, and their classes, of which it may lack some.
    ///
    /// # Errors
    /// As [`open`](ImageFolder::open), and [`ErrorKind::Data`] for a sub-folder that is no such class.
    pub fn open_test(folder: impl AsRef<Path>, train: &ImageFolder) -> Result<ImageFolder> {
        ImageFolder::read(folder.as_ref(), Some(train))
    }

    fn read(folder: &Path, train: Option<&ImageFolder>) -> Result<ImageFolder> {
        let found = class_folders(folder)?;
        let classes = match train {
            Some(train) => train.classes().to_vec(),
            None => found.iter().map(|(class, _)| class.clone()).collect(),
        };
        let (mut files, mut labels) = (Vec::new(), Vec::new());
        for (class, path) in found {
            let Some(label) = classes.iter().position(|known| *known == class) else {
                let known = first_of(10, classes.iter().map(String::as_str));
                return Err(Error::new(ErrorKind::Data, format!("there is no class {class:?}"))
                    .file(path)
                    .hint(format!("the classes are {known}")));
            };
            let images = images_below(&path)?;
            labels.resize(labels.len() + images.len(), label as i64);
            files.extend(images);
        }
        let (first, shape) = match train {
            Some(train) => (&train.files[0], train.shape().clone()),
            None => (&files[0], read_image(&files[0], &ImageOptions::new(3))?.shape().clone()),
        };
        let images = decode(&files, first, &shape)?;
        let count = labels.len();
        let labels = Tensor::from_vec(labels, [count])?;
        let name = folder.display().to_string();
        let part = if train.is_some() { Part::Test } else { Part::Train };
        let images = ArrayDataset::of_part(images, labels, &name, part)?;
        Ok(ImageFolder { files, images: images.with_classes(classes).map_err(|error| error.file(folder))? })
    }

    /// The file of each sample.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }
}

/// What lies in a folder, by name, without what is hidden.
fn entries(folder: &Path) -> Result<Vec<(OsString, PathBuf)>> {
    let failed = |source| Error::io(folder, source);
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        if !name.as_encoded_bytes().starts_with(b".") {
            let path = folder.join(&name);
            found.push((name, path));
        }
    }
    found.sort();
    Ok(found)
}

/// The classes of a folder, by name, with the folder of each.
///
/// # Errors
/// If there is none.
fn class_folders(folder: &Path) -> Result<Vec<(String, PathBuf)>> {
    let entries = entries(folder)?.into_iter().filter(|(_, path)| path.is_dir());
    let found: Vec<_> = entries.map(|(name, path)| (name.to_string_lossy().into_owned(), path)).collect();
    match found.is_empty() {
        true => Err(Error::new(ErrorKind::Data, "there are no sub-folders, and so no classes")
            .file(folder)
            .hint("put the images of each class into a sub-folder of its name")),
        false => Ok(found),
    }
}

/// All images in a folder and those within it.
///
/// # Errors
/// If there is none; what is there is told.
fn images_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let (mut folders, mut next) = (vec![folder.to_path_buf()], 0);
    while let Some(at) = folders.get(next) {
        let inner = entries(at)?.into_iter().map(|(_, path)| path).filter(|path| path.is_dir());
        folders.extend(inner.collect::<Vec<_>>());
        next += 1;
    }
    // As texts, in which a slash is a character like another: Python's order.
    folders.sort_by(|a, b| a.as_os_str().cmp(b.as_os_str()));
    let (mut images, mut others) = (Vec::new(), Vec::new());
    for folder in folders {
        let files = entries(&folder)?.into_iter().map(|(_, path)| path).filter(|path| !path.is_dir());
        let (found, other): (Vec<_>, Vec<_>) = files.partition(|path| is_image(path));
        images.extend(found);
        others.extend(other);
    }
    if !images.is_empty() {
        return Ok(images);
    }
    let names: Vec<_> =
        others.iter().map(|path| path.file_name().unwrap_or_default().to_string_lossy()).collect();
    let found = match names.is_empty() {
        true => String::new(),
        false => format!(", but {}", first_of(4, names.iter().map(|name| &**name))),
    };
    Err(Error::new(ErrorKind::Data, format!("the class has no image{found}"))
        .file(folder)
        .hint(format!("put images into the folder ({}), or remove it", IMAGES.join(", "))))
}

/// Whether a file's name is an image's.
pub(super) fn is_image(path: &Path) -> bool {
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase());
    ending.is_some_and(|ending| IMAGES.contains(&ending.as_str()))
}

/// Decodes the files to (N, 3, H, W). All have the shape of the first.
fn decode(files: &[PathBuf], first: &Path, shape: &Shape) -> Result<Tensor> {
    let decode_one = |file: &PathBuf, pixels: &mut [u8]| -> Result<()> {
        let image = read_image(file, &ImageOptions::new(3))?;
        if image.shape() != shape {
            let size = |shape: &Shape| format!("{} x {}", shape[1], shape[2]);
            let (this, all) = (size(image.shape()), size(shape));
            let text = format!("the image is {this}, and the first, {}, is {all}", first.display());
            return Err(Error::new(ErrorKind::Data, text)
                .file(file)
                .hint("images of several sizes cannot be trained on yet; bring all to one size"));
        }
        pixels.copy_from_slice(image.as_slice()?);
        Ok(())
    };
    struct Slot<'a> {
        pixels: &'a mut [u8],
        result: Result<()>,
    }
    let mut result = Ok(());
    let images = Tensor::try_from_fn([files.len(), 3, shape[1], shape[2]], |dst: &mut [u8]| {
        let pixels = dst.chunks_exact_mut(shape.elements());
        let mut slots: Vec<Slot<'_>> = pixels.map(|pixels| Slot { pixels, result: Ok(()) }).collect();
        parallel_chunks(&mut slots, 1, |i, slots| slots[0].result = decode_one(&files[i], slots[0].pixels));
        // The first file in order decides which error is told.
        result = slots.into_iter().try_for_each(|slot| slot.result);
    })?;
    result.map(|()| images)
}

impl fmt::Debug for ImageFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ImageFolder({} files, {:?})", self.files.len(), self.images)
    }
}

impl Dataset for ImageFolder {
    fn len(&self) -> usize {
        self.images.len()
    }

    fn get(&self, index: usize) -> Result<Sample> {
        self.images.get(index)
    }

    fn classes(&self) -> &[String] {
        self.images.classes()
    }

    fn shape(&self) -> &Shape {
        self.images.shape()
    }

    fn name(&self, index: usize) -> String {
        self.files.get(index).map_or_else(|| self.images.name(index), |file| file.display().to_string())
    }

    fn label(&self, index: usize) -> Result<i64> {
        self.images.label(index)
    }

    fn fingerprint(&self) -> u64 {
        self.images.fingerprint()
    }
}
