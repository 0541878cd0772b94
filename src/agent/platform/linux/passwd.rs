//! `/etc/passwd` of a device, read as libc reads it (passwd(5)): what is behind the group's number may be left out, and what is no
//! line of it is passed over.

use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::root::Root;

/// Where it is.
pub const PASSWD: &str = "/etc/passwd";
/// How much of a file of accounts is read, how much of a line of it, and the most users.
const MAX_FILE: u64 = 1024 * 1024 * 1024;
const MAX_LINE: u64 = 1024 * 1024;
const MAX_USERS: usize = 1_000_000;

/// A line of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name.
    pub name: String,
    /// The password as it stands there: mostly an `x`, which says that it is in `/etc/shadow`.
    pub password: String,
    /// The number.
    pub uid: u32,
    /// The number of the group.
    pub gid: u32,
    /// What is said of who it is.
    pub about: String,
    /// The home folder.
    pub home: PathBuf,
    /// What is run at a login.
    pub shell: String,
}

/// All lines, in their order.
#[must_use]
pub fn entries(root: &Root) -> Vec<Entry> {
    let mut entries = Vec::new();
    let add = |line: &[u8]| {
        if entries.len() < MAX_USERS {
            entries.extend(entry(line));
        }
    };
    // What was read before an error counts.
    let _ = each_line(root, Path::new(PASSWD), add);
    entries
}

/// Hands over the lines of a file of accounts, however long it is: libc reads such files to their end too.
///
/// # Errors
/// As [`Root::open_regular`] and read say.
pub fn each_line(root: &Root, path: &Path, mut tell: impl FnMut(&[u8])) -> io::Result<()> {
    let mut reader = BufReader::with_capacity(64 * 1024, root.open_regular(path)?.take(MAX_FILE));
    let mut line = Vec::new();
    loop {
        line.clear();
        reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)?;
        if line.is_empty() {
            return Ok(());
        }
        if line.last() == Some(&b'\n') {
            line.pop();
        } else {
            reader.skip_until(b'\n')?;
        }
        tell(&line);
    }
}

fn entry(line: &[u8]) -> Option<Entry> {
    if line.starts_with(b"#") {
        return None;
    }
    // The shell is everything behind the sixth colon.
    let mut fields = line.splitn(7, |&byte| byte == b':');
    let mut field = || fields.next();
    let text = |field: Option<&[u8]>| String::from_utf8_lossy(field.unwrap_or_default()).into_owned();
    let number = |field: Option<&[u8]>| std::str::from_utf8(field?).ok()?.parse().ok();
    Some(Entry {
        name: text(Some(field().filter(|name| !name.is_empty())?)),
        password: text(field()),
        uid: number(field())?,
        gid: number(field())?,
        about: text(field()),
        home: PathBuf::from(OsStr::from_bytes(field().unwrap_or_default())),
        shell: text(field()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_libc_reads_them() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("etc")).unwrap();
        std::fs::write(
            folder.path().join("etc/passwd"),
            b"root:x:0:0:root:/root:/bin/bash\n\n#a:x:1:1::/:\nx\ny:x:z:1::/:\n:x:1:1::/\nb:x:7:7\nc::8:9:C, D:/c:/bin/sh -c :\nd:x:1:",
        )
        .unwrap();
        let found = entries(&Root::at(folder.path()).unwrap());
        let told = |entry: &Entry| {
            let Entry { name, password, uid, gid, about, home, shell } = entry;
            format!("{name} {password} {uid} {gid} {about} {} {shell}", home.display())
        };
        let found: Vec<String> = found.iter().map(told).collect();
        assert_eq!(found, ["root x 0 0 root /root /bin/bash", "b x 7 7   ", "c  8 9 C, D /c /bin/sh -c :"]);
    }
}
