//! Debian's package database: which package owns a path, and what its content was when it was shipped.
//!
//! Read from `/var/lib/dpkg` as dpkg(1), dpkg-divert(1) and deb-conffiles(5) describe it. Lists of files are read once and kept until
//! dpkg's files change; checksums are read per package when one is asked for. On a root with merged `/usr` the old and the
//! new name of a file are one.

mod index;
mod paths;

use std::ffi::OsStr;
use std::io::Read;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use md5::{Digest, Md5};

pub use index::PackageIndex;

use super::root::Root;
use crate::agent::context::Stop;

const STATUS: &str = "/var/lib/dpkg/status";
const INFO: &str = "/var/lib/dpkg/info";
const DIVERSIONS: &str = "/var/lib/dpkg/diversions";

/// What is read of a file at once.
const BLOCK: usize = 64 * 1024;

/// The package database; read once, and again when dpkg has changed it.
#[derive(Debug, Default)]
pub struct Packages {
    known: Mutex<Option<(Stamp, Arc<PackageIndex>)>>,
}

type FileStamp = Option<(u64, u64, u64, i128)>;
type Stamp = [FileStamp; 4];

/// An MD5 sum.
pub type Checksum = [u8; 16];

/// What the database has of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner<'a> {
    /// The package that owns it.
    pub package: &'a str,
    /// The MD5 sum of what it shipped there; `None` where none is kept (links, files without a sum).
    pub checksum: Option<Checksum>,
    /// Whether it is configuration, which an administrator may change.
    pub conffile: bool,
    /// Whether the package keeps sums of its files at all.
    pub has_sums: bool,
}

/// Where a file comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// The package that owns it; `None` when none does.
    pub package: Option<String>,
    /// Whether its content is what that package shipped; `None` when that cannot be told.
    pub shipped: Option<bool>,
}

impl Packages {
    /// The database as it is now.
    #[must_use]
    pub fn index(&self, root: &Root) -> Arc<PackageIndex> {
        let now = stamp(root);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((stamp, index)) = known.as_ref()
            && *stamp == now
        {
            return Arc::clone(index);
        }
        let index = Arc::new(PackageIndex::read(root));
        *known = Some((now, Arc::clone(&index)));
        index
    }

    /// Where a file comes from, as the database has it now: [`PackageIndex::origin`].
    #[must_use]
    pub fn origin(&self, root: &Root, path: &Path, max: u64, stop: &Stop) -> Origin {
        self.index(root).origin(root, path, max, stop)
    }
}

