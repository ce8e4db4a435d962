//! Paths of data and models as people see them.

use std::path::Path;

/// A path from the working folder where it lies below that, else as it is.
pub(crate) fn from_here(path: &str) -> String {
    let here = std::env::current_dir().ok();
    let below = here.as_ref().and_then(|here| Path::new(path).strip_prefix(here).ok()?.to_str());
    below.filter(|below| !below.is_empty()).unwrap_or(path).to_string()
}

/// The last part of a path.
pub(crate) fn last_part(path: &str) -> &str {
    Path::new(path).file_name().and_then(|name| name.to_str()).unwrap_or(path)
}
