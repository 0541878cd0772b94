//! A device's files: those of the running system, or those below the folder that `--root` named.
//!
//! Below a folder every path is resolved inside it by the kernel (openat2, `RESOLVE_IN_ROOT`, no magic links): an absolute
//! link or `..` in a hostile image never leads out. Paths are the device's own, absolute; those of a mounted Windows disk
//! stand behind a drive (`agent/platform/drive.rs`).

mod spelling;

use std::ffi::{CString, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::facts::Facts;
use super::folder::Folder;
use crate::agent::platform::drive;
use crate::protocol::Problem;
use crate::protocol::text::visible;

/// How much of a path the kernel is given at once; longer ones are opened piece by piece.
const MAX_PIECE: usize = 4000;

/// Why a folder is not opened by its real path.
#[derive(Debug, thiserror::Error)]
#[error("a link stands on the way to it by now, and is not followed")]
pub struct LinkOnTheWay;

/// A device's files.
#[derive(Debug)]
pub struct Root {
    base: Option<Base>,
}

#[derive(Debug)]
struct Base {
    fd: OwnedFd,
    path: PathBuf,
    /// Whether it is the disk of a Windows.
    windows: bool,
}

impl Root {
    /// The running system.
    #[must_use]
    pub fn live() -> Self {
        Self { base: None }
    }

    /// The files below a folder.
    ///
    /// # Errors
    /// When the folder cannot be opened.
    pub fn at(folder: &Path) -> io::Result<Self> {
        let path = folder.canonicalize()?;
        let fd = rustix::fs::open(&path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let mut root = Self { base: Some(Base { fd, path, windows: true }) };
        let windows = root.holds_windows();
        if let Some(base) = &mut root.base {
            base.windows = windows;
        }
        Ok(root)
    }

    /// Whether a Windows starts from here: its registry is there, in any case, and no Linux has its users here.
    fn holds_windows(&self) -> bool {
        let folder = self.spelled(&drive::resolve("", r"\Windows\System32\config"));
        let hives = ["SYSTEM", "SOFTWARE"].map(|name| self.spelled(&folder.join(name)));
        let is_file = |path: &PathBuf| self.facts(path).is_ok_and(|facts| facts.is_file());
        hives.iter().any(is_file) && self.facts(Path::new("/etc/passwd")).is_err()
    }

    /// Whether this is the disk of a Windows, with paths as Windows has them.
    #[must_use]
    pub fn is_windows(&self) -> bool {
        self.base.as_ref().is_some_and(|base| base.windows)
    }

    /// Whether this is the running system, so that verbs may ask its kernel too.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.base.is_none()
    }

    /// The folder that `--root` named.
    #[must_use]
    pub fn folder(&self) -> Option<&Path> {
        self.base.as_ref().map(|base| base.path.as_path())
    }

    /// The folder that `--root` named, as its file system and its number there.
    #[must_use]
    pub fn top(&self) -> Option<(u64, u64)> {
        let facts = Facts::of(self.base.as_ref()?.fd.as_fd(), c"").ok()?;
        Some((facts.dev, facts.inode))
    }

    /// Says it where the folder that `--root` named is no more what was opened: what stands there now is another device.
    #[must_use]
    pub fn lost(&self) -> Option<Problem> {
        let base = self.base.as_ref()?;
        let now = std::fs::metadata(&base.path).map(|facts| (facts.dev(), facts.ino()));
        let what = match now {
            Ok(now) if self.top() == Some(now) => return None,
            Ok(_) => "replaced: another folder is there now",
            Err(_) => "removed",
        };
        let folder = visible(&base.path.display().to_string());
        Some(Problem::new("root_lost", format!("the root {folder} was {what}; leave, and start lrsh --root anew")).at(folder))
    }

    /// Where a path lies in the tree.
    fn inside<'a>(&self, path: &'a Path) -> io::Result<&'a [u8]> {
        let bytes = path.as_os_str().as_bytes();
        match drive::split(bytes) {
            Some((name, below)) if self.is_windows() && name == drive::DRIVE.as_bytes() => Ok(below),
            Some((name, _)) => {
                let name = String::from_utf8_lossy(name);
                let why = format!("{name} is not on this disk: the tree below --root is {}", drive::DRIVE);
                Err(io::Error::new(io::ErrorKind::NotFound, why))
            }
            None => Ok(bytes),
        }
    }

    /// A path of the running system that the kernel takes as it is, without anything being opened first.
    fn short(&self, path: &Path) -> Option<CString> {
        let bytes = path.as_os_str().as_bytes();
        if self.is_live() && bytes.len() <= MAX_PIECE { CString::new(bytes).ok() } else { None }
    }

    /// Opens a path, following links. `O_CLOEXEC` and `O_NOCTTY` are added.
    ///
    /// # Errors
    /// As openat2 says.
    pub fn open(&self, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        // openat2 refuses with `O_PATH` what has no meaning beside it.
        let flags = flags | OFlags::CLOEXEC | if flags.contains(OFlags::PATH) { OFlags::empty() } else { OFlags::NOCTTY };
        let mut rest = self.inside(path)?;
        let mut folder: Option<OwnedFd> = None;
        while let Some((piece, behind)) = split(rest) {
            let piece = self.open_piece(folder.as_ref(), piece, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC)?;
            folder = Some(piece);
            rest = behind;
        }
        self.open_piece(folder.as_ref(), rest, flags)
    }

    /// Opens what a piece of a path leads to from an opened folder, or from the root.
    fn open_piece(&self, folder: Option<&OwnedFd>, piece: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
        let from = match (folder, &self.base) {
            (None, None) => return Ok(rustix::fs::openat(CWD, piece, flags, Mode::empty())?),
            (Some(folder), None) => return Ok(rustix::fs::openat(folder, piece, flags, Mode::empty())?),
            (Some(folder), Some(_)) => folder,
            (None, Some(base)) => &base.fd,
        };
        // A link far down could only be resolved from the root again: there, none is followed.
        let resolve = if folder.is_some() { ResolveFlags::NO_SYMLINKS } else { ResolveFlags::IN_ROOT };
        let start = piece.iter().position(|&byte| byte != b'/').unwrap_or(piece.len());
        let inside = piece.get(start..).filter(|inside| !inside.is_empty()).unwrap_or(b".");
        // `EAGAIN` says that something was renamed while `..` was looked up, so that the kernel could not be sure.
        for _ in 0..32 {
            match rustix::fs::openat2(from, inside, flags, Mode::empty(), resolve | ResolveFlags::NO_MAGICLINKS) {
                Err(Errno::AGAIN) => {}
                done => return Ok(done?),
            }
        }
        Err(Errno::AGAIN.into())
    }

    /// Opens a folder for reading by its real path: no link on the way is followed, however short its life.
    ///
    /// # Errors
    /// As openat2 says; [`LinkOnTheWay`] for a link.
    pub fn open_real_folder(&self, path: &Path) -> io::Result<OwnedFd> {
        let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let mut folder = match &self.base {
            Some(base) => base.fd.try_clone()?,
            None => rustix::fs::openat(CWD, c"/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?,
        };
        let mut rest = self.inside(path)?;
        loop {
            let (piece, behind) = split(rest).map_or((rest, None), |(piece, behind)| (piece, Some(behind)));
            let start = piece.iter().position(|&byte| byte != b'/').unwrap_or(piece.len());
            let inside = piece.get(start..).filter(|inside| !inside.is_empty()).unwrap_or(b".");
            folder = match rustix::fs::openat2(&folder, inside, flags, Mode::empty(), resolve) {
                Err(Errno::LOOP) => return Err(io::Error::other(LinkOnTheWay)),
                opened => opened?,
            };
            match behind {
                Some(behind) => rest = behind,
                None => return Ok(folder),
            }
        }
    }

    /// Opens a file for reading without ever waiting for it: a FIFO without a writer opens, a device does not block. When it was
    /// last read is evidence: that stays as it is where the agent's user owns the file or may do so with all.
    ///
    /// # Errors
    /// As openat2 says.
    pub fn open_file(&self, path: &Path) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK;
        let opened = self.open(path, flags | OFlags::NOATIME);
        let is_foreign = |error: &io::Error| Errno::from_io_error(error) == Some(Errno::PERM);
        let opened = if opened.as_ref().is_err_and(is_foreign) { self.open(path, flags) } else { opened };
        Ok(File::from(opened?))
    }

    /// Opens a regular file for reading.
    ///
    /// # Errors
    /// As openat2 says; `InvalidInput` when it is no regular file.
    pub fn open_regular(&self, path: &Path) -> io::Result<File> {
        let none = || io::Error::new(io::ErrorKind::InvalidInput, "not a regular file");
        // Looked at before it is opened: to open a device that a foreign tree holds can already do something to it.
        if !self.is_live() && !self.facts(path)?.is_file() {
            return Err(none());
        }
        let file = self.open_file(path)?;
        if file.metadata()?.is_file() { Ok(file) } else { Err(none()) }
    }

    /// Reads a regular file of at most `max` bytes.
    ///
    /// # Errors
    /// As open and read say; `FileTooLarge` when there is more; `InvalidInput` when it is no regular file.
    pub fn read(&self, path: &Path, max: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.open_regular(path)?.take(max + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > max {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("larger than {max} bytes")));
        }
        Ok(bytes)
    }

    /// The facts of a path, its last link followed.
    ///
    /// # Errors
    /// As openat2 and statx say.
    pub fn facts(&self, path: &Path) -> io::Result<Facts> {
        match self.short(path) {
            Some(path) => Facts::of_target(CWD, &path),
            None => Facts::of(self.open(path, OFlags::PATH)?.as_fd(), c""),
        }
    }

    /// The facts of a path, its last link not followed.
    ///
    /// # Errors
    /// As openat2 and statx say.
    pub fn link_facts(&self, path: &Path) -> io::Result<Facts> {
        match self.short(path) {
            Some(path) => Facts::of(CWD, &path),
            None => Facts::of(self.open(path, OFlags::PATH | OFlags::NOFOLLOW)?.as_fd(), c""),
        }
    }

    /// Opens a folder for reading, links followed.
    ///
    /// # Errors
    /// As openat2 says; `ENOTDIR` when it is no folder.
    pub fn open_folder(&self, path: &Path) -> io::Result<Folder> {
        Ok(Folder::new(self.open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NONBLOCK)?))
    }

    /// Where a link leads, as it says.
    ///
    /// # Errors
    /// As openat2 and readlinkat say; `EINVAL` when it is no link.
    pub fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        let target = match self.short(path) {
            Some(path) => rustix::fs::readlinkat(CWD, path, Vec::new())?,
            None => rustix::fs::readlinkat(self.open(path, OFlags::PATH | OFlags::NOFOLLOW)?, "", Vec::new())?,
        };
        Ok(PathBuf::from(OsString::from_vec(target.into_bytes())))
    }

    /// The path that an open file really has now, all links resolved; `None` when it has none (deleted), or lies outside.
    #[must_use]
    pub fn path_of(&self, fd: BorrowedFd<'_>) -> Option<PathBuf> {
        let name = format!("/proc/self/fd/{}", fd.as_raw_fd());
        let path = rustix::fs::readlinkat(CWD, name, Vec::new()).ok()?.into_bytes();
        let path = PathBuf::from(OsString::from_vec(path));
        let path = match &self.base {
            None => path,
            Some(base) if base.windows => drive::at(path.strip_prefix(&base.path).ok()?),
            Some(base) => Path::new("/").join(path.strip_prefix(&base.path).ok()?),
        };
        // Behind the path of a deleted file the kernel says so, and no other file of that name is meant.
        let (here, there) = (Facts::of(fd, c"").ok()?, self.link_facts(&path).ok()?);
        ((here.dev, here.inode) == (there.dev, there.inode)).then_some(path)
    }
}

