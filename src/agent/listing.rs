//! The rows of `dir` and `findfile`: what a file is called and what its file system tells of it.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use std::os::unix::ffi::OsStrExt;

use super::path::{lossy, uri};
use super::platform::{Facts, Mode, Names, Time};
use crate::protocol::text::is_plain;

/// Every field that a row may carry, in order. The last two are there only when there is something to say.
pub const KEYS: &[&str] = &[
    "path",
    "isDirectory",
    "size",
    "created",
    "modified",
    "isCompressed",
    "hidden",
    "readOnly",
    "mode",
    "owner",
    "group",
    "link_target",
    "inode",
    "path_uri",
    "error",
];

/// A file as a row.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row<'a> {
    path: Cow<'a, str>,
    is_directory: Option<bool>,
    size: Option<u64>,
    created: Option<Time>,
    modified: Option<Time>,
    is_compressed: Option<bool>,
    hidden: Option<bool>,
    read_only: Option<bool>,
    mode: Option<Mode>,
    owner: Option<Cow<'a, str>>,
    group: Option<Cow<'a, str>>,
    #[serde(rename = "link_target")]
    link_target: Option<String>,
    inode: Option<u64>,
    #[serde(rename = "path_uri", skip_serializing_if = "Option::is_none")]
    path_uri: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// What makes rows of the files in one folder.
pub struct Listing {
    names: Arc<Names>,
    folder: PathBuf,
    /// A name in a folder that needs its exact form needs it too.
    exact: bool,
    full_paths: bool,
}

impl Listing {
    /// For the files of a folder; with full paths or with those relative to it.
    #[must_use]
    pub fn new(names: Arc<Names>, folder: &Path, full_paths: bool) -> Self {
        let exact = uri(folder).is_some();
        Self { names, folder: folder.to_owned(), exact, full_paths }
    }

    /// The row of a file: its path below the folder, what is known of it, and where it leads if it is a link.
    #[must_use]
    pub fn row<'a>(&'a self, below: &'a [u8], facts: &Facts, link_target: Option<&Path>) -> Row<'a> {
        let own = self.names.are_own();
        Row {
            is_directory: Some(facts.is_folder()),
            size: Some(facts.size),
            created: facts.created,
            modified: Some(facts.modified),
            is_compressed: facts.compressed,
            read_only: Some(facts.read_only()),
            mode: own.then(|| facts.mode()),
            owner: own.then(|| self.names.user(facts.uid)),
            group: own.then(|| self.names.group(facts.gid)),
            link_target: link_target.map(|target| target.to_string_lossy().into_owned()),
            inode: Some(facts.inode),
            ..self.bare(below)
        }
    }

    /// The row of a file of which nothing could be told, and why.
    #[must_use]
    pub fn unreadable<'a>(&'a self, below: &'a [u8], why: String) -> Row<'a> {
        Row { error: Some(why), ..self.bare(below) }
    }

    fn bare<'a>(&'a self, below: &'a [u8]) -> Row<'a> {
        let own = self.names.are_own();
        let path = if self.full_paths || !own && below.starts_with(b"/") {
            lossy(&self.absolute(below)).into()
        } else if own {
            String::from_utf8_lossy(below)
        } else {
            String::from_utf8_lossy(below).replace('/', "\\").into()
        };
        let odd = self.exact || !is_plain(below) || !own && below.contains(&b'\\');
        let name = below.rsplit(|&byte| byte == b'/').next().unwrap_or(below);
        Row {
            path,
            is_directory: None,
            size: None,
            created: None,
            modified: None,
            is_compressed: None,
            // Windows keeps it as an attribute, which not every mount shows.
            hidden: own.then(|| name.starts_with(b".")),
            read_only: None,
            mode: None,
            owner: None,
            group: None,
            link_target: None,
            inode: None,
            path_uri: if odd { uri(&self.absolute(below)) } else { None },
            error: None,
        }
    }

    fn absolute(&self, below: &[u8]) -> PathBuf {
        self.folder.join(OsStr::from_bytes(below))
    }
}
