//! Opening files for reading, with errors that say what is there instead.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use rasgo_core::{Error, ErrorKind, Result};

/// Opens a regular file and returns its length. A pipe or device, which might never end, is refused.
pub(crate) fn open_file(path: &Path) -> Result<(File, u64)> {
    let about = fs::metadata(path).map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound => {
            Error::new(ErrorKind::Io, "there is no such file").file(path).source(source)
        }
        _ => Error::io(path, source),
    })?;
    if !about.is_file() {
        let found = if about.is_dir() { "a folder" } else { "no regular file" };
        return Err(Error::new(ErrorKind::Io, format!("this is {found}, and a file is needed")).file(path));
    }
    let file = File::open(path).map_err(|source| Error::io(path, source))?;
    Ok((file, about.len()))
}

/// The first of some names, for a message, and how many more there are.
pub(crate) fn first_of<'a>(most: usize, names: impl IntoIterator<Item = &'a str>) -> String {
    let mut names = names.into_iter();
    let mut text = names.by_ref().take(most).collect::<Vec<_>>().join(", ");
    match names.count() {
        0 => {}
        more => text.push_str(&format!(" and {more} more")),
    }
    text
}

/// Reads a file of at most `limit` bytes.
pub(crate) fn read_whole(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let (file, length) = open_file(path)?;
    let mut bytes = Vec::with_capacity(length.min(limit) as usize);
    file.take(limit + 1).read_to_end(&mut bytes).map_err(|source| Error::io(path, source))?;
    if bytes.len() as u64 > limit {
        return Err(Error::format(path, format!("has {length} bytes, more than the {limit} that are read")));
    }
    Ok(bytes)
}
