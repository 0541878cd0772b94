//! What of a process exists nowhere else, and is gone with it: its image, memory that is a file without a name, files that were
//! deleted while it had them open, and what the kernel tells of it.

use std::collections::{HashMap, HashSet};
use std::ffi::CString;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{CWD, Mode, OFlags};

use super::connections::{TABLES, parse_line};
use super::facts::Facts;
use super::folder::{EntryBuffer, Folder};
use super::threads::folder_of;
use crate::agent::platform::{Trace, TraceSource};

/// The most that is kept of one text of /proc.
const MAX_TEXT: u64 = 64 * 1024 * 1024;
/// The texts that are kept, by what they are called and where they stand below `/proc/PID`.
const TEXTS: [(&str, &str); 7] = [
    ("command_line", "cmdline"),
    ("environment", "environ"),
    ("maps", "maps"),
    ("status", "status"),
    ("stat", "stat"),
    ("cgroup", "cgroup"),
    ("mounts", "mountinfo"),
];

/// The traces of a process, opened: they can be read to their end when it is gone, as far as they are files. The process is
/// read through one opened folder, so that no other is mixed in that gets its number.
///
/// # Errors
/// When it is gone, or may not be looked at.
pub fn traces(pid: u32) -> io::Result<Vec<Trace>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let path = folder_of(pid);
    let folder = Folder::new(rustix::fs::openat(CWD, &path, flags, Mode::empty())?);
    // The number of a thread may be another process's by now.
    let status = text(&folder, "status")?;
    if !status.split(|&byte| byte == b'\n').any(|line| line == format!("Tgid:\t{pid}").as_bytes()) {
        return Err(io::ErrorKind::NotFound.into());
    }
    let mut traces = Vec::new();
    let mut known = HashSet::new();
    if let Some(image) = file_of(&folder, "exe", &mut known)? {
        traces.push(Trace { name: "image".to_owned(), about: link(&folder, "exe"), source: image });
    }
    for (name, below) in TEXTS {
        let text = text(&folder, below)?;
        traces.push(Trace { name: name.to_owned(), about: format!("{path}/{below}"), source: TraceSource::Text(text) });
    }
    let mut listed = String::new();
    let mut sockets = Vec::new();
    for fd in names(&folder, "fd")? {
        let path = format!("fd/{fd}");
        let target = link(&folder, &path);
        let _ = writeln!(listed, "{fd}\t{}\t{}", target, flags_of(&folder, &fd));
        if let Some(inode) = target.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']')?.parse().ok()) {
            sockets.push((fd.clone(), inode));
        }
        if is_nowhere_else(&target)
            && let Some(source) = file_of(&folder, &path, &mut known)?
        {
            let kind = if target.starts_with("/memfd:") { "memfd" } else { "deleted" };
            traces.push(Trace { name: format!("{kind}-{fd}"), about: target, source });
        }
    }
    traces.push(Trace {
        name: "open_files".to_owned(),
        about: "descriptor, what it is, flags".to_owned(),
        source: TraceSource::Text(listed.into_bytes()),
    });
    traces.push(Trace {
        name: "sockets".to_owned(),
        about: "descriptor, kind, this end, the other end, state".to_owned(),
        source: TraceSource::Text(told(&folder, &sockets).into_bytes()),
    });
    // What is mapped without being open any more; only told to those with the right to checkpoint.
    for range in names(&folder, "map_files").unwrap_or_default() {
        let path = format!("map_files/{range}");
        let target = link(&folder, &path);
        if is_nowhere_else(&target)
            && let Some(source) = file_of(&folder, &path, &mut known).unwrap_or(None)
        {
            traces.push(Trace { name: format!("mapped-{range}"), about: target, source });
        }
    }
    let mut namespaces = String::new();
    for name in names(&folder, "ns")? {
        let _ = writeln!(namespaces, "{name}\t{}", link(&folder, &format!("ns/{name}")));
    }
    for name in ["cwd", "root"] {
        let _ = writeln!(namespaces, "{name}\t{}", link(&folder, name));
    }
    traces.push(Trace {
        name: "namespaces".to_owned(),
        about: "namespaces, working folder and root".to_owned(),
        source: TraceSource::Text(namespaces.into_bytes()),
    });
    Ok(traces)
}