/// Reads a checksum in hexadecimal.
pub fn checksum(hex: &[u8]) -> Option<Checksum> {
    let mut sum = [0; 16];
    if hex.len() != 32 {
        return None;
    }
    for (byte, pair) in sum.iter_mut().zip(hex.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(sum)
}

/// A checksum in lower-case hexadecimal.
#[must_use]
pub fn hex(sum: &Checksum) -> String {
    crate::agent::digest::hex(sum)
}

/// The MD5 sum of a regular file of at most `max` bytes; `None` when it cannot be read.
pub fn md5_of(root: &Root, path: &Path, max: u64, stop: &Stop) -> Option<Checksum> {
    // Looked at before it is opened: a list may name a device, which opening alone can do something to.
    if !root.facts(path).is_ok_and(|facts| facts.is_file()) {
        return None;
    }
    let mut file = root.open_file(path).ok()?;
    let facts = file.metadata().ok()?;
    if !facts.is_file() || facts.len() > max {
        return None;
    }
    let mut md5 = Md5::new();
    // No larger than the file: most are small, and there are very many of them.
    let mut buffer = vec![0; usize::try_from(facts.len()).unwrap_or(BLOCK).clamp(1, BLOCK)];
    let mut room = max;
    loop {
        let read = file.read(&mut buffer).ok()?;
        if read == 0 {
            return Some(md5.finalize().into());
        }
        room = room.checked_sub(read as u64)?;
        if stop.asked() {
            return None;
        }
        md5.update(buffer.get(..read)?);
    }
}

fn stamp(root: &Root) -> Stamp {
    [STATUS, INFO, DIVERSIONS, "/bin"].map(|path| {
        let path = Path::new(OsStr::new(path));
        let facts = if path == Path::new("/bin") { root.link_facts(path) } else { root.facts(path) }.ok()?;
        Some((facts.dev, facts.inode, facts.size, facts.modified.ns()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("usr/bin")).unwrap();
        std::os::unix::fs::symlink("usr/bin", folder.path().join("bin")).unwrap();
        for (path, text) in files {
            let path = folder.path().join(path.strip_prefix('/').unwrap());
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        folder
    }

    fn hex(text: &str) -> String {
        super::hex(&Md5::digest(text).into())
    }

    #[test]
    fn owners_diversions_conffiles_and_merged_usr() {
        let status = format!(
            "Package: base\nStatus: install ok installed\nConffiles:\n /etc/base.conf {}\n /etc/with blank {} obsolete\n /etc/new.conf newconffile\nVersion: 1\n",
            hex("conf"),
            hex("b")
        );
        let folder = tree(&[
            ("/var/lib/dpkg/status", &status),
            ("/var/lib/dpkg/info/base.list", "/.\n/bin\n/bin/tool\n/etc\n/etc/base.conf\n/etc/with blank\n/usr/bin/sh\n"),
            ("/var/lib/dpkg/info/base.md5sums", &format!("{}  bin/tool\n{}  usr/bin/sh\nbroken\n", hex("tool"), hex("old"))),
            ("/var/lib/dpkg/info/other:amd64.list", "/.\n/usr/bin/sh\n/usr/bin/link\n/usr/bin/was-link\n/etc/new.conf\n"),
            ("/var/lib/dpkg/info/other:amd64.md5sums", &format!("{}  usr/bin/sh\n", hex("new"))),
            ("/var/lib/dpkg/diversions", "/bin/sh\n/bin/sh.base\nother\n/cut\n"),
            ("/usr/bin/tool", "tool"),
            ("/usr/bin/sh", "new"),
            ("/usr/bin/sh.base", "old"),
            ("/usr/bin/foreign", "x"),
            ("/etc/base.conf", "changed"),
            ("/etc/with blank", "b"),
            ("/usr/bin/was-link", "x"),
            ("/etc/new.conf", "x"),
        ]);
        std::os::unix::fs::symlink("tool", folder.path().join("usr/bin/link")).unwrap();
        let root = Root::at(folder.path()).unwrap();
        let packages = Packages::default();
        let check = |path: &str, package: Option<&str>, shipped: Option<bool>| {
            let origin = packages.origin(&root, Path::new(path), 1024, &Stop::default());
            assert_eq!((origin.package.as_deref(), origin.shipped), (package, shipped), "{path}");
        };
        check("/usr/bin/tool", Some("base"), Some(true));
        check("/bin/tool", Some("base"), Some(true));
        check("/bin/sh", Some("other"), Some(true));
        check("/usr/bin/sh.base", Some("base"), Some(true));
        check("/usr/bin/link", Some("other"), Some(true));
        check("/usr/bin/was-link", Some("other"), Some(false));
        check("/etc/new.conf", Some("other"), None);
        check("/usr/bin/foreign", None, Some(false));
        check("/etc/base.conf", Some("base"), Some(false));
        check("/etc/with blank", Some("base"), Some(true));
        assert!(packages.index(&root).owner(&root, Path::new("/etc/base.conf")).unwrap().conffile);
        let first = packages.index(&root);
        assert!(Arc::ptr_eq(&first, &packages.index(&root)), "kept while nothing changes");
        std::fs::write(folder.path().join("var/lib/dpkg/info/new.list"), "/.\n/usr/bin/foreign\n").unwrap();
        check("/usr/bin/foreign", Some("new"), None);
    }

    #[test]
    fn broken_databases_are_read_as_far_as_they_go() {
        let folder = tree(&[
            ("/var/lib/dpkg/status", "Conffiles:\n /x\n  \n \n /y zz\nConffiles:\n"),
            ("/var/lib/dpkg/info/a.list", "\n\n/\n//\n/a\u{0}b\nnot absolute\n/cut"),
            (
                "/var/lib/dpkg/info/a.md5sums",
                "\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}  cut\n",
            ),
            ("/var/lib/dpkg/diversions", "one\ntwo"),
        ]);
        std::os::unix::fs::symlink("a.list", folder.path().join("var/lib/dpkg/info/b.list")).unwrap();
        std::os::unix::fs::symlink("c.list", folder.path().join("var/lib/dpkg/info/c.list")).unwrap();
        let root = Root::at(folder.path()).unwrap();
        let packages = Packages::default();
        assert_eq!(packages.index(&root).owner(&root, Path::new("/cut")).unwrap().package, "a");
        assert_eq!(packages.index(&root).owner(&root, Path::new("/cut")).unwrap().checksum, None);
        let unread = packages.index(&root).unread().to_vec();
        assert!(unread.len() == 1 && unread[0].starts_with("/var/lib/dpkg/info/c.list: "), "{unread:?}");
        assert!(Packages::default().index(&Root::at(&folder.path().join("usr")).unwrap()).is_empty());
    }

    #[test]
    fn this_machines_database_agrees_with_dpkg() {
        let Ok(out) = std::process::Command::new("dpkg").args(["-S", "/etc/debian_version"]).output() else { return };
        let told = String::from_utf8_lossy(&out.stdout).into_owned();
        let index = Packages::default()
            .index(&Root::live())
            .owner(&Root::live(), Path::new("/etc/debian_version"))
            .map(|owner| owner.package.to_owned());
        assert_eq!(index.as_deref(), told.split(':').next().filter(|name| !name.is_empty()));
    }
}
