//! Paths of a device as rows carry them: `path` for people, `path_uri` exact where that is needed.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::protocol::text::{file_uri, is_plain};

/// The path as text, invalid bytes as U+FFFD.
#[must_use]
pub fn lossy(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// The exact `file:///` form of an absolute path, where [`lossy`] would not name it or not show it harmlessly.
#[must_use]
pub fn uri(path: &Path) -> Option<String> {
    let bytes = path.as_os_str().as_bytes();
    (!is_plain(bytes)).then(|| file_uri(bytes))
}

/// What an entity at this path is called in `seen` events and typed as: the path, or its `file:///` form.
#[must_use]
pub fn key(path: &Path) -> String {
    uri(path).unwrap_or_else(|| lossy(path))
}
