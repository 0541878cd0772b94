//! A name held open together with its folder, so that what was compared is what is acted on, whatever is renamed meanwhile; and
//! the mount that a folder lies on.

use std::ffi::{CStr, CString, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, Mode, OFlags, StatVfsMountFlags, StatxFlags, Timespec, Timestamps, UTIME_OMIT};
use rustix::io::Errno;

use super::facts::Facts;
use super::root::Root;

/// Of statx(2): which mount a file lies on. Kernels before 5.8 do not tell.
const MOUNT_ID: StatxFlags = StatxFlags::from_bits_retain(0x1000);
/// The most links that are followed, as the kernel does.
const MAX_LINKS: usize = 40;
/// tmpfs and ramfs, as statfs(2) numbers them.
const VOLATILE: [u64; 2] = [0x0102_1994, 0x8584_58f6];

/// Why a name cannot be held or read: it means something else by now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Replaced {
    /// A link.
    #[error("it was replaced by a link since it was looked at; look again")]
    ByLink,
    /// Another file.
    #[error("it was replaced by another file since it was looked at; look again")]
    ByFile,
    /// Its folder has no path any more.
    #[error("its folder was renamed or removed while it was looked at; look again")]
    Folder,
}

/// A name in an opened folder, and what it means.
#[derive(Debug)]
pub struct Held {
    /// Its path, no link in front of the name.
    pub path: PathBuf,
    /// The folder, open for reading.
    pub folder: OwnedFd,
    /// The name.
    pub name: CString,
    /// What the name meant when it was opened; only held (`O_PATH`).
    pub fd: OwnedFd,
    /// Its facts, of the very thing that is held.
    pub facts: Facts,
}

impl Held {
    /// Holds a name in an opened folder, a link itself, not where it leads.
    ///
    /// # Errors
    /// As openat and statx say.
    pub fn of(folder: OwnedFd, name: CString, path: PathBuf) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&folder, &name, flags, Mode::empty())?;
        let facts = Facts::of(fd.as_fd(), c"")?;
        Ok(Self { path, folder, name, fd, facts })
    }

    /// Opens the content of a regular file without leaving a trace in its access time where that is allowed.
    ///
    /// # Errors
    /// As openat says; [`Replaced`] when the name means something else by now.
    pub fn content(&self) -> io::Result<File> {
        let file = match open_content(self.folder.as_fd(), &self.name) {
            Err(error) if Errno::from_io_error(&error) == Some(Errno::LOOP) && !self.facts.is_link() => {
                return Err(io::Error::other(Replaced::ByLink));
            }
            opened => opened?,
        };
        let facts = Facts::of(file.as_fd(), c"")?;
        let same = (facts.dev, facts.inode) == (self.facts.dev, self.facts.inode);
        if same { Ok(file) } else { Err(io::Error::other(Replaced::ByFile)) }
    }

    /// Whether the agent has the right to take the name out of its folder, of which those are the facts.
    #[must_use]
    pub fn may_be_taken(&self, folder: &Facts) -> bool {
        let user = rustix::process::geteuid();
        // Where the folder is sticky only the owner may, of either (unlink(2)).
        let is_own = user.is_root() || [self.facts.uid, folder.uid].contains(&user.as_raw());
        let writable = rustix::fs::accessat(&self.folder, c".", Access::WRITE_OK | Access::EXEC_OK, AtFlags::empty());
        writable != Err(Errno::ACCESS) && (is_own || folder.permissions & 0o1000 == 0)
    }

    /// What is held, as it is now.
    ///
    /// # Errors
    /// As statx says.
    pub fn now(&self) -> io::Result<Facts> {
        Facts::of(self.fd.as_fd(), c"")
    }
}

/// Opens the content of a file in a folder, no link followed, nothing waited for, its access time left alone where allowed.
///
/// # Errors
/// As openat says.
pub fn open_content(folder: BorrowedFd<'_>, name: &CStr) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    match rustix::fs::openat(folder, name, flags | OFlags::NOATIME, Mode::empty()) {
        Err(Errno::PERM) => Ok(File::from(rustix::fs::openat(folder, name, flags, Mode::empty())?)),
        opened => Ok(File::from(opened?)),
    }
}

impl Root {
    /// Holds the name at a path. Links in front of the name are resolved once; the folder is then opened without any.
    ///
    /// # Errors
    /// As openat2 and statx say; `EISDIR` for `/`; [`Replaced`] when its folder has no path any more.
    pub fn hold(&self, path: &Path) -> io::Result<Held> {
        let (folder, path) = self.placed(path)?;
        let name = path.file_name().unwrap_or_default().as_bytes();
        Held::of(folder, CString::new(name)?, path)
    }

    /// The links that are followed on the way to what a path leads to, by their real paths.
    #[must_use]
    pub fn links_on_the_way(&self, path: &Path) -> Vec<PathBuf> {
        let mut links = Vec::new();
        let mut here = PathBuf::from("/");
        let mut rest: Vec<OsString> = path.iter().rev().map(OsString::from).collect();
        while let Some(name) = rest.pop() {
            match name.as_bytes() {
                b"/" => here = PathBuf::from("/"),
                b"." => {}
                b".." => drop(here.pop()),
                _ => {
                    let next = here.join(name);
                    match self.read_link(&next) {
                        Ok(target) if links.len() < MAX_LINKS => {
                            rest.extend(target.iter().rev().map(OsString::from));
                            links.push(next);
                        }
                        _ => here = next,
                    }
                }
            }
        }
        links
    }

