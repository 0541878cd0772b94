//! Events: what is heard of a command from its acceptance to its end.
//!
//! An event is one JSON object, `{"n":1,"t":"…Z","kind":"rows",…}`. The agent writes everything behind `t`
//! ([`AgentEvent`]); the service puts `n` and `t` in front without reading rows again; the shell parses the whole
//! ([`Event::parse`]). `completed` is always last, whatever happened.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::{CommandId, Problem, Status};

/// An event as a shell reads it.
#[derive(Debug, Clone)]
pub struct Event {
    /// Its place in the command's stream, from 1.
    pub n: u64,
    /// When the service had it.
    pub t: Timestamp,
    /// What it says.
    pub body: Body,
}

/// What an event says. In JSON the variant is `kind`, in lower case, beside the fields.
#[derive(Debug, Clone)]
pub enum Body {
    /// The service accepted the command.
    Created {
        /// Its number within the session.
        number: u64,
    },
    /// The command waits; sent again when its place changes.
    Queued {
        /// 1 is next.
        place: u32,
    },
    /// The device has begun.
    Started,
    /// How far it is.
    Progress(Progress),
    /// Rows follow; the keys are every field that a row of this command carries.
    Table {
        /// Field names in order.
        keys: Vec<String>,
    },
    /// Rows of a table: JSON objects, untouched since the agent wrote them. At most 512, or 256 KiB.
    Rows {
        /// The rows.
        rows: Vec<Box<RawValue>>,
    },
    /// An answer that is one object.
    Object {
        /// The object, untouched.
        value: Box<RawValue>,
    },
    /// Output of a script, or a file's text.
    Text(Text),
    /// The shell that sent the command goes on in this directory.
    Context {
        /// Absolute.
        current_directory: String,
    },
    /// The file of a `getfile` or `collect` was read to its end.
    File(FileFacts),
    /// A command that had to run first (`-auto`).
    Prerequisite {
        /// The command that ran.
        command_id: CommandId,
    },
    /// A change made on the device.
    Effect(Box<Effect>),
    /// What a cancelled command had done.
    Receipt(Receipt),
    /// What a looking verb showed. Kept by the service, passed to no shell.
    Seen(Seen),
    /// The end.
    Completed(Completed),
    /// A kind that this version does not know: shown, not fatal.
    Unknown {
        /// The kind.
        kind: String,
        /// The whole event.
        value: Value,
    },
}

/// How far a command is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Progress {
    /// How much is done, in `unit`.
    pub done: u64,
    /// How much there is, where it is known.
    pub total: Option<u64>,
    /// What is counted.
    pub unit: ProgressUnit,
    /// What it is at, for people.
    #[serde(default)]
    pub text: String,
}

/// What a [`Progress`] counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ProgressUnit {
    /// Bytes read or sent.
    Bytes,
    /// Files dealt with.
    Files,
    /// Folders walked.
    Folders,
    /// Entries of a list.
    Entries,
}

/// A piece of text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Text {
    /// Where it was written.
    pub stream: StreamName,
    /// The bytes: `data` where they are UTF-8, else `data_b64`.
    #[serde(flatten)]
    pub data: TextData,
}

/// The bytes of a [`Text`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub enum TextData {
    /// UTF-8.
    #[serde(rename = "data")]
    Utf8(String),
    /// Anything, in standard base64.
    #[serde(rename = "data_b64")]
    Base64(String),
}

impl TextData {
    /// The shape that carries these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Utf8(text.to_owned()),
            Err(_) => Self::Base64(BASE64.encode(bytes)),
        }
    }

    /// The bytes that it carries; `None` when the base64 is broken.
    #[must_use]
    pub fn bytes(&self) -> Option<Vec<u8>> {
        match self {
            Self::Utf8(text) => Some(text.clone().into_bytes()),
            Self::Base64(text) => BASE64.decode(text).ok(),
        }
    }
}

/// Where a [`Text`] was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum StreamName {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A file that was read to its end on the device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FileFacts {
    /// Its base name, invalid UTF-8 as U+FFFD.
    pub name: String,
    /// In bytes, as read.
    pub size: u64,
    /// Of all its bytes, lower-case hexadecimal.
    pub sha256: String,
    /// Whether it changed while it was read.
    #[serde(default)]
    pub changed: bool,
}

