//! The way between service and agent, whatever carries it: channels within one process for the embedded default, a
//! connection for a device elsewhere. Neither side knows the other's code; both know these shapes.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use super::{AgentEvent, CommandId, Hello, Problem, SeenItem, SessionId};

/// A command as a device gets it: bound, validated, and limited.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DeviceCommand {
    /// The command.
    pub command_id: CommandId,
    /// Its session.
    pub session_id: SessionId,
    /// Its number within the session.
    pub number: u64,
    /// Who typed it.
    pub analyst: String,
    /// The canonical name of the command.
    pub command_definition_id: String,
    /// The bound parameters in the definition's order.
    pub params: IndexMap<String, String>,
    /// The flags, canonical and sorted.
    pub flags: Vec<String>,
    /// The directory that relative paths stand in.
    pub current_directory: String,
    /// The device ends the command after this.
    pub time_limit_ms: u64,
    /// The largest file that the command may read, fetch or put, where it has such a limit.
    pub size_limit: Option<u64>,
    /// The latest that this session has seen of the entity that a changing command names.
    #[serde(default)]
    pub seen: Vec<SeenItem>,
    /// Where to go on with a `getfile`.
    #[serde(default)]
    pub resume: Option<FileRequest>,
    /// The library file that `run` and `putfile` name.
    #[serde(default)]
    pub library_file: Option<DeliveredFile>,
    /// The library files that `analyze` and `scan` look with ([`RuleKind`]), in the order in which their bytes come.
    #[serde(default)]
    pub rule_files: Vec<DeliveredFile>,
    /// The keys that scripts must be signed with (minisign public keys); `None` when unsigned ones are allowed.
    #[serde(default)]
    pub signing_keys: Option<Vec<String>>,
    /// The shells attached to the session: never ended, and their connections never cut.
    #[serde(default)]
    pub shells: Vec<ShellPeer>,
}

impl DeviceCommand {
    /// A command without parameters, at the top of the device, that may take so long and has nothing beside it.
    #[must_use]
    pub fn new(session_id: SessionId, command_definition_id: &str, limit: Duration) -> Self {
        Self {
            command_id: CommandId::new(),
            session_id,
            number: 0,
            analyst: String::new(),
            command_definition_id: command_definition_id.to_owned(),
            params: IndexMap::new(),
            flags: Vec::new(),
            current_directory: "/".to_owned(),
            time_limit_ms: u64::try_from(limit.as_millis()).unwrap_or(u64::MAX),
            size_limit: None,
            seen: Vec::new(),
            resume: None,
            library_file: None,
            rule_files: Vec::new(),
            signing_keys: None,
            shells: Vec::new(),
        }
    }
}

/// What a library file is to `analyze` and `scan`, told by the end of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RuleKind {
    /// Hashes of malicious content, one a line: `*.sha256`, `*.sha1`, `*.md5`, `*.hashes`.
    Hashes,
    /// YARA rules: `*.yar`, `*.yara`.
    Yara,
    /// Signatures of ClamAV, which the device's own ClamAV looks with: `*.hdb`, `*.hsb`, `*.mdb`, `*.ndb`, `*.ldb`.
    ClamAv,
}

/// The most that is sent to a device with one command, all rule files together, in bytes.
pub const MAX_RULES: u64 = 64 * 1024 * 1024;

impl RuleKind {
    /// What a file of that name is; `None` when it is no rule file. Letters in any case.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        let (_, ending) = name.rsplit_once('.')?;
        match ending.to_ascii_lowercase().as_str() {
            "sha256" | "sha1" | "md5" | "hashes" => Some(Self::Hashes),
            "yar" | "yara" => Some(Self::Yara),
            "hdb" | "hsb" | "mdb" | "ndb" | "ldb" => Some(Self::ClamAv),
            _ => None,
        }
    }
}

