//! Debian's package database: which package owns a path, and what its content was when it was shipped.
//!
//! Read from `/var/lib/dpkg` as dpkg(1), dpkg-divert(1) and deb-conffiles(5) describe it. Lists of files are read once and kept until
//! dpkg's files change; checksums are read per package when one is asked for. On a root with merged `/usr` the old and the
//! new name of a file are one.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use md5::{Digest, Md5};

use super::root::Root;
use crate::agent::context::Stop;
use crate::agent::path::reason;

const STATUS: &str = "/var/lib/dpkg/status";
const INFO: &str = "/var/lib/dpkg/info";
const DIVERSIONS: &str = "/var/lib/dpkg/diversions";

/// The largest file of the database that is read.
const MAX_FILE: u64 = 64 * 1024 * 1024;
/// What is read of a file at once.
const BLOCK: usize = 64 * 1024;
/// All lists of files together.
const MAX_LISTS: usize = 512 * 1024 * 1024;
/// The most files that are noted as not to be read.
const MAX_UNREAD: usize = 16;
/// The most names in the folder of lists.
const MAX_NAMES: usize = 400_000;
/// Top-level folders that may be links into `/usr`.
const MERGED: [&str; 6] = ["bin", "sbin", "lib", "lib32", "lib64", "libx32"];

/// The package database; read once, and again when dpkg has changed it.
#[derive(Debug, Default)]
pub struct Packages {
    known: Mutex<Option<(Stamp, Arc<PackageIndex>)>>,
}

type FileStamp = Option<(u64, u64, u64, i128)>;
type Stamp = [FileStamp; 4];

/// The package database as it was at one moment.
#[derive(Debug, Default)]
pub struct PackageIndex {
    packages: Vec<Package>,
    /// Owner by path. A path that several packages have (a diverted file, an empty folder) is in `shared` too.
    owners: HashMap<Box<[u8]>, u32>,
    shared: HashMap<Box<[u8]>, Vec<u32>>,
    /// Where a diverted file really lies → the path it was diverted from and the package it makes room for.
    diverted: HashMap<Vec<u8>, (Vec<u8>, Vec<u8>)>,
    /// The path diverted from → the package that has it for itself.
    diverters: HashMap<Vec<u8>, Vec<u8>>,
    /// What configuration was when it was shipped; `None` where that is not known (yet).
    conffiles: HashMap<Vec<u8>, Option<Checksum>>,
    /// The top-level folders that are links into `/usr` on this root.
    merged: Vec<&'static str>,
    /// What of it could not be read, and why.
    unread: Vec<String>,
    checksums: Mutex<HashMap<u32, Arc<Checksums>>>,
}

/// An MD5 sum.
pub type Checksum = [u8; 16];
type Checksums = HashMap<Vec<u8>, Checksum>;

#[derive(Debug)]
struct Package {
    name: String,
    /// The name of its files below `info`, without what follows the last dot.
    file: String,
}

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

    /// Where a file comes from: its owner, and whether its content is as shipped (the file is read for it, up to `max` bytes).
    /// No owner is `shipped: Some(false)`; a link is as shipped when a package owns it, and a file that stands in the place of a
    /// package's link is not.
    #[must_use]
    pub fn origin(&self, root: &Root, path: &Path, max: u64, stop: &Stop) -> Origin {
        let index = self.index(root);
        let Some(owner) = index.owner(root, path) else { return Origin { package: None, shipped: Some(false) } };
        let package = Some(owner.package.to_owned());
        let shipped = match owner.checksum {
            Some(expected) => md5_of(root, path, max, stop).map(|found| found == expected),
            None => match root.link_facts(path) {
                // A package keeps sums of all its files; what has none was shipped as a link, or is configuration.
                Ok(facts) if facts.is_file() => (owner.has_sums && !owner.conffile).then_some(false),
                Ok(_) => Some(true),
                Err(_) => None,
            },
        };
        Origin { package, shipped }
    }
}

impl PackageIndex {
    fn read(root: &Root) -> Self {
        let mut index = Self { merged: merged(root), ..Self::default() };
        let diversions = index.text(root, Path::new(DIVERSIONS), MAX_FILE).unwrap_or_default();
        index.read_diversions(&diversions);
        let status = index.text(root, Path::new(STATUS), MAX_FILE).unwrap_or_default();
        index.read_status(&status);
        let mut room = MAX_LISTS;
        let names = root.names(Path::new(INFO), MAX_NAMES).unwrap_or_default();
        for name in names {
            let Some(file) = name.as_bytes().strip_suffix(b".list") else { continue };
            let path = Path::new(INFO).join(&name);
            let Some(list) = index.text(root, &path, MAX_FILE.min(room as u64)) else { continue };
            room = room.saturating_sub(list.len());
            let file = String::from_utf8_lossy(file).into_owned();
            let name = file.split(':').next().unwrap_or_default().to_owned();
            index.packages.push(Package { name, file });
            index.read_list(&list);
        }
        index
    }

