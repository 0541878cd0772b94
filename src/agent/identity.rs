//! What tells an entity from another of the same name: told in `seen` events when it is shown, compared before it is changed.

use serde::{Deserialize, Serialize};

use super::path::lossy;
use super::platform::{Facts, Service};

/// Which file it is, and in which state.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FileIdentity {
    /// The file system.
    pub dev: u64,
    /// Its number there.
    pub inode: u64,
    /// In bytes.
    pub size: u64,
    /// When its content last changed, in nanoseconds since 1970.
    pub mtime_ns: i64,
    /// When its content or its facts last changed, in nanoseconds since 1970.
    pub ctime_ns: i64,
    /// Of its content; `None` where that was not hashed.
    pub sha256: Option<String>,
}

impl FileIdentity {
    /// The identity that these facts tell.
    #[must_use]
    pub fn new(facts: &Facts, sha256: Option<String>) -> Self {
        Self {
            dev: facts.dev,
            inode: facts.inode,
            size: facts.size,
            mtime_ns: ns(facts.modified.ns()),
            ctime_ns: ns(facts.changed.ns()),
            sha256,
        }
    }
}

/// Nanoseconds as identities carry them: those that do not fit (before 1677, after 2262) as the nearest that does.
#[must_use]
pub fn ns(ns: i128) -> i64 {
    i64::try_from(ns).unwrap_or(if ns < 0 { i64::MIN } else { i64::MAX })
}

/// Which process it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessIdentity {
    /// Its number.
    pub pid: u32,
    /// When it started, in the kernel's ticks since the boot: field 22 of `/proc/PID/stat`.
    pub start_ticks: u64,
    /// The boot that the ticks count from.
    pub boot_id: Option<String>,
}

/// Which service it is, and how it is set up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceIdentity {
    /// The file that describes it; `None` where only the manager knows it.
    pub unit_file: Option<String>,
    /// Of that file.
    pub sha256: Option<String>,
    /// Files that change the description, and their SHA-256.
    pub drop_ins: Vec<(String, Option<String>)>,
    /// As the manager calls it.
    pub enabled: Option<String>,
}

/// Which scheduled task or start-up item it is, and what it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemIdentity {
    /// The file that describes it.
    pub source_file: Option<String>,
    /// Which line of that, from 1; `None` when the whole file is it.
    pub place: Option<u32>,
    /// Of the line, or of the file.
    pub sha256: Option<String>,
}

impl ServiceIdentity {
    /// The identity of a service as it is described now.
    #[must_use]
    pub fn of(service: &Service) -> Self {
        Self {
            unit_file: service.file.as_deref().map(lossy),
            sha256: service.sha256.clone(),
            drop_ins: service.drop_ins.iter().map(|(path, sha256)| (lossy(path), sha256.clone())).collect(),
            enabled: service.enabled.clone(),
        }
    }

    /// How another identity differs from this one, in words.
    #[must_use]
    pub fn difference(&self, now: &Self) -> String {
        let word = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".to_owned());
        let mut all = Vec::new();
        if self.unit_file != now.unit_file {
            all.push(format!("its file was {} and is {}", word(&self.unit_file), word(&now.unit_file)));
        } else if self.sha256 != now.sha256 {
            all.push(format!("the content of {} is another", word(&self.unit_file)));
        }
        if self.drop_ins != now.drop_ins {
            all.push(format!("its drop-ins changed: there are {} now, there were {}", now.drop_ins.len(), self.drop_ins.len()));
        }
        if self.enabled != now.enabled {
            all.push(format!("it was {} and is {}", word(&self.enabled), word(&now.enabled)));
        }
        all.join(", ")
    }
}
