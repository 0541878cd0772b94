//! What a look at many places did not see: folders that are closed to the agent's user, and folders with more names than are read.
//! Said once, at the end, and never passed over.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::listing::MAX_NAMES;
use super::root::Root;
use crate::agent::path::{lossy, shown};
use crate::protocol::Problem;

/// How many folders one sentence names.
const MAX_NAMED: usize = 12;

/// What was not seen.
#[derive(Debug, Default)]
pub struct Unseen {
    closed: BTreeSet<PathBuf>,
    cut: BTreeSet<PathBuf>,
}

impl Unseen {
    /// The paths of what is in a folder, by name; none where there is no such folder.
    pub fn paths(&mut self, root: &Root, folder: &Path) -> Vec<PathBuf> {
        self.names(root, folder).into_iter().map(|name| folder.join(name)).collect()
    }

    /// The names in a folder, sorted; none where there is no such folder.
    pub fn names(&mut self, root: &Root, folder: &Path) -> Vec<OsString> {
        match root.listing(folder, MAX_NAMES) {
            Ok(listing) => {
                if !listing.whole {
                    self.cut(folder);
                }
                listing.names
            }
            Err(error) => {
                self.closed(root, folder, &error);
                Vec::new()
            }
        }
    }

    /// Notes that a path cannot be looked at: where permission is missing, the folder that is in the way.
    pub fn closed(&mut self, root: &Root, path: &Path, error: &io::Error) {
        let known = |path: &Path| self.closed.iter().any(|closed| path.starts_with(closed));
        if Errno::from_io_error(error) == Some(Errno::ACCESS) && !known(path) {
            let way = path.ancestors().find(|folder| root.link_facts(folder).is_ok());
            self.closed.extend(way.map(Path::to_owned));
        }
    }

    /// Notes that not everything in a folder was looked at.
    pub fn cut(&mut self, folder: &Path) {
        self.cut.insert(folder.to_owned());
    }

    /// Takes over what another look did not see.
    pub fn add(&mut self, other: Self) {
        self.closed.extend(other.closed);
        self.cut.extend(other.cut);
    }

    /// What is to be said of it.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let cut = self.cut.iter().map(|folder| {
            let message = format!("{}: it holds so much that not all of it was looked at", shown(folder));
            Problem::new("too_many", message).at(lossy(folder))
        });
        let mut named: Vec<String> = self.closed.iter().take(MAX_NAMED).map(|folder| shown(folder)).collect();
        if self.closed.len() > MAX_NAMED {
            named.push(format!("{} more", self.closed.len() - MAX_NAMED));
        }
        let message = format!("the agent's user may not look into {}: what is there is missing here", named.join(", "));
        let closed = (!named.is_empty()).then(|| Problem::new("permission_denied", message));
        closed.into_iter().chain(cut).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_the_way_is_named_once() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("root/.ssh")).unwrap();
        let root = Root::at(folder.path()).unwrap();
        let mut unseen = Unseen::default();
        let denied = || io::Error::from(Errno::ACCESS);
        unseen.closed(&root, Path::new("/root/none/x"), &denied());
        unseen.closed(&root, Path::new("/root/none/y"), &denied());
        unseen.closed(&root, Path::new("/gone"), &io::Error::from(Errno::NOENT));
        assert_eq!(unseen.paths(&root, Path::new("/root")), [PathBuf::from("/root/.ssh")]);
        assert!(unseen.paths(&root, Path::new("/none")).is_empty());
        let mut other = Unseen::default();
        other.cut(Path::new("/etc/cron.d"));
        unseen.add(other);
        let told: Vec<(String, String)> = unseen.problems().into_iter().map(|one| (one.code, one.message)).collect();
        let expected = [
            ("permission_denied", "the agent's user may not look into /root: what is there is missing here"),
            ("too_many", "/etc/cron.d: it holds so much that not all of it was looked at"),
        ];
        assert_eq!(told, expected.map(|(code, message)| (code.to_owned(), message.to_owned())));
        assert!(Unseen::default().problems().is_empty());
    }
}