    /// The folder that a path lies in, opened, and the path as it is without links in front of its name, which need not be there.
    ///
    /// # Errors
    /// As [`Root::hold`].
    pub fn placed(&self, path: &Path) -> io::Result<(OwnedFd, PathBuf)> {
        let (Some(above), Some(name)) = (path.parent(), path.file_name()) else { return Err(Errno::ISDIR.into()) };
        let real = self.open(above, OFlags::PATH | OFlags::DIRECTORY)?;
        let real = self.path_of(real.as_fd()).ok_or_else(|| io::Error::other(Replaced::Folder))?;
        Ok((self.open_real_folder(&real)?, real.join(name)))
    }

    /// Where the file system is mounted that a folder lies on; `None` where that has no path here.
    #[must_use]
    pub fn mount_point(&self, folder: BorrowedFd<'_>) -> Option<PathBuf> {
        self.path_of(mount_root(folder, self.top()).ok()?.as_fd())
    }
}

/// Which mount an open file lies on; where the kernel does not tell, its file system.
///
/// # Errors
/// As statx says.
pub fn mount_of(fd: BorrowedFd<'_>) -> io::Result<(u64, u64)> {
    let stat = rustix::fs::statx(fd, c"", AtFlags::EMPTY_PATH | AtFlags::NO_AUTOMOUNT, StatxFlags::BASIC_STATS | MOUNT_ID)?;
    let known = StatxFlags::from_bits_retain(stat.stx_mask).contains(MOUNT_ID);
    let dev = rustix::fs::makedev(stat.stx_dev_major, stat.stx_dev_minor);
    Ok((dev, if known { stat.stx_mnt_id } else { 0 }))
}

/// The topmost folder of the mount that a folder lies on, not above `top`; open for reading.
///
/// # Errors
/// As openat and statx say.
pub fn mount_root(folder: BorrowedFd<'_>, top: Option<(u64, u64)>) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mount = mount_of(folder)?;
    let mut here = rustix::fs::openat(folder, c".", flags, Mode::empty())?;
    loop {
        let facts = Facts::of(here.as_fd(), c"")?;
        let above = rustix::fs::openat(&here, c"..", flags, Mode::empty())?;
        let same = Facts::of(above.as_fd(), c"")?.inode == facts.inode;
        if top == Some((facts.dev, facts.inode)) || mount_of(above.as_fd())? != mount || same {
            return Ok(here);
        }
        here = above;
    }
}

/// Whether what lies there is gone with the next boot.
#[must_use]
pub fn is_volatile(fd: BorrowedFd<'_>) -> bool {
    rustix::fs::fstatfs(fd).is_ok_and(|fs| u64::try_from(fs.f_type).is_ok_and(|kind| VOLATILE.contains(&(kind & 0xffff_ffff))))
}

/// Whether a folder lies on an overlay, whose files get another number once they are moved or written to.
#[must_use]
pub fn is_overlay(fd: BorrowedFd<'_>) -> bool {
    /// As statfs(2) numbers it.
    const OVERLAY: u64 = 0x794c_7630;
    rustix::fs::fstatfs(fd).is_ok_and(|fs| u64::try_from(fs.f_type).is_ok_and(|kind| kind & 0xffff_ffff == OVERLAY))
}

/// Whether the mount may not be written to.
#[must_use]
pub fn is_mounted_read_only(fd: BorrowedFd<'_>) -> bool {
    rustix::fs::fstatvfs(fd).is_ok_and(|fs| fs.f_flag.contains(StatVfsMountFlags::RDONLY))
}

/// How many bytes there is room for.
#[must_use]
pub fn room(fd: BorrowedFd<'_>) -> u64 {
    rustix::fs::fstatvfs(fd).map_or(0, |fs| fs.f_bavail.saturating_mul(fs.f_frsize))
}

/// Sets when a name was last read and when its content last changed, in nanoseconds since 1970; `None` leaves one as it is.
///
/// # Errors
/// As utimensat says.
pub fn set_times(folder: BorrowedFd<'_>, name: &CStr, read: Option<i64>, changed: Option<i64>) -> io::Result<()> {
    let time = |ns: Option<i64>| match ns {
        Some(ns) => Timespec { tv_sec: ns.div_euclid(1_000_000_000), tv_nsec: ns.rem_euclid(1_000_000_000) },
        None => Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
    };
    let times = Timestamps { last_access: time(read), last_modification: time(changed) };
    Ok(rustix::fs::utimensat(folder, name, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::path::reason;

    #[test]
    fn a_name_that_was_replaced_is_told_as_such() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("evil");
        let check = |replace: &dyn Fn(), wanted: Replaced| {
            let _ = std::fs::remove_file(&path);
            std::fs::write(&path, "evil").unwrap();
            let held = Root::live().hold(&path).unwrap();
            assert!(held.content().is_ok());
            replace();
            assert_eq!(reason(&held.content().unwrap_err()), ("changed", wanted.to_string()));
        };
        let link = || {
            std::fs::remove_file(&path).unwrap();
            std::os::unix::fs::symlink("/etc/passwd", &path).unwrap();
        };
        check(&link, Replaced::ByLink);
        let file = || {
            std::fs::write(folder.path().join("other"), "good").unwrap();
            std::fs::rename(folder.path().join("other"), &path).unwrap();
        };
        check(&file, Replaced::ByFile);
    }
}
