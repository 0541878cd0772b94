//! What an editor asks of a device while a line is typed: the rows of a looking command, without its being a command of the
//! session. No number, no log, no spool, no activity; and what came counts as looked at by nobody.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// What is asked for; each is the answer of one looking command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PeekAt {
    /// The entries of a folder: rows of `dir`.
    Folder,
    /// Rows of `processes`.
    Processes,
    /// Rows of `services`.
    Services,
    /// Rows of `scheduledtasks`.
    ScheduledTasks,
    /// Rows of `startupfolders`.
    StartupFolders,
    /// What was changed on the device: rows of `remediate list`.
    Effects,
    /// A key of the registry: rows of `registry`.
    Registry,
}

impl PeekAt {
    /// As it is written on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Folder => "folder",
            Self::Processes => "processes",
            Self::Services => "services",
            Self::ScheduledTasks => "scheduled_tasks",
            Self::StartupFolders => "startup_folders",
            Self::Effects => "effects",
            Self::Registry => "registry",
        }
    }
}

/// The answer.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Peek {
    /// The rows, as the device told them: at most 2,000, or 1 MiB.
    #[schema(value_type = Vec<Object>)]
    pub rows: Vec<Box<RawValue>>,
    /// Whether there are more of them.
    pub more: bool,
}
