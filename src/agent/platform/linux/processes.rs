//! Processes, read from /proc as proc(5) describes it.
//!
//! Each is read through its opened folder, so that all that is told is told of one process: when it ends meanwhile, the
//! reads fail and it is left out, and no other that gets its number is mixed in.

use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

use super::facts::{Facts, Time};
use super::folder::{EntryBuffer, Folder};
use super::threads::spokesman;
use crate::agent::context::Stop;
use crate::agent::platform::process::{Image, Process, ProcessStatus, base_name};

/// The kernel tells times to programs in hundredths of a second, whatever its own tick is (USER_HZ).
const TICKS_PER_SECOND: u64 = 100;

/// The longest command line that is kept of one process.
const MAX_ARGUMENTS: usize = 64 * 1024;

/// When all command lines together are longer than this, those that follow are cut to [`SHORT_ARGUMENTS`].
const MAX_ALL_ARGUMENTS: usize = 64 * 1024 * 1024;

/// See [`MAX_ALL_ARGUMENTS`].
const SHORT_ARGUMENTS: usize = 1024;

/// The kernel keeps no more of a name.
const COMM: usize = 15;

/// Reads processes.
pub struct ProcessReader {
    proc: Folder,
    boot: u64,
    arguments_room: usize,
    buffer: Vec<u8>,
}

impl ProcessReader {
    /// A reader of this system's processes.
    ///
    /// # Errors
    /// When /proc is not there or not what it should be.
    pub fn new() -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let proc = Folder::new(rustix::fs::openat(CWD, c"/proc", flags, Mode::empty())?);
        let mut buffer = Vec::with_capacity(16 * 1024);
        read(proc.fd(), c"stat", usize::MAX, &mut buffer)?;
        let boot = field(&buffer, b"btime ").ok_or_else(|| io::Error::other("/proc/stat has no btime"))?;
        Ok(Self { proc, boot, arguments_room: MAX_ALL_ARGUMENTS, buffer })
    }

    /// All processes, in the order of their numbers.
    ///
    /// # Errors
    /// When /proc cannot be read, or `Interrupted` when told to stop.
    pub fn all(&mut self, stop: &Stop) -> io::Result<Vec<Process>> {
        let mut pids = self.pids()?;
        pids.sort_unstable();
        let mut processes = Vec::with_capacity(pids.len());
        for pid in pids {
            if stop.asked() {
                return Err(io::ErrorKind::Interrupted.into());
            }
            processes.extend(self.one(pid)?);
        }
        Ok(processes)
    }

    /// One process; `None` when there is none of that number (any more).
    ///
    /// # Errors
    /// When /proc cannot be read for another reason.
    pub fn one(&mut self, pid: u32) -> io::Result<Option<Process>> {
        match self.read_one(pid) {
            Ok(process) => Ok(process),
            Err(error) => match Errno::from_io_error(&error) {
                // Gone; or hidden from this user by the mount (hidepid).
                Some(Errno::NOENT | Errno::SRCH | Errno::ACCESS | Errno::PERM) => Ok(None),
                _ => Err(error),
            },
        }
    }

    fn pids(&self) -> io::Result<Vec<u32>> {
        let mut pids = Vec::new();
        let mut names = EntryBuffer::default();
        let mut entries = self.proc.entries(&mut names);
        while let Some(entry) = entries.next() {
            let entry = entry?;
            pids.extend(number::<u32>(entry.name().to_bytes()));
        }
        Ok(pids)
    }

    fn read_one(&mut self, pid: u32) -> io::Result<Option<Process>> {
        let Ok(name) = CString::new(pid.to_string()) else { return Ok(None) };
        let folder = self.proc.folder(&name)?;
        read(folder.fd(), c"status", usize::MAX, &mut self.buffer)?;
        let status = Status::of(&self.buffer);
        // A thread's number can be opened as well, but it is no process.
        if status.process != pid {
            return Ok(None);
        }
        read(folder.fd(), c"stat", usize::MAX, &mut self.buffer)?;
        let Some(stat) = Stat::of(&self.buffer) else {
            return Err(io::Error::other(format!("/proc/{pid}/stat is not what it should be")));
        };
        let comm = stat.comm.to_vec();
        let headless = stat.status.is_over() && stat.threads > 1;
        let mut process = Process {
            pid,
            parent_id: stat.parent,
            name: String::new(),
            kernel_name: Vec::new(),
            uid: status.uid,
            status: stat.status,
            creation_time: self.time(stat.start_ticks),
            start_ticks: stat.start_ticks,
            working_set: status.resident,
            private_bytes: status.private,
            session_id: stat.session,
            cpu_time_ms: stat.cpu_ticks.saturating_mul(1000 / TICKS_PER_SECOND),
            image: None,
            arguments: Vec::new(),
            threads: stat.threads,
        };
        let folder = if headless { self.told_by_thread(&mut process).unwrap_or(folder) } else { folder };
        process.image = image(&folder);
        let room = MAX_ARGUMENTS.min(self.arguments_room.max(SHORT_ARGUMENTS));
        // Who may not read another's arguments still sees the process.
        if read(folder.fd(), c"cmdline", room, &mut self.buffer).is_ok() {
            process.arguments.clone_from(&self.buffer);
            self.arguments_room = self.arguments_room.saturating_sub(process.arguments.len());
        }
        process.name = String::from_utf8_lossy(whole_name(&comm, &process)).into_owned();
        process.kernel_name = comm;
        Ok(Some(process))
    }

    /// What only a thread tells of a process whose main thread has exited; the thread's folder. `None` where none is left.
    fn told_by_thread(&mut self, process: &mut Process) -> Option<Folder> {
        let number = CString::new(spokesman(&self.proc, process.pid).to_string()).ok()?;
        let folder = self.proc.folder(&number).ok()?;
        read(folder.fd(), c"status", usize::MAX, &mut self.buffer).ok()?;
        let status = Status::of(&self.buffer);
        // The number may be another's by now.
        (status.process == process.pid).then_some(())?;
        (process.uid, process.working_set, process.private_bytes) = (status.uid, status.resident, status.private);
        read(folder.fd(), c"stat", usize::MAX, &mut self.buffer).ok()?;
        process.status = Stat::of(&self.buffer)?.status;
        Some(folder)
    }

    fn time(&self, ticks: u64) -> Time {
        let seconds = i64::try_from(self.boot + ticks / TICKS_PER_SECOND).unwrap_or(i64::MAX);
        let hundredths = u32::try_from(ticks % TICKS_PER_SECOND).unwrap_or(0);
        Time::new(seconds, hundredths * 10_000_000)
    }
}

