//! The users of a device and their homes, from its own `/etc/passwd`, and from the folders where homes lie.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::listing::MAX_NAMES;
use super::passwd::{self, Entry};
use super::root::Root;

/// A user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The name.
    pub name: String,
    /// The number.
    pub uid: u32,
    /// The home folder.
    pub home: PathBuf,
}

/// All users, in the order of the file.
#[must_use]
pub fn users(root: &Root) -> Vec<User> {
    passwd::entries(root).into_iter().map(|Entry { name, uid, home, .. }| User { name, uid, home }).collect()
}

/// Those of them whose home is there, each home once; then the folders where homes lie that are nobody's, by the name of the folder:
/// who was taken out of `/etc/passwd`, or comes from a directory service, still has a home.
#[must_use]
pub fn homes(root: &Root) -> Vec<User> {
    let mut known = HashSet::new();
    let mut homes = users(root);
    homes.retain(|user| {
        let folder = user.home.is_absolute().then(|| root.facts(&user.home).ok()).flatten();
        folder.is_some_and(|folder| folder.is_folder() && known.insert((folder.dev, folder.inode)))
    });
    let names = root.names(Path::new("/home"), MAX_NAMES).unwrap_or_default();
    let folders = names.into_iter().map(|name| Path::new("/home").join(name));
    for home in [PathBuf::from("/root")].into_iter().chain(folders) {
        let Ok(facts) = root.facts(&home) else { continue };
        if facts.is_folder() && known.insert((facts.dev, facts.inode)) {
            let name = home.file_name().unwrap_or_default().to_string_lossy().into_owned();
            homes.push(User { name, uid: facts.uid, home });
        }
    }
    homes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_padding_nor_a_missing_line_hides_a_home() {
        let folder = tempfile::tempdir().unwrap();
        for home in ["etc", "home/alice", "home/gone", "root"] {
            std::fs::create_dir_all(folder.path().join(home)).unwrap();
        }
        let mut text = b"#".repeat(20 * 1024 * 1024);
        text.extend(b"\nalice:x:1000:1000::/home/alice:/bin/sh\n");
        std::fs::write(folder.path().join("etc/passwd"), text).unwrap();
        let root = Root::at(folder.path()).unwrap();
        let found = homes(&root);
        let names: Vec<&str> = found.iter().map(|user| user.name.as_str()).collect();
        assert_eq!(names, ["alice", "root", "gone"]);
    }
}
