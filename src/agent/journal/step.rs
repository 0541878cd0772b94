//! The steps that effects are made of, each with what it takes to look whether it was done, and to undo it.

use std::collections::BTreeMap;

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
    /// A file that its file system has forgotten is made anew from its copy.
    Restore(Quarantined),
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
    /// Its bytes are in the agent's own quarantine too, since its file system forgets.
    pub copied: bool,
    /// Which file it is.
    pub identity: FileIdentity,
    /// Whether the hash is compared: not over 1 GB without `-hash`.
    pub hashed: bool,
    /// All that hangs on it.
    pub facts: Kept,
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
    /// Whether its permissions are taken away in quarantine: not when it has other names, which would lose them too.
    pub sealed: bool,
    /// The owner's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
    /// When it was last read, in nanoseconds since 1970.
    pub atime_ns: i64,
    /// How many names it has.
    pub links: u32,
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

impl Step {
    /// The word for it once it is done to an entity of that type.
    #[must_use]
    pub fn done_word(&self, entity: &str) -> &'static str {
        match self {
            Self::Quarantine(_) if matches!(entity, "process" | "service") => "image quarantined",
            Self::Quarantine(_) => "quarantined",
            Self::PutBack(_) | Self::Restore(_) => "restored",
        }
    }

    /// Whether `undo` can reverse it.
    #[must_use]
    pub fn is_undoable(&self) -> bool {
        match self {
            Self::Quarantine(_) => true,
            Self::PutBack(_) | Self::Restore(_) => false,
        }
    }
}
