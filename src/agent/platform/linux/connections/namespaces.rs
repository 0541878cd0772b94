//! The network namespaces of a machine, and the ways into them.
//!
//! One is there as long as anything holds it: a process, a single thread of one, a mount (`ip netns` keeps them below /run/netns),
//! or nothing but a socket that was made in it, whose process has gone back. A thread of the agent's own enters it (setns(2)) and
//! asks there; where that is not allowed, the tables of a process that lives in it are read.

#![allow(unsafe_code, reason = "no library asks a socket for its namespace")]

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, OsString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::super::folder::{EntryBuffer, Folder};
use super::super::mountinfo::unescaped;
use super::{bracketed, check};
use crate::agent::context::Stop;

/// How many ways into a namespace are kept: a process may end at any time.
const TRIES: usize = 16;
/// `SIOCGSKNS` of linux/sockios.h.
const SIOCGSKNS: libc::c_ulong = 0x894c;
/// `PIDFD_THREAD` of linux/pidfd.h: a thread that is not a process's first.
const PIDFD_THREAD: PidfdFlags = PidfdFlags::from_bits_retain(libc::O_EXCL.cast_unsigned());

/// A way into a namespace.
#[derive(Debug)]
pub(super) enum Door {
    /// A process or a thread in it, as a path below /proc: `123` or `123/task/130`.
    Process(String),
    /// What it is mounted on.
    Mount(PathBuf),
    /// Itself, opened.
    Open(OwnedFd),
}

/// The namespaces that processes, their threads and this agent's mounts hold, each by its number.
pub(super) fn known(proc: &Folder, pids: &[u32], stop: &Stop) -> io::Result<BTreeMap<u64, Vec<Door>>> {
    let mut found: BTreeMap<u64, Vec<Door>> = BTreeMap::new();
    let mut add = |number: u64, door: Door| {
        let doors = found.entry(number).or_default();
        if doors.len() < TRIES {
            doors.push(door);
        }
    };
    for &pid in pids {
        check(stop)?;
        let mut first = None;
        for place in std::iter::once(pid.to_string()).chain(threads(proc, pid)) {
            let Some(number) = number_of(proc, &place).filter(|number| Some(*number) != first) else { continue };
            first.get_or_insert(number);
            add(number, Door::Process(place));
        }
    }
    for line in std::fs::read("/proc/self/mountinfo").unwrap_or_default().split(|&byte| byte == b'\n') {
        let mut words = line.split(|&byte| byte == b' ');
        // Number, parent, device, what of it, where.
        let (Some(root), Some(place)) = (words.nth(3), words.next()) else { continue };
        if let Some(number) = bracketed(root, b"net:[") {
            add(number, Door::Mount(PathBuf::from(OsString::from_vec(unescaped(place)))));
        }
    }
    Ok(found)
}

/// The threads of a process that has several, as paths below /proc.
pub(super) fn threads(proc: &Folder, pid: u32) -> Vec<String> {
    let folder = CString::new(format!("{pid}/task")).ok().filter(|name| {
        // Its links are those of an empty folder, and one for each thread.
        rustix::fs::statat(proc.fd(), name.as_c_str(), rustix::fs::AtFlags::empty()).is_ok_and(|facts| facts.st_nlink > 3)
    });
    let Some(folder) = folder.and_then(|name| proc.folder(&name).ok()) else { return Vec::new() };
    let mut buffer = EntryBuffer::default();
    let mut entries = folder.entries(&mut buffer);
    let mut found = Vec::new();
    while let Some(Ok(entry)) = entries.next() {
        let number = entry.name().to_str().ok().and_then(|name| name.parse::<u32>().ok());
        found.extend(number.filter(|&number| number != pid).map(|number| format!("{pid}/task/{number}")));
    }
    found
}

/// The number of the namespace that a process or thread is in, as its link says: `net:[4026531840]`.
pub(super) fn number_of(proc: &Folder, place: &str) -> Option<u64> {
    let link = CString::new(format!("{place}/ns/net")).ok()?;
    bracketed(proc.read_link(&link).ok()?.as_os_str().as_bytes(), b"net:[")
}

/// Opens a namespace, which must still be the one of that number.
pub(super) fn open(proc: &Folder, door: &Door, number: u64) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let fd = match door {
        Door::Process(place) => rustix::fs::openat(proc.fd(), format!("{place}/ns/net"), flags, Mode::empty())?,
        Door::Mount(path) => rustix::fs::openat(CWD, path.as_path(), flags, Mode::empty())?,
        Door::Open(fd) => fd.try_clone()?,
    };
    if rustix::fs::fstat(&fd)?.st_ino == number { Ok(fd) } else { Err(io::ErrorKind::NotFound.into()) }
}

/// Does something in a namespace: on a thread of its own, for nobody else of the agent goes there.
pub(super) fn within<T: Send>(namespace: &OwnedFd, act: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let inside = || {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
            act()
        };
        let thread = std::thread::Builder::new().name("netns".to_owned()).spawn_scoped(scope, inside)?;
        thread.join().unwrap_or_else(|_| Err(io::Error::other("looking into a network namespace failed")))
    })
}

/// Whether an open file of a process or thread (a path below /proc) is a socket of TCP or UDP: the kernel tells the name of its
/// protocol as an attribute.
pub(super) fn is_internet(place: &str, file: &CStr) -> bool {
    let mut name = [0; 16];
    let path = [b"/proc/", place.as_bytes(), b"/fd/", file.to_bytes()].concat();
    let read = rustix::fs::getxattr(path.as_slice(), c"system.sockprotoname", &mut name[..]);
    let name = read.ok().and_then(|length| name.get(..length)).unwrap_or_default();
    let name = name.split(|&byte| byte == 0).next().unwrap_or_default();
    matches!(name, b"TCP" | b"TCPv6" | b"MPTCP" | b"MPTCPv6" | b"UDP" | b"UDPv6")
}

/// The namespace that a socket of a process or thread (a path below /proc) was made in, which has it open under that number.
///
/// # Errors
/// As pidfd_open, pidfd_getfd and `SIOCGSKNS` say: `EPERM` without the right to look into the process, `EINVAL` for a thread before
/// Linux 6.9.
pub(super) fn of_socket(place: &str, number: i32) -> io::Result<(u64, OwnedFd)> {
    let (id, flags) = match place.rsplit_once('/') {
        Some((_, thread)) => (thread, PIDFD_THREAD),
        None => (place, PidfdFlags::empty()),
    };
    let id = id.parse().ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::NotFound)?;
    let socket = pidfd_getfd(pidfd_open(id, flags)?, number, PidfdGetfdFlags::empty())?;
    let namespace = namespace_of(socket.as_fd())?;
    Ok((rustix::fs::fstat(&namespace)?.st_ino, namespace))
}

fn namespace_of(socket: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    // SAFETY: the call takes no argument and opens a file.
    let fd = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCGSKNS) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has just opened it, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
