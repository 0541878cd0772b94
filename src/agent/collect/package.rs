//! The package itself: one ZIP that is only appended to, with the SHA-256 of everything in it.
//!
//! Beside what the parts bring it holds `summary.json` (what came of each part) and, last, `manifest.sha256`, which `sha256sum -c` reads.

use std::fs::File;
use std::io::{self, Seek, Write};

use jiff::Timestamp;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use zip::write::SimpleFileOptions;

use crate::agent::digest::hex;
use crate::protocol::Problem;

/// A package that is being made.
pub struct Package {
    archive: zip::ZipWriter<io::BufWriter<File>>,
    open: Option<Open>,
    manifest: Vec<Entry>,
    names: std::collections::HashSet<String>,
}

struct Open {
    hash: Sha256,
    entry: Entry,
}

/// A file of the package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Its name in the package.
    pub path: String,
    /// In bytes.
    pub size: u64,
    /// Of its content, lower-case hexadecimal.
    pub sha256: String,
    /// Where it was on the device, where it is a copy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// When that was last changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub modified: Option<Timestamp>,
}

/// How a part ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PartStatus {
    /// All of it is there.
    Complete,
    /// Some of it could not be had; `errors` says what.
    Partial,
    /// The device has no such thing; `errors` says why.
    Unavailable,
    /// Nothing could be had.
    Failed,
    /// Its time was over; what came by then is there.
    TimedOut,
}

/// What came of a part.
#[derive(Debug, Clone, Serialize)]
pub struct PartSummary {
    /// Its name: that of its folder too.
    pub name: &'static str,
    /// How it ended.
    pub status: PartStatus,
    /// When it began.
    pub started: Timestamp,
    /// How long it took.
    pub duration_ms: u64,
    /// The bytes of its files, before they were packed.
    pub size: u64,
    /// The rows of its lists.
    pub rows: u64,
    /// Its files.
    pub files: Vec<Entry>,
    /// What went wrong.
    pub errors: Vec<Problem>,
}

impl Package {
    /// Begins one.
    #[must_use]
    pub fn new(file: File) -> Self {
        let archive = zip::ZipWriter::new(io::BufWriter::with_capacity(1 << 18, file));
        Self { archive, open: None, manifest: Vec::new(), names: std::collections::HashSet::new() }
    }

    /// Begins a file; the one before ends. A name that is taken gets a number.
    ///
    /// # Errors
    /// As the disk says.
    pub fn begin(&mut self, name: &str, source: Option<String>, modified: Option<Timestamp>) -> io::Result<()> {
        self.end();
        let mut path = name.to_owned();
        let mut number = 1;
        while !self.names.insert(path.clone()) {
            number += 1;
            path = format!("{name}~{number}");
        }
        // Level 1: the device is under attack, and has other things to do.
        let options = SimpleFileOptions::default().compression_level(Some(1)).unix_permissions(0o600);
        self.archive.start_file(path.as_str(), options)?;
        let entry = Entry { path, size: 0, sha256: String::new(), source, modified };
        self.open = Some(Open { hash: Sha256::new(), entry });
        Ok(())
    }

    /// Adds to the file that was begun.
    ///
    /// # Errors
    /// As the disk says.
    pub fn add(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(open) = &mut self.open else { return Err(io::Error::other("no file was begun")) };
        self.archive.write_all(bytes)?;
        open.hash.update(bytes);
        open.entry.size += bytes.len() as u64;
        Ok(())
    }

    /// Ends the file that was begun, if one was.
    pub fn end(&mut self) {
        if let Some(open) = self.open.take() {
            self.manifest.push(Entry { sha256: hex(&open.hash.finalize()), ..open.entry });
        }
    }

    /// How many files have ended.
    #[must_use]
    pub fn count(&self) -> usize {
        self.manifest.len()
    }

    /// The files that have ended behind so many.
    #[must_use]
    pub fn since(&self, count: usize) -> &[Entry] {
        self.manifest.get(count..).unwrap_or_default()
    }

    /// How many bytes went in, before they were packed.
    #[must_use]
    pub fn size(&self) -> u64 {
        let open = self.open.as_ref().map_or(0, |open| open.entry.size);
        self.manifest.iter().map(|entry| entry.size).sum::<u64>() + open
    }

    /// Adds summary and manifest, and ends the package; on the disk when this returns.
    ///
    /// # Errors
    /// As the disk says.
    pub fn finish(mut self, summary: &impl Serialize) -> io::Result<File> {
        self.begin("summary.json", None, None)?;
        self.add(&serde_json::to_vec_pretty(summary)?)?;
        self.end();
        let lines: Vec<String> = self.manifest.iter().map(|entry| format!("{}  {}\n", entry.sha256, entry.path)).collect();
        self.begin("manifest.sha256", None, None)?;
        self.add(lines.concat().as_bytes())?;
        let mut file = self.archive.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        file.rewind()?;
        Ok(file)
    }
}

/// A path of the device as a name in a package: plain letters, everything else as `%XX`; never upwards, never from the root.
#[must_use]
pub fn name_of(path: &[u8]) -> String {
    let pieces = path.split(|&byte| byte == b'/').filter(|piece| !piece.is_empty());
    let pieces = pieces.map(|piece| {
        let dots = piece.iter().all(|&byte| byte == b'.');
        let plain = |byte: u8| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'+' | b'@' | b'=' | b',') || (byte == b'.' && !dots)
        };
        piece
            .iter()
            .map(|&byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
            .collect::<String>()
    });
    pieces.collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn names_stay_within_the_package() {
        let check = |path: &[u8], name: &str| assert_eq!(name_of(path), name);
        check(b"/etc/passwd", "etc/passwd");
        check(b"/a/../../b/./c", "a/%2E%2E/%2E%2E/b/%2E/c");
        check(b"/home/x y/\\..\\\x1b\xff:", "home/x%20y/%5C..%5C%1B%FF%3A");
        check(b"/var/log/a.1.gz", "var/log/a.1.gz");
    }

    #[test]
    fn what_is_in_it_is_in_the_manifest() {
        let mut package = Package::new(tempfile::tempfile().unwrap());
        package.begin("a/b", None, None).unwrap();
        package.add(b"one").unwrap();
        package.begin("a/b", Some("/x".into()), None).unwrap();
        package.add(b"").unwrap();
        package.end();
        assert_eq!((package.count(), package.size()), (2, 3));
        let file = package.finish(&serde_json::json!({ "parts": [] })).unwrap();
        let mut archive = zip::ZipArchive::new(file).unwrap();
        let names: Vec<String> = archive.file_names().map(|name| name.unwrap().into_owned()).collect();
        assert_eq!(names, ["a/b", "a/b~2", "summary.json", "manifest.sha256"]);
        let mut manifest = String::new();
        archive.by_name("manifest.sha256").unwrap().read_to_string(&mut manifest).unwrap();
        for line in manifest.lines() {
            let (sum, name) = line.split_once("  ").unwrap();
            let mut bytes = Vec::new();
            archive.by_name(name).unwrap().read_to_end(&mut bytes).unwrap();
            assert_eq!(hex(&Sha256::digest(&bytes)), sum, "{name}");
        }
        assert_eq!(manifest.lines().count(), 3);
    }
}
