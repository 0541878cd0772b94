//! The files that a process has in its memory (`/proc/PID/maps`), and which of them no package answers for.

use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::{MAX_PARTS, Part};
use crate::agent::content::Content;
use crate::agent::dispatch::Shared;
use crate::agent::engines::heuristics::{loaded_from, owner};
use crate::agent::path::shown;
use crate::agent::platform::base_name;

/// What the kernel writes behind the path of a file that is gone.
const DELETED: &[u8] = b" (deleted)";

/// A file in the memory of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mapped {
    /// As the kernel tells it: of what is gone it says so behind the path.
    told: Vec<u8>,
    /// Its number in its file system.
    inode: u64,
    /// Whether some of it is executed.
    pub(super) executed: bool,
}

impl Mapped {
    /// Its path, or the last one it had.
    pub(super) fn path(&self) -> &[u8] {
        self.told.strip_suffix(DELETED).unwrap_or(&self.told)
    }

    /// Whether no path leads to it.
    pub(super) fn is_lost(&self) -> bool {
        self.told.starts_with(b"/memfd:") || self.told.ends_with(DELETED)
    }
}

/// The files that a text of the kernel's tells of, each once: `address perms offset dev inode   path`.
pub(super) fn mapped(maps: &[u8]) -> Vec<Mapped> {
    let mut all: Vec<Mapped> = Vec::new();
    for line in maps.split(|&byte| byte == b'\n') {
        let mut fields = line.splitn(6, |&byte| byte == b' ');
        let executed = fields.nth(1).is_some_and(|rights| rights.get(2) == Some(&b'x'));
        let inode = fields.nth(2).and_then(|inode| std::str::from_utf8(inode).ok()?.parse().ok());
        let (Some(inode), Some(told)) = (inode, fields.next().map(<[u8]>::trim_ascii)) else { continue };
        if !told.starts_with(b"/") {
            continue;
        }
        // The pieces of one file follow each other.
        match all.last_mut().filter(|last| last.told == told && last.inode == inode) {
            Some(last) => last.executed |= executed,
            None => all.push(Mapped { told: told.to_vec(), inode, executed }),
        }
    }
    all.sort_by(|a, b| (&a.told, a.inode).cmp(&(&b.told, b.inode)));
    all.dedup_by(|next, kept| {
        let same = (&next.told, next.inode) == (&kept.told, kept.inode);
        kept.executed |= same && next.executed;
        same
    });
    all
}

/// Whether the runtime of .NET is at work, which maps what it compiles twice, once to write and once to execute.
pub(super) fn is_dotnet(mapped: &[Mapped]) -> bool {
    mapped.iter().any(|file| !file.is_lost() && base_name(file.path()) == b"libcoreclr.so")
}

/// The package that answers for a library that a process was made to load. Of a bare name it is the one that the process has
/// loaded, for where the loader looks is the process's to say.
pub(super) fn vouching(agent: &Shared, library: &[u8], mapped: &[Mapped]) -> Option<String> {
    if library.starts_with(b"/") {
        return owner(agent, library);
    }
    let named = |file: &&Mapped| base_name(file.path()) == base_name(library);
    let mut owners = mapped.iter().filter(named).map(|file| owner(agent, &file.told)).peekable();
    if owners.peek().is_some() {
        return owners.collect::<Option<Vec<_>>>()?.into_iter().next();
    }
    // The name may be that of a link.
    let real = loaded_from(agent, library).into_iter().find(|path| {
        let path = path.as_os_str().as_bytes();
        mapped.iter().any(|file| file.told == path)
    })?;
    owner(agent, real.as_os_str().as_bytes())
}

/// The files with a name that a process executes, beside its image, and that no package owns; and what is said of the others.
pub(super) fn foreign(agent: &Shared, pid: u32, image: Option<&Path>, mapped: &[Mapped]) -> (Vec<Part>, Vec<String>) {
    let (mut parts, mut cut, mut more) = (Vec::new(), Vec::new(), 0_usize);
    for file in mapped.iter().filter(|file| file.executed && !file.is_lost()) {
        let path = Path::new(OsStr::from_bytes(&file.told));
        if image == Some(path) || is_owned(agent, path, file.inode) {
            continue;
        }
        if parts.len() >= MAX_PARTS {
            more += 1;
            continue;
        }
        match open(agent, pid, path, file.inode) {
            Some(part) => parts.push(part),
            None => cut.push(format!("it executes {}, which is not to be had by that path", shown(path))),
        }
    }
    if more > 0 {
        cut.push(format!("it executes {more} more files that no package owns"));
    }
    (parts, cut)
}

/// Whether a package owns the file of that path and number. In another root the path is another's.
fn is_owned(agent: &Shared, path: &Path, inode: u64) -> bool {
    agent.root.facts(path).is_ok_and(|facts| facts.inode == inode) && agent.platform.package(path).is_some()
}

/// Opens it by its path; by the same path in the process's own root where that leads to another file here.
fn open(agent: &Shared, pid: u32, path: &Path, inode: u64) -> Option<Part> {
    let here = Content::open(&agent.root, path, false).ok().filter(|content| content.facts.inode == inode);
    let inside = || {
        let root = Path::new("/proc").join(pid.to_string()).join("root");
        Content::open(&agent.root, &root.join(path.strip_prefix("/").ok()?), false).ok()
    };
    let content = here.or_else(inside)?;
    let real = agent.root.path_of(content.file.as_fd());
    let (named, path) = (real.is_some(), real.unwrap_or_else(|| PathBuf::from(path)));
    Some(Part { role: format!("executes {}", shown(&path)), content, path, named })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_memory_is_read_from_maps() {
        let maps = b"7f00-7f01 r-xp 00000000 08:01 12                     /usr/lib/libc.so.6\n\
            7f01-7f02 rw-p 00000000 00:01 13                     /memfd:data (deleted)\n\
            7f02-7f03 r--p 00000000 00:01 14                     /memfd:a b (deleted)\n\
            7f02-7f03 r-xp 00001000 00:01 14                     /memfd:a b (deleted)\n\
            7f03-7f04 r-xp 00000000 08:01 15                     /tmp/x.so (deleted)\n\
            7f03-7f04 r--p 00000000 08:01 12                     /usr/lib/libc.so.6\n\
            7f04-7f05 r-xp 00000000 00:00 0                      [vdso]\n\
            7f04-7f05 rw-p 00000000 00:00 0\nbroken\n";
        let told: Vec<(String, u64, bool, bool)> = mapped(maps)
            .iter()
            .map(|file| (String::from_utf8_lossy(file.path()).into_owned(), file.inode, file.executed, file.is_lost()))
            .collect();
        let wanted = [
            ("/memfd:a b", 14, true, true),
            ("/memfd:data", 13, false, true),
            ("/tmp/x.so", 15, true, true),
            ("/usr/lib/libc.so.6", 12, true, false),
        ];
        assert_eq!(told, wanted.map(|(path, inode, executed, lost)| (path.to_owned(), inode, executed, lost)));
    }

    #[test]
    fn dotnet_is_known_by_its_library() {
        let maps = |path: &str| mapped(format!("7f00-7f01 r--p 00000000 08:01 12  {path}\n").as_bytes());
        for (path, is) in [
            ("/usr/lib/dotnet/shared/libcoreclr.so", true),
            ("/tmp/libcoreclr.so (deleted)", false),
            ("/memfd:libcoreclr.so (deleted)", false),
            ("/memfd:doublemapper (deleted)", false),
        ] {
            assert_eq!(is_dotnet(&maps(path)), is, "{path}");
        }
    }
}
