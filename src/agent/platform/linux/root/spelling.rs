//! What a typed path means on a device: `~`, `.` and `..`, and names as the disk of a Windows spells them.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::OFlags;

use super::Root;
use crate::agent::pattern::same_in_any_case;
use crate::agent::platform::drive;
use crate::agent::platform::windows_root::expand;
use crate::protocol::text::from_file_uri;

/// The most names of a folder that are looked through for a long one.
const MAX_COMPARED: usize = 100_000;

/// How many links of a Windows disk are followed one after the other.
const MAX_LINKS: u32 = 16;

impl Root {
    /// The absolute path that a typed one means in a directory: `file:///` is decoded, `~` is the home folder of the user
    /// the agent runs as, `.` and `..` are resolved by name alone.
    #[must_use]
    pub fn resolve(&self, directory: &str, typed: &str) -> PathBuf {
        if self.is_windows() {
            let path = drive::resolve(directory, typed);
            // A file may really be called so; else variables are what they are on the disk.
            let named = self.spelled(&path);
            if !typed.contains('%') || path.as_os_str().as_bytes().contains(&b'%') && self.link_facts(&named).is_ok() {
                return named;
            }
            return self.spelled(&drive::resolve(directory, &expand(typed, None)));
        }
        let typed = decoded(typed);
        let mut whole = PathBuf::from(OsStr::new("/"));
        if typed == Path::new("~") || typed.starts_with("~/") {
            whole.push(self.home());
            whole.push(typed.strip_prefix("~").unwrap_or(Path::new("")));
        } else {
            whole.push(decoded(directory));
            whole.push(typed);
        }
        let mut plain = PathBuf::from("/");
        for part in whole.components() {
            match part {
                Component::Normal(name) => plain.push(name),
                Component::ParentDir => {
                    plain.pop();
                }
                Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
            }
        }
        plain
    }

    /// A path as the disk of a Windows spells it, whose names are the same in any case; any other path as it is. What is not
    /// there stays as it was typed.
    #[must_use]
    pub fn spelled(&self, path: &Path) -> PathBuf {
        self.spelled_through(path, 0)
    }

    /// The same on the way through so many links of the disk's own.
    fn spelled_through(&self, path: &Path, links: u32) -> PathBuf {
        if !self.is_windows() || self.link_facts(path).is_ok() {
            return path.to_owned();
        }
        let mut found = PathBuf::from("/");
        let mut names = path.components().filter(|part| matches!(part, Component::Normal(_))).map(Component::as_os_str);
        while let Some(name) = names.next() {
            let next = found.join(name);
            if self.link_facts(&next).is_ok() {
                found = next;
                continue;
            }
            if let Some(target) = self.junction(&found).filter(|_| links < MAX_LINKS) {
                let rest = names.fold(target.join(name), |path, name| path.join(name));
                return self.spelled_through(&rest, links + 1);
            }
            let plain = || drive::plain_name(name).and_then(|plain| self.in_any_case(&found, plain));
            let known = self.in_any_case(&found, name).or_else(|| self.long_name(&found, name)).or_else(plain);
            let Some(known) = known else {
                found = next;
                break;
            };
            found.push(known);
        }
        found.extend(names);
        found
    }

    /// Where a link leads that the disk's Windows follows and the kernel does not: its target begins with the drive, or with the
    /// folder that the disk was mounted on.
    fn junction(&self, path: &Path) -> Option<PathBuf> {
        if self.facts(path).is_ok() || !self.link_facts(path).is_ok_and(|facts| facts.is_link()) {
            return None;
        }
        let target = self.read_link(path).ok()?;
        match target.strip_prefix(self.folder()?) {
            Ok(below) => Some(drive::at(below)),
            Err(_) => drive::of_text(target.to_str()?).filter(|target| target != path),
        }
    }

    /// The name of a folder's entry that differs from this one in case only.
    fn in_any_case(&self, folder: &Path, name: &OsStr) -> Option<OsString> {
        let fd = self.open(folder, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NONBLOCK).ok()?;
        let mut entries = rustix::fs::Dir::read_from(fd).ok()?.filter_map(Result::ok);
        let found = entries.find(|entry| same_in_any_case(entry.file_name().to_bytes(), name.as_bytes()))?;
        Some(OsString::from_vec(found.file_name().to_bytes().to_vec()))
    }

    /// The long name behind one of the old kind (`PROGRA~1`): the only one there is that Windows would call so. At the top, where the
    /// folders of programs are, their order is known.
    fn long_name(&self, folder: &Path, name: &OsStr) -> Option<OsString> {
        let short = name.to_str().filter(|name| name.contains('~'))?;
        let mut names = self.names(folder, MAX_COMPARED).ok()?;
        names.retain(|long| long.to_str().is_some_and(|long| drive::is_short_of(short, long)));
        let number = short.to_ascii_uppercase().strip_prefix("PROGRA~").and_then(|number| number.parse::<usize>().ok());
        match (names.len(), number) {
            (1, _) => names.pop(),
            (_, Some(number)) if folder == drive::top() => names.into_iter().nth(number.checked_sub(1)?),
            _ => None,
        }
    }

    fn home(&self) -> PathBuf {
        let live = if self.is_live() { std::env::var_os("HOME") } else { None };
        live.map_or_else(|| PathBuf::from("/root"), PathBuf::from)
    }
}

fn decoded(typed: &str) -> PathBuf {
    match from_file_uri(typed) {
        Some(bytes) => PathBuf::from(OsStr::from_bytes(&bytes)),
        None => PathBuf::from(typed),
    }
}
