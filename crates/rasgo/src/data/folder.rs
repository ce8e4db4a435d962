//! Whether a path is a folder of IDX files, and what it is if not.

use std::fs;
use std::path::Path;

use rasgo_core::{Error, ErrorKind, Result};

use super::idx;

/// Endings of pictures, for telling a folder of photos.
const PICTURES: [&str; 9] = ["png", "jpg", "jpeg", "gif", "bmp", "webp", "tif", "tiff", "heic"];

/// An error that says what the path is, unless it is a folder with IDX files.
pub(super) fn check(path: &Path) -> Result<()> {
    let fail = |message: String| Error::new(ErrorKind::Data, message).file(path);
    if !path.exists() {
        return Err(fail("there is no data set or folder of that name".to_string())
            .hint("the data sets known by name are: mnist; another is given as a path"));
    }
    if !path.is_dir() {
        return Err(fail("this is a file, and no data set".to_string())
            .hint("give a folder of IDX files, or a file of arrays: .npz or .safetensors with x and y"));
    }
    if idx::has_files(path) {
        return Ok(());
    }
    let names = visible(path)?;
    if names.is_empty() {
        return Err(
            fail("the folder is empty".to_string()).hint("a data set has train-images-idx3-ubyte in it")
        );
    }
    let inside = |name: &String| {
        let sub = path.join(name);
        sub.is_dir() && visible(&sub).is_ok_and(|names| names.iter().any(|name| is_picture(name)))
    };
    let nested = |name: &String| {
        let sub = path.join(name);
        sub.is_dir() && visible(&sub).is_ok_and(|names| names.iter().any(|n| inside(&format!("{name}/{n}"))))
    };
    if names.iter().any(|name| is_picture(name) || inside(name) || nested(name)) {
        return Err(fail("this is a folder of pictures, and these cannot be trained on yet".to_string())
            .hint("folders of IDX files (train-images-idx3-ubyte and so on) can"));
    }
    let some: Vec<&str> = names.iter().take(4).map(String::as_str).collect();
    let more = if names.len() > some.len() { ", …" } else { "" };
    Err(fail(format!("the folder holds no data set, but {}{more}", some.join(", ")))
        .hint("a data set has train-images-idx3-ubyte and train-labels-idx1-ubyte in it, raw or .gz"))
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
