//! A file on its way: `NAME.part` beside `NAME.part.json`, until it is whole.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::name;
use crate::error::{Failure, Outcome};

/// What `NAME.part.json` says: of which file the bytes are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartFacts {
    /// The device's id.
    pub device: String,
    /// The file there, exactly.
    pub path_uri: String,
    /// Which state of it.
    pub etag: String,
    /// How many bytes there were when this was written; those that came since count too.
    pub bytes: u64,
}

/// A part that this shell writes; locked, so that nobody else does.
#[derive(Debug)]
pub struct Part {
    /// Where the whole file is to stand.
    target: PathBuf,
    file: File,
    facts: PartFacts,
    /// How many bytes were there already.
    pub have: u64,
    /// How many there were of another state of the file, which count for nothing.
    pub dropped: u64,
    /// Nobody can go on with it: it goes when it is let go.
    pub passing: bool,
    /// What stood in its place under names that come before its own, a sentence each.
    pub passed_over: Vec<String>,
}

impl Drop for Part {
    fn drop(&mut self) {
        // Kept, it is not there any more; what nothing came of is nothing to go on with.
        if self.passing || self.length().is_ok_and(|length| length == 0) {
            self.remove();
        }
    }
}

impl Part {
    /// Opens the part of this file that an earlier try left, or begins one, under the first name that is free.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn open(folder: &Path, wanted: &str, facts: PartFacts) -> Outcome<Self> {
        let mut passed_over = Vec::new();
        for target in name::candidates(folder, wanted) {
            if target.symlink_metadata().is_ok() {
                continue;
            }
            let mut pass_over = |why: &str| passed_over.push(format!("{} {why}: it stays", part_of(&target).display()));
            let failed = |error: io::Error| {
                Failure::here("local_file", format!("{} cannot be written: {error}", part_of(&target).display()))
            };
            let known = read_facts(&target);
            let mut options = crate::host::private_file();
            options.read(true).write(true).create(true).truncate(false);
            // A link in the part's place would have its target written.
            if part_of(&target).symlink_metadata().is_ok_and(|found| !found.is_file()) {
                pass_over("is no plain file");
                continue;
            }
            let file = options.open(part_of(&target)).map_err(failed)?;
            if file.try_lock().is_err() {
                pass_over("is being written by another transfer");
                continue;
            }
            let length = file.metadata().map_err(failed)?.len();
            let is_same =
                known.as_ref().is_some_and(|known| (&known.device, &known.path_uri) == (&facts.device, &facts.path_uri));
            if length > 0 && !is_same {
                pass_over(match known {
                    Some(_) => "is the beginning of another file",
                    None => "is there, and nothing beside it says of which file it is",
                });
                continue;
            }
            let have = if known.is_some_and(|known| known.etag == facts.etag) { length } else { 0 };
            let mut part = Self { target, file, facts, have, dropped: length - have, passing: false, passed_over };
            if have == 0 {
                part.begin_again(None)?;
            } else {
                part.note(have)?;
            }
            return Ok(part);
        }
        Err(Failure::here("local_file", format!("every name from {wanted} to {wanted} (999) is taken")))
    }

    /// Drops the bytes that are there: the file is another one now.
    ///
    /// # Errors
    /// As the file system says.
    pub fn begin_again(&mut self, etag: Option<&str>) -> Outcome<()> {
        if let Some(etag) = etag {
            etag.clone_into(&mut self.facts.etag);
        }
        self.dropped = self.dropped.max(self.have);
        self.have = 0;
        self.file.set_len(0).map_err(|error| self.failed(&error))?;
        self.note(0)
    }

    /// How many bytes are there now.
    ///
    /// # Errors
    /// As the operating system says.
    pub fn length(&self) -> Outcome<u64> {
        self.file.metadata().map(|facts| facts.len()).map_err(|error| self.failed(&error))
    }

    /// A handle to the part's bytes.
    ///
    /// # Errors
    /// As the operating system says.
    pub fn handle(&self) -> Outcome<File> {
        self.file.try_clone().map_err(|error| self.failed(&error))
    }

    /// The state of the device's file that the bytes are of.
    #[must_use]
    pub fn etag(&self) -> &str {
        &self.facts.etag
    }

    /// Writes down how many bytes there are.
    ///
    /// # Errors
    /// As the file system says.
    pub fn note(&mut self, bytes: u64) -> Outcome<()> {
        self.facts.bytes = bytes;
        let json = serde_json::to_vec(&self.facts).map_err(|error| Failure::internal(error.to_string()))?;
        let path = facts_of(&self.target);
        let written = crate::host::private_file()
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)
            .and_then(|mut file| io::Write::write_all(&mut file, &json));
        written.map_err(|error| Failure::here("local_file", format!("{} cannot be written: {error}", path.display())))
    }

    /// The whole file is here and was checked: gives it its name. Answers with that.
    ///
    /// # Errors
    /// As the file system says; the part stays then.
    pub fn keep(self) -> Outcome<PathBuf> {
        self.file.sync_all().map_err(|error| self.failed(&error))?;
        let part = part_of(&self.target);
        let (folder, wanted) = (self.target.parent().unwrap_or(Path::new("")), self.target.file_name());
        let wanted = wanted.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        for target in name::candidates(folder, &wanted) {
            // A link never replaces; a rename would.
            match std::fs::hard_link(&part, &target) {
                Ok(()) => {
                    self.remove();
                    return Self::kept(target);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                // A file system without links.
                Err(_) if target.symlink_metadata().is_err() => {
                    std::fs::rename(&part, &target).map_err(|error| self.failed(&error))?;
                    self.remove();
                    return Self::kept(target);
                }
                Err(_) => {}
            }
        }
        Err(Failure::here("local_file", format!("every name from {wanted} to {wanted} (999) is taken")))
    }

    fn kept(target: PathBuf) -> Outcome<PathBuf> {
        let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let failed = |error: io::Error| Failure::here("local_file", format!("{}: {error}", folder.display()));
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
        Ok(target)
    }

    /// Drops what came: it is not what the device has.
    pub fn drop_bytes(self) {
        self.remove();
    }

    fn remove(&self) {
        let _ = std::fs::remove_file(part_of(&self.target));
        let _ = std::fs::remove_file(facts_of(&self.target));
    }

    /// Where the bytes are until then.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        part_of(&self.target)
    }

    fn failed(&self, error: &io::Error) -> Failure {
        Failure::here("local_file", format!("{}: {error}", part_of(&self.target).display()))
    }
}

