//! Sessions: an analyst on a device.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Device, SessionId};

/// The body of `POST /sessions`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct NewSession {
    /// The device's id, name, or a unique start of either; without it the only device there is.
    #[serde(default)]
    pub device: Option<String>,
    /// Why, for the log.
    #[serde(default)]
    pub comment: Option<String>,
}

/// Who the caller is, as `GET /analyst` tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Analyst {
    /// Their name, for log and messages.
    pub name: String,
    /// What they may do.
    pub roles: Vec<String>,
}

/// A session: the facts of the dashboard.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Session {
    /// `CLR` and a UUID.
    #[schema(value_type = String)]
    pub session_id: SessionId,
    /// The device.
    pub device: Device,
    /// Who holds it.
    pub analyst: String,
    /// What the analyst said it is for.
    pub comment: Option<String>,
    /// When it began.
    #[schema(value_type = String, format = DateTime)]
    pub started: Timestamp,
    /// When it ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended: Option<Timestamp>,
    /// How long it has lasted, in milliseconds.
    pub duration_ms: u64,
    /// How long until it ends by itself, in milliseconds; absent while a command runs or waits.
    pub idle_left_ms: Option<u64>,
    /// When the device's isolation from the network ends, as its kernel says now; absent while it is not isolated.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub isolated_until: Option<Timestamp>,
    /// How long until then, in milliseconds.
    #[serde(default)]
    pub isolation_left_ms: Option<u64>,
    /// How it stands.
    pub state: SessionState,
    /// Who ended it and why.
    pub closed_by: Option<String>,
    /// The number of shells attached.
    pub shells: u32,
    /// The number of the last command.
    pub last_command: u64,
    /// The roles of the one who asks.
    pub roles: Vec<String>,
    /// What holds for it.
    pub limits: SessionLimits,
    /// Whether the call found the session open (attached) rather than making it.
    #[serde(default)]
    pub attached: bool,
}

/// How a session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SessionState {
    /// Commands may be posted.
    Open,
    /// It has ended.
    Closed,
}

/// The limits of a session; times in seconds, sizes in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SessionLimits {
    /// Without activity the session ends after this.
    pub idle_seconds: u64,
    /// A command ends after this.
    pub command_seconds: u64,
    /// `getfile`, `findfile`, `run` and `scan -full` end after this.
    pub long_command_seconds: u64,
    /// The largest file that `getfile` fetches.
    pub getfile_bytes: u64,
    /// The largest file that `fileinfo` reads.
    pub fileinfo_bytes: u64,
    /// The largest file in the library.
    pub library_bytes: u64,
    /// The largest file that `putfile` puts on this device.
    pub putfile_bytes: u64,
}

/// What happens in a session, as `GET /sessions/{sid}/events` streams it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SessionEvent {
    /// The number of the event within the session's stream.
    pub n: u64,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub t: Timestamp,
    /// What.
    #[serde(flatten)]
    pub what: SessionEventKind,
}

/// The kinds of [`SessionEvent`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum SessionEventKind {
    /// A command was accepted.
    Command {
        /// Its number.
        number: u64,
        /// The shell that sent it.
        shell: Option<String>,
        /// What was typed.
        line: String,
    },
    /// A shell attached.
    Attached {
        /// Which.
        shell: String,
    },
    /// A shell left.
    Left {
        /// Which.
        shell: String,
    },
    /// The device was cut off the network, or is back on it: `GET /sessions/{sid}` tells for how long.
    Isolation {
        /// Whether it is cut off.
        isolated: bool,
    },
    /// The session ended.
    Closed {
        /// Who ended it.
        by: String,
        /// Why: `disconnect`, `exit`, `idle`, `settings`.
        reason: String,
    },
    /// Events that are not kept any more: whoever lists commands or shells has to ask for them anew.
    Missed {
        /// The number of the first.
        first: u64,
        /// The number of the last; absent where the service was started anew, and nobody knows how many there were.
        last: Option<u64>,
    },
    /// A kind that this version does not know.
    #[serde(other)]
    Unknown,
}

impl SessionEventKind {
    /// Whether nothing comes behind it.
    #[must_use]
    pub fn is_end(&self) -> bool {
        matches!(self, Self::Closed { .. })
    }
}