/// A change made on a device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Effect {
    /// Its number in the device's journal: what `undo N` takes.
    pub effect_id: u64,
    /// `file`, `process`, `service`, `registry`, `scheduledtask`, `startupfolder`, `isolation`.
    #[serde(rename = "type")]
    pub entity: String,
    /// What was changed, as the analyst named it.
    pub target: String,
    /// What was done: `quarantined`, `stopped`, `disabled`, `removed`, `kept`, `restored`, …
    pub action: String,
    /// How it was.
    pub before: Value,
    /// How it is.
    pub after: Value,
    /// Whether `undo` can put it back: `yes`, `no`, `image only`.
    pub undoable: Value,
    /// How it stands: `done`, `not_done`, `partly`, `kept`.
    #[serde(default)]
    pub state: String,
    /// Why, where that needs saying.
    #[serde(default)]
    pub reason: Option<String>,
}

/// Who a receipt says asked, where it was nobody.
pub const TIME_LIMIT: &str = "the time limit";

/// What a cancelled command had done when it stopped.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Receipt {
    /// Whether the device has confirmed that nothing goes on.
    pub confirmed: bool,
    /// What was done.
    pub done: Vec<String>,
    /// What was not done.
    pub not_done: Vec<String>,
    /// Who asked.
    pub by: String,
}

/// What a looking verb showed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// An entity type, as `remediate` names it.
    #[serde(rename = "type")]
    pub entity: String,
    /// The entities.
    pub items: Vec<SeenItem>,
}

/// An entity that was shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SeenItem {
    /// What `remediate` names it by: a path (its `file:///` form where it is not plain), a pid, a service name, a task id.
    pub key: String,
    /// What tells it from another of that name: see the design, section 7.
    pub identity: Value,
}

/// The end of a command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Completed {
    /// How it ended.
    pub status: Status,
    /// From start to end.
    pub duration_ms: u64,
    /// What it took on the device.
    #[serde(default)]
    pub cost: Cost,
    /// What went wrong; also of parts of a command that as a whole went well.
    #[serde(default)]
    pub errors: Vec<Problem>,
}

/// What a command took on the device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Cost {
    /// Processor time of the threads that worked for it.
    pub cpu_ms: u64,
    /// Bytes it read from files.
    pub read_bytes: u64,
    /// Bytes of events and file content it sent.
    pub sent_bytes: u64,
}

