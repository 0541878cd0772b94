//! What a part of a package works with: it runs on a thread of its own and hands over what it finds piece by piece, so that one
//! that hangs holds nobody up.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::package::name_of;
use crate::agent::content::Content;
use crate::agent::context::{Context, Meter, Stop, VerbError};
use crate::agent::dispatch::Shared;
use crate::agent::path::{key, problem, shown};
use crate::agent::platform::{Facts, drive, thread_cpu_since, thread_cpu_time};
use crate::agent::verbs;
use crate::protocol::link::DeviceCommand;
use crate::protocol::{AgentEvent, Body, Problem, Status};

/// Rows go over in pieces of about this size.
const PIECE: usize = 64 * 1024;
/// Of a file no more than this is taken; what is cut is said.
const MAX_FILE: u64 = 256 * 1024 * 1024;
/// So much may be said of what went wrong in a part.
const MAX_PROBLEMS: usize = 200;

/// What a part hands over.
#[derive(Debug)]
pub enum Piece {
    /// A file begins.
    Begin {
        /// Its name within the part's folder.
        name: String,
        /// Where it was on the device, where it is a copy.
        source: Option<String>,
        /// When that was last changed.
        modified: Option<Timestamp>,
    },
    /// Bytes of it.
    Bytes(Vec<u8>),
    /// So many rows were in what came.
    Rows(u64),
    /// Something went wrong.
    Problem(Problem),
    /// The end; why it is not a good one.
    End(Result<(), Problem>),
}

/// Nobody wants any more of it.
#[derive(Debug, Clone, Copy)]
pub struct Over;

/// What a part works with.
pub struct Gatherer {
    /// The device and what the agent keeps.
    pub agent: Arc<Shared>,
    /// The word to stop.
    pub stop: Stop,
    /// What it costs.
    pub meter: Arc<Meter>,
    pub(super) command: DeviceCommand,
    pub(super) runtime: Handle,
    pub(super) pieces: SyncSender<Piece>,
    pub(super) problems: usize,
}

/// How a part ends.
pub type Gathered = Result<(), Ended>;

/// Why a part ended early.
#[derive(Debug)]
pub enum Ended {
    /// Nobody wants any more of it.
    Over,
    /// It failed as a whole.
    Failed(Problem),
}

impl From<Over> for Ended {
    fn from(_: Over) -> Self {
        Self::Over
    }
}

impl From<Problem> for Ended {
    fn from(problem: Problem) -> Self {
        Self::Failed(problem)
    }
}

impl From<VerbError> for Ended {
    fn from(error: VerbError) -> Self {
        match error {
            VerbError::Failed(problem) => Self::Failed(problem),
            VerbError::Stopped { .. } => Self::Over,
        }
    }
}

/// A list that is being written.
pub struct Rows<'a> {
    gatherer: &'a mut Gatherer,
    buffer: Vec<u8>,
    rows: u64,
}

impl Rows<'_> {
    /// Adds a row.
    ///
    /// # Errors
    /// When nobody wants any more.
    pub fn row(&mut self, row: &impl Serialize) -> Result<(), Over> {
        if serde_json::to_writer(&mut self.buffer, row).is_ok() {
            self.buffer.push(b'\n');
            self.rows += 1;
        }
        if self.buffer.len() >= PIECE { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), Over> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let (bytes, rows) = (std::mem::take(&mut self.buffer), std::mem::take(&mut self.rows));
        self.gatherer.hand(Piece::Bytes(bytes))?;
        self.gatherer.hand(Piece::Rows(rows))
    }
}

impl Gatherer {
    pub(super) fn hand(&self, piece: Piece) -> Result<(), Over> {
        self.pieces.send(piece).map_err(|_| Over)
    }

    /// Notes what went wrong with some of it.
    ///
    /// # Errors
    /// When nobody wants any more.
    pub fn problem(&mut self, problem: Problem) -> Result<(), Over> {
        self.problems += 1;
        if self.problems > MAX_PROBLEMS { Ok(()) } else { self.hand(Piece::Problem(problem)) }
    }

