//! The package database as it was at one moment: who owns which path, and what was shipped there.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::paths::Paths;
use super::{Checksum, DIVERSIONS, INFO, Origin, Owner, STATUS, checksum, md5_of};
use crate::agent::context::{Meter, Stop};
use crate::agent::path::reason;
use crate::agent::platform::linux::abreast::abreast;
use crate::agent::platform::linux::root::Root;

/// The largest file of the database that is read.
const MAX_FILE: u64 = 64 * 1024 * 1024;
/// All lists of files together.
const MAX_LISTS: u64 = 512 * 1024 * 1024;
/// How many lists are read at once.
const LISTS: usize = 256;
/// The most files that are noted as not to be read.
const MAX_UNREAD: usize = 16;
/// The most names in the folder of lists.
const MAX_NAMES: usize = 400_000;
/// Top-level folders that may be links into `/usr`.
const MERGED: [&str; 6] = ["bin", "sbin", "lib", "lib32", "lib64", "libx32"];

/// The package database as it was at one moment.
#[derive(Debug, Default)]
pub struct PackageIndex {
    packages: Vec<Package>,
    /// Owner by path. A path that several packages have (a diverted file, an empty folder) is in `shared` too.
    owners: Paths<u32>,
    shared: HashMap<Box<[u8]>, Vec<u32>>,
    /// Where a diverted file really lies → the path it was diverted from and the package it makes room for.
    diverted: HashMap<Vec<u8>, (Vec<u8>, Vec<u8>)>,
    /// The path diverted from → the package that has it for itself.
    diverters: HashMap<Vec<u8>, Vec<u8>>,
    /// What configuration was when it was shipped; `None` where that is not known (yet).
    conffiles: HashMap<Vec<u8>, Option<Checksum>>,
    /// Packages that say of themselves that no system is without them.
    essential: HashSet<Vec<u8>>,
    /// The top-level folders that are links into `/usr` on this root.
    merged: Vec<&'static str>,
    /// What of it could not be read, and why.
    unread: Vec<String>,
    checksums: Mutex<HashMap<u32, Arc<Checksums>>>,
}

type Checksums = Paths<Checksum>;

#[derive(Debug)]
struct Package {
    name: String,
    /// The name of its files below `info`, without what follows the last dot.
    file: String,
}

impl PackageIndex {
    pub(super) fn read(root: &Root) -> Self {
        let mut index = Self { merged: merged(root), ..Self::default() };
        let read = |path: &str| root.read(Path::new(path), MAX_FILE);
        let diversions = index.taken(Path::new(DIVERSIONS), read(DIVERSIONS)).unwrap_or_default();
        index.read_diversions(&diversions);
        let status = index.taken(Path::new(STATUS), read(STATUS)).unwrap_or_default();
        index.read_status(&status);
        let mut room = MAX_LISTS;
        let names = root.names(Path::new(INFO), MAX_NAMES).unwrap_or_default();
        let lists = names.iter().filter_map(|name| Some((name.as_bytes().strip_suffix(b".list")?, Path::new(INFO).join(name))));
        let lists: Vec<(&[u8], PathBuf)> = lists.collect();
        for lists in lists.chunks(LISTS) {
            let left = AtomicU64::new(room);
            let texts = abreast(lists, &Meter::default(), |(_, path)| {
                let text = root.read(path, MAX_FILE.min(left.load(Ordering::Relaxed)))?;
                left.fetch_sub((text.len() as u64).min(left.load(Ordering::Relaxed)), Ordering::Relaxed);
                Ok(text)
            });
            for ((file, path), text) in lists.iter().zip(texts) {
                let text = text.and_then(|text| if text.len() as u64 > room { Err(no_room()) } else { Ok(text) });
                let Some(list) = index.taken(path, text) else { continue };
                room -= list.len() as u64;
                let file = String::from_utf8_lossy(file).into_owned();
                let name = file.split(':').next().unwrap_or_default().to_owned();
                index.packages.push(Package { name, file });
                index.read_list(&list);
            }
        }
        index
    }

