//! Network connections: the sockets of every network namespace that a process lives in, and who holds them.
//!
//! The agent's own namespace is asked over netlink (sock_diag(7)), which is fastest; others are read from `/proc/PID/net` of a process
//! that lives in them, which needs no change of namespace. Holders are found by the socket's number among open files.

mod diag;
mod lines;

use std::collections::{BTreeMap, HashMap};
use std::ffi::{CString, OsStr};
use std::io;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};

use super::folder::{EntryBuffer, Folder};
use super::processes::ProcessReader;
use crate::agent::context::Stop;
use crate::agent::platform::connection::{Connections, Protocol, Socket, SocketState};

pub use lines::parse_line;

/// The most sockets that are told.
const MAX_SOCKETS: usize = 4_000_000;
/// The largest table of one namespace that is read from /proc.
const MAX_TABLE: u64 = 1024 * 1024 * 1024;
/// How many processes of a namespace are tried before it is given up: each may end at any time.
const TRIES: usize = 16;

/// The tables of /proc/PID/net that are read.
pub const TABLES: [(&str, Protocol); 4] =
    [("tcp", Protocol::Tcp), ("tcp6", Protocol::Tcp), ("udp", Protocol::Udp), ("udp6", Protocol::Udp)];

/// All sockets of all namespaces, with the processes that hold them.
///
/// # Errors
/// When /proc cannot be read, or `Interrupted` when told to stop.
pub fn connections(stop: &Stop) -> io::Result<Connections> {
    let proc =
        Folder::new(rustix::fs::openat(CWD, c"/proc", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?);
    let pids = pids(&proc)?;
    let own = namespace(&proc, c"self").unwrap_or(0);
    let mut found = Connections { namespace: own, ..Connections::default() };
    let mut namespaces: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
    for &pid in &pids {
        let Some(number) = CString::new(pid.to_string()).ok().and_then(|name| namespace(&proc, &name)) else { continue };
        let pids = namespaces.entry(number).or_default();
        if pids.len() < TRIES {
            pids.push(pid);
        }
    }
    namespaces.entry(own).or_default();
    let interfaces = interfaces();
    for (number, pids) in namespaces {
        for (table, protocol) in TABLES {
            check(stop)?;
            let from = found.sockets.len();
            // A kernel without the module for it refuses; its text tables are always there.
            let asked =
                number == own && diag::sockets(protocol, table.ends_with('6'), &interfaces, &mut found.sockets, stop).is_ok();
            if !asked {
                found.sockets.truncate(from);
                read_table(&proc, (number == own).then_some("self"), &pids, table, protocol, &mut found.sockets);
            }
            for socket in found.sockets.iter_mut().skip(from) {
                socket.namespace = number;
            }
        }
    }
    found.sockets.truncate(MAX_SOCKETS);
    hold(&proc, &pids, &mut found, stop)?;
    Ok(found)
}

fn check(stop: &Stop) -> io::Result<()> {
    if stop.asked() { Err(io::ErrorKind::Interrupted.into()) } else { Ok(()) }
}

fn pids(proc: &Folder) -> io::Result<Vec<u32>> {
    let mut buffer = EntryBuffer::default();
    let mut entries = proc.entries(&mut buffer);
    let mut pids = Vec::new();
    while let Some(entry) = entries.next() {
        pids.extend(entry?.name().to_str().ok().and_then(|name| name.parse::<u32>().ok()));
    }
    pids.sort_unstable();
    Ok(pids)
}

/// The number in `net:[4026531840]`.
fn namespace(proc: &Folder, process: &std::ffi::CStr) -> Option<u64> {
    let link = CString::new([process.to_bytes(), b"/ns/net"].concat()).ok()?;
    bracketed(proc.read_link(&link).ok()?.as_os_str().as_bytes(), b"net:[")
}

fn bracketed(text: &[u8], start: &[u8]) -> Option<u64> {
    std::str::from_utf8(text.strip_prefix(start)?.strip_suffix(b"]")?).ok()?.parse().ok()
}

/// The interfaces of the agent's namespace by number.
fn interfaces() -> HashMap<u32, String> {
    let mut known = HashMap::new();
    for entry in std::fs::read_dir("/sys/class/net").into_iter().flatten().flatten() {
        let number = std::fs::read_to_string(entry.path().join("ifindex")).ok().and_then(|text| text.trim().parse().ok());
        if let Some(number) = number {
            known.insert(number, entry.file_name().to_string_lossy().into_owned());
        }
    }
    known
}

fn read_table(proc: &Folder, own: Option<&str>, pids: &[u32], table: &str, protocol: Protocol, sockets: &mut Vec<Socket>) {
    let names = own.map(ToOwned::to_owned).into_iter().chain(pids.iter().map(ToString::to_string));
    for name in names {
        let path = format!("{name}/net/{table}");
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let Ok(fd) = rustix::fs::openat(proc.fd(), Path::new(OsStr::new(&path)), flags, Mode::empty()) else { continue };
        let mut text = Vec::new();
        if io::Read::read_to_end(&mut io::Read::take(std::fs::File::from(fd), MAX_TABLE), &mut text).is_err() {
            continue;
        }
        let lines = text.split(|&byte| byte == b'\n').skip(1);
        sockets.extend(lines.filter_map(|line| parse_line(line, protocol)));
        return;
    }
}

/// Finds who holds the sockets: every open file of every process is looked at once.
fn hold(proc: &Folder, pids: &[u32], found: &mut Connections, stop: &Stop) -> io::Result<()> {
    let mut places: HashMap<u64, usize> = HashMap::with_capacity(found.sockets.len());
    for (at, socket) in found.sockets.iter().enumerate() {
        if socket.inode != 0 {
            places.insert(socket.inode, at);
        }
    }
    if places.is_empty() {
        return Ok(());
    }
    let mut holders = Vec::new();
    let mut buffer = EntryBuffer::default();
    let mut target = [0; 64];
    for &pid in pids {
        check(stop)?;
        let Ok(name) = CString::new(format!("{pid}/fd")) else { continue };
        let folder = match proc.folder(&name) {
            Ok(folder) => folder,
            Err(error) => {
                found.closed += usize::from(error.kind() == io::ErrorKind::PermissionDenied);
                continue;
            }
        };
        let mut entries = folder.entries(&mut buffer);
        let mut holds = false;
        while let Some(Ok(entry)) = entries.next() {
            let Ok(length) = rustix::fs::readlinkat_raw(folder.fd(), entry.name(), &mut target[..]) else { continue };
            let link = target.get(..length).unwrap_or_default();
            let Some(&at) = bracketed(link, b"socket:[").and_then(|inode| places.get(&inode)) else { continue };
            if let Some(socket) = found.sockets.get_mut(at)
                && socket.holders.last() != Some(&pid)
            {
                socket.holders.push(pid);
                holds = true;
            }
        }
        if holds {
            holders.push(pid);
        }
    }
    let mut reader = ProcessReader::new()?;
    for pid in holders {
        if let Some(process) = reader.one(pid)? {
            found.processes.insert(pid, process);
        }
    }
    Ok(())
}

/// The state that the kernel's number means (`include/net/tcp_states.h`).
fn state(number: u8, protocol: Protocol) -> Option<SocketState> {
    Some(match (number, protocol) {
        (1, _) => SocketState::Established,
        (7, Protocol::Udp) => SocketState::Unconnected,
        (2, _) => SocketState::SynSent,
        (3 | 12, _) => SocketState::SynRecv,
        (4, _) => SocketState::FinWait1,
        (5, _) => SocketState::FinWait2,
        (6, _) => SocketState::TimeWait,
        (7, _) => SocketState::Close,
        (8, _) => SocketState::CloseWait,
        (9, _) => SocketState::LastAck,
        (10, _) => SocketState::Listen,
        (11, _) => SocketState::Closing,
        _ => return None,
    })
}

fn socket(protocol: Protocol, local: SocketAddr, remote: SocketAddr, state: SocketState) -> Socket {
    Socket { protocol, local, remote, state, uid: 0, inode: 0, namespace: 0, interface: None, holders: Vec::new() }
}
