//! What a verb is given: its parameters, the device, a way to tell what it finds, and the word to stop.
//!
//! Verbs are plain blocking functions; each runs on a thread of its own. `Err` ends a command as failed (or, when it was
//! asked to stop, with the receipt that the error carries); everything told before stays told.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::dispatch::{ReadRequest, Shared};
use super::path::problem;
use crate::protocol::link::{Delivery, DeviceCommand, StopReason};
use crate::protocol::{AgentEvent, Body, Effect, Problem, Progress, ProgressUnit, Seen, SeenItem, StreamName, Text, TextData};

/// How a verb ends when it does not end well.
#[derive(Debug, thiserror::Error)]
pub enum VerbError {
    /// It failed.
    #[error("{0}")]
    Failed(#[from] Problem),
    /// It stopped because it was asked to; what it had done and what it left.
    #[error("stopped")]
    Stopped {
        /// What was done.
        done: Vec<String>,
        /// What was not done.
        not_done: Vec<String>,
    },
}

impl VerbError {
    /// A failure about nothing in particular.
    pub fn failed(code: &str, message: impl Into<String>) -> Self {
        Self::Failed(Problem::new(code, message))
    }

    /// A stop with nothing to tell.
    #[must_use]
    pub fn stopped() -> Self {
        Self::Stopped { done: Vec::new(), not_done: Vec::new() }
    }
}

/// What verbs return.
pub type VerbResult = Result<(), VerbError>;

/// The word to stop, shared by everything that works for one command. Clones are the same word.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    asked: Arc<AtomicBool>,
    token: CancellationToken,
    reason: Arc<std::sync::Mutex<Option<StopReason>>>,
}

impl Stop {
    /// Says it. The first reason stays.
    pub fn ask(&self, reason: StopReason) {
        if let Ok(mut kept) = self.reason.lock() {
            kept.get_or_insert(reason);
        }
        self.asked.store(true, Ordering::Release);
        self.token.cancel();
    }

    /// Whether it was said: one atomic read.
    #[must_use]
    pub fn asked(&self) -> bool {
        self.asked.load(Ordering::Acquire)
    }

    /// Why, once it was said.
    #[must_use]
    pub fn reason(&self) -> Option<StopReason> {
        self.reason.lock().ok().and_then(|reason| reason.clone())
    }

    /// `Err` once it was said: `ctx.stop.check()?` in every loop.
    ///
    /// # Errors
    /// [`VerbError::Stopped`] once the command was asked to stop.
    pub fn check(&self) -> VerbResult {
        if self.asked() { Err(VerbError::stopped()) } else { Ok(()) }
    }

    /// The same word for async code.
    #[must_use]
    pub fn token(&self) -> &CancellationToken {
        &self.token
    }
}

/// What a command has cost so far; worker threads add to it.
#[derive(Debug, Default)]
pub struct Meter {
    /// Processor time of threads beside the verb's own, in microseconds.
    pub cpu_us: AtomicU64,
    /// Bytes read from files.
    pub read_bytes: AtomicU64,
    /// Bytes of events and file content sent.
    pub sent_bytes: AtomicU64,
}