/// Whether a file's content is made up by the kernel as it is read, so that its size says nothing: /proc, /sys and their like.
#[must_use]
pub fn is_virtual(fd: BorrowedFd<'_>) -> bool {
    /// The numbers of statfs(2): proc, sysfs, debugfs, tracefs, securityfs, cgroup, cgroup2, selinuxfs, bpf, efivarfs, configfs,
    /// binfmt_misc, pstore.
    const VIRTUAL: &[u64] = &[
        0x9fa0,
        0x6265_6572,
        0x6462_6720,
        0x7472_6163,
        0x7363_6673,
        0x0027_e0eb,
        0x6367_7270,
        0xf97c_ff8c,
        0xcafe_4a11,
        0xde5e_81e4,
        0x6265_6570,
        0x4249_4e4d,
        0x6165_676c,
    ];
    // The type of the number differs between processors; all of the numbers fit 32 bits.
    rustix::fs::fstatfs(fd).is_ok_and(|fs| u64::try_from(fs.f_type).is_ok_and(|kind| VIRTUAL.contains(&(kind & 0xffff_ffff))))
}

/// Splits off the front of a path that is longer than the kernel takes at once.
fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    if path.len() <= MAX_PIECE {
        return None;
    }
    let slash = path.get(..MAX_PIECE)?.iter().rposition(|&byte| byte == b'/').filter(|&slash| slash > 0)?;
    Some((path.get(..slash)?, path.get(slash + 1..)?))
}
