//! What the file system tells of a file, from one statx call.

use std::ffi::CStr;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;

use jiff::Timestamp;
use rustix::fs::{AtFlags, FileType, Statx, StatxAttributes, StatxFlags, StatxTimestamp};
use serde::{Serialize, Serializer};

/// A moment as a file system or the kernel keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time {
    seconds: i64,
    nanoseconds: u32,
}

impl Time {
    /// Seconds since 1970, and the part of a second behind them.
    #[must_use]
    pub fn new(seconds: i64, nanoseconds: u32) -> Self {
        Self { seconds, nanoseconds }
    }

    /// Nanoseconds since 1970.
    #[must_use]
    pub fn ns(self) -> i128 {
        i128::from(self.seconds) * 1_000_000_000 + i128::from(self.nanoseconds)
    }

    /// The moment on the calendar; `None` beyond the year 9999, which a damaged file system may claim.
    #[must_use]
    pub fn timestamp(self) -> Option<Timestamp> {
        Timestamp::from_nanosecond(self.ns()).ok()
    }
}

/// RFC 3339 in UTC with all the precision there is; `null` for a moment outside the calendar.
impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.timestamp() {
            Some(timestamp) => serializer.collect_str(&timestamp),
            None => serializer.serialize_none(),
        }
    }
}

impl From<StatxTimestamp> for Time {
    fn from(time: StatxTimestamp) -> Self {
        Self::new(time.tv_sec, time.tv_nsec)
    }
}

/// What a file system tells of a file.
#[derive(Debug, Clone, Copy)]
pub struct Facts {
    /// What it is.
    pub kind: FileType,
    /// Permissions with setuid, setgid and sticky: the lower twelve bits.
    pub permissions: u32,
    /// The owner's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
    /// In bytes.
    pub size: u64,
    /// The bytes it takes on the disk.
    pub allocated: u64,
    /// The file system it lies on.
    pub dev: u64,
    /// Its number there.
    pub inode: u64,
    /// How many names it has.
    pub links: u32,
    /// When it was made, where the file system keeps that.
    pub created: Option<Time>,
    /// When its content last changed.
    pub modified: Time,
    /// When its content or its facts last changed.
    pub changed: Time,
    /// When it was last read, as far as the mount keeps that.
    pub accessed: Time,
    /// Whether the file system compresses it, where the file system tells.
    pub compressed: Option<bool>,
    /// Whether it is marked as never to be changed (`chattr +i`).
    pub immutable: bool,
    /// Whether it may only be appended to (`chattr +a`).
    pub append_only: bool,
    /// Whether something is mounted on it, where the kernel tells.
    pub mount_root: bool,
}

impl Facts {
    /// The facts of a name in an open folder, a link not followed. An empty name: of the descriptor itself.
    ///
    /// # Errors
    /// As statx says.
    pub fn of(folder: BorrowedFd<'_>, name: &CStr) -> io::Result<Self> {
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::EMPTY_PATH;
        let wanted = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
        Ok(Self::from(&rustix::fs::statx(folder, name, flags, wanted)?))
    }

    /// The facts of what a name in an open folder leads to, links followed, those of /proc included.
    ///
    /// # Errors
    /// As statx says.
    pub fn of_target(folder: BorrowedFd<'_>, name: &CStr) -> io::Result<Self> {
        let wanted = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
        Ok(Self::from(&rustix::fs::statx(folder, name, AtFlags::NO_AUTOMOUNT, wanted)?))
    }

    /// The facts of what a path of the running system leads to, links followed, those of /proc included.
    ///
    /// # Errors
    /// As statx says.
    pub fn of_path(path: &Path) -> io::Result<Self> {
        let wanted = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
        Ok(Self::from(&rustix::fs::statx(rustix::fs::CWD, path, AtFlags::NO_AUTOMOUNT, wanted)?))
    }

    /// Whether it is a folder.
    #[must_use]
    pub fn is_folder(&self) -> bool {
        self.kind == FileType::Directory
    }

    /// Whether it is a regular file.
    #[must_use]
    pub fn is_file(&self) -> bool {
        self.kind == FileType::RegularFile
    }

    /// Whether it is a symbolic link.
    #[must_use]
    pub fn is_link(&self) -> bool {
        self.kind == FileType::Symlink
    }

    /// Whether nobody may write to it: no write permission at all, or immutable.
    #[must_use]
    pub fn read_only(&self) -> bool {
        self.immutable || self.permissions & 0o222 == 0
    }

