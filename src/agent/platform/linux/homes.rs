//! The users of a device and their homes, from its own `/etc/passwd`.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::root::Root;

/// The largest `/etc/passwd` that is read, and the most users.
const MAX_FILE: u64 = 16 * 1024 * 1024;
const MAX_USERS: usize = 50_000;

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
    parse(&root.read(Path::new("/etc/passwd"), MAX_FILE).unwrap_or_default())
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

/// Reads passwd(5). What is no line of it is passed over, as libc does.
#[must_use]
pub fn parse(text: &[u8]) -> Vec<User> {
    let lines = text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty() && !line.starts_with(b"#"));
    let user = |line: &[u8]| {
        let mut fields = line.split(|&byte| byte == b':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let uid = std::str::from_utf8(fields.nth(1)?).ok()?.parse().ok()?;
        let home = fields.nth(2)?;
        let name = String::from_utf8_lossy(name).into_owned();
        Some(User { name, uid, home: PathBuf::from(OsStr::from_bytes(home)) })
    };
    lines.filter_map(user).take(MAX_USERS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_read_and_broken_lines_passed_over() {
        let found = parse(b"root:x:0:0:root:/root:/bin/bash\n\n#a:x:1:1::/:\nx\ny:x:z:1::/:\n:x:1:1::/:\nb:x:7:7:::\nc:x:8:8:");
        let found: Vec<_> = found.iter().map(|user| (user.name.as_str(), user.uid, user.home.to_str().unwrap())).collect();
        assert_eq!(found, [("root", 0, "/root"), ("b", 7, "")]);
    }
}
