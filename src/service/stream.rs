//! The events of one command: numbered, spooled, and read by any number of readers at their own pace.
//!
//! Each event is written to the command's spool before any reader gets it; what comes within a moment is written and told
//! together, so that all of a small command is written once and sent once. The newest are kept in memory; a reader who is
//! further behind reads from the spool, so that a slow one costs no memory, loses nothing, and holds nobody up.
//!
//! What the spool does not hold — it reached its cap, the disk was full, it was damaged or pruned — is said in the errors of
//! `completed`, with a code that begins with `spool_`: an event is missing, but never in silence.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use jiff::Timestamp;
use serde::Deserialize;
use tokio::sync::{Notify, watch};

use super::frame::MAX_EVENT;
use super::retention::Spools;
use super::spool::Spool;
use crate::protocol::{Body, CommandRecord, Completed, Cost, Event, Problem};

/// Events kept in memory at most, in bytes.
const IN_MEMORY: usize = 1 << 20;
/// Behind the cap so much room is left for what says what was done: effects, receipts.
const RESERVE: u64 = 4 << 20;
/// An event waits so long for others to be told with it: no person sees it, and a small command ends within it.
const MOMENT: Duration = Duration::from_millis(2);
/// More than this does not wait, in bytes.
const TOGETHER: usize = 64 << 10;

/// What an event is to the spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weight {
    /// Output: the cap cuts it.
    Bulk,
    /// What happened to the command and the device.
    Fact,
    /// The end. It is kept whatever the cap says.
    Last,
}

impl Weight {
    /// What an event is that says so much.
    pub(super) fn of(body: &Body) -> Self {
        match body {
            Body::Completed(_) => Self::Last,
            Body::Progress(_)
            | Body::Table { .. }
            | Body::Rows { .. }
            | Body::Object { .. }
            | Body::Text(_)
            | Body::Unknown { .. } => Self::Bulk,
            _ => Self::Fact,
        }
    }
}

/// The events of one command.
#[derive(Debug)]
pub(super) struct Stream {
    state: Mutex<State>,
    /// The number of the newest event that was told, and whether it was the last.
    newest: watch::Sender<(u64, bool)>,
    /// Told when an event waits to be told.
    waiting: Notify,
    path: PathBuf,
    spools: Arc<Spools>,
}

#[derive(Debug, Default)]
struct State {
    spool: Spool,
    recent: VecDeque<Bytes>,
    recent_bytes: usize,
    count: u64,
    /// What is not told yet, in bytes.
    untold: usize,
    /// The end is among them.
    is_over: bool,
    /// The first event that the cap cut.
    capped: Option<u64>,
    /// The first event that could not be written, and why.
    unwritten: Option<(u64, String)>,
    /// An event that was larger than any may be.
    too_large: Option<u64>,
    /// Why there is nothing where a spool should be.
    gone: Option<Problem>,
}

impl Stream {
    /// An empty stream that spools to a file, which is made with the first event.
    pub(super) fn new(path: PathBuf, spools: Arc<Spools>) -> Self {
        Self::with(State::default(), path, spools)
    }

    /// What the spool tells of a command whose service has ended before it, to be gone on with.
    pub(super) fn resume(path: PathBuf, spools: Arc<Spools>) -> Self {
        let read = Spool::resume(&path);
        Self::loaded(path, spools, read)
    }

    /// The stream of a command that has ended, as its spool tells.
    pub(super) fn load(path: PathBuf, spools: Arc<Spools>) -> Self {
        let read = Spool::read(&path);
        Self::loaded(path, spools, read)
    }

