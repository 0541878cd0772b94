//! Where things are kept: `LRSH_HOME`, else the user's configuration and data folders.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::protocol::text::visible;

/// The file on this machine that a line names: `~` and what begins with `~/` stand in the analyst's home folder. A file
/// that is called `~` is written `./~`.
#[must_use]
pub fn local_path(typed: &str) -> PathBuf {
    below_home(typed, dirs::home_dir())
}

fn below_home(typed: &str, home: Option<PathBuf>) -> PathBuf {
    let rest = typed.strip_prefix('~').filter(|rest| rest.is_empty() || rest.starts_with('/'));
    match (rest, home) {
        // Joined as text: a slash at the end says that a folder is meant.
        (Some(rest), Some(home)) => {
            let mut path = home.into_os_string();
            path.push(rest);
            PathBuf::from(path)
        }
        _ => PathBuf::from(typed),
    }
}

/// The folders of one home. Two homes never meet: each has a service, a store and a journal of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    config: PathBuf,
    data: PathBuf,
    root: Option<MountedRoot>,
}

/// A device that is switched off: a mounted image, or a tree of files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountedRoot {
    /// The folder, without links.
    pub folder: PathBuf,
    /// The same as its file system and its number there: another folder can come to have that path.
    pub top: (u64, u64),
    /// Whether commands may change what is in it.
    pub writable: bool,
}

impl MountedRoot {
    /// Makes sure that the folder is still there and still the same.
    ///
    /// # Errors
    /// When it was removed, or another one is there now.
    pub fn check(&self) -> io::Result<()> {
        let what = match std::fs::metadata(&self.folder) {
            Ok(now) if (now.dev(), now.ino()) == self.top => return Ok(()),
            Ok(_) => "replaced: another folder is there now",
            Err(_) => "removed",
        };
        let folder = visible(&self.folder.display().to_string());
        Err(io::Error::other(format!("the root {folder} was {what}; leave, and start lrsh --root anew")))
    }
}

impl Home {
    /// The home that the environment names.
    ///
    /// # Errors
    /// When neither `LRSH_HOME` nor a home folder is known, or `LRSH_HOME` is relative.
    pub fn find() -> io::Result<Self> {
        match std::env::var_os("LRSH_HOME").filter(|home| !home.is_empty()) {
            Some(home) => Self::at(Path::new(&home)),
            None => match (dirs::config_dir(), dirs::data_dir()) {
                (Some(config), Some(data)) => Ok(Self { config: config.join("lrsh"), data: data.join("lrsh"), root: None }),
                _ => Err(io::Error::new(io::ErrorKind::NotFound, "no home folder is known; set LRSH_HOME to a folder")),
            },
        }
    }

    /// A home with everything in one folder.
    ///
    /// # Errors
    /// When the folder's path is relative.
    pub fn at(folder: &Path) -> io::Result<Self> {
        if folder.is_relative() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "LRSH_HOME must be an absolute path"));
        }
        Ok(Self { config: folder.to_owned(), data: folder.to_owned(), root: None })
    }

    /// The home of a device that is switched off: below this one and with its settings, so that the two never meet.
    ///
    /// # Errors
    /// When the folder cannot be looked up, or is none.
    pub fn of_root(&self, folder: &Path, writable: bool) -> io::Result<Self> {
        let folder = folder.canonicalize()?;
        let facts = std::fs::metadata(&folder)?;
        if !facts.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        let top = (facts.dev(), facts.ino());
        let hash = Sha256::digest(folder.as_os_str().as_bytes());
        let name: String = hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let data = self.data.join("roots").join(name);
        Ok(Self { config: self.config.clone(), data, root: Some(MountedRoot { folder, top, writable }) })
    }

    /// The device's files, when it is not this machine's running system.
    pub fn root(&self) -> Option<&MountedRoot> {
        self.root.as_ref()
    }

    /// `config.toml`.
    pub fn config_file(&self) -> PathBuf {
        self.config.join("config.toml")
    }

    /// The lines typed.
    pub fn history_file(&self) -> PathBuf {
        self.data.join("history")
    }

    /// The folder that holds everything else; its path tells one home from another.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The service's folder: start, lock, store, spool, library, `service.toml`.
    pub fn service(&self) -> PathBuf {
        self.data.join("service")
    }

    /// The agent's folder: journal, quarantine, working folder.
    pub fn agent(&self) -> PathBuf {
        self.data.join("agent")
    }

    /// The folder of log files.
    pub fn log(&self) -> PathBuf {
        self.data.join("log")
    }
}

/// Makes a folder, and those above it, that nobody else can look into.
///
/// # Errors
/// As mkdir says.
pub fn private_folder(folder: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Options for files that nobody else can read.
pub fn private_file() -> std::fs::OpenOptions {
    let mut options = std::fs::OpenOptions::new();
    options.mode(0o600);
    options
}
