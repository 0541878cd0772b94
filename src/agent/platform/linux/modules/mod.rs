//! Kernel modules: what `/proc/modules` and `/sys/module` say (and where they disagree), with the files below `/lib/modules`.

mod image;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::FileType;

use super::folder::EntryBuffer;
use super::root::Root;
use crate::agent::context::{Stop, VerbError};
use crate::agent::path::reason;
use crate::agent::platform::driver::Driver;

pub use image::module_info;

/// The largest list of modules, and the largest `modules.dep`.
const MAX_LIST: u64 = 16 * 1024 * 1024;
/// The largest small file below /sys.
const MAX_FACT: u64 = 4096;
/// The most names of one folder, the most files of modules, and how deep their folders go.
const MAX_NAMES: usize = 50_000;
const MAX_FILES: usize = 200_000;
const MAX_DEPTH: usize = 16;

/// A line of `/proc/modules`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listed {
    /// The module.
    pub name: String,
    /// In bytes.
    pub size: u64,
    /// What uses it.
    pub used_by: Vec<String>,
    /// `Live`, `Loading`, `Unloading`.
    pub state: String,
    /// The letters in brackets at the end.
    pub taint: Option<String>,
}

/// All modules that are loaded; of a tree that records none, all that are installed.
///
/// # Errors
/// Only when told to stop: what cannot be read is said with the module it is about.
pub fn drivers(root: &Root, stop: &Stop) -> Result<Vec<Driver>, VerbError> {
    let listed = root.read(Path::new("/proc/modules"), MAX_LIST).ok();
    let files = Files::of(root, stop)?;
    let in_sys = in_sys(root);
    if listed.is_none() && in_sys.is_none() && !root.is_live() {
        return files.all(root, stop);
    }
    let listed: BTreeMap<String, Listed> = listed
        .as_deref()
        .map(|text| text.split(|&byte| byte == b'\n').filter_map(parse_line).map(|line| (line.name.clone(), line)).collect())
        .unwrap_or_default();
    let mut names: BTreeSet<&String> = listed.keys().collect();
    names.extend(in_sys.iter().flatten());
    let mut drivers = Vec::new();
    for name in names {
        stop.check()?;
        let mut driver = Driver { name: name.clone(), loaded: Some(true), ..Driver::default() };
        let seen = in_sys.as_ref().map(|all| all.contains(name));
        let line = listed.get(name);
        driver.hidden = seen.map(|seen| !seen || line.is_none());
        if let Some(line) = line {
            driver.state = Some(line.state.clone());
            driver.size = Some(line.size);
            driver.used_by.clone_from(&line.used_by);
            driver.taint.clone_from(&line.taint);
        } else {
            let fact = |file: &str| fact(root, name, file);
            driver.state = fact("initstate").map(|state| match state.as_str() {
                "live" => "Live".to_owned(),
                "coming" => "Loading".to_owned(),
                "going" => "Unloading".to_owned(),
                _ => state,
            });
            driver.size = fact("coresize").and_then(|size| size.parse().ok());
            driver.taint = fact("taint").filter(|taint| !taint.is_empty());
            driver.used_by = root
                .names(&Path::new("/sys/module").join(name).join("holders"), MAX_NAMES)
                .map(|names| names.iter().map(|name| name.to_string_lossy().into_owned()).collect())
                .unwrap_or_default();
        }
        match files.find(name) {
            Some(file) => describe(root, &mut driver, file),
            None => driver.error = Some("its file is not among the installed modules".to_owned()),
        }
        drivers.push(driver);
    }
    Ok(drivers)
}

fn describe(root: &Root, driver: &mut Driver, file: &File) {
    driver.path = Some(file.path.clone());
    match image::read(root, &file.path) {
        Ok(image) => {
            driver.size = driver.size.or(Some(image.size));
            driver.info = image.info;
            driver.dependencies.clone_from(&driver.info.depends);
            driver.error = image.error;
        }
        Err(error) => {
            driver.error = Some(reason(&error).1);
            driver.dependencies.clone_from(&file.dependencies);
        }
    }
}

fn fact(root: &Root, module: &str, file: &str) -> Option<String> {
    let bytes = root.read(&Path::new("/sys/module").join(module).join(file), MAX_FACT).ok()?;
    Some(String::from_utf8_lossy(&bytes).trim().to_owned())
}

/// The modules below /sys that are loaded: those built into the kernel have a folder too, but no `initstate`.
fn in_sys(root: &Root) -> Option<BTreeSet<String>> {
    let names = root.names(Path::new("/sys/module"), MAX_NAMES).ok()?;
    let loaded = |name: &String| root.link_facts(&Path::new("/sys/module").join(name).join("initstate")).is_ok();
    Some(names.iter().filter_map(|name| name.to_str().map(ToOwned::to_owned)).filter(loaded).collect())
}