impl Meter {
    /// Counts processor time of a thread beside the verb's own.
    pub fn spent(&self, time: Duration) {
        self.cpu_us.fetch_add(u64::try_from(time.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Counts bytes read from a file.
    pub fn read(&self, bytes: u64) {
        self.read_bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// At most this many rows in one event.
const MAX_ROWS: usize = 512;
/// At most this many bytes of rows in one event.
const MAX_ROW_BYTES: usize = 256 * 1024;
/// Rows wait for more rows at most this long.
const ROW_PATIENCE: Duration = Duration::from_millis(50);
/// Progress is told at most this often.
const PROGRESS_PACE: Duration = Duration::from_millis(100);

/// What a verb is given.
pub struct Context {
    /// The command.
    pub command: DeviceCommand,
    /// The device and what the agent keeps.
    pub agent: Arc<Shared>,
    /// The word to stop.
    pub stop: Stop,
    /// What it has cost.
    pub meter: Arc<Meter>,
    /// The bytes of the library file that came with the command.
    pub delivery: Option<Delivery>,
    /// Where those ask who want the bytes of this command's file.
    pub desk: mpsc::Receiver<ReadRequest>,
    events: mpsc::Sender<AgentEvent>,
    /// What goes with the next event: nobody waits for it.
    held: Vec<AgentEvent>,
    rows: Vec<u8>,
    row_count: usize,
    rows_since: Option<Instant>,
    rows_told: u64,
    progress_told: Option<Instant>,
    problems: Vec<Problem>,
}

impl Context {
    /// A context for one command.
    #[must_use]
    pub fn new(
        command: DeviceCommand,
        agent: Arc<Shared>,
        stop: Stop,
        events: mpsc::Sender<AgentEvent>,
        delivery: Option<Delivery>,
        desk: mpsc::Receiver<ReadRequest>,
    ) -> Self {
        Self {
            command,
            agent,
            stop,
            meter: Arc::default(),
            delivery,
            desk,
            events,
            held: Vec::new(),
            rows: Vec::new(),
            row_count: 0,
            rows_since: None,
            rows_told: 0,
            progress_told: None,
            problems: Vec::new(),
        }
    }

    /// A parameter's value.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<&str> {
        self.command.params.get(name).map(String::as_str)
    }

    /// A parameter that the definition says is there.
    ///
    /// # Errors
    /// When a service sends a command without it.
    pub fn required(&self, name: &str) -> Result<&str, VerbError> {
        self.param(name).ok_or_else(|| Problem::new("missing_parameter", format!("-{name} is missing")).about(name).into())
    }

    /// Whether a flag was given.
    #[must_use]
    pub fn flag(&self, name: &str) -> bool {
        self.command.flags.iter().any(|flag| flag == name)
    }

    /// The absolute path on the device that a typed path means: `file:///` decoded, `~` and relative ones resolved.
    #[must_use]
    pub fn path(&self, typed: &str) -> PathBuf {
        self.agent.root.resolve(&self.command.current_directory, typed)
    }

    /// Whether a typed path means a folder and nothing else: it ends in a slash.
    #[must_use]
    pub fn means_folder(&self, typed: &str) -> bool {
        let typed = typed.strip_suffix('.').unwrap_or(typed);
        typed.ends_with('/') || (self.agent.root.is_windows() && typed.ends_with('\\'))
    }

    /// The absolute path of a file that was typed.
    ///
    /// # Errors
    /// When the path means a folder. What is not there is for the command to say.
    pub fn file_path(&self, typed: &str) -> Result<PathBuf, Problem> {
        let path = self.path(typed);
        let means_folder = self.means_folder(typed) && path.parent().is_some();
        match self.agent.root.facts(&path).map(|facts| facts.is_folder()) {
            Ok(true) if means_folder => Err(problem(&path, &Errno::ISDIR.into())),
            Ok(false) if means_folder => Err(problem(&path, &Errno::NOTDIR.into())),
            _ => Ok(path),
        }
    }

    /// Tells which fields the rows carry; once, before the first row.
    ///
    /// # Errors
    /// [`VerbError::Stopped`] when nobody listens any more.
    pub fn table(&mut self, keys: &[&str]) -> VerbResult {
        self.tell(&Body::Table { keys: keys.iter().map(|&key| key.to_owned()).collect() })
    }

    /// Tells a row. Rows travel in batches.
    ///
    /// # Errors
    /// [`VerbError::Stopped`] when the command was asked to stop.
    pub fn row(&mut self, row: &impl Serialize) -> VerbResult {
        self.stop.check()?;
        self.rows.push(if self.row_count == 0 { b'[' } else { b',' });
        serde_json::to_writer(&mut self.rows, row).map_err(not_json)?;
        self.row_count += 1;
        let since = *self.rows_since.get_or_insert_with(Instant::now);
        if self.row_count >= MAX_ROWS || self.rows.len() >= MAX_ROW_BYTES {
            return self.flush();
        }
        // Asking the clock costs more than a row of `dir`: every 64th row is often enough.
        if self.row_count.is_multiple_of(64) && since.elapsed() >= ROW_PATIENCE {
            return self.flush();
        }
        Ok(())
    }

    /// Sends the rows that wait. Slow producers call it when they are about to wait; everything else flushes by itself.
    ///
    /// # Errors
    /// [`VerbError::Stopped`] when nobody listens any more.
    pub fn flush(&mut self) -> VerbResult {
        if self.row_count == 0 {
            return Ok(());
        }
        let mut json = Vec::with_capacity(self.rows.len() + 32);
        json.extend_from_slice(br#"{"kind":"rows","rows":"#);
        json.append(&mut self.rows);
        json.extend_from_slice(b"]}");
        let rows = u32::try_from(self.row_count).unwrap_or(u32::MAX);
        self.rows_told += self.row_count as u64;
        self.row_count = 0;
        self.rows_since = None;
        self.send(AgentEvent::Pass { json: json.into(), rows })
    }

    /// How many rows were told.
    #[must_use]
    pub fn rows_told(&self) -> u64 {
        self.rows_told + self.row_count as u64
    }

    /// Tells the answer of a command that answers with one object.
    ///
    /// # Errors
    /// [`VerbError::Stopped`] when nobody listens any more.
    pub fn object(&mut self, value: &impl Serialize) -> VerbResult {
        let json = serde_json::to_string(value).map_err(not_json)?;
        let value = RawValue::from_string(json).map_err(not_json)?;
        self.tell(&Body::Object { value })
    }

    /// Tells bytes of output.
    ///
    /// # Errors
    /// [`VerbError::Stopped`] when nobody listens any more.
    pub fn text(&mut self, stream: StreamName, bytes: &[u8]) -> VerbResult {
        self.tell(&Body::Text(Text { stream, data: TextData::of(bytes) }))
    }

    /// Tells how far it is; called as often as one likes, sent a few times a second.
    ///
    /// # Errors
    /// [`VerbError::Stopped`] when the command was asked to stop.
    pub fn progress(&mut self, done: u64, total: Option<u64>, unit: ProgressUnit, text: &str) -> VerbResult {
        self.stop.check()?;
        if self.progress_told.is_some_and(|told| told.elapsed() < PROGRESS_PACE) {
            return Ok(());
        }
        self.progress_told = Some(Instant::now());
        self.tell(&Body::Progress(Progress { done, total, unit, text: text.to_owned() }))
    }

    /// Tells what the analyst has now seen, for `remediate` to compare. It goes with the next event.
    ///
    /// # Errors
    /// [`VerbError::Stopped`] when nobody listens any more.
    pub fn seen(&mut self, entity: &str, items: Vec<SeenItem>) -> VerbResult {
        if !items.is_empty() {
            self.flush()?;
            self.held.push(AgentEvent::Read(Box::new(Body::Seen(Seen { entity: entity.to_owned(), items }))));
        }
        Ok(())
    }

    /// Whether anybody listens.
    #[must_use]
    pub fn is_heard(&self) -> bool {
        !self.events.is_closed()
    }

    /// Tells a change made on the device.
    ///
    /// # Errors
    /// [`VerbError::Stopped`] when nobody listens any more.
    pub fn effect(&mut self, effect: Effect) -> VerbResult {
        self.tell(&Body::Effect(Box::new(effect)))
    }

    /// Tells anything else. Rows that wait go first, so that order holds.
    ///
    /// # Errors
    /// [`VerbError::Stopped`] when nobody listens any more.
    pub fn tell(&mut self, body: &Body) -> VerbResult {
        self.flush()?;
        let event = match body {
            Body::Table { .. } | Body::Object { .. } | Body::Text(_) | Body::Progress(_) | Body::File(_) => {
                AgentEvent::Pass { json: body.to_json().map_err(not_json)?, rows: 0 }
            }
            other => AgentEvent::Read(Box::new(other.clone())),
        };
        self.send(event)
    }

    /// Notes a problem with a part of the work; the command goes on, and its end tells them all (the first 1,000).
    pub fn problem(&mut self, problem: Problem) {
        if self.problems.len() < 1000 {
            self.problems.push(problem);
        }
    }

    /// The problems noted, for the end of the command.
    #[must_use]
    pub fn take_problems(&mut self) -> Vec<Problem> {
        std::mem::take(&mut self.problems)
    }

    fn send(&mut self, event: AgentEvent) -> VerbResult {
        for event in self.held.drain(..).chain([event]) {
            if let AgentEvent::Pass { json, .. } = &event {
                self.meter.sent_bytes.fetch_add(json.len() as u64, Ordering::Relaxed);
            }
            // Verbs run on threads of their own, where blocking is right: it is how a slow reader slows the device.
            self.events.blocking_send(event).map_err(|_| VerbError::stopped())?;
        }
        Ok(())
    }
}

fn not_json(error: impl std::fmt::Display) -> VerbError {
    VerbError::failed("internal", format!("an answer could not be written as JSON: {error}"))
}
