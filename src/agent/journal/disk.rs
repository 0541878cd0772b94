//! The calls that journal and quarantine write through: small enough that a test can stand in for the disk and cut the power
//! after each of them.

use std::ffi::CStr;
use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags};

/// A name in an open folder.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The folder.
    pub folder: BorrowedFd<'a>,
    /// The name, without a slash.
    pub name: &'a CStr,
}

/// What journal and quarantine ask of a disk. What must survive a power cut is synced: content and mode by [`Disk::sync`],
/// names by [`Disk::sync_folder`] of each folder that has or had them.
///
/// Every method fails as its system call does.
#[allow(clippy::missing_errors_doc)]
pub trait Disk: Send + Sync + fmt::Debug {
    /// Makes a folder that only its owner can look into.
    fn private_folder(&self, at: Place<'_>) -> io::Result<()>;

    /// Makes a file that only its owner can read, open for reading and appending; never over another.
    fn create(&self, at: Place<'_>) -> io::Result<File>;

    /// Writes at the end of a file.
    fn append(&self, file: &File, bytes: &[u8]) -> io::Result<()>;

    /// Cuts a file, or lets it end with a hole.
    fn set_length(&self, file: &File, length: u64) -> io::Result<()>;

    /// Sets a file's permissions.
    fn set_mode(&self, file: BorrowedFd<'_>, mode: u32) -> io::Result<()>;

    /// Has the content and the facts of a file on the disk.
    fn sync(&self, file: BorrowedFd<'_>) -> io::Result<()>;

    /// Has the names in a folder on the disk.
    fn sync_folder(&self, folder: BorrowedFd<'_>) -> io::Result<()>;

    /// Moves a name, never over another.
    fn rename_no_replace(&self, from: Place<'_>, to: Place<'_>) -> io::Result<()>;

    /// Swaps what two names of one folder mean, in one step.
    fn exchange(&self, one: Place<'_>, other: Place<'_>) -> io::Result<()>;

    /// Removes a name that is no folder's.
    fn remove(&self, at: Place<'_>) -> io::Result<()>;

    /// Removes an empty folder.
    fn remove_folder(&self, at: Place<'_>) -> io::Result<()>;

    /// Makes a link that leads somewhere, never over something else.
    fn link_to(&self, target: &Path, at: Place<'_>) -> io::Result<()>;

    /// Gives an open file one more name, never over something else.
    fn name_again(&self, file: BorrowedFd<'_>, at: Place<'_>) -> io::Result<()>;
}

/// The disk that is really there.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn private_folder(&self, at: Place<'_>) -> io::Result<()> {
        Ok(rustix::fs::mkdirat(at.folder, at.name, Mode::RWXU)?)
    }

    fn create(&self, at: Place<'_>) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::APPEND | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(File::from(rustix::fs::openat(at.folder, at.name, flags, Mode::RUSR | Mode::WUSR)?))
    }

    fn append(&self, mut file: &File, bytes: &[u8]) -> io::Result<()> {
        file.write_all(bytes)
    }

    fn set_length(&self, file: &File, length: u64) -> io::Result<()> {
        file.set_len(length)
    }

    fn set_mode(&self, file: BorrowedFd<'_>, mode: u32) -> io::Result<()> {
        Ok(rustix::fs::fchmod(file, Mode::from_raw_mode(mode))?)
    }

    fn sync(&self, file: BorrowedFd<'_>) -> io::Result<()> {
        Ok(rustix::fs::fsync(file)?)
    }

    fn sync_folder(&self, folder: BorrowedFd<'_>) -> io::Result<()> {
        match rustix::fs::fsync(folder.as_fd()) {
            // File systems without a disk behind them have nothing to sync.
            Ok(()) | Err(rustix::io::Errno::INVAL) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn rename_no_replace(&self, from: Place<'_>, to: Place<'_>) -> io::Result<()> {
        Ok(rustix::fs::renameat_with(from.folder, from.name, to.folder, to.name, RenameFlags::NOREPLACE)?)
    }

    fn exchange(&self, one: Place<'_>, other: Place<'_>) -> io::Result<()> {
        Ok(rustix::fs::renameat_with(one.folder, one.name, other.folder, other.name, RenameFlags::EXCHANGE)?)
    }

    fn remove(&self, at: Place<'_>) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(at.folder, at.name, AtFlags::empty())?)
    }

    fn remove_folder(&self, at: Place<'_>) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(at.folder, at.name, AtFlags::REMOVEDIR)?)
    }

    fn link_to(&self, target: &Path, at: Place<'_>) -> io::Result<()> {
        Ok(rustix::fs::symlinkat(target, at.folder, at.name)?)
    }

    fn name_again(&self, file: BorrowedFd<'_>, at: Place<'_>) -> io::Result<()> {
        Ok(rustix::fs::linkat(file, c"", at.folder, at.name, AtFlags::EMPTY_PATH)?)
    }
}
