//! Open folders: their entries as the kernel gives them, and the facts of what is in them, all relative to the descriptor,
//! so that neither a path's length nor a folder that is renamed meanwhile matters.

use std::ffi::{CStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use rustix::fs::{FileType, Mode, OFlags, RawDir, RawDirEntry, ResolveFlags};

use super::facts::Facts;

/// How much getdents is asked for at once: some 2,000 names.
const BATCH: usize = 64 * 1024;

/// An open folder.
#[derive(Debug)]
pub struct Folder {
    fd: OwnedFd,
}

/// Where entries are read into; one serves any number of folders after each other.
#[derive(Debug)]
pub struct EntryBuffer(Vec<u8>);

impl Default for EntryBuffer {
    fn default() -> Self {
        Self(Vec::with_capacity(BATCH))
    }
}

/// The entries of a folder, in the order the file system has them.
pub struct Entries<'a> {
    raw: RawDir<'a, BorrowedFd<'a>>,
}

/// An entry of a folder.
#[derive(Debug)]
pub struct Entry<'a>(RawDirEntry<'a>);

impl Entry<'_> {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &CStr {
        self.0.file_name()
    }

    /// What it is; `Unknown` on file systems that do not keep it beside the name.
    #[must_use]
    pub fn kind(&self) -> FileType {
        self.0.file_type()
    }

    /// Its number on the file system.
    #[must_use]
    pub fn inode(&self) -> u64 {
        self.0.ino()
    }

    /// Whether it is `.` or `..`.
    #[must_use]
    pub fn is_dots(&self) -> bool {
        matches!(self.name().to_bytes(), b"." | b"..")
    }
}

impl Folder {
    /// The folder behind a descriptor that was opened for reading.
    #[must_use]
    pub fn new(fd: OwnedFd) -> Self {
        Self { fd }
    }

    /// The descriptor.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Opens a folder in this one, a link not followed.
    ///
    /// # Errors
    /// As openat says.
    pub fn folder(&self, name: &CStr) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        Ok(Self { fd: rustix::fs::openat(self.fd(), name, flags, Mode::empty())? })
    }

    /// The same folder, opened anew: its entries from the first.
    ///
    /// # Errors
    /// As openat says.
    pub fn again(&self) -> io::Result<Self> {
        self.folder(c".")
    }

    /// Opens a folder below this one by a relative path, no link on the way followed.
    ///
    /// # Errors
    /// As openat2 says; `ELOOP` for a link.
    pub fn below(&self, path: &[u8]) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        Ok(Self { fd: rustix::fs::openat2(self.fd(), path, flags, Mode::empty(), resolve)? })
    }

    /// Its entries from where the last reader stopped.
    #[must_use]
    pub fn entries<'a>(&'a self, buffer: &'a mut EntryBuffer) -> Entries<'a> {
        buffer.0.clear();
        Entries { raw: RawDir::new(self.fd(), buffer.0.spare_capacity_mut()) }
    }

    /// The facts of a name in it, a link not followed.
    ///
    /// # Errors
    /// As statx says.
    pub fn facts(&self, name: &CStr) -> io::Result<Facts> {
        Facts::of(self.fd(), name)
    }

    /// Where a link in it leads, as it says.
    ///
    /// # Errors
    /// As readlinkat says; `EINVAL` when it is no link.
    pub fn read_link(&self, name: &CStr) -> io::Result<PathBuf> {
        let target = rustix::fs::readlinkat(self.fd(), name, Vec::new())?;
        Ok(PathBuf::from(OsString::from_vec(target.into_bytes())))
    }
}

impl Entries<'_> {
    /// The next one, `.` and `..` among them. (No [`Iterator`]: each borrows the buffer until the next is asked for.)
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Option<io::Result<Entry<'_>>> {
        Some(self.raw.next()?.map(Entry).map_err(io::Error::from))
    }

    /// Whether the next one needs a system call: the place to look whether to stop.
    #[must_use]
    pub fn at_batch_end(&self) -> bool {
        self.raw.is_buffer_empty()
    }
}