/// Reads a line of `/proc/modules`: `name size references users state address (taint)`; `None` when it is none.
#[must_use]
pub fn parse_line(line: &[u8]) -> Option<Listed> {
    let text = String::from_utf8_lossy(line);
    let mut fields = text.split_ascii_whitespace();
    let (name, size, _references, users, state) =
        (fields.next()?, fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let taint = fields.nth(1).and_then(|taint| taint.strip_prefix('(')?.strip_suffix(')'));
    Some(Listed {
        name: name.to_owned(),
        size: size.parse().ok()?,
        used_by: users.split(',').filter(|user| !matches!(*user, "" | "-")).map(ToOwned::to_owned).collect(),
        state: state.to_owned(),
        taint: taint.map(ToOwned::to_owned),
    })
}

/// The installed modules of the kernel that runs.
#[derive(Debug, Default)]
struct Files {
    by_name: HashMap<String, File>,
}

#[derive(Debug, Clone)]
struct File {
    path: PathBuf,
    dependencies: Vec<String>,
}

impl Files {
    fn of(root: &Root, stop: &Stop) -> Result<Self, VerbError> {
        let mut files = Self::default();
        let Some(folder) = kernel_folder(root) else { return Ok(files) };
        files.read_dependencies(&folder, &root.read(&folder.join("modules.dep"), MAX_LIST).unwrap_or_default());
        // What depmod has not seen yet, or everything where it never ran.
        for below in ["kernel", "updates", "extra", "misc", "weak-updates"] {
            files.walk(root, &folder.join(below), stop)?;
        }
        Ok(files)
    }

    /// `path: path path…`, relative to the folder unless absolute.
    fn read_dependencies(&mut self, folder: &Path, text: &[u8]) {
        for line in text.split(|&byte| byte == b'\n').take(MAX_FILES) {
            let Some(colon) = line.iter().position(|&byte| byte == b':') else { continue };
            let (path, needs) = line.split_at(colon);
            let Some(name) = module_name(path) else { continue };
            let needs = needs.get(1..).unwrap_or_default().split(|&byte| byte == b' ').filter_map(module_name);
            self.by_name.insert(name, File { path: folder.join(OsStr::from_bytes(path)), dependencies: needs.collect() });
        }
    }

    fn walk(&mut self, root: &Root, folder: &Path, stop: &Stop) -> Result<(), VerbError> {
        let mut waiting = vec![(folder.to_path_buf(), 0)];
        let mut buffer = EntryBuffer::default();
        while let Some((path, depth)) = waiting.pop() {
            stop.check()?;
            let Ok(open) = root.open_folder(&path) else { continue };
            let mut entries = open.entries(&mut buffer);
            while let Some(Ok(entry)) = entries.next() {
                let name = entry.name().to_bytes();
                let inside = path.join(OsStr::from_bytes(name));
                if entry.kind() == FileType::Directory && !entry.is_dots() && depth < MAX_DEPTH {
                    waiting.push((inside, depth + 1));
                } else if let (true, Some(module)) = (self.by_name.len() < MAX_FILES, module_name(name)) {
                    self.by_name.entry(module).or_insert(File { path: inside, dependencies: Vec::new() });
                }
            }
        }
        Ok(())
    }

    fn find(&self, name: &str) -> Option<&File> {
        self.by_name.get(name)
    }

    fn all(&self, root: &Root, stop: &Stop) -> Result<Vec<Driver>, VerbError> {
        let sorted: BTreeMap<&String, &File> = self.by_name.iter().collect();
        let mut drivers = Vec::with_capacity(sorted.len());
        for (name, file) in sorted {
            stop.check()?;
            let mut driver = Driver { name: name.clone(), ..Driver::default() };
            describe(root, &mut driver, file);
            drivers.push(driver);
        }
        Ok(drivers)
    }
}

/// Where the modules of the kernel that runs are; of a tree that does not tell, those of its newest kernel.
fn kernel_folder(root: &Root) -> Option<PathBuf> {
    let release = root.read(Path::new("/proc/sys/kernel/osrelease"), MAX_FACT).ok();
    let release = release.map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned());
    for base in ["/usr/lib/modules", "/lib/modules"] {
        let base = Path::new(base);
        let named = release.as_ref().map(|release| base.join(release)).filter(|path| root.facts(path).is_ok());
        if named.is_some() {
            return named;
        }
    }
    // Another machine's release says nothing of a tree's own kernels, but a running kernel's modules are its own or nobody's.
    if root.is_live() {
        return None;
    }
    ["/usr/lib/modules", "/lib/modules"].into_iter().find_map(|base| {
        let names = root.names(Path::new(base), MAX_NAMES).ok()?;
        names.last().map(|name| Path::new(base).join(name))
    })
}

/// The module that a file holds: `a/b-c.ko.xz` → `b_c`.
fn module_name(path: &[u8]) -> Option<String> {
    let base = path.rsplit(|&byte| byte == b'/').next()?;
    let bare = [&b".xz"[..], b".zst", b".gz"].iter().find_map(|end| base.strip_suffix(*end)).unwrap_or(base);
    let name = bare.strip_suffix(b".ko").filter(|name| !name.is_empty())?;
    Some(String::from_utf8_lossy(name).replace('-', "_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_names() {
        let line = parse_line(b"xfs 2007040 2 a,b_c, Live 0xffffffffc0a00000 (OE)").unwrap();
        assert_eq!(
            (line.name.as_str(), line.size, line.used_by.len(), line.taint.as_deref()),
            ("xfs", 2_007_040, 2, Some("OE"))
        );
        let line = parse_line(b"crc 16384 0 - Loading 0x0").unwrap();
        assert_eq!((line.used_by.len(), line.state.as_str(), line.taint), (0, "Loading", None));
        for broken in [&b""[..], b"x", b"x y 0 - Live 0x0", b"\xff 1 0"] {
            assert_eq!(parse_line(broken), None);
        }
        assert_eq!(module_name(b"kernel/a-b.ko.xz").as_deref(), Some("a_b"));
        assert_eq!(module_name(b"kernel/modules.dep"), None);
        assert_eq!(module_name(b".ko"), None);
    }
}