    /// A file of the database; one that is there and cannot be read is noted.
    fn text(&mut self, root: &Root, path: &Path, max: u64) -> Option<Vec<u8>> {
        match root.read(path, max) {
            Ok(text) => return Some(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(_) if self.unread.len() >= MAX_UNREAD => {}
            Err(error) => self.unread.push(format!("{}: {}", path.display(), reason(&error).1)),
        }
        None
    }

    /// What of the database could not be read, each with its reason: who owns files that it would tell of is not known.
    #[must_use]
    pub fn unread(&self) -> &[String] {
        &self.unread
    }

    /// Adds what the package added last owns. Folders are left out: they belong to many.
    fn read_list(&mut self, list: &[u8]) {
        let Ok(package) = u32::try_from(self.packages.len().saturating_sub(1)) else { return };
        let mut lines = list.split(|&byte| byte == b'\n').filter(|line| line.first() == Some(&b'/')).peekable();
        while let Some(line) = lines.next() {
            let holds = |next: &&[u8]| next.strip_prefix(line).is_some_and(|rest| rest.first() == Some(&b'/'));
            if line == b"/." || lines.peek().is_some_and(holds) {
                continue;
            }
            let path = self.plain(line);
            if let Some(&first) = self.owners.get(path.as_ref()) {
                self.shared.entry(path.as_ref().into()).or_insert_with(|| vec![first]).push(package);
            } else {
                self.owners.insert(path.into(), package);
            }
        }
    }

    /// Three lines each: from, to, by (`:` for the administrator).
    fn read_diversions(&mut self, text: &[u8]) {
        let lines: Vec<&[u8]> = text.split(|&byte| byte == b'\n').collect();
        for three in lines.chunks_exact(3) {
            let [from, to, by] = three else { continue };
            let (from, to) = (self.plain(from).into_owned(), self.plain(to).into_owned());
            self.diverters.insert(from.clone(), by.to_vec());
            self.diverted.insert(to, (from, by.to_vec()));
        }
    }

    /// Takes the checksums of configuration from the `Conffiles` of each package.
    fn read_status(&mut self, text: &[u8]) {
        let mut inside = false;
        for line in text.split(|&byte| byte == b'\n') {
            if line.first() != Some(&b' ') {
                inside = line == b"Conffiles:";
                continue;
            }
            if !inside {
                continue;
            }
            // ` /path sum [obsolete|remove-on-upgrade]`; the path may hold blanks.
            let mut rest = line.get(1..).unwrap_or_default();
            for word in [&b" obsolete"[..], b" remove-on-upgrade"] {
                rest = rest.strip_suffix(word).unwrap_or(rest);
            }
            let Some(blank) = rest.iter().rposition(|&byte| byte == b' ') else { continue };
            let (path, sum) = rest.split_at(blank);
            let path = self.plain(path).into_owned();
            self.conffiles.insert(path, checksum(sum.get(1..).unwrap_or_default()));
        }
    }

    /// Who owns a path, and what was shipped there. The path's own links are not followed.
    #[must_use]
    pub fn owner(&self, root: &Root, path: &Path) -> Option<Owner<'_>> {
        let path = self.plain(path.as_os_str().as_bytes());
        let (path, package) = match self.diverted.get(path.as_ref()) {
            Some((from, by)) => (from.as_slice(), self.owner_of(from, |package| package.name.as_bytes() != by)?),
            None => match self.diverters.get(path.as_ref()) {
                Some(by) => (path.as_ref(), self.owner_of(&path, |package| package.name.as_bytes() == by)?),
                None => (path.as_ref(), self.owner_of(&path, |_| true)?),
            },
        };
        let conffile = self.conffiles.get(path).copied();
        let sums = self.checksums(root, package);
        Some(Owner {
            package: &self.packages.get(package as usize)?.name,
            checksum: conffile.flatten().or_else(|| sums.get(path).copied()),
            conffile: conffile.is_some(),
            has_sums: !sums.is_empty(),
        })
    }

    /// Whether there is a package database at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.packages.is_empty()
    }

    fn owner_of(&self, path: &[u8], fits: impl Fn(&Package) -> bool) -> Option<u32> {
        let fits = |package: &u32| self.packages.get(*package as usize).is_some_and(&fits);
        match self.shared.get(path) {
            Some(all) => all.iter().copied().find(fits),
            None => self.owners.get(path).copied().filter(fits),
        }
    }

    fn checksums(&self, root: &Root, package: u32) -> Arc<Checksums> {
        let mut known = self.checksums.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sums) = known.get(&package) {
            return Arc::clone(sums);
        }
        let mut sums = Checksums::new();
        if let Some(package) = self.packages.get(package as usize) {
            let text = root.read(&Path::new(INFO).join(format!("{}.md5sums", package.file)), MAX_FILE).unwrap_or_default();
            for line in text.split(|&byte| byte == b'\n') {
                // `sum  path`, the path without its first slash.
                let (Some(sum), Some(path)) = (line.get(..32).and_then(checksum), line.get(34..)) else { continue };
                let whole = [b"/", path].concat();
                sums.insert(self.plain(&whole).into_owned(), sum);
            }
        }
        let sums = Arc::new(sums);
        known.insert(package, Arc::clone(&sums));
        sums
    }

    /// The one name of a file that merged `/usr` gives two: the one below `/usr`.
    fn plain<'a>(&self, path: &'a [u8]) -> std::borrow::Cow<'a, [u8]> {
        for folder in &self.merged {
            let inside = path.strip_prefix(b"/").and_then(|path| path.strip_prefix(folder.as_bytes()));
            if inside.is_some_and(|rest| rest.is_empty() || rest.first() == Some(&b'/')) {
                return [b"/usr", path].concat().into();
            }
        }
        path.into()
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

fn merged(root: &Root) -> Vec<&'static str> {
    let is_merged = |folder: &&str| {
        let Ok(target) = root.read_link(&Path::new("/").join(folder)) else { return false };
        let target = target.into_os_string().into_vec();
        let target = target.strip_prefix(b"/").unwrap_or(&target);
        target.strip_suffix(b"/").unwrap_or(target) == [b"usr/", folder.as_bytes()].concat()
    };
    MERGED.into_iter().filter(is_merged).collect()
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