/// What the kernel tells of sockets, by their numbers; of those it does not tell of, the number.
fn told(folder: &Folder, sockets: &[(String, u64)]) -> String {
    let mut known: HashMap<u64, String> = HashMap::new();
    for (table, protocol) in TABLES {
        let text = if sockets.is_empty() { Vec::new() } else { text(folder, &format!("net/{table}")).unwrap_or_default() };
        for socket in text.split(|&byte| byte == b'\n').filter_map(|line| parse_line(line, protocol)) {
            let state = serde_json::to_value(socket.state).unwrap_or_default();
            let state = state.as_str().unwrap_or_default();
            known.insert(socket.inode, format!("{table}\t{}\t{}\t{state}", socket.local, socket.remote));
        }
    }
    // Num RefCount Protocol Flags Type St Inode Path, after unix(7) and `net/unix/af_unix.c`.
    let unix = if sockets.is_empty() { Vec::new() } else { text(folder, "net/unix").unwrap_or_default() };
    for line in String::from_utf8_lossy(&unix).lines().skip(1) {
        let mut fields = line.split_whitespace();
        let Some(inode) = fields.nth(6).and_then(|inode| inode.parse().ok()) else { continue };
        known.insert(inode, format!("unix\t{}\t\t", fields.collect::<Vec<_>>().join(" ")));
    }
    sockets.iter().fold(String::new(), |mut all, (fd, inode)| {
        let _ = match known.get(inode) {
            Some(known) => writeln!(all, "{fd}\t{known}"),
            None => writeln!(all, "{fd}\tsocket:[{inode}]\t\t\t"),
        };
        all
    })
}

fn is_nowhere_else(target: &str) -> bool {
    target.starts_with("/memfd:") || target.ends_with(" (deleted)")
}

fn link(folder: &Folder, path: &str) -> String {
    let read = CString::new(path).ok().and_then(|path| folder.read_link(&path).ok());
    read.map_or_else(String::new, |target| String::from_utf8_lossy(target.as_os_str().as_bytes()).into_owned())
}

fn flags_of(folder: &Folder, fd: &str) -> String {
    let text = text(folder, &format!("fdinfo/{fd}")).unwrap_or_default();
    String::from_utf8_lossy(&text)
        .lines()
        .find_map(|line| line.strip_prefix("flags:").map(|flags| flags.trim().to_owned()))
        .unwrap_or_default()
}

fn names(folder: &Folder, below: &str) -> io::Result<Vec<String>> {
    let folder = folder.below(below.as_bytes())?;
    let mut buffer = EntryBuffer::default();
    let mut entries = folder.entries(&mut buffer);
    let mut names = Vec::new();
    while let Some(entry) = entries.next() {
        let entry = entry?;
        if !entry.is_dots() {
            names.extend(entry.name().to_str().map(ToOwned::to_owned));
        }
    }
    Ok(names)
}

fn text(folder: &Folder, path: &str) -> io::Result<Vec<u8>> {
    let file = File::from(rustix::fs::openat(folder.fd(), path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?);
    let mut text = Vec::new();
    file.take(MAX_TEXT).read_to_end(&mut text)?;
    Ok(text)
}

/// Opens the regular file behind a link of /proc, once each; `None` for everything else.
fn file_of(folder: &Folder, path: &str, known: &mut HashSet<(u64, u64)>) -> io::Result<Option<TraceSource>> {
    let name = CString::new(path)?;
    let Ok(facts) = Facts::of_target(folder.fd(), &name) else { return Ok(None) };
    if !facts.is_file() || !known.insert((facts.dev, facts.inode)) {
        return Ok(None);
    }
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let file = File::from(rustix::fs::openat(folder.fd(), &name, flags, Mode::empty())?);
    let facts = Facts::of(file.as_fd(), c"")?;
    Ok(Some(TraceSource::File { file, size: facts.size }))
}