/// Of `/proc/PID/stat`: fields by position behind the name, which may itself hold anything, `)` and line ends included.
pub(super) struct Stat<'a> {
    comm: &'a [u8],
    pub(super) status: ProcessStatus,
    parent: u32,
    session: u32,
    cpu_ticks: u64,
    threads: u32,
    start_ticks: u64,
}

impl<'a> Stat<'a> {
    pub(super) fn of(bytes: &'a [u8]) -> Option<Self> {
        let open = bytes.iter().position(|&byte| byte == b'(')?;
        let close = bytes.iter().rposition(|&byte| byte == b')')?;
        let fields: Vec<&[u8]> = bytes.get(close + 1..)?.split(u8::is_ascii_whitespace).skip(1).collect();
        // Field 3 of proc(5) is the first here.
        let nth = |place: usize| fields.get(place - 3).copied();
        let numeric = |place: usize| number::<u64>(nth(place)?);
        Some(Self {
            comm: bytes.get(open + 1..close)?,
            status: match nth(3)?.first()? {
                b'R' => ProcessStatus::Running,
                b'D' => ProcessStatus::Waiting,
                b'T' => ProcessStatus::Stopped,
                b't' => ProcessStatus::Traced,
                b'Z' => ProcessStatus::Zombie,
                b'X' | b'x' => ProcessStatus::Dead,
                // S and I; and P, W, K of old kernels, which are ways of sleeping.
                _ => ProcessStatus::Sleeping,
            },
            parent: number(nth(4)?)?,
            session: number(nth(6)?).unwrap_or(0),
            cpu_ticks: numeric(14)?.saturating_add(numeric(15)?),
            threads: number(nth(20)?).unwrap_or(0),
            start_ticks: numeric(22)?,
        })
    }
}

/// Of `/proc/PID/status`. The memory is taken from here, as `ps` takes it: `stat` counts it less exactly.
struct Status {
    process: u32,
    uid: u32,
    resident: u64,
    private: u64,
}

