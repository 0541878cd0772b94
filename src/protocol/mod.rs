//! The wire contract that shell, service and agent share: every shape that crosses a socket or the agent's link.
//!
//! Later versions may add fields and event kinds but never change them; readers ignore unknown fields and show unknown
//! kinds. Field names follow Microsoft Defender's live response API where it has one.

mod command;
mod device;
mod event;
mod ids;
mod library;
pub mod link;
mod peek;
mod problem;
mod session;
mod settings;
pub mod signature;
pub mod text;

pub use command::{CommandBrief, CommandRecord, NewCommand, Param, Status};
pub use device::{Device, DeviceState, Hello, PlatformName};
pub use event::{
    AgentEvent, Body, Completed, Cost, Effect, Event, EventError, FileFacts, Progress, ProgressUnit, Receipt, Seen, SeenItem,
    StreamName, TIME_LIMIT, Text, TextData,
};
pub use ids::{CommandId, SessionId};
pub use library::{LibraryFile, check_library_name};
pub use peek::{Peek, PeekAt};
pub use problem::{ErrorBody, Problem};
pub use session::{Analyst, NewSession, Session, SessionEvent, SessionEventKind, SessionLimits, SessionState};
pub use settings::{Settings, SettingsChange};

/// The version of this contract. A shell or agent that speaks an older one is refused with both versions named.
pub const PROTOCOL_VERSION: u32 = 1;

/// The header in which a shell names its [`PROTOCOL_VERSION`].
pub const PROTOCOL_HEADER: &str = "lrsh-protocol";

/// The header in which a shell names itself within a session (a UUID it makes at its start).
pub const SHELL_HEADER: &str = "lrsh-shell";

/// The header in which the service names a request, for its log and for error messages.
pub const REQUEST_HEADER: &str = "x-request-id";

/// A line has this many bytes at most.
pub const MAX_LINE: usize = 64 << 10;

/// The path all calls stand below.
pub const API: &str = "/api/v1";