/// A library file on its way to a device. Its bytes come beside the command, see [`AgentLink::start`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveredFile {
    /// Its name in the library.
    pub name: String,
    /// In bytes.
    pub size: u64,
    /// Of its content.
    pub sha256: String,
    /// The detached minisign signature, as text.
    pub signature: Option<String>,
}

/// The process of an attached shell on the service's machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShellPeer {
    /// Its process id.
    pub pid: u32,
}

/// Why a command is asked to stop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "why", rename_all = "lowercase")]
pub enum StopReason {
    /// Somebody asked.
    Cancel {
        /// Who.
        by: String,
    },
    /// The shell has all the rows it wants (`-first N`): the command completes.
    Enough,
    /// The time limit.
    Expired,
}

/// What a shell asks of the file behind a `getfile` or `collect`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRequest {
    /// The first byte wanted.
    pub offset: u64,
    /// Only if the file still has this tag: `dev-inode-size-mtime_ns`.
    pub if_match: Option<String>,
}

/// A file's bytes on their way.
pub struct FileStream {
    /// `dev-inode-size-mtime_ns`.
    pub etag: String,
    /// Its base name, invalid UTF-8 as U+FFFD.
    pub name: String,
    /// How many bytes there are in all, where that is known beforehand (not for files of /proc).
    pub size: Option<u64>,
    /// The first byte that is sent.
    pub offset: u64,
    /// The bytes; the last item is an error when they break off.
    pub chunks: mpsc::Receiver<Result<Bytes, Problem>>,
}

impl fmt::Debug for FileStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileStream")
            .field("etag", &self.etag)
            .field("size", &self.size)
            .field("offset", &self.offset)
            .finish_non_exhaustive()
    }
}

/// Why a file's bytes are not sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileRefusal {
    /// It is another file now, or it has changed (412).
    #[error("the file is not the one that was begun: its tag is now {etag}")]
    Changed {
        /// Its tag now.
        etag: String,
    },
    /// The command has no file, or has ended (409).
    #[error("the command has no file to read, or has ended")]
    Ended,
    /// Somebody else reads it (409).
    #[error("another reader is at it")]
    Busy,
    /// It cannot be read.
    #[error("{0}")]
    Failed(Problem),
}

/// A command that a device carries out.
pub struct Running {
    /// What the device says; `completed` is last, then the channel ends. Bounded: who does not read slows the device.
    pub events: mpsc::Receiver<AgentEvent>,
}

/// The bytes of a [`DeliveredFile`], in order; of several, one behind the other.
pub type Delivery = mpsc::Receiver<Result<Bytes, Problem>>;

/// A device as the service holds it. Dropping the last handle ends the link.
pub trait AgentLink: Send + Sync {
    /// What the agent said when it joined.
    fn hello(&self) -> &Hello;

    /// Has the device start a command. Never blocks; a command that cannot be started completes with an error.
    fn start(&self, command: DeviceCommand, delivery: Option<Delivery>) -> Running;

    /// Asks the device to stop a command; its receipt and its end come as events. Unknown commands are ignored.
    fn stop(&self, command: CommandId, reason: StopReason);

    /// Asks for the bytes of the file behind a running `getfile` or `collect`.
    fn read_file(&self, command: CommandId, request: FileRequest) -> oneshot::Receiver<Result<FileStream, FileRefusal>>;

    /// The newest effects of the agent's journal, those that it found open at its start closed, each with the command it
    /// belongs to: a service that ended meanwhile may not have heard how they ended.
    fn recovered(&self) -> Vec<(CommandId, super::Effect)>;

    /// What is wrong with a file of rules ([`RuleKind`]), as the device would say when it looks with it. Takes a while.
    fn complaints(&self, _name: &str, _content: &[u8]) -> Vec<String> {
        Vec::new()
    }

    /// How long the device stays cut off the network yet, as its kernel says now; `None` when it is not, or does not tell.
    fn isolation_left(&self) -> Option<Duration> {
        None
    }
}