impl Status {
    fn of(bytes: &[u8]) -> Self {
        let mut status = Self { process: 0, uid: 0, resident: 0, private: 0 };
        let kilobytes = |value: &[u8]| value.split(u8::is_ascii_whitespace).find_map(number::<u64>).unwrap_or(0) * 1024;
        // The name is the first line, and the kernel writes line ends in it as `\n`, so that no name can pose as a field.
        for line in bytes.split(|&byte| byte == b'\n') {
            let Some(colon) = line.iter().position(|&byte| byte == b':') else { continue };
            let (key, value) = line.split_at(colon);
            let value = value.get(1..).unwrap_or_default();
            match key {
                b"Tgid" => status.process = value.split(u8::is_ascii_whitespace).find_map(number).unwrap_or(0),
                // Real, effective, saved, of the file system: the second is what it acts as.
                b"Uid" => status.uid = value.split(u8::is_ascii_whitespace).filter_map(number).nth(1).unwrap_or(0),
                b"VmRSS" => status.resident = kilobytes(value),
                b"RssAnon" | b"VmSwap" => status.private = status.private.saturating_add(kilobytes(value)),
                _ => {}
            }
        }
        status
    }
}

/// The file behind `/proc/PID/exe`.
fn image(folder: &Folder) -> Option<Image> {
    const GONE: &[u8] = b" (deleted)";
    let link = folder.read_link(c"exe").ok()?;
    let Some(path) = link.as_os_str().as_bytes().strip_suffix(GONE) else {
        return Some(Image { path: link, deleted: false });
    };
    // The kernel says so behind the path, but a file may also be called that.
    let running = Facts::of_target(folder.fd(), c"exe").ok();
    let there = CString::new(link.as_os_str().as_bytes()).ok().and_then(|path| Facts::of(CWD, &path).ok());
    if let (Some(running), Some(there)) = (running, there)
        && (running.dev, running.inode) == (there.dev, there.inode)
    {
        return Some(Image { path: link, deleted: false });
    }
    Some(Image { path: PathBuf::from(OsStr::from_bytes(path)), deleted: true })
}

/// A name that the kernel has cut is completed from the image, the first argument, or (of a script) the second.
fn whole_name<'a>(comm: &'a [u8], process: &'a Process) -> &'a [u8] {
    if comm.len() != COMM {
        return comm;
    }
    let image = process.image.as_ref().and_then(|image| image.path.file_name()).map(OsStr::as_bytes);
    let arguments = [0, 1].map(|at| base_name(process.argument(at)));
    image.into_iter().chain(arguments).find(|name| name.starts_with(comm)).unwrap_or(comm)
}

/// Reads a file of /proc, at most `max` bytes of it, in place of what the buffer held.
pub(super) fn read(folder: BorrowedFd<'_>, name: &CStr, max: usize, buffer: &mut Vec<u8>) -> io::Result<()> {
    let fd = rustix::fs::openat(folder, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    buffer.clear();
    buffer.reserve(4096);
    while buffer.len() < max {
        // Reading until nothing comes: a file of /proc has no size, and gives long ones in pieces.
        if rustix::io::read(fd.as_fd(), rustix::buffer::spare_capacity(buffer))? == 0 {
            break;
        }
        if buffer.len() == buffer.capacity() {
            buffer.reserve(buffer.len());
        }
    }
    buffer.truncate(max);
    Ok(())
}

fn field(text: &[u8], name: &[u8]) -> Option<u64> {
    text.split(|&byte| byte == b'\n').find_map(|line| number(line.strip_prefix(name)?))
}

fn number<T: std::str::FromStr>(bytes: &[u8]) -> Option<T> {
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_name_does_not_shift_the_fields() {
        let line = b"77 (a) R 1 (\n) S 5 77 66 0 -1 4194560 1 2 3 4 250 50 0 0 20 0 9 0 1234 1 2\n";
        let stat = Stat::of(line).unwrap();
        assert_eq!(stat.comm, b"a) R 1 (\n");
        assert_eq!((stat.status, stat.parent, stat.session), (ProcessStatus::Sleeping, 5, 66));
        assert_eq!((stat.cpu_ticks, stat.threads, stat.start_ticks), (300, 9, 1234));
    }

    #[test]
    fn broken_lines_are_refused() {
        for line in [&b""[..], b"1", b"1 (a", b"1 a)", b"1 )a(", b"1 (a)", b"1 (a) R", b"1 (a) R x 1 1"] {
            assert!(Stat::of(line).is_none(), "{line:?}");
        }
    }

    #[test]
    fn status_takes_the_effective_user() {
        let status = Status::of(
            b"Name:\tUid:\\nUid\nTgid:\t7\nUid:\t1000\t0\t1000\t1000\nVmRSS:\t    12 kB\nRssAnon:\t 5 kB\nVmSwap:\t 1 kB\n",
        );
        assert_eq!((status.process, status.uid, status.resident, status.private), (7, 0, 12 * 1024, 6 * 1024));
    }
}
