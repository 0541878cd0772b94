//! Paths of a device as rows carry them (`path` for people, `path_uri` exact where that is needed), and what is said when one
//! cannot be used.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::platform::{LinkOnTheWay, Replaced, drive};
use crate::protocol::Problem;
use crate::protocol::text::{file_uri, from_file_uri, is_plain, said};

/// The path as its device writes it, invalid bytes as U+FFFD.
#[must_use]
pub fn lossy(path: &Path) -> String {
    drive::shown(path).unwrap_or_else(|| path.to_string_lossy().into_owned())
}

/// A path within a sentence: as it is, or where that would not name it or not show it harmlessly, its exact `file:///` form.
#[must_use]
pub fn shown(path: &Path) -> String {
    uri(path).unwrap_or_else(|| lossy(path))
}

/// The exact `file:///` form of an absolute path, where [`lossy`] would not name it or not show it harmlessly.
#[must_use]
pub fn uri(path: &Path) -> Option<String> {
    let bytes = path.as_os_str().as_bytes();
    if drive::split(bytes).is_some() {
        return drive::uri(path);
    }
    (!is_plain(bytes)).then(|| file_uri(bytes))
}

/// What an entity at this path is called in `seen` events and typed as: the path, or its `file:///` form.
#[must_use]
pub fn key(path: &Path) -> String {
    uri(path).unwrap_or_else(|| lossy(path))
}

/// The path that a [`key`] of a device without drives names.
#[must_use]
pub fn of_key(key: &str) -> PathBuf {
    match from_file_uri(key) {
        Some(bytes) => PathBuf::from(OsString::from_vec(bytes)),
        None => PathBuf::from(key),
    }
}

/// What to say of a path that the system refused: a sentence that names it.
#[must_use]
pub fn problem(path: &Path, error: &io::Error) -> Problem {
    let (code, what) = reason(error);
    let hint = drive::hint(path).filter(|_| code == "not_found").map(|hint| format!("; {hint}")).unwrap_or_default();
    Problem::new(code, format!("{}: {what}{hint}", shown(path))).at(lossy(path))
}

/// Why the system refused something about a file: a word for programs and a clause for people.
#[must_use]
pub fn reason(error: &io::Error) -> (&'static str, String) {
    let plain = |code, what: &str| (code, what.to_owned());
    if error.get_ref().and_then(|inner| inner.downcast_ref::<LinkOnTheWay>()).is_some() {
        return ("is_a_link", LinkOnTheWay.to_string());
    }
    if let Some(replaced) = error.get_ref().and_then(|inner| inner.downcast_ref::<Replaced>()) {
        return ("changed", replaced.to_string());
    }
    match Errno::from_io_error(error) {
        Some(Errno::NOENT) => plain("not_found", "there is no such file or folder"),
        Some(Errno::ACCESS | Errno::PERM) => plain("permission_denied", "the agent has no permission for it"),
        Some(Errno::NOTDIR) => plain("not_a_folder", "it is not a folder, or lies below something that is none"),
        Some(Errno::ISDIR) => plain("is_a_folder", "it is a folder"),
        Some(Errno::LOOP) => plain("link_loop", "its links lead nowhere: too many of them, or a loop"),
        Some(Errno::NAMETOOLONG) => plain("name_too_long", "the path is longer than the system takes"),
        Some(Errno::MFILE | Errno::NFILE) => plain("too_many_files", "the device has too many files open; try again"),
        Some(Errno::IO) => plain("io_error", "the device could not read it: the disk or its file system is damaged"),
        Some(Errno::STALE) => plain("stale", "its network file system no longer knows it"),
        Some(Errno::NXIO) => plain("no_device", "there is nothing behind it"),
        Some(errno) => ("io_error", said(&errno.into())),
        None if error.kind() == io::ErrorKind::NotFound => ("not_found", error.to_string()),
        None => ("io_error", error.to_string()),
    }
}
