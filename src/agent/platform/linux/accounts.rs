//! The names of users and groups, from the root's own `/etc/passwd` and `/etc/group`: never from the machine that a mounted
//! image happens to be looked at on, and without libc's name service, which may wait for a network.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::passwd::{self, Entry, PASSWD, each_line};
use super::root::Root;

/// What tells that a file of names is still the one that was read.
type Stamp = Option<(u64, u64, u64, i128, i128)>;

/// The names of users and groups; read once, and again when the files have changed.
#[derive(Debug, Default)]
pub struct Accounts {
    known: Mutex<(Stamp, Stamp, Arc<Names>)>,
}

/// The names as they were at one moment.
#[derive(Debug, Default)]
pub struct Names {
    /// Whether the numbers are the mount's: those of a Windows disk say nothing of its own users.
    foreign: bool,
    users: HashMap<u32, String>,
    groups: HashMap<u32, String>,
}

impl Accounts {
    /// The names as they are now.
    #[must_use]
    pub fn names(&self, root: &Root) -> Arc<Names> {
        if root.is_windows() {
            return Arc::new(Names { foreign: true, ..Names::default() });
        }
        let group = Path::new("/etc/group");
        let (users, groups) = (stamp(root, Path::new(PASSWD)), stamp(root, group));
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.0 != users || known.1 != groups || users.is_none() {
            let mut users_of = HashMap::new();
            // The first name of a number counts, as it does for libc.
            for Entry { name, uid, .. } in passwd::entries(root) {
                users_of.entry(uid).or_insert(name);
            }
            let names = Names { foreign: false, users: users_of, groups: groups_of(root, group) };
            *known = (users, groups, Arc::new(names));
        }
        Arc::clone(&known.2)
    }
}

impl Names {
    /// Whether owners and permissions are the device's own, and not made up by the mount of a Windows disk.
    #[must_use]
    pub fn are_own(&self) -> bool {
        !self.foreign
    }

    /// The user of that number: the name, or the number where it has none.
    #[must_use]
    pub fn user(&self, uid: u32) -> Cow<'_, str> {
        named(&self.users, uid)
    }

    /// The group of that number: the name, or the number where it has none.
    #[must_use]
    pub fn group(&self, gid: u32) -> Cow<'_, str> {
        named(&self.groups, gid)
    }
}

fn named(names: &HashMap<u32, String>, number: u32) -> Cow<'_, str> {
    names.get(&number).map_or_else(|| number.to_string().into(), |name| name.as_str().into())
}

fn stamp(root: &Root, path: &Path) -> Stamp {
    let facts = root.facts(path).ok()?;
    Some((facts.dev, facts.inode, facts.size, facts.modified.ns(), facts.changed.ns()))
}

/// Reads `name:x:number:…` lines.
fn groups_of(root: &Root, path: &Path) -> HashMap<u32, String> {
    let mut names = HashMap::new();
    let add = |line: &[u8]| {
        let mut fields = line.split(|&byte| byte == b':');
        let name = fields.next().unwrap_or_default();
        let number = fields.nth(1).and_then(|number| std::str::from_utf8(number).ok()?.parse().ok());
        if let (false, Some(number)) = (name.is_empty() || name.starts_with(b"#"), number) {
            names.entry(number).or_insert_with(|| String::from_utf8_lossy(name).into_owned());
        }
    };
    // What was read before an error counts.
    let _ = each_line(root, path, add);
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_from_the_root_and_are_read_again_when_they_change() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("etc")).unwrap();
        let write = |text: &str| std::fs::write(folder.path().join("etc/passwd"), text).unwrap();
        let root = Root::at(folder.path()).unwrap();
        let accounts = Accounts::default();
        assert_eq!(accounts.names(&root).user(0), "0");
        write("root:x:0:0::/:/bin/sh\n# eve:x:7:7\ntoor:x:0:0::/:/bin/sh\nbroken\nx:y:z\nm\u{e9}:x:1000:1000::/:\n");
        let names = accounts.names(&root);
        assert_eq!((names.user(0), names.user(7), names.user(1000)), ("root".into(), "7".into(), "m\u{e9}".into()));
        write("admin:x:0:0::/:/bin/sh\n");
        assert_eq!(accounts.names(&root).user(0), "admin");
    }
}