    /// The mark that keeps it, or the names in it, from being moved, and what takes that away.
    #[must_use]
    pub fn marked(&self) -> Option<&'static str> {
        if self.immutable {
            Some("marked as never to be changed; `chattr -i` on the device takes the mark away")
        } else if self.append_only {
            Some("marked as only to be appended to; `chattr -a` on the device takes the mark away")
        } else {
            None
        }
    }

    /// Type and permissions as `ls -l` writes them.
    #[must_use]
    pub fn mode(&self) -> Mode {
        Mode::new(self.kind, self.permissions)
    }

    /// What tells this state of this file from any other: `dev-inode-size-mtime_ns`.
    #[must_use]
    pub fn etag(&self) -> String {
        format!("{}-{}-{}-{}", self.dev, self.inode, self.size, self.modified.ns())
    }
}

impl From<&Statx> for Facts {
    fn from(stat: &Statx) -> Self {
        let mode = u32::from(stat.stx_mode);
        let has = |what: StatxAttributes| stat.stx_attributes.contains(what);
        let born = StatxFlags::from_bits_retain(stat.stx_mask).contains(StatxFlags::BTIME);
        let tells_compression = stat.stx_attributes_mask.contains(StatxAttributes::COMPRESSED);
        Self {
            kind: FileType::from_raw_mode(mode),
            permissions: mode & 0o7777,
            uid: stat.stx_uid,
            gid: stat.stx_gid,
            size: stat.stx_size,
            allocated: stat.stx_blocks.saturating_mul(512),
            dev: rustix::fs::makedev(stat.stx_dev_major, stat.stx_dev_minor),
            inode: stat.stx_ino,
            links: stat.stx_nlink,
            created: born.then(|| stat.stx_btime.into()),
            modified: stat.stx_mtime.into(),
            changed: stat.stx_ctime.into(),
            accessed: stat.stx_atime.into(),
            compressed: tells_compression.then(|| has(StatxAttributes::COMPRESSED)),
            immutable: has(StatxAttributes::IMMUTABLE),
            append_only: has(StatxAttributes::APPEND),
            mount_root: has(StatxAttributes::MOUNT_ROOT),
        }
    }
}

/// Type and permissions as `ls -l` writes them: `-rwsr-xr-x`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mode([u8; 10]);

impl Mode {
    fn new(kind: FileType, permissions: u32) -> Self {
        let kind = match kind {
            FileType::RegularFile => b'-',
            FileType::Directory => b'd',
            FileType::Symlink => b'l',
            FileType::Fifo => b'p',
            FileType::Socket => b's',
            FileType::CharacterDevice => b'c',
            FileType::BlockDevice => b'b',
            FileType::Unknown => b'?',
        };
        let bit = |bit: u32, letter: u8| if permissions & bit == 0 { b'-' } else { letter };
        let special = |bit: u32, execute: u32, with: u8, without: u8| match (permissions & bit != 0, permissions & execute != 0)
        {
            (true, true) => with,
            (true, false) => without,
            (false, true) => b'x',
            (false, false) => b'-',
        };
        Self([
            kind,
            bit(0o400, b'r'),
            bit(0o200, b'w'),
            special(0o4000, 0o100, b's', b'S'),
            bit(0o040, b'r'),
            bit(0o020, b'w'),
            special(0o2000, 0o010, b's', b'S'),
            bit(0o004, b'r'),
            bit(0o002, b'w'),
            special(0o1000, 0o001, b't', b'T'),
        ])
    }

    /// The ten letters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("??????????")
    }
}

impl Serialize for Mode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_read_as_ls_writes_them() {
        let check = |kind, permissions, text: &str| assert_eq!(Mode::new(kind, permissions).as_str(), text);
        check(FileType::RegularFile, 0o644, "-rw-r--r--");
        check(FileType::RegularFile, 0o4755, "-rwsr-xr-x");
        check(FileType::RegularFile, 0o4644, "-rwSr--r--");
        check(FileType::RegularFile, 0o2755, "-rwxr-sr-x");
        check(FileType::Directory, 0o1777, "drwxrwxrwt");
        check(FileType::Directory, 0o1770, "drwxrwx--T");
        check(FileType::Symlink, 0o777, "lrwxrwxrwx");
        check(FileType::Fifo, 0, "p---------");
    }

    #[test]
    fn times_keep_their_precision_and_never_fail() {
        let check = |seconds, nanoseconds, json: &str| {
            assert_eq!(serde_json::to_string(&Time::new(seconds, nanoseconds)).unwrap(), json);
        };
        check(0, 0, "\"1970-01-01T00:00:00Z\"");
        check(1_700_000_000, 123_456_789, "\"2023-11-14T22:13:20.123456789Z\"");
        check(-1, 500_000_000, "\"1969-12-31T23:59:59.5Z\"");
        check(i64::MAX, 0, "null");
        check(i64::MIN, 999_999_999, "null");
    }
}