/// Why bytes are no event.
#[derive(Debug, thiserror::Error)]
#[error("not an event: {0}")]
pub struct EventError(#[from] serde_json::Error);

#[derive(Deserialize)]
struct Head {
    n: u64,
    t: Timestamp,
    kind: String,
}

#[derive(Serialize, Deserialize)]
struct CreatedBody {
    number: u64,
}
#[derive(Serialize, Deserialize)]
struct QueuedBody {
    place: u32,
}
#[derive(Serialize, Deserialize)]
struct TableBody {
    keys: Vec<String>,
}
#[derive(Serialize, Deserialize)]
struct RowsBody {
    rows: Vec<Box<RawValue>>,
}
#[derive(Serialize, Deserialize)]
struct ObjectBody {
    value: Box<RawValue>,
}
#[derive(Serialize, Deserialize)]
struct ContextBody {
    current_directory: String,
}
#[derive(Serialize, Deserialize)]
struct PrerequisiteBody {
    command_id: CommandId,
}

impl Event {
    /// Reads an event from its JSON.
    ///
    /// # Errors
    /// When the bytes are no JSON object with `n`, `t` and `kind`, or a known kind lacks a field.
    pub fn parse(json: &[u8]) -> Result<Self, EventError> {
        let head: Head = serde_json::from_slice(json)?;
        let body = Body::parse(&head.kind, json)?;
        Ok(Self { n: head.n, t: head.t, body })
    }
}

impl Body {
    fn parse(kind: &str, json: &[u8]) -> Result<Self, EventError> {
        fn read<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<T, EventError> {
            Ok(serde_json::from_slice(json)?)
        }
        Ok(match kind {
            "created" => Self::Created { number: read::<CreatedBody>(json)?.number },
            "queued" => Self::Queued { place: read::<QueuedBody>(json)?.place },
            "started" => Self::Started,
            "progress" => Self::Progress(read(json)?),
            "table" => Self::Table { keys: read::<TableBody>(json)?.keys },
            "rows" => Self::Rows { rows: read::<RowsBody>(json)?.rows },
            "object" => Self::Object { value: read::<ObjectBody>(json)?.value },
            "text" => Self::Text(read(json)?),
            "context" => Self::Context { current_directory: read::<ContextBody>(json)?.current_directory },
            "file" => Self::File(read(json)?),
            "prerequisite" => Self::Prerequisite { command_id: read::<PrerequisiteBody>(json)?.command_id },
            "effect" => Self::Effect(read(json)?),
            "receipt" => Self::Receipt(read(json)?),
            "seen" => Self::Seen(read(json)?),
            "completed" => Self::Completed(read(json)?),
            other => Self::Unknown { kind: other.to_owned(), value: read(json)? },
        })
    }

    /// The event's `kind`.
    #[must_use]
    pub fn kind(&self) -> &str {
        match self {
            Self::Created { .. } => "created",
            Self::Queued { .. } => "queued",
            Self::Started => "started",
            Self::Progress(_) => "progress",
            Self::Table { .. } => "table",
            Self::Rows { .. } => "rows",
            Self::Object { .. } => "object",
            Self::Text(_) => "text",
            Self::Context { .. } => "context",
            Self::File(_) => "file",
            Self::Prerequisite { .. } => "prerequisite",
            Self::Effect(_) => "effect",
            Self::Receipt(_) => "receipt",
            Self::Seen(_) => "seen",
            Self::Completed(_) => "completed",
            Self::Unknown { kind, .. } => kind,
        }
    }

    /// The event's JSON object without `n` and `t`: `{"kind":…,…}`.
    ///
    /// # Errors
    /// When a value in it cannot be written as JSON (a map with keys that are no strings).
    pub fn to_json(&self) -> Result<Bytes, EventError> {
        fn write<T: Serialize>(kind: &str, body: &T) -> Result<Bytes, EventError> {
            #[derive(Serialize)]
            struct Tagged<'a, T> {
                kind: &'a str,
                #[serde(flatten)]
                body: &'a T,
            }
            Ok(serde_json::to_vec(&Tagged { kind, body })?.into())
        }
        // `flatten` cannot carry a RawValue, so the two raw kinds are put together from their parts.
        match self {
            Self::Rows { rows } => {
                let mut out = br#"{"kind":"rows","rows":"#.to_vec();
                serde_json::to_writer(&mut out, rows)?;
                out.push(b'}');
                Ok(out.into())
            }
            Self::Object { value } => {
                let mut out = br#"{"kind":"object","value":"#.to_vec();
                out.extend_from_slice(value.get().as_bytes());
                out.push(b'}');
                Ok(out.into())
            }
            Self::Unknown { value, .. } => {
                let mut value = value.clone();
                if let Some(map) = value.as_object_mut() {
                    map.shift_remove("n");
                    map.shift_remove("t");
                }
                Ok(serde_json::to_vec(&value)?.into())
            }
            Self::Created { number } => write("created", &CreatedBody { number: *number }),
            Self::Queued { place } => write("queued", &QueuedBody { place: *place }),
            Self::Started => Ok(Bytes::from_static(br#"{"kind":"started"}"#)),
            Self::Progress(body) => write("progress", body),
            Self::Table { keys } => write("table", &TableBody { keys: keys.clone() }),
            Self::Text(body) => write("text", body),
            Self::Context { current_directory } => {
                write("context", &ContextBody { current_directory: current_directory.clone() })
            }
            Self::File(body) => write("file", body),
            Self::Prerequisite { command_id } => write("prerequisite", &PrerequisiteBody { command_id: *command_id }),
            Self::Effect(body) => write("effect", body),
            Self::Receipt(body) => write("receipt", body),
            Self::Seen(body) => write("seen", body),
            Self::Completed(body) => write("completed", body),
        }
    }
}

/// An event as an agent hands it over: already JSON, with what those on the way must know beside it.
#[derive(Debug, Clone)]
pub enum AgentEvent {
    /// Passed on and spooled as it is: `{"kind":…,…}` without `n` and `t`.
    Pass {
        /// The JSON object.
        json: Bytes,
        /// How many table rows it holds.
        rows: u32,
    },
    /// Read by the service too: `effect`, `seen`, `prerequisite`, `receipt`, `completed`, `started`, `context`.
    Read(Box<Body>),
}