    /// Writes a list: JSON, a row a line.
    ///
    /// # Errors
    /// When nobody wants any more, or as `fill` says.
    pub fn rows(&mut self, name: &str, fill: impl FnOnce(&mut Rows<'_>) -> Gathered) -> Gathered {
        self.hand(Piece::Begin { name: format!("{name}.jsonl"), source: None, modified: None })?;
        let mut rows = Rows { gatherer: self, buffer: Vec::new(), rows: 0 };
        let filled = fill(&mut rows);
        rows.flush()?;
        filled
    }

    /// Writes bytes that were made here.
    ///
    /// # Errors
    /// When nobody wants any more.
    pub fn bytes(&mut self, name: &str, bytes: Vec<u8>) -> Result<(), Over> {
        self.hand(Piece::Begin { name: name.to_owned(), source: None, modified: None })?;
        self.hand(Piece::Bytes(bytes))
    }

    /// Takes a copy of a file, below `raw`. One that is not there is left out; whatever else keeps it from being read is noted.
    /// Whether it was there.
    ///
    /// # Errors
    /// When nobody wants any more.
    pub fn raw(&mut self, path: &Path) -> Result<bool, Over> {
        let agent = Arc::clone(&self.agent);
        if agent.root.facts(path).is_err() && agent.root.link_facts(path).is_err() {
            return Ok(false);
        }
        match Content::open(&agent.root, path, false) {
            // A link may lead to what nobody should be given, whatever name it goes by.
            Ok(content) if agent.root.path_of(content.file.as_fd()).is_some_and(|real| is_secret(&real)) => {
                let message = format!("{}: it leads to the hashes of passwords, and is not taken", key(path));
                self.problem(Problem::new("link", message).at(key(path))).map(|()| true)
            }
            Ok(content) => self.copy(path, &content.file, &content.facts).map(|()| true),
            Err(problem) => self.problem(problem).map(|()| true),
        }
    }

    fn copy(&mut self, path: &Path, file: &File, facts: &Facts) -> Result<(), Over> {
        let bytes = path.as_os_str().as_bytes();
        let name = match drive::split(bytes) {
            Some((drive, below)) => name_of(&[drive.strip_suffix(b":").unwrap_or(drive), below].concat()),
            None => name_of(bytes),
        };
        let name = format!("raw/{name}");
        // Of what the kernel makes up as it is read the time says nothing.
        let modified = facts.modified.timestamp().filter(|_| facts.size > 0);
        self.hand(Piece::Begin { name, source: Some(shown(path)), modified })?;
        let mut left = MAX_FILE;
        loop {
            let mut bytes = Vec::with_capacity(PIECE);
            let most = left.min(PIECE as u64);
            match file.take(most).read_to_end(&mut bytes) {
                Ok(0) => return Ok(()),
                Ok(read) => left -= read as u64,
                Err(error) => return self.problem(problem(path, &error)),
            }
            self.hand(Piece::Bytes(bytes))?;
            if left == 0 {
                let message = format!("{}: only its first {} MB were taken", shown(path), MAX_FILE >> 20);
                return self.problem(Problem::new("limit", message).at(shown(path)));
            }
        }
    }

    /// Runs a looking verb and writes its rows as a list; `keep` chooses among them.
    ///
    /// # Errors
    /// As the verb says, or when nobody wants any more.
    pub fn verb(
        &mut self,
        list: &str,
        name: &'static str,
        params: &[(&str, &str)],
        keep: impl Fn(&RawValue) -> bool,
    ) -> Gathered {
        let (mut end, looking) = (Ok(Vec::new()), self.look(name, params)?);
        self.rows(list, |rows| {
            end = looking.each(|row| if keep(&row) { Ok(rows.row(&row)?) } else { Ok(()) });
            Ok(())
        })?;
        for problem in end? {
            self.problem(problem)?;
        }
        Ok(())
    }

    /// Has a looking verb begin.
    ///
    /// # Errors
    /// When there is no such verb.
    pub fn look(&self, name: &'static str, params: &[(&str, &str)]) -> Result<Looking, Problem> {
        let Some(verb) = verbs::find(name) else {
            return Err(Problem::new("internal", format!("there is no command {name}")));
        };
        let (sender, events) = mpsc::channel(8);
        let mut command = self.command.clone();
        name.clone_into(&mut command.command_definition_id);
        command.params = params.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        command.flags = Vec::new();
        "/".clone_into(&mut command.current_directory);
        let (_desk, requests) = mpsc::channel(1);
        let mut ctx = Context::new(command, Arc::clone(&self.agent), self.stop.clone(), sender, None, requests);
        ctx.meter = Arc::clone(&self.meter);
        let runtime = self.runtime.clone();
        // It ends by itself when nobody listens any more: nobody waits for it.
        std::thread::spawn(move || {
            let _inside = runtime.enter();
            let cpu = thread_cpu_time();
            let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| verb(&mut ctx)));
            let ran = ran.unwrap_or_else(|_| Err(VerbError::failed("internal", "it failed inside the agent")));
            let ran = ran.and_then(|()| ctx.flush());
            let (status, mut errors) = match ran {
                Ok(()) => (Status::Completed, Vec::new()),
                Err(VerbError::Failed(problem)) => (Status::Failed, vec![problem]),
                Err(VerbError::Stopped { .. }) => (Status::Cancelled, Vec::new()),
            };
            errors.extend(ctx.take_problems());
            ctx.meter.spent(thread_cpu_since(cpu));
            let completed =
                crate::protocol::Completed { status, duration_ms: 0, cost: crate::protocol::Cost::default(), errors };
            let _ = ctx.tell(&Body::Completed(completed));
        });
        Ok(Looking { events })
    }
}