    fn loaded(path: PathBuf, spools: Arc<Spools>, read: std::io::Result<Spool>) -> Self {
        let mut state = State::default();
        match read {
            Ok(spool) => {
                state.count = spool.newest();
                state.spool = spool;
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => state.gone = Some(spools.why_gone()),
            Err(error) => {
                tracing::error!(%error, spool = %path.display(), "a spool cannot be read");
                state.gone = Some(Problem::new("spool_unread", format!("the events of this command cannot be read: {error}")));
            }
        }
        let stream = Self::with(state, path, spools);
        stream.newest.send_replace((stream.count(), stream.completed().is_some()));
        stream
    }

    fn with(state: State, path: PathBuf, spools: Arc<Spools>) -> Self {
        let newest = watch::channel((0, false)).0;
        Self { state: Mutex::new(state), newest, waiting: Notify::new(), path, spools }
    }

    /// Ends the stream of a command that has ended by what the log says of it, where its own end is not there.
    pub(super) fn end_as(&self, record: &CommandRecord) {
        if self.newest.borrow().1 {
            return;
        }
        let completed = Completed {
            status: record.status,
            duration_ms: record.duration_ms.unwrap_or(0),
            cost: Cost::default(),
            errors: record.errors.clone(),
        };
        let Ok(body) = Body::Completed(completed).to_json() else { return };
        let n = {
            let mut state = self.locked();
            // What the log counted and the spool does not hold stays counted.
            let n = record.last_event.max(state.count + 1);
            let json = numbered(n, record.completed.unwrap_or_else(Timestamp::now), &body);
            state.keep(json);
            state.count = n;
            n
        };
        self.newest.send_replace((n, true));
    }

    /// Adds an event, whose JSON lacks `n` and `t`, and returns its number. It is told with those that follow in a moment,
    /// see [`Stream::pace`]; the end, and what is large, at once.
    pub(super) fn push(&self, body: &[u8], weight: Weight) -> u64 {
        let mut state = self.locked();
        let n = state.count + 1;
        state.count = n;
        state.is_over = weight == Weight::Last;
        if body.len() >= MAX_EVENT - 128 {
            // No reader takes it either.
            tracing::error!(bytes = body.len(), spool = %self.path.display(), "an event is too large");
            state.too_large.get_or_insert(n);
            state.recent.clear();
            state.recent_bytes = 0;
        } else {
            let json = numbered(n, Timestamp::now(), body);
            state.add(self, n, &json, weight);
            state.keep(json);
        }
        state.untold += body.len();
        let due = state.is_over || state.untold > TOGETHER;
        drop(state);
        if due {
            self.publish();
        } else {
            self.waiting.notify_one();
        }
        n
    }

    /// Tells what was added, a moment after the first of it; for as long as it is waited for.
    pub(super) async fn pace(&self) -> Infallible {
        loop {
            self.waiting.notified().await;
            tokio::time::sleep(MOMENT).await;
            self.publish();
        }
    }

    /// Writes what was added.
    pub(super) fn write(&self) {
        self.locked().write(self);
    }

    /// Writes what was added, and tells it.
    fn publish(&self) {
        let (newest, bytes) = {
            let mut state = self.locked();
            state.write(self);
            state.untold = 0;
            ((state.count, state.is_over), state.spool.bytes())
        };
        if newest.1 {
            self.spools.ended(&self.path, bytes);
        }
        self.newest.send_if_modified(|told| {
            let is_new = newest.0 > told.0;
            if is_new {
                *told = newest;
            }
            is_new
        });
    }

    /// Nothing more is added: the spool may go when its time has come.
    pub(super) fn close(&self) {
        self.spools.ended(&self.path, self.locked().spool.bytes());
    }

    /// The number of the newest event, told or not.
    pub(super) fn count(&self) -> u64 {
        self.locked().count
    }

    /// Tells of new events, as they are told.
    pub(super) fn watch(&self) -> watch::Receiver<(u64, bool)> {
        self.newest.subscribe()
    }

    /// Event `n`, or the first behind it that is there: its number and its JSON.
    pub(super) fn at_or_behind(&self, mut n: u64) -> Option<(u64, Bytes)> {
        loop {
            let frame = {
                let state = self.locked();
                let oldest = state.count + 1 - state.recent.len() as u64;
                if n >= oldest {
                    let at = usize::try_from(n - oldest).ok()?;
                    return state.recent.get(at).map(|json| (n, json.clone()));
                }
                state.spool.at_or_behind(n).filter(|frame| frame.n < oldest).ok_or(oldest)
            };
            match frame {
                Ok(frame) => match frame.json() {
                    Some(json) => return Some((frame.n, json.into())),
                    None => n = frame.n + 1,
                },
                Err(oldest) => n = oldest,
            }
        }
    }

    /// Every event that is there.
    pub(super) fn events(&self) -> impl Iterator<Item = Bytes> {
        std::iter::successors(self.at_or_behind(1), |(n, _)| self.at_or_behind(n + 1)).map(|(_, json)| json)
    }

    /// How the command ended, when its end is the newest event.
    pub(super) fn completed(&self) -> Option<Completed> {
        #[derive(Deserialize)]
        struct Head {
            kind: String,
        }
        let (_, json) = self.at_or_behind(self.count().max(1))?;
        if serde_json::from_slice::<Head>(&json).ok()?.kind != "completed" {
            return None;
        }
        match Event::parse(&json).ok()?.body {
            Body::Completed(completed) => Some(completed),
            _ => None,
        }
    }

    /// What a command that ends now has to say of its events: those that are not kept.
    pub(super) fn unkept(&self) -> Vec<Problem> {
        let state = self.locked();
        let mut problems = Vec::new();
        if state.spool.is_damaged() {
            let message = "what came before the service's end is damaged or cut off in its spool; the rest is whole";
            problems.push(Problem::new("spool_damaged", message));
        }
        if let Some(n) = state.capped {
            let cap = self.spools.cap();
            let message =
                format!("the output from event {n} on is not kept: it reached the limit of {cap} bytes for one command");
            problems.push(Problem::new("spool_capped", message).about("spool_bytes"));
        }
        if let Some((n, why)) = &state.unwritten {
            let message = format!("some events from {n} on are not kept; who reads them later misses them: {why}");
            problems.push(Problem::new("spool_unwritten", message));
        }
        if let Some(n) = state.too_large {
            let message = format!("event {n} of the device was larger than {} MiB and is left out", MAX_EVENT >> 20);
            problems.push(Problem::new("event_too_large", message));
        }
        problems
    }

    /// Whether the spool has lost what it held.
    pub(super) fn is_faulty(&self) -> bool {
        let state = self.locked();
        state.gone.is_some() || state.spool.is_damaged()
    }

    /// What a reader is told who missed events: `count` of them, from `first` to `last`.
    pub(super) fn missed(&self, first: u64, last: u64, count: u64) -> Problem {
        let state = self.locked();
        if let Some(gone) = &state.gone {
            return gone.clone();
        }
        let (are, were) = if count == 1 { ("is", "was") } else { ("are", "were") };
        let which = match count {
            1 => format!("event {first}"),
            _ => format!("{count} events between {first} and {last}"),
        };
        if state.spool.is_damaged() || state.unwritten.is_none() && state.capped.is_none() {
            let message = format!("{which} {are} damaged or cut off in the service's spool; what is shown is what is whole");
            return Problem::new("spool_damaged", message);
        }
        Problem::new("spool_unwritten", format!("{which} {were} not kept, and had passed before this reader came to them"))
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn add(&mut self, stream: &Stream, n: u64, json: &[u8], weight: Weight) {
        if weight == Weight::Bulk && self.capped.is_some() {
            return;
        }
        let room = match weight {
            Weight::Bulk => stream.spools.cap(),
            Weight::Fact => stream.spools.cap().saturating_add(RESERVE),
            Weight::Last => u64::MAX,
        };
        match self.spool.add(n, json, room) {
            Ok(true) => {}
            Ok(false) => _ = self.capped.get_or_insert(n),
            Err(error) => self.lack(stream, n, &error),
        }
    }

    fn write(&mut self, stream: &Stream) {
        if let Err((n, error)) = self.spool.write(&stream.path) {
            self.lack(stream, n, &error);
        }
    }

    /// Notes that events are not kept.
    fn lack(&mut self, stream: &Stream, n: u64, error: &std::io::Error) {
        if self.unwritten.is_none() {
            tracing::error!(%error, spool = %stream.path.display(), "events are not kept");
            self.unwritten = Some((n, error.to_string()));
        }
    }

    fn keep(&mut self, json: Bytes) {
        self.recent_bytes += json.len();
        self.recent.push_back(json);
        // What the spool does not hold stays reachable only here, so the newest always stays.
        while self.recent_bytes > IN_MEMORY && self.recent.len() > 1 {
            if let Some(old) = self.recent.pop_front() {
                self.recent_bytes -= old.len();
            }
        }
    }
}

/// An event's JSON with number and time in front.
fn numbered(n: u64, t: Timestamp, body: &[u8]) -> Bytes {
    let mut json = BytesMut::with_capacity(body.len() + 64);
    json.put_slice(format!(r#"{{"n":{n},"t":"{t:.6}","#).as_bytes());
    json.put_slice(body.get(1..).unwrap_or_default());
    json.freeze()
}
