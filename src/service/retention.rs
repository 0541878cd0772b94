//! Which spools are kept: so many days, and so many bytes in all. Never one of a command under way.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use super::policy::Limits;
use super::state::locked;
use super::stream::Stream;
use crate::protocol::{CommandRecord, Problem};

/// Once they are too many, so much of the limit is freed beyond it, that the next command does not prune again.
const SLACK: u64 = 10;
const DAY: Duration = Duration::from_hours(24);

/// The spools of a service: a folder for each session, in it a file for each command.
#[derive(Debug)]
pub(super) struct Spools {
    folder: PathBuf,
    cap: u64,
    total: u64,
    days: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    under_way: HashSet<PathBuf>,
    /// What the ended ones take, as of the last look, and since.
    bytes: u64,
    /// The last event of the oldest.
    oldest: Option<SystemTime>,
    pruning: bool,
}

struct Kept {
    path: PathBuf,
    bytes: u64,
    changed: SystemTime,
}

impl Spools {
    /// The spools below a service's folder. Nothing is looked at yet.
    pub(super) fn new(service: &Path, limits: &Limits) -> Arc<Self> {
        Arc::new(Self {
            folder: service.join("spool"),
            cap: limits.spool_bytes,
            total: limits.spool_total_bytes,
            days: limits.spool_days,
            state: Mutex::default(),
        })
    }

    /// The largest spool of one command, in bytes.
    pub(super) fn cap(&self) -> u64 {
        self.cap
    }

    fn path(&self, record: &CommandRecord) -> PathBuf {
        self.folder.join(&record.session_id).join(record.number.to_string())
    }

    /// The stream of a command that begins.
    pub(super) fn begin(self: &Arc<Self>, record: &CommandRecord) -> Stream {
        let path = self.path(record);
        locked(&self.state).under_way.insert(path.clone());
        Stream::new(path, Arc::clone(self))
    }

    /// The stream of a command that the service's end cut off.
    pub(super) fn resume(self: &Arc<Self>, record: &CommandRecord) -> Stream {
        let path = self.path(record);
        locked(&self.state).under_way.insert(path.clone());
        Stream::resume(path, Arc::clone(self))
    }

    /// The stream of a command that has ended. Reads its file.
    pub(super) fn load(self: &Arc<Self>, record: &CommandRecord) -> Stream {
        Stream::load(self.path(record), Arc::clone(self))
    }

    /// What is said where a spool should be and none is.
    pub(super) fn why_gone(&self) -> Problem {
        let message = format!(
            "the output of this command is not kept any more: spools are kept for {} days, and {} bytes of them in all",
            self.days, self.total
        );
        Problem::new("spool_pruned", message).about("spool_days")
    }

    /// A command has ended, with a spool of so many bytes.
    pub(super) fn ended(self: &Arc<Self>, path: &Path, bytes: u64) {
        let due = {
            let mut state = locked(&self.state);
            if !state.under_way.remove(path) {
                return;
            }
            state.bytes = state.bytes.saturating_add(bytes);
            state.bytes > self.total || state.oldest.is_some_and(|oldest| self.is_too_old(oldest))
        };
        if due {
            self.prune();
        }
    }

    /// Removes what is too old or too much, beside the service's other work.
    pub(super) fn prune(self: &Arc<Self>) {
        if std::mem::replace(&mut locked(&self.state).pruning, true) {
            return;
        }
        let spools = Arc::clone(self);
        let thread = std::thread::Builder::new().name("prune".into()).spawn(move || {
            if let Err(error) = spools.prune_now() {
                tracing::error!(%error, folder = %spools.folder.display(), "old spools cannot be removed");
            }
            locked(&spools.state).pruning = false;
        });
        if thread.is_err() {
            locked(&self.state).pruning = false;
        }
    }

    fn prune_now(&self) -> io::Result<()> {
        let mut kept = self.look()?;
        kept.sort_by_key(|spool| spool.changed);
        let mut bytes: u64 = kept.iter().map(|spool| spool.bytes).sum();
        let enough = if bytes > self.total { self.total - self.total / SLACK } else { self.total };
        let mut oldest = None;
        for spool in kept {
            let wanted = bytes <= enough && !self.is_too_old(spool.changed);
            if wanted || !remove(&spool.path) {
                oldest = oldest.or(Some(spool.changed));
            } else {
                bytes -= spool.bytes;
            }
        }
        let mut state = locked(&self.state);
        state.bytes = bytes;
        state.oldest = oldest;
        Ok(())
    }

    /// Every spool of a command that has ended. Links and strange files are no spools.
    fn look(&self) -> io::Result<Vec<Kept>> {
        let sessions = match std::fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other?,
        };
        let mut kept = Vec::new();
        for session in sessions.flatten() {
            if !session.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            for file in std::fs::read_dir(session.path())?.flatten() {
                let Ok(facts) = file.metadata() else { continue };
                let path = file.path();
                if facts.is_file() && !locked(&self.state).under_way.contains(&path) {
                    kept.push(Kept { path, bytes: facts.len(), changed: facts.modified()? });
                }
            }
        }
        Ok(kept)
    }

    /// A clock that was set back makes nothing old.
    fn is_too_old(&self, changed: SystemTime) -> bool {
        changed.elapsed().is_ok_and(|age| age.as_secs() / DAY.as_secs() >= self.days)
    }
}

/// Removes a spool, and its session's folder with the last; `false` when it stays.
fn remove(path: &Path) -> bool {
    if let Err(error) = std::fs::remove_file(path) {
        tracing::error!(%error, spool = %path.display(), "a spool cannot be removed");
        return false;
    }
    if let Some(session) = path.parent() {
        // Fails while it holds another.
        let _ = std::fs::remove_dir(session);
    }
    true
}
