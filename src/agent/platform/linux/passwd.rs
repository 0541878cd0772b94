//! `/etc/passwd` of a device, read as libc reads it (passwd(5)): what is behind the group's number may be left out, and what is no
//! line of it is passed over.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::root::Root;

/// Where it is.
pub const PASSWD: &str = "/etc/passwd";
/// The largest one that is read, and the most users.
const MAX_FILE: u64 = 16 * 1024 * 1024;
const MAX_USERS: usize = 50_000;

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
    parse(&root.read(Path::new(PASSWD), MAX_FILE).unwrap_or_default())
}

/// Reads them from the file's text.
#[must_use]
pub fn parse(text: &[u8]) -> Vec<Entry> {
    let lines = text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty() && !line.starts_with(b"#"));
    lines.filter_map(entry).take(MAX_USERS).collect()
}

fn entry(line: &[u8]) -> Option<Entry> {
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
        let found = parse(
            b"root:x:0:0:root:/root:/bin/bash\n\n#a:x:1:1::/:\nx\ny:x:z:1::/:\n:x:1:1::/\nb:x:7:7\nc::8:9:C, D:/c:/bin/sh -c :\nd:x:1:",
        );
        let told = |entry: &Entry| {
            let Entry { name, password, uid, gid, about, home, shell } = entry;
            format!("{name} {password} {uid} {gid} {about} {} {shell}", home.display())
        };
        let found: Vec<String> = found.iter().map(told).collect();
        assert_eq!(found, ["root x 0 0 root /root /bin/bash", "b x 7 7   ", "c  8 9 C, D /c /bin/sh -c :"]);
    }
}
