//! The names in folders of configuration, which are read whole.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use rustix::fs::OFlags;

use super::root::Root;

/// The most names of a folder of configuration: so many that whoever fills one up to hide something in it is told with it.
pub const MAX_NAMES: usize = 1_000_000;

/// What is in a folder.
#[derive(Debug)]
pub struct Listing {
    /// Names, sorted.
    pub names: Vec<OsString>,
    /// Whether these are all.
    pub whole: bool,
}

impl Root {
    /// The names in a folder, sorted, without `.` and `..`; at most `max` of them. For folders of configuration; verbs that
    /// list any folder stream with [`Root::open`] and `RawDir`.
    ///
    /// # Errors
    /// As open and getdents say.
    pub fn names(&self, folder: &Path, max: usize) -> io::Result<Vec<OsString>> {
        self.listing(folder, max).map(|listing| listing.names)
    }

    /// The same, and whether these are all.
    ///
    /// # Errors
    /// As open and getdents say.
    pub fn listing(&self, folder: &Path, max: usize) -> io::Result<Listing> {
        let fd = self.open(folder, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NONBLOCK)?;
        let mut listing = Listing { names: Vec::new(), whole: true };
        for entry in rustix::fs::Dir::read_from(fd)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            if listing.names.len() >= max {
                listing.whole = false;
                break;
            }
            listing.names.push(OsString::from_vec(name.to_vec()));
        }
        listing.names.sort();
        Ok(listing)
    }
}
