//! The users of a device and their homes, from its own `/etc/passwd`.

use std::collections::HashSet;
use std::path::PathBuf;

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

/// Those of them whose home is there, each home once.
#[must_use]
pub fn homes(root: &Root) -> Vec<User> {
    let mut known = HashSet::new();
    let mut homes = users(root);
    homes.retain(|user| {
        let folder = user.home.is_absolute().then(|| root.facts(&user.home).ok()).flatten();
        folder.is_some_and(|folder| folder.is_folder() && known.insert((folder.dev, folder.inode)))
    });
    homes
}
