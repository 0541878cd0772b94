//! The agent's working folder: files that analysts put on the device, until it restarts.
//!
//! A file comes as a part in a folder of its own and gets its name when it is whole. Beside the folder stands what is known of
//! each: in which boot it came, and whether it stays. Files that nobody recorded are left alone.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::path::{key, problem};
use crate::host::{private_file, private_folder};
use crate::protocol::{CommandId, Problem};

/// The working folder of an agent.
#[derive(Debug)]
pub struct Working {
    files: PathBuf,
    parts: PathBuf,
    records: PathBuf,
    boot_id: Option<String>,
    /// Held while names and records are brought into agreement.
    changing: Mutex<()>,
}

/// What is known of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    name: String,
    /// The boot it came in.
    boot_id: Option<String>,
    /// It stays when the device restarts.
    keep: bool,
    sha256: String,
}

/// A file on its way. Dropping it removes it, unless it was given its name.
#[derive(Debug)]
pub struct Part {
    path: PathBuf,
    file: File,
}

impl Working {
    /// The working folder below an agent's folder. What an earlier agent left half is removed, and, after a restart of the
    /// device, what was not to be kept.
    #[must_use]
    pub fn open(agent: &Path, boot_id: Option<String>) -> Self {
        let working = Self {
            files: agent.join("working"),
            parts: agent.join("parts"),
            records: agent.join("working.json"),
            boot_id,
            changing: Mutex::default(),
        };
        if let Err(error) = working.tidy() {
            tracing::error!(%error, folder = %working.files.display(), "the working folder cannot be tidied");
        }
        working
    }

    fn tidy(&self) -> io::Result<()> {
        for part in entries(&self.parts)? {
            std::fs::remove_file(part)?;
        }
        let (stay, go): (Vec<Record>, Vec<Record>) =
            self.read()?.into_iter().partition(|record| record.keep || record.boot_id == self.boot_id);
        for record in &go {
            match std::fs::remove_file(self.files.join(&record.name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => tracing::info!(file = record.name, "removed: the device has restarted since it was put there"),
            }
        }
        if go.is_empty() { Ok(()) } else { self.write(&stay) }
    }

    /// Begins a file.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn begin(&self, command: CommandId) -> Result<Part, Problem> {
        let path = self.parts.join(format!("{command}.part"));
        let failed = |error: io::Error| unwritable(&path, &error);
        private_folder(&self.parts).map_err(failed)?;
        private_folder(&self.files).map_err(failed)?;
        // What is put on a device is there to be run, by this user alone.
        let file = private_file().write(true).create_new(true).mode(0o700).open(&path).map_err(failed)?;
        Ok(Part { path, file })
    }

    /// Gives a whole file its name; answers with where it is.
    ///
    /// # Errors
    /// When there is one of that name and it is not to be overwritten, or the folder cannot be written.
    pub fn place(&self, part: &Part, name: &str, overwrite: bool, keep: bool, sha256: &str) -> Result<PathBuf, Problem> {
        let path = self.files.join(name);
        let failed = |error: io::Error| unwritable(&path, &error);
        part.file.sync_all().map_err(failed)?;
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.read().map_err(failed)?;
        if !overwrite && std::fs::symlink_metadata(&path).is_ok() {
            return Err(exists(&path));
        }
        // The record first: a file without one would stay for ever.
        let mut records: Vec<Record> = before.iter().filter(|record| record.name != name).cloned().collect();
        let (name, sha256) = (name.to_owned(), sha256.to_owned());
        records.push(Record { name, boot_id: self.boot_id.clone(), keep, sha256 });
        self.write(&records).map_err(failed)?;
        let flags = if overwrite { RenameFlags::empty() } else { RenameFlags::NOREPLACE };
        let renamed = rustix::fs::renameat_with(CWD, &part.path, CWD, &path, flags);
        if let Err(error) = renamed {
            self.write(&before).map_err(failed)?;
            return Err(if error == Errno::EXIST { exists(&path) } else { unwritable(&path, &error.into()) });
        }
        File::open(&self.files).and_then(|folder| folder.sync_all()).map_err(failed)?;
        Ok(path)
    }

    fn read(&self) -> io::Result<Vec<Record>> {
        match std::fs::read(&self.records) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    fn write(&self, records: &[Record]) -> io::Result<()> {
        let fresh = self.records.with_extension("new");
        let mut file = private_file().write(true).create(true).truncate(true).open(&fresh)?;
        file.write_all(&serde_json::to_vec(records)?)?;
        file.sync_all()?;
        std::fs::rename(&fresh, &self.records)
    }
}

impl Part {
    /// Adds bytes.
    ///
    /// # Errors
    /// As the file system says.
    pub fn add(&mut self, bytes: &[u8]) -> Result<(), Problem> {
        self.file.write_all(bytes).map_err(|error| unwritable(&self.path, &error))
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // Given its name, it is not there any more.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    match std::fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| entry.map(|entry| entry.path())).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn exists(path: &Path) -> Problem {
    let path = key(path);
    Problem::new("exists", format!("{path}: it is there already; -overwrite takes its place")).at(path)
}

fn unwritable(path: &Path, error: &io::Error) -> Problem {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            let path = key(path);
            Problem::new("disk_full", format!("{path}: the device's disk is full; nothing was put there")).at(path)
        }
        _ => problem(path, error),
    }
}
