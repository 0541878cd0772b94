//! What is never touched, whoever asks: what the machine, the agent or the analyst's own way to it would not survive.

use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::CWD;

use super::dispatch::Shared;
use super::path::lossy;
use super::platform::{Facts, Held, Process};
use crate::protocol::link::ShellPeer;

/// Folders that hold the dynamic loader and libc.
const LIBRARIES: [&str; 5] = ["/lib", "/lib64", "/lib32", "/usr/lib", "/usr/lib64"];
/// The most names that are looked through in one of them.
const MAX_NAMES: usize = 200_000;
/// What everything else is started by, and the folders that programs are looked for in.
const STARTING: [&str; 6] = ["/sbin/init", "/bin/sh", "/bin", "/sbin", "/usr/bin", "/usr/sbin"];

/// Why a file must stay; `None` when it may go.
#[must_use]
pub fn of_file(agent: &Shared, held: &Held) -> Option<String> {
    let path = held.path.as_path();
    let below = |folder: &Path| path.starts_with(folder);
    if path.parent().is_none() {
        return Some("it is the root of all files".to_owned());
    }
    if held.facts.mount_root {
        return Some("something is mounted there".to_owned());
    }
    if agent.root.is_live() && own_folders(&agent.folder).iter().any(|folder| folder.starts_with(path)) {
        return Some("lrsh itself lives in it".to_owned());
    }
    if agent.root.is_live() && own_folders(&agent.folder).iter().any(|folder| below(folder)) {
        return Some("it belongs to lrsh: journal, quarantine, store or log".to_owned());
    }
    // By the journal, not by the name: anybody can give a folder that.
    if agent.effects.shelves().iter().any(|shelf| below(shelf)) {
        return Some("it is in quarantine already".to_owned());
    }
    if is_in_use_here(&held.facts) {
        return Some("the agent itself runs it or has it open".to_owned());
    }
    if agent.root.is_live() {
        let uname = rustix::system::uname();
        let release = OsStr::from_bytes(uname.release().to_bytes());
        let modules = [Path::new("/lib/modules").join(release), Path::new("/usr/lib/modules").join(release)];
        let of_boot = path.starts_with("/boot") && path.file_name().is_some_and(|name| ends_with(name, release));
        if of_boot || modules.iter().any(|folder| below(folder)) || of_kernel_link(agent, &held.facts, release) {
            return Some("it belongs to the running kernel".to_owned());
        }
    }
    if let Some(what) = library(agent, &held.facts) {
        return Some(format!("it is {what}, without which no program starts"));
    }
    if agent.root.is_live() && Facts::of_path(Path::new("/proc/1/exe")).is_ok_and(|init| is_same(init, &held.facts)) {
        return Some("the system itself runs it, as its first process".to_owned());
    }
    held.facts.is_link().then(|| on_the_way(agent, path)).flatten()
}

/// What is reached through a link, if no program starts without it.
fn on_the_way(agent: &Shared, path: &Path) -> Option<String> {
    let ways = STARTING.iter().map(|path| (PathBuf::from(path), "programs"));
    let libraries = libraries(agent).into_iter();
    let leads = |(to, what): (PathBuf, &str)| {
        let said = || format!("{} is reached through it: {what}, without which nothing starts", lossy(&to));
        agent.root.links_on_the_way(&to).iter().any(|link| link == path).then(said)
    };
    libraries.chain(ways).find_map(leads)
}

/// Why a process must live; `None` when it may be ended. `all` are all processes.
#[must_use]
pub fn of_process(process: &Process, shells: &[ShellPeer], all: &[Process]) -> Option<String> {
    if process.pid <= 1 {
        return Some("the system ends with it".to_owned());
    }
    if process.pid == 2 || (process.parent_id == 2 && process.image.is_none()) {
        return Some("it is the kernel's own".to_owned());
    }
    if process.pid == std::process::id() {
        return Some("it is the agent itself".to_owned());
    }
    for shell in shells {
        let mut pid = shell.pid;
        // No chain of parents is that long; numbers that were given anew may make a ring.
        for _ in 0..1024 {
            if pid == process.pid {
                let what =
                    if pid == shell.pid { "it is the shell of an analyst" } else { "the shell of an analyst hangs below it" };
                return Some(what.to_owned());
            }
            match all.iter().find(|process| process.pid == pid) {
                Some(process) if process.parent_id > 0 => pid = process.parent_id,
                _ => break,
            }
        }
    }
    None
}

