//! What a folder of data holds: IDX files, or images in folders of their classes.

use std::fs;
use std::path::{Path, PathBuf};

use rasgo_core::{Error, ErrorKind, Result};

use super::idx;

/// Endings of pictures, for telling a folder of photos.
const PICTURES: [&str; 9] = ["png", "jpg", "jpeg", "gif", "bmp", "webp", "tif", "tiff", "heic"];

/// Names of the test part beside `train`: what many sets call validation is measured at the end, and chooses nothing.
const TESTS: [&str; 2] = ["test", "val"];

/// What a folder holds.
pub(super) enum Holding {
    /// IDX files.
    Idx,
    /// Images: the folders, each with one folder for each class, of the training and the test part.
    Images { train: PathBuf, test: Option<PathBuf> },
}

/// What a folder holds; an error that says what the path is, if it is no data set.
pub(super) fn holding(path: &Path) -> Result<Holding> {
    let fail = |message: String| Error::new(ErrorKind::Data, message).file(path);
    if !path.exists() {
        return Err(fail("there is no data set or folder of that name".to_string())
            .hint("the data sets known by name are: mnist; another is given as a path"));
    }
    if !path.is_dir() {
        return Err(fail("this is a file, and no data set".to_string()).hint(
            "give a folder of images or IDX files, or a file of arrays: .npz or .safetensors with x and y",
        ));
    }
    if idx::has_files(path) {
        return Ok(Holding::Idx);
    }
    let names = visible(path)?;
    if names.is_empty() {
        return Err(fail("the folder is empty".to_string()).hint(FORM));
    }
    let inside = |name: &String| {
        let sub = path.join(name);
        sub.is_dir() && visible(&sub).is_ok_and(|names| names.iter().any(|name| is_picture(name)))
    };
    let nested = |name: &String| {
        let sub = path.join(name);
        sub.is_dir() && visible(&sub).is_ok_and(|names| names.iter().any(|n| inside(&format!("{name}/{n}"))))
    };
    if names.iter().any(|name| name == "train") && path.join("train").is_dir() {
        return parts(path, &names);
    }
    if names.iter().any(inside) {
        return Ok(Holding::Images { train: path.to_path_buf(), test: None });
    }
    if names.iter().any(|name| is_picture(name)) {
        let text = "there are pictures in the folder, and nothing says which classes they are of";
        return Err(fail(text.to_string()).hint(FORM));
    }
    if let Some(name) = names.iter().find(|name| nested(name)) {
        let text = format!("the folders of classes lie deeper, as in {name}, and there is no train");
        return Err(fail(text).hint(FORM));
    }
    let some: Vec<&str> = names.iter().take(4).map(String::as_str).collect();
    let more = if names.len() > some.len() { ", …" } else { "" };
    Err(fail(format!("the folder holds no data set, but {}{more}", some.join(", ")))
        .hint(format!("{FORM}; one of IDX files has train-images-idx3-ubyte in it, raw or .gz")))
}

/// How images are laid out.
const FORM: &str = "a data set has a sub-folder of images for each class, or these in train and test";

/// The parts of a folder that has a part to train on.
fn parts(path: &Path, names: &[String]) -> Result<Holding> {
    let folders = names.iter().filter(|name| *name != "train" && path.join(name).is_dir());
    let others: Vec<&str> = folders.map(String::as_str).collect();
    let test = match others[..] {
        [] => None,
        [name] if TESTS.contains(&name) => Some(path.join(name)),
        _ => {
            let text =
                format!("beside train there are {}, and only one test part is known", others.join(", "));
            return Err(Error::new(ErrorKind::Data, text)
                .file(path)
                .hint("leave train and test in the folder; images for validation are held out of train"));
        }
    };
    Ok(Holding::Images { train: path.join("train"), test })
}

/// The names in a folder, sorted, without hidden ones.
fn visible(folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(|source| Error::io(folder, source))? {
        let name =
            entry.map_err(|source| Error::io(folder, source))?.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

fn is_picture(name: &str) -> bool {
    let ending = Path::new(name).extension().map(|e| e.to_string_lossy().to_ascii_lowercase());
    ending.is_some_and(|ending| PICTURES.contains(&ending.as_str()))
}
