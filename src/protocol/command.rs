//! Commands: what a shell posts, and what the log keeps of them.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{CommandId, Effect, Problem};

/// The body of `POST /sessions/{sid}/commands`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct NewCommand {
    /// Made by the shell; a repeated post with the same one gets the first answer.
    #[schema(value_type = String, format = Uuid)]
    pub command_id: CommandId,
    /// What was typed; the service reads it again and refuses a mismatch.
    pub raw_command_line: String,
    /// The canonical name of the command.
    pub command_definition_id: String,
    /// The bound parameters, without `output` and the view options.
    #[serde(default)]
    pub params: Vec<Param>,
    /// The flags, canonical and sorted.
    #[serde(default)]
    pub flags: Vec<String>,
    /// The directory that relative paths stand in.
    pub current_directory: String,
    /// Whether the line ended in `&`.
    #[serde(default)]
    pub background_mode: bool,
    /// The command of the same line whose work it goes on with, since that ended too early.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = Uuid)]
    pub continues: Option<CommandId>,
    /// Whether the analyst was asked whether it is meant, and said yes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub confirmed: bool,
}

/// One bound parameter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Param {
    /// The parameter's canonical name.
    pub param_id: String,
    /// Its value, as text.
    pub value: String,
}

/// How a command stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Accepted; not yet with the device (queued).
    Pending,
    /// The device is at it.
    Running,
    /// Ended well.
    Completed,
    /// Ended with an error.
    Failed,
    /// Ended because somebody asked for it.
    Cancelled,
    /// Ended by its time limit.
    Expired,
    /// Ended because a process that carried it died, or its link stayed away.
    Interrupted,
}

impl Status {
    /// Whether nothing more will happen.
    #[must_use]
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Pending | Self::Running)
    }

    /// As it is written on the wire and shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
            Self::Interrupted => "interrupted",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Status {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        serde_json::from_value(serde_json::Value::String(text.to_owned())).map_err(|_| format!("{text} is no status"))
    }
}

/// A command as the log tells it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CommandRecord {
    /// Its number within the session: `connect` is 1.
    pub number: u64,
    /// Its identifier.
    #[schema(value_type = String, format = Uuid)]
    pub command_id: CommandId,
    /// The session it belongs to.
    pub session_id: String,
    /// The canonical name of the command.
    pub command_definition_id: String,
    /// What was typed.
    pub raw_command_line: String,
    /// The bound parameters.
    pub params: Vec<Param>,
    /// The flags.
    pub flags: Vec<String>,
    /// The directory that relative paths stood in.
    pub current_directory: String,
    /// Whether it was started in the background.
    pub background_mode: bool,
    /// Who typed it.
    pub analyst: String,
    /// The shell that sent it.
    pub shell: Option<String>,
    /// When the service accepted it.
    #[schema(value_type = String, format = DateTime)]
    pub created: Timestamp,
    /// When the device started it.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started: Option<Timestamp>,
    /// When it ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub completed: Option<Timestamp>,
    /// From start to end, in milliseconds; of a running one, so far.
    pub duration_ms: Option<u64>,
    /// How it stands.
    pub status: Status,
    /// Its place in the queue while it waits.
    pub place: Option<u32>,
    /// What went wrong.
    pub errors: Vec<Problem>,
    /// Who cancelled it.
    pub cancelled_by: Option<String>,
    /// What it changed on the device.
    #[serde(default)]
    pub effects: Vec<Effect>,
    /// The number of the last event in its stream.
    pub last_event: u64,
    /// The number of the command that goes on with its work, since it ended too early.
    #[serde(default)]
    pub continued_by: Option<u64>,
}

/// The little of a command that a list of thousands shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CommandBrief {
    /// Its number within the session: `connect` is 1.
    pub number: u64,
    /// Its identifier.
    #[schema(value_type = String, format = Uuid)]
    pub command_id: CommandId,
    /// The session it belongs to.
    pub session_id: String,
    /// What was typed.
    pub raw_command_line: String,
    /// When the service accepted it.
    #[schema(value_type = String, format = DateTime)]
    pub created: Timestamp,
    /// When the device started it.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started: Option<Timestamp>,
    /// From start to end, in milliseconds; of a running one, so far.
    pub duration_ms: Option<u64>,
    /// How it stands.
    pub status: Status,
}

impl From<CommandRecord> for CommandBrief {
    fn from(record: CommandRecord) -> Self {
        Self {
            number: record.number,
            command_id: record.command_id,
            session_id: record.session_id,
            raw_command_line: record.raw_command_line,
            created: record.created,
            started: record.started,
            duration_ms: record.duration_ms,
            status: record.status,
        }
    }
}
