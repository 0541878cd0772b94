//! Files that give their caller another user's rights, also where nobody installs any.

use std::collections::{HashSet, VecDeque};
use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::FileType;

use super::Search;
use crate::agent::context::VerbResult;
use crate::agent::platform::linux::folder::{EntryBuffer, Folder};

/// Folders where programs are installed: looked through to their end.
const INSTALLED: [&str; 6] = ["/usr/bin", "/usr/sbin", "/bin", "/sbin", "/usr/libexec", "/usr/local"];
/// Folders with many libraries, of which only the first levels are looked at.
const LIBRARIES: [&str; 2] = ["/usr/lib", "/lib"];
const LIBRARY_DEPTH: usize = 2;
/// Where anything may lie.
const ELSEWHERE: [&str; 9] = ["/tmp", "/var/tmp", "/dev/shm", "/root", "/home", "/opt", "/srv", "/var", "/var/lib"];
/// Whole systems that containers run: what is setuid in their images is so in each of them.
const CONTAINERS: [&str; 4] =
    ["/var/lib/docker/overlay2", "/var/lib/containerd", "/var/lib/containers/storage", "/var/lib/lxc"];
/// How many files of one of these folders are looked at, those near its top first.
const MAX_FILES: usize = 50_000;
const MAX_DEPTH: usize = 64;

/// Adds the setuid and setgid files.
pub(super) fn setuid(search: &mut Search<'_>) -> VerbResult {
    let mut known = HashSet::new();
    let libraries = LIBRARIES.map(|folder| (folder, LIBRARY_DEPTH));
    let others = INSTALLED.into_iter().chain(ELSEWHERE).map(|folder| (folder, MAX_DEPTH));
    for (folder, depth) in others.chain(libraries) {
        below(search, Path::new(folder), depth, &mut known)?;
    }
    let homes: Vec<PathBuf> = search.homes.iter().map(|user| user.home.clone()).collect();
    // Some users have all of the device as their home, or folders of the system.
    for home in homes.iter().filter(|home| home.components().count() > 2 && !home.starts_with("/usr")) {
        below(search, home, MAX_DEPTH, &mut known)?;
    }
    Ok(())
}

/// Looks through a folder level by level, on its own file system.
fn below(search: &mut Search<'_>, start: &Path, depth: usize, known: &mut HashSet<(u64, u64)>) -> VerbResult {
    let Ok(facts) = search.root.facts(start) else { return Ok(()) };
    if !facts.is_folder() || !known.insert((facts.dev, facts.inode)) {
        return Ok(());
    }
    let device = facts.dev;
    let mut buffer = EntryBuffer::default();
    let mut next = VecDeque::from([(start.to_owned(), 0)]);
    let mut room = MAX_FILES;
    while let Some((path, level)) = next.pop_front() {
        search.stop.check()?;
        let folder = match search.root.open_folder(&path) {
            Ok(folder) => folder,
            Err(error) => {
                search.unseen.closed(search.root, &path, &error);
                continue;
            }
        };
        let (mut files, mut folders) = (Vec::new(), Vec::new());
        let mut entries = folder.entries(&mut buffer);
        while let Some(Ok(entry)) = entries.next() {
            match entry.kind() {
                _ if entry.is_dots() => {}
                FileType::Directory => folders.push(entry.name().to_owned()),
                FileType::RegularFile => files.push(entry.name().to_owned()),
                FileType::Unknown => {
                    folders.push(entry.name().to_owned());
                    files.push(entry.name().to_owned());
                }
                _ => {}
            }
        }
        let is_cut = files.len() > room;
        files.truncate(room);
        room -= files.len();
        for name in files {
            of_file(search, &folder, &path, &name, device);
        }
        if is_cut {
            search.unseen.cut(start);
            return Ok(());
        }
        for name in folders {
            let Ok(facts) = folder.facts(&name) else { continue };
            let path = path.join(OsStr::from_bytes(name.to_bytes()));
            let is_new = facts.is_folder() && facts.dev == device && known.insert((facts.dev, facts.inode));
            if is_new && level < depth && !CONTAINERS.iter().any(|folder| path == Path::new(folder)) {
                next.push_back((path, level + 1));
            }
        }
    }
    Ok(())
}

fn of_file(search: &mut Search<'_>, folder: &Folder, path: &Path, name: &CString, device: u64) {
    let Ok(facts) = folder.facts(name) else { return };
    if facts.is_file() && facts.permissions & 0o6000 != 0 && facts.dev == device {
        let file = path.join(OsStr::from_bytes(name.to_bytes()));
        let mut entry = search.entry("privileges", "T1548.001", &file);
        entry.runs = Some(file.to_string_lossy().into_owned());
        search.found.push(entry);
    }
}
