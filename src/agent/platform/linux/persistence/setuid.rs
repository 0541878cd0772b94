//! Files that give their caller another user's rights, also where nobody installs any.

use std::collections::HashSet;
use std::ffi::{CString, OsStr};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::fs::FileType;

use crate::agent::context::{Meter, Stop, VerbError, VerbResult};
use crate::agent::platform::linux::abreast::abreast;
use crate::agent::platform::linux::facts::Facts;
use crate::agent::platform::linux::folder::EntryBuffer;
use crate::agent::platform::linux::homes::User;
use crate::agent::platform::linux::root::Root;
use crate::agent::platform::linux::unseen::Unseen;

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

/// A walk through the folders where such files may lie, which takes the longest of all and needs nothing of the rest.
pub(super) struct Walk<'a> {
    root: &'a Root,
    stop: &'a Stop,
    meter: &'a Meter,
    known: HashSet<(u64, u64)>,
    /// The setuid and setgid files, in the order in which they were found.
    pub found: Vec<PathBuf>,
    /// What was not looked at.
    pub unseen: Unseen,
}

/// What is in a folder.
struct Inside {
    /// How many files: when there are more than are looked at, not all of them are counted.
    files: usize,
    /// Those of them that are setuid or setgid: the how many-th file it is, and its path.
    found: Vec<(usize, PathBuf)>,
    /// Path, file system and number of the folders in it.
    folders: Vec<(PathBuf, (u64, u64))>,
}

impl<'a> Walk<'a> {
    /// Goes through all of them.
    ///
    /// # Errors
    /// Only when told to stop.
    pub(super) fn through(root: &'a Root, homes: &[User], stop: &'a Stop, meter: &'a Meter) -> Result<Self, VerbError> {
        let mut walk = Self::new(root, stop, meter);
        let libraries = LIBRARIES.map(|folder| (folder, LIBRARY_DEPTH));
        let others = INSTALLED.into_iter().chain(ELSEWHERE).map(|folder| (folder, MAX_DEPTH));
        for (folder, depth) in others.chain(libraries) {
            walk.below(Path::new(folder), depth, MAX_FILES)?;
        }
        // Some users have all of the device as their home, or folders of the system.
        for User { home, .. } in
            homes.iter().filter(|user| user.home.components().count() > 2 && !user.home.starts_with("/usr"))
        {
            walk.below(home, MAX_DEPTH, MAX_FILES)?;
        }
        Ok(walk)
    }

    fn new(root: &'a Root, stop: &'a Stop, meter: &'a Meter) -> Self {
        Self { root, stop, meter, known: HashSet::new(), found: Vec::new(), unseen: Unseen::default() }
    }

    /// Looks through a folder level by level, on its own file system, until there is no more room; the folders of a level are read by
    /// several threads.
    fn below(&mut self, start: &Path, depth: usize, mut room: usize) -> VerbResult {
        let Ok(facts) = self.root.facts(start) else { return Ok(()) };
        if !facts.is_folder() || !self.known.insert((facts.dev, facts.inode)) {
            return Ok(());
        }
        let (root, stop, device) = (self.root, self.stop, facts.dev);
        let mut level = vec![start.to_owned()];
        for deep in 0..=depth {
            let counted = AtomicUsize::new(0);
            let read = abreast(&level, self.meter, |path| {
                // Folders are begun in their order: by now those before this one hold more than there is room for.
                if stop.asked() || counted.load(Ordering::Relaxed) > room {
                    return None;
                }
                let inside = read(root, path, room, device);
                counted.fetch_add(inside.as_ref().map_or(0, |inside| inside.files), Ordering::Relaxed);
                Some(inside)
            });
            stop.check()?;
            let mut next = Vec::new();
            for (path, inside) in level.iter().zip(read) {
                let inside = match inside {
                    Some(Ok(inside)) => inside,
                    Some(Err(error)) => {
                        self.unseen.closed(root, path, &error);
                        continue;
                    }
                    None => {
                        self.unseen.cut(start);
                        return Ok(());
                    }
                };
                self.found.extend(inside.found.into_iter().filter(|(at, _)| *at < room).map(|(_, path)| path));
                if inside.files > room {
                    self.unseen.cut(start);
                    return Ok(());
                }
                room -= inside.files;
                for (path, id) in inside.folders {
                    let is_new = id.0 == device && self.known.insert(id);
                    if is_new && deep < depth && !CONTAINERS.iter().any(|folder| path == Path::new(folder)) {
                        next.push(path);
                    }
                }
            }
            level = next;
        }
        Ok(())
    }
}

/// Reads a folder: of its files those that are setuid or setgid among the first that there is room for.
fn read(root: &Root, path: &Path, room: usize, device: u64) -> io::Result<Inside> {
    let folder = root.open_folder(path)?;
    let (mut files, mut folders) = (Vec::new(), Vec::new());
    let mut buffer = EntryBuffer::default();
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
        if files.len() > room {
            break;
        }
    }
    let at = |name: &CString| path.join(OsStr::from_bytes(name.to_bytes()));
    let gives_rights = |name: &CString| {
        let facts = folder.facts(name);
        facts.is_ok_and(|facts| facts.is_file() && facts.permissions & 0o6000 != 0 && facts.dev == device)
    };
    let found = files.iter().enumerate().take(room).filter(|(_, name)| gives_rights(name));
    let found = found.map(|(place, name)| (place, at(name))).collect();
    let id = |name: &CString| {
        let facts = folder.facts(name).ok().filter(Facts::is_folder)?;
        Some((at(name), (facts.dev, facts.inode)))
    };
    Ok(Inside { files: files.len(), found, folders: folders.iter().filter_map(id).collect() })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn files_near_the_top_come_first_and_what_there_is_no_room_for_is_said() {
        let folder = tempfile::tempdir().unwrap();
        for (path, mode) in [
            ("top/one", 0o4755),
            ("top/a/two", 0o2755),
            ("top/a/plain", 0o755),
            ("top/b/three", 0o4755),
            ("top/a/deep/four", 0o4755),
            ("top/a/deep/deeper/five", 0o4755),
            ("closed/six", 0o4755),
        ] {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
        std::os::unix::fs::symlink("../../closed", folder.path().join("top/b/link")).unwrap();
        let root = Root::at(folder.path()).unwrap();
        let (stop, meter) = (Stop::default(), Meter::default());
        let check = |depth: usize, room: usize, mut expected: Vec<&str>, cut: bool| {
            let mut walk = Walk::new(&root, &stop, &meter);
            walk.below(Path::new("/top"), depth, room).unwrap();
            let mut found: Vec<&str> = walk.found.iter().map(|path| path.to_str().unwrap()).collect();
            assert_eq!(walk.unseen.problems().len(), usize::from(cut), "{depth} {room}");
            let levels: Vec<usize> = found.iter().map(|path| path.split('/').count()).collect();
            assert!(levels.is_sorted(), "{found:?}");
            found.sort_unstable();
            expected.sort_unstable();
            assert_eq!(found, expected, "{depth} {room}");
        };
        check(9, 1, vec!["/top/one"], true);
        check(9, 4, vec!["/top/one", "/top/a/two", "/top/b/three"], true);
        let all = ["/top/one", "/top/a/two", "/top/b/three", "/top/a/deep/four", "/top/a/deep/deeper/five"];
        check(9, 6, all.to_vec(), false);
        check(2, 6, all[..4].to_vec(), false);
        check(0, 6, all[..1].to_vec(), false);
        stop.ask(crate::protocol::link::StopReason::Enough);
        assert!(Walk::new(&root, &stop, &meter).below(Path::new("/top"), 9, 6).is_err());
    }
}