/// Refuses what only a running system has.
///
/// # Errors
/// Where the device is not one.
pub fn live(to: &Gatherer, what: &str) -> Gathered {
    if to.agent.root.is_live() {
        return Ok(());
    }
    let message = format!("{what}: only a running system tells this, and this device is a tree of files");
    Err(Problem::new("not_on_platform", message).into())
}

/// A part that would hold nothing, since the device has none of it.
///
/// # Errors
/// Where there is none.
pub fn none(any: bool, what: &str) -> Gathered {
    if any { Ok(()) } else { Err(Problem::new("not_on_platform", format!("the device has no {what}")).into()) }
}

/// A looking verb at work.
pub struct Looking {
    events: mpsc::Receiver<AgentEvent>,
}

impl Looking {
    /// Takes its rows as they come, to its end; answers with what went wrong on the way.
    ///
    /// # Errors
    /// As the verb, or `take`, says.
    pub fn each(mut self, mut take: impl FnMut(Box<RawValue>) -> Gathered) -> Result<Vec<Problem>, Ended> {
        while let Some(event) = self.events.blocking_recv() {
            match event {
                AgentEvent::Pass { json, .. } => rows_of(&json, &mut take)?,
                AgentEvent::Read(body) => {
                    let Body::Completed(completed) = *body else { continue };
                    let mut errors = completed.errors;
                    return match completed.status {
                        Status::Completed => Ok(errors),
                        Status::Failed if !errors.is_empty() => Err(errors.remove(0).into()),
                        _ => Err(Ended::Over),
                    };
                }
            }
        }
        Err(Ended::Over)
    }
}

/// What an agent's event carries: rows, or one object.
#[derive(serde::Deserialize)]
struct Carried {
    #[serde(default)]
    rows: Vec<Box<RawValue>>,
    #[serde(default)]
    value: Option<Value>,
}

fn rows_of(json: &[u8], take: &mut impl FnMut(Box<RawValue>) -> Gathered) -> Gathered {
    let carried: Carried = serde_json::from_slice(json)
        .map_err(|error| Problem::new("internal", format!("an answer is not understood: {error}")))?;
    for row in carried.rows {
        take(row)?;
    }
    // An object of lists (`persistence`): each entry is a row, and says which list it stands in.
    let lists = carried.value.as_ref().and_then(Value::as_object).and_then(|value| value.values().next()?.as_object());
    for (list, entries) in lists.into_iter().flatten() {
        for entry in entries.as_array().into_iter().flatten() {
            let mut row = serde_json::Map::new();
            row.insert("category".to_owned(), Value::from(list.as_str()));
            // Start-up items have a category of their own, which their ending tells.
            row.extend(entry.as_object().cloned().unwrap_or_default().into_iter().filter(|(name, _)| name != "category"));
            if let Ok(row) = serde_json::value::to_raw_value(&row) {
                take(row)?;
            }
        }
    }
    Ok(())
}

/// Whether a file holds the hashes of passwords, which no package has.
#[must_use]
pub fn is_secret(path: &Path) -> bool {
    ["/etc/shadow", "/etc/gshadow", "/etc/security/opasswd"].iter().any(|secret| {
        path.to_str()
            .is_some_and(|path| path.strip_prefix(secret).is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '.'])))
    })
}
