//! Texts that people write: configurations and model files.

use std::path::Path;

use rasgo_core::{Error, Result};

use crate::formats::read_whole;

/// Reads a text, whose size no hand reaches.
pub(crate) fn read_text(path: &Path) -> Result<String> {
    String::from_utf8(read_whole(path, 1 << 26)?)
        .map_err(|error| Error::format(path, format!("this is no text in UTF-8: {}", error.utf8_error())))
}