fn with_suffix(target: &Path, suffix: &str) -> PathBuf {
    let mut name = target.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn part_of(target: &Path) -> PathBuf {
    with_suffix(target, ".part")
}

fn facts_of(target: &Path) -> PathBuf {
    with_suffix(target, ".part.json")
}

fn read_facts(target: &Path) -> Option<PartFacts> {
    serde_json::from_slice(&std::fs::read(facts_of(target)).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn facts(path: &str, etag: &str) -> PartFacts {
        PartFacts { device: "d".into(), path_uri: path.into(), etag: etag.into(), bytes: 0 }
    }

    fn begun(folder: &Path, facts: PartFacts, bytes: &[u8]) {
        let part = Part::open(folder, "a.bin", facts).unwrap();
        part.handle().unwrap().write_all(bytes).unwrap();
    }

    #[test]
    fn the_same_file_goes_on_and_another_one_is_put_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        begun(folder.path(), facts("file:///a.bin", "1"), b"hello");
        assert_eq!(Part::open(folder.path(), "a.bin", facts("file:///a.bin", "1")).unwrap().have, 5);
        let other = Part::open(folder.path(), "a.bin", facts("file:///b/a.bin", "1")).unwrap();
        assert_eq!((other.have, other.path()), (0, folder.path().join("a (1).bin.part")));
        let told = format!("{} is the beginning of another file: it stays", folder.path().join("a.bin.part").display());
        assert_eq!(other.passed_over, [told]);
        drop(other);
        assert_eq!(Part::open(folder.path(), "a.bin", facts("file:///a.bin", "2")).unwrap().have, 0);
    }

    #[test]
    fn a_part_that_is_being_written_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let held = Part::open(folder.path(), "a.bin", facts("file:///a.bin", "1")).unwrap();
        let other = Part::open(folder.path(), "a.bin", facts("file:///a.bin", "1")).unwrap();
        assert_ne!(held.path(), other.path());
        assert!(other.passed_over[0].ends_with("a.bin.part is being written by another transfer: it stays"));
    }

    #[test]
    fn what_is_no_part_of_ours_stays_and_is_told() {
        for facts_are in [None, Some("{\"device\":"), Some("null"), Some("\0\0\0")] {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join("a.bin.part"), "notes of somebody").unwrap();
            if let Some(text) = facts_are {
                std::fs::write(folder.path().join("a.bin.part.json"), text).unwrap();
            }
            let part = Part::open(folder.path(), "a.bin", facts("file:///a.bin", "1")).unwrap();
            assert_eq!((part.have, part.path()), (0, folder.path().join("a (1).bin.part")), "{facts_are:?}");
            assert!(part.passed_over[0].contains("a.bin.part is there, and nothing beside it says"), "{:?}", part.passed_over);
            part.keep().unwrap();
            assert_eq!(std::fs::read(folder.path().join("a.bin.part")).unwrap(), b"notes of somebody");
        }
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/etc/passwd", folder.path().join("a.bin.part")).unwrap();
        let part = Part::open(folder.path(), "a.bin", facts("file:///a.bin", "1")).unwrap();
        assert!(part.passed_over[0].ends_with("a.bin.part is no plain file: it stays"), "{:?}", part.passed_over);
    }

    #[test]
    fn what_nobody_can_go_on_with_is_not_left() {
        let folder = tempfile::tempdir().unwrap();
        drop(Part::open(folder.path(), "a.bin", facts("file:///a.bin", "1")).unwrap());
        let mut archive = Part::open(folder.path(), "a.zip", facts("file:///a.bin", "1")).unwrap();
        archive.handle().unwrap().write_all(b"half").unwrap();
        archive.passing = true;
        drop(archive);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        let mut empty = Part::open(folder.path(), "a.bin", facts("file:///a.bin", "1")).unwrap();
        empty.passing = true;
        empty.keep().unwrap();
        assert!(folder.path().join("a.bin").is_file());
    }

    #[test]
    fn nothing_that_exists_is_written_over() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.bin"), "mine").unwrap();
        let part = Part::open(folder.path(), "a.bin", facts("file:///a.bin", "1")).unwrap();
        std::fs::write(folder.path().join("a (1).bin"), "mine too").unwrap();
        let kept = part.keep().unwrap();
        assert_eq!(kept, folder.path().join("a (1) (1).bin"));
        assert_eq!(std::fs::read(folder.path().join("a.bin")).unwrap(), b"mine");
        let mut left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["a (1) (1).bin", "a (1).bin", "a.bin"]);
    }
}