/// The agent's folder and what lies beside it in its home, links resolved.
#[must_use]
pub fn own_folders(agent: &Path) -> Vec<PathBuf> {
    let home = agent.parent().unwrap_or(agent);
    let all = [agent.to_path_buf(), home.join("service"), home.join("log")];
    all.into_iter().map(|folder| folder.canonicalize().unwrap_or(folder)).collect()
}

fn is_one_of(facts: &Facts, path: &Path, agent: &Shared) -> bool {
    let same = |other: Facts| (other.dev, other.inode) == (facts.dev, facts.inode);
    agent.root.is_live() && (agent.root.facts(path).is_ok_and(same) || agent.root.link_facts(path).is_ok_and(same))
}

/// Whether the agent's own process runs a file, or has it open for writing: its store, its lock, its log.
fn is_in_use_here(facts: &Facts) -> bool {
    let same = |other: Facts| (other.dev, other.inode) == (facts.dev, facts.inode);
    if Facts::of_target(CWD, c"/proc/self/exe").is_ok_and(same) {
        return true;
    }
    let open = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    open.filter_map(|entry| entry.file_name().into_string().ok()).any(|fd| {
        let Ok(path) = CString::new(format!("/proc/self/fd/{fd}")) else { return false };
        let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).unwrap_or_default();
        let flags = info.lines().find_map(|line| u32::from_str_radix(line.strip_prefix("flags:")?.trim(), 8).ok());
        // The lowest two bits of open(2): how it was opened. What is only read may be any command's business.
        flags.is_some_and(|flags| flags & 3 != 0) && Facts::of_target(CWD, &path).is_ok_and(same)
    })
}

fn ends_with(name: &OsStr, release: &OsStr) -> bool {
    name.as_bytes().ends_with(release.as_bytes())
}

/// `/vmlinuz` and the like, and what they lead to.
fn of_kernel_link(agent: &Shared, facts: &Facts, release: &OsStr) -> bool {
    ["vmlinuz", "initrd.img"].iter().any(|link| {
        let link = Path::new("/").join(link);
        agent.root.read_link(&link).is_ok_and(|target| target.file_name().is_some_and(|name| ends_with(name, release)))
            && is_one_of(facts, &link, agent)
    })
}

/// Whether it is the dynamic loader or libc, by whatever name.
fn library(agent: &Shared, facts: &Facts) -> Option<&'static str> {
    let is_it = |path: &Path| {
        let is_it = |other: Facts| is_same(other, facts);
        agent.root.facts(path).is_ok_and(is_it) || agent.root.link_facts(path).is_ok_and(is_it)
    };
    libraries(agent).into_iter().find(|(path, _)| is_it(path)).map(|(_, what)| what)
}

/// The dynamic loader and libc, by all the names that they are reached by.
fn libraries(agent: &Shared) -> Vec<(PathBuf, &'static str)> {
    let mut folders: Vec<PathBuf> = LIBRARIES.iter().map(PathBuf::from).collect();
    for folder in LIBRARIES {
        let names = agent.root.names(Path::new(folder), MAX_NAMES).unwrap_or_default();
        let multiarch = names.into_iter().filter(|name| name.as_bytes().windows(6).any(|part| part == b"-linux"));
        folders.extend(multiarch.map(|name| Path::new(folder).join(name)));
    }
    let mut found = Vec::new();
    for folder in folders {
        let names = agent.root.names(&folder, MAX_NAMES).unwrap_or_default();
        found.extend(names.iter().filter_map(|name| Some((folder.join(name), essential(name.as_bytes())?))));
    }
    found
}

fn is_same(one: Facts, other: &Facts) -> bool {
    (one.dev, one.inode) == (other.dev, other.inode)
}

/// What a name in a library folder means, if no program starts without it.
fn essential(name: &[u8]) -> Option<&'static str> {
    let shared = name.windows(3).any(|part| part == b".so");
    if shared && name.starts_with(b"ld-") || name.starts_with(b"ld.so") {
        Some("the dynamic loader")
    } else if name.starts_with(b"libc.so") || name.starts_with(b"libc.musl") || (shared && name.starts_with(b"libc-")) {
        Some("libc")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loader_and_libc_are_known_by_name() {
        let check = |name: &str, what| assert_eq!(essential(name.as_bytes()), what, "{name}");
        check("ld-linux-x86-64.so.2", Some("the dynamic loader"));
        check("ld-musl-x86_64.so.1", Some("the dynamic loader"));
        check("ld-2.31.so", Some("the dynamic loader"));
        check("libc.so.6", Some("libc"));
        check("libc-2.31.so", Some("libc"));
        check("libc.musl-x86_64.so.1", Some("libc"));
        check("libcrypt.so.1", None);
        check("libcap.so.2", None);
        check("ld", None);
    }
}