    /// Where a file comes from: its owner, and whether its content is as shipped (the file is read for it, up to `max` bytes).
    /// No owner is `shipped: Some(false)`; a link is as shipped when a package owns it, and a file that stands in the place of a
    /// package's link is not.
    #[must_use]
    pub fn origin(&self, root: &Root, path: &Path, max: u64, stop: &Stop) -> Origin {
        let Some(owner) = self.owner(root, path) else { return Origin { package: None, shipped: Some(false) } };
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

    /// A file of the database; one that is there and could not be read is noted.
    fn taken(&mut self, path: &Path, text: io::Result<Vec<u8>>) -> Option<Vec<u8>> {
        match text {
            Ok(text) => return Some(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
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
        let count = memchr::memchr_iter(b'\n', list).count();
        self.owners.reserve(count, list.len());
        let mut lines = list.split(|&byte| byte == b'\n').filter(|line| line.first() == Some(&b'/')).peekable();
        while let Some(line) = lines.next() {
            let holds = |next: &&[u8]| next.strip_prefix(line).is_some_and(|rest| rest.first() == Some(&b'/'));
            if line == b"/." || lines.peek().is_some_and(holds) {
                continue;
            }
            let front = self.front(line);
            if let Some(first) = self.owners.add(front, line, package) {
                let path = [front, line].concat().into_boxed_slice();
                self.shared.entry(path).or_insert_with(|| vec![*first]).push(package);
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

    /// Takes the checksums of configuration from the `Conffiles` of each package, and which are essential.
    fn read_status(&mut self, text: &[u8]) {
        let mut inside = false;
        let mut package: &[u8] = b"";
        for line in text.split(|&byte| byte == b'\n') {
            if line.first() != Some(&b' ') {
                if let Some(name) = line.strip_prefix(b"Package:") {
                    package = name.trim_ascii();
                } else if line.strip_prefix(b"Essential:").is_some_and(|word| word.trim_ascii() == b"yes") {
                    self.essential.insert(package.to_vec());
                }
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

    /// Whether a package says of itself that no system is without it.
    #[must_use]
    pub fn is_essential(&self, package: &str) -> bool {
        self.essential.contains(package.as_bytes())
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
        let mut sums = Checksums::default();
        if let Some(package) = self.packages.get(package as usize) {
            let text = root.read(&Path::new(INFO).join(format!("{}.md5sums", package.file)), MAX_FILE).unwrap_or_default();
            for line in text.split(|&byte| byte == b'\n') {
                // `sum  path`, the path without its first slash.
                let (Some(sum), Some(path)) = (line.get(..32).and_then(checksum), line.get(34..)) else { continue };
                let front: &[u8] = if self.is_merged(path) { b"/usr/" } else { b"/" };
                if let Some(known) = sums.add(front, path, sum) {
                    *known = sum;
                }
            }
        }
        let sums = Arc::new(sums);
        known.insert(package, Arc::clone(&sums));
        sums
    }

    /// The one name of a file that merged `/usr` gives two: the one below `/usr`.
    fn plain<'a>(&self, path: &'a [u8]) -> Cow<'a, [u8]> {
        match self.front(path) {
            b"" => path.into(),
            front => [front, path].concat().into(),
        }
    }

    /// What belongs before a path, so that it is the one name.
    fn front(&self, path: &[u8]) -> &'static [u8] {
        if path.strip_prefix(b"/").is_some_and(|path| self.is_merged(path)) { b"/usr" } else { b"" }
    }

    /// Whether a path, given without its first slash, has another name below `/usr`.
    fn is_merged(&self, path: &[u8]) -> bool {
        self.merged.iter().any(|folder| {
            let rest = path.strip_prefix(folder.as_bytes());
            rest.is_some_and(|rest| rest.is_empty() || rest.first() == Some(&b'/'))
        })
    }
}

/// As a file is refused that is larger than there is room for.
fn no_room() -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, "all lists of files together are too large")
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
