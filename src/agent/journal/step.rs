//! The steps that effects are made of, each with what it takes to look whether it was done, and to undo it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

use crate::agent::identity::FileIdentity;

/// A step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum Step {
    /// A file goes to quarantine.
    Quarantine(Quarantined),
    /// A file comes back from quarantine.
    PutBack(Quarantined),
    /// A file that its file system has forgotten, or that was changed through another name, is made anew from its copy.
    Restore(Quarantined),
    /// A file that has other names gets back the one that was taken from it.
    Relink(Quarantined),
    /// What of a process exists nowhere else is kept.
    Evidence(Evidence),
    /// A process is ended.
    End(Ended),
    /// A link that has a service start goes to quarantine.
    Disable(Quarantined),
    /// A service is stopped or started, or its manager reads its files anew.
    Manage(Managed),
    /// A packaged unit is hidden by a link to /dev/null.
    Mask(Masked),
    /// Such a link is taken away.
    Unmask(Masked),
    /// A line of a file goes; the file as it was goes to quarantine.
    Rewrite(Rewritten),
    /// That file comes back.
    PutOver(Rewritten),
    /// The line alone comes back into a file that was changed since.
    LineBack(Inserted),
    /// The device is cut off the network.
    Isolate(Isolated),
    /// That ends.
    Release(Isolated),
}

/// A file, where it was and where it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantined {
    /// Its path, links in it resolved; the `file:///` form where it is not plain.
    pub path: String,
    /// The quarantine folder.
    pub shelf: Shelf,
    /// Its name there.
    pub name: String,
    /// Where the file system is mounted that its folder lies on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mount: Option<String>,
    /// Its bytes are in the agent's own quarantine too, since its file system forgets, or since it has other names through
    /// which it could be changed.
    pub copied: bool,
    /// It has other names: what is kept is the copy alone. The file itself would stay executable, since its other names must.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub linked: Option<Linked>,
    /// Which file it is.
    pub identity: FileIdentity,
    /// Whether the hash is compared: not over 1 GB without `-hash`.
    pub hashed: bool,
    /// All that hangs on it.
    pub facts: Kept,
}

/// A file that goes on under other names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Linked {
    /// What its file system finds it by whatever it is called; `None` where that does not tell.
    pub handle: Option<String>,
}

/// What is kept of a process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// A folder in the agent's own quarantine.
    pub folder: String,
}

/// A process that is ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// Its number.
    pub pid: u32,
    /// When it started, in the kernel's ticks since the boot.
    pub start_ticks: u64,
    /// The boot that the ticks count from.
    pub boot_id: Option<String>,
}

/// What is done to a service as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Managed {
    /// Its name.
    pub unit: String,
    /// It is a script of System V's init.
    pub script: bool,
    /// What is done.
    pub what: Managing,
    /// Whether it ran before.
    pub was_active: bool,
}

/// See [`Managed`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Managing {
    /// It is stopped.
    Stop,
    /// It is started, after its manager has read its files anew.
    Start,
    /// Its manager reads its files anew.
    Reload,
}

/// A file of which one line goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rewritten {
    /// The file as it was.
    pub file: Quarantined,
    /// The name that it is written anew under, beside itself.
    pub beside: String,
    /// The line, from 1.
    pub line: u32,
    /// What it said.
    pub text: String,
    /// Of the file without the line.
    pub new_sha256: String,
}

/// A line that comes back into a file that was changed since it was removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inserted {
    /// The file as it was when the line was removed.
    pub file: Quarantined,
    /// The name that it is written anew under, beside itself.
    pub beside: String,
    /// The line, from 1, in the file that is there now.
    pub line: u32,
    /// What it says.
    pub text: String,
    /// How often that stands in the file without it.
    pub others: u32,
    /// Of the file without the line, and with it.
    pub old_sha256: String,
    /// See `old_sha256`.
    pub new_sha256: String,
    /// Where it comes to stand, in words.
    pub place: String,
}

/// An isolation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Isolated {
    /// What tells it from another.
    pub token: String,
    /// How long it was to last.
    pub seconds: u64,
    /// The addresses that stay reachable.
    pub allow: Vec<String>,
    /// The connections that stay.
    pub keep: Vec<String>,
}

/// A link to /dev/null.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Masked {
    /// Its path.
    pub path: String,
}

/// A quarantine folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shelf {
    /// `quarantine` in the agent's folder.
    Own,
    /// A folder at the root of another file system.
    At(String),
}

