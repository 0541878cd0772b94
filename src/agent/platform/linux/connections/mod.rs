//! Network connections: the sockets of every network namespace, and who holds them.
//!
//! The kernel is asked over netlink (sock_diag(7)) in each namespace ([`namespaces`]), where that is not to be had the tables of
//! /proc/PID/net are read. Holders are found by the socket's number among open files. An open file that is a socket of TCP or UDP
//! and stands in no namespace looked at leads to one more.

mod diag;
mod holders;
mod lines;
mod namespaces;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;

use rustix::fs::{CWD, Mode, OFlags};

use super::folder::{EntryBuffer, Folder};
use super::processes::ProcessReader;
use crate::agent::context::Stop;
use crate::agent::platform::connection::{Connections, Protocol, Socket, SocketState};

pub use lines::parse_line;

use holders::hold;
use namespaces::Door;

/// The most sockets that are told.
const MAX_SOCKETS: usize = 4_000_000;
/// The largest table of one namespace that is read from /proc.
const MAX_TABLE: u64 = 1024 * 1024 * 1024;

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
    let own = namespaces::number_of(&proc, "self").unwrap_or(0);
    let mut found = Connections { namespace: own, ..Connections::default() };
    let mut known = namespaces::known(&proc, &pids, stop)?;
    known.remove(&own);
    found.sockets = here(stop)?;
    for socket in &mut found.sockets {
        socket.namespace = own;
    }
    for (&number, doors) in &known {
        found.unread += usize::from(!read(&proc, number, doors, &mut found.sockets, stop)?);
    }
    let holders = hold(&proc, &pids, &mut found.sockets, stop)?;
    found.closed = holders.closed;
    let mut holding = holders.pids;
    let mut revealed = BTreeMap::new();
    for (place, number) in holders.strangers {
        check(stop)?;
        match namespaces::of_socket(&place, number) {
            // One that is bound to nothing stands in no table.
            Ok((number, _)) if number == own || known.contains_key(&number) => {}
            Ok((number, fd)) => drop(revealed.entry(number).or_insert_with(|| vec![Door::Open(fd)])),
            Err(error) => {
                found.untold +=
                    usize::from(matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::InvalidInput));
            }
        }
    }
    if !revealed.is_empty() {
        let from = found.sockets.len();
        for (&number, doors) in &revealed {
            found.unread += usize::from(!read(&proc, number, doors, &mut found.sockets, stop)?);
        }
        let more = hold(&proc, &pids, found.sockets.get_mut(from..).unwrap_or_default(), stop)?;
        holding.extend(more.pids);
    }
    found.sockets.truncate(MAX_SOCKETS);
    let mut reader = ProcessReader::new()?;
    for pid in holding {
        if let Some(process) = reader.one(pid)? {
            found.processes.insert(pid, process);
        }
    }
    Ok(found)
}

/// Adds the sockets of another namespace; whether it could be read.
fn read(proc: &Folder, number: u64, doors: &[Door], sockets: &mut Vec<Socket>, stop: &Stop) -> io::Result<bool> {
    let from = sockets.len();
    let mut is_read = false;
    for door in doors {
        check(stop)?;
        let entered = namespaces::open(proc, door, number).and_then(|fd| namespaces::within(&fd, || here(stop)));
        let told = match (entered, door) {
            (Ok(told), _) => told,
            (Err(_), Door::Process(place)) => {
                let tables = tables(proc, place, stop)?;
                // It may have gone elsewhere, or be another by now.
                let Some(told) = tables.filter(|_| namespaces::number_of(proc, place) == Some(number)) else { continue };
                told
            }
            (Err(_), _) => continue,
        };
        sockets.extend(told);
        is_read = true;
        break;
    }
    for socket in sockets.iter_mut().skip(from) {
        socket.namespace = number;
    }
    Ok(is_read)
}

/// The sockets of the namespace that the calling thread is in.
fn here(stop: &Stop) -> io::Result<Vec<Socket>> {
    let mut found = Vec::new();
    for (table, protocol) in TABLES {
        check(stop)?;
        let from = found.len();
        // A kernel without the module for it refuses; its text tables are always there.
        if diag::sockets(protocol, table.ends_with('6'), &mut found, stop).is_err() {
            check(stop)?;
            found.truncate(from);
            found.extend(self::table(CWD, &format!("/proc/thread-self/net/{table}"), protocol).unwrap_or_default());
        }
    }
    Ok(found)
}

/// The sockets that the tables of a process or thread tell, which is a path below /proc; `None` when none can be read.
fn tables(proc: &Folder, place: &str, stop: &Stop) -> io::Result<Option<Vec<Socket>>> {
    let mut found = None;
    for (table, protocol) in TABLES {
        check(stop)?;
        if let Ok(told) = self::table(proc.fd(), &format!("{place}/net/{table}"), protocol) {
            found.get_or_insert_with(Vec::new).extend(told);
        }
    }
    Ok(found)
}

fn table(folder: BorrowedFd<'_>, path: &str, protocol: Protocol) -> io::Result<Vec<Socket>> {
    let fd = rustix::fs::openat(folder, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut text = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(std::fs::File::from(fd), MAX_TABLE), &mut text)?;
    Ok(text.split(|&byte| byte == b'\n').skip(1).filter_map(|line| parse_line(line, protocol)).collect())
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
fn bracketed(text: &[u8], start: &[u8]) -> Option<u64> {
    std::str::from_utf8(text.strip_prefix(start)?.strip_suffix(b"]")?).ok()?.parse().ok()
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