/// What hangs on a file beside its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// What it is: `file`, `link`, `fifo`, `socket`, `device`.
    pub kind: Kind,
    /// Permissions with setuid, setgid and sticky.
    pub mode: u32,
    /// Whether its permissions are taken away in quarantine: not while it has other names, which would lose them too.
    pub sealed: bool,
    /// The owner's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
    /// When it was last read, in nanoseconds since 1970.
    pub atime_ns: i64,
    /// How many names it has.
    pub links: u32,
    /// The bytes that it takes on its disk, where it has large holes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allocated: Option<u64>,
    /// Where it leads, if it is a link: base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link_target: Option<String>,
    /// Extended attributes, among them capabilities and ACLs: names, and values in base64. Only of what is copied: else they
    /// stay with the file.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub xattrs: BTreeMap<String, String>,
    /// When the content of its folder last changed, in nanoseconds since 1970.
    pub folder_mtime_ns: i64,
}

/// What a quarantined thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A regular file.
    File,
    /// A symbolic link.
    Link,
    /// A FIFO.
    Fifo,
    /// A socket.
    Socket,
    /// A device.
    Device,
}

impl Quarantined {
    /// The name of its copy in the agent's own quarantine.
    #[must_use]
    pub fn copy_name(&self) -> String {
        format!("{}.copy", self.name)
    }

    /// How many bytes it takes in quarantine.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.facts.allocated.unwrap_or(self.identity.size)
    }

    /// Where it leads, if it is a link.
    #[must_use]
    pub fn link_target(&self) -> Option<PathBuf> {
        let target = BASE64.decode(self.facts.link_target.as_deref()?).ok()?;
        Some(PathBuf::from(OsString::from_vec(target)))
    }
}

impl Step {
    /// The word for it once it is done to an entity of that type; none for what is only needed on the way.
    #[must_use]
    pub fn done_word(&self, entity: &str) -> Option<&'static str> {
        Some(match self {
            Self::Quarantine(_) if matches!(entity, "process" | "service") => "image quarantined",
            Self::Quarantine(_) => "quarantined",
            Self::PutBack(_) | Self::Restore(_) | Self::Relink(_) => "restored",
            Self::End(_) => "ended",
            Self::Disable(_) => "disabled",
            Self::Manage(Managed { what: Managing::Stop, .. }) => "stopped",
            Self::Manage(Managed { what: Managing::Start, was_active: true, .. }) => "started",
            Self::Mask(_) => "masked",
            Self::Unmask(_) => "unmasked",
            Self::Rewrite(_) => "line removed",
            Self::PutOver(_) | Self::LineBack(_) => "line restored",
            Self::Isolate(_) => "isolated",
            Self::Release(_) => "released",
            Self::Evidence(_) | Self::Manage(_) => return None,
        })
    }

    /// Whether `undo` can reverse it.
    #[must_use]
    pub fn is_undoable(&self) -> bool {
        match self {
            Self::Quarantine(_) | Self::Disable(_) | Self::Mask(_) | Self::Rewrite(_) | Self::Isolate(_) => true,
            Self::Manage(managed) => managed.what == Managing::Stop || managed.what == Managing::Reload,
            Self::PutBack(_)
            | Self::Restore(_)
            | Self::Relink(_)
            | Self::Evidence(_)
            | Self::End(_)
            | Self::Unmask(_)
            | Self::PutOver(_)
            | Self::LineBack(_)
            | Self::Release(_) => false,
        }
    }

    /// The quarantine folder that it uses.
    #[must_use]
    pub fn shelf(&self) -> Option<&Shelf> {
        match self {
            Self::Quarantine(kept) | Self::PutBack(kept) | Self::Restore(kept) | Self::Relink(kept) | Self::Disable(kept) => {
                Some(&kept.shelf)
            }
            Self::Rewrite(rewritten) | Self::PutOver(rewritten) => Some(&rewritten.file.shelf),
            Self::LineBack(inserted) => Some(&inserted.file.shelf),
            _ => None,
        }
    }

    /// What tells a step and its way back from others of the same effect: the name in quarantine, the path of a mask.
    #[must_use]
    pub fn kept_as(&self) -> Option<&str> {
        match self {
            Self::Quarantine(kept) | Self::PutBack(kept) | Self::Restore(kept) | Self::Relink(kept) | Self::Disable(kept) => {
                Some(&kept.name)
            }
            Self::Rewrite(rewritten) | Self::PutOver(rewritten) => Some(&rewritten.file.name),
            Self::LineBack(inserted) => Some(&inserted.file.name),
            Self::Mask(masked) | Self::Unmask(masked) => Some(&masked.path),
            Self::Evidence(_) | Self::End(_) | Self::Manage(_) | Self::Isolate(_) | Self::Release(_) => None,
        }
    }

    /// Whether it changes anything on the device.
    #[must_use]
    pub fn is_change(&self) -> bool {
        !matches!(self, Self::Evidence(_))
    }
}
