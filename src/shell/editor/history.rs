//! The lines typed before, shared by every shell of a home: one JSON object a line, appended under a lock once the outcome is known.
//!
//! Reedline walks a copy in memory; what other shells have added is read before each prompt.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use reedline::{FileBackedHistory, HistoryItem, HistoryItemId, HistorySessionId, Result, SearchQuery};
use serde::{Deserialize, Serialize};

use super::LineOutcome;
use crate::host::private_file;

/// Lines kept in memory.
const KEPT: usize = 10_000;
/// Of a history file at most this much is read, from its end.
const MAX_READ: u64 = 8 << 20;

/// The history of a home. Clones are the same.
#[derive(Clone)]
pub(super) struct History(Arc<Mutex<State>>);

struct State {
    memory: FileBackedHistory,
    file: PathBuf,
    /// How far the file was read.
    read: u64,
}

/// A line of the file.
#[derive(Serialize, Deserialize)]
struct Entry {
    line: String,
    time: Option<String>,
    device: Option<String>,
    outcome: Option<String>,
}

impl History {
    pub(super) fn open(file: PathBuf) -> Self {
        // The size is valid, so the default is never needed.
        let memory = FileBackedHistory::new(KEPT).unwrap_or_default();
        let history = Self(Arc::new(Mutex::new(State { memory, file, read: 0 })));
        history.catch_up();
        history
    }

    /// Reads what other shells have added.
    pub(super) fn catch_up(&self) {
        let mut state = self.state();
        let Ok(mut file) = File::open(&state.file) else { return };
        let Ok(length) = file.metadata().map(|facts| facts.len()) else { return };
        if length < state.read {
            state.read = 0;
        }
        let from = state.read.max(length.saturating_sub(MAX_READ));
        let mut text = Vec::new();
        if file.seek(SeekFrom::Start(from)).is_err() || file.take(MAX_READ).read_to_end(&mut text).is_err() {
            return;
        }
        // A line that is being written is read the next time.
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        state.read = from + whole as u64;
        let text = String::from_utf8_lossy(text.get(..whole).unwrap_or_default()).into_owned();
        for line in text.lines().filter(|line| !line.is_empty()) {
            let typed = serde_json::from_str::<Entry>(line).map_or_else(|_| line.to_owned(), |entry| entry.line);
            // Only an empty capacity refuses a line.
            let _ = reedline::History::save(&mut state.memory, HistoryItem::from_command_line(typed));
        }
    }

    /// Writes a line down, now that it is known how it went.
    pub(super) fn write(&self, line: &str, outcome: &LineOutcome) {
        if line.trim().is_empty() {
            return;
        }
        self.catch_up();
        let mut state = self.state();
        let entry = Entry {
            line: line.to_owned(),
            time: Some(jiff::Timestamp::now().to_string()),
            device: outcome.device.clone(),
            outcome: Some(outcome.failure.clone().unwrap_or_else(|| "done".to_owned())),
        };
        let written = || -> std::io::Result<u64> {
            if let Some(folder) = state.file.parent() {
                crate::host::private_folder(folder)?;
            }
            let mut file = private_file().append(true).create(true).open(&state.file)?;
            file.lock()?;
            let mut text = serde_json::to_string(&entry)?;
            text.push('\n');
            file.write_all(text.as_bytes())?;
            file.metadata().map(|facts| facts.len())
        };
        // A history that cannot be written is no reason to end a shell; it stays in memory.
        if let Ok(length) = written() {
            state.read = length;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl reedline::History for History {
    fn save(&mut self, item: HistoryItem) -> Result<HistoryItem> {
        self.state().memory.save(item)
    }

    fn load(&self, id: HistoryItemId) -> Result<HistoryItem> {
        self.state().memory.load(id)
    }

    fn count(&self, query: SearchQuery) -> Result<i64> {
        self.state().memory.count(query)
    }

    fn search(&self, query: SearchQuery) -> Result<Vec<HistoryItem>> {
        self.state().memory.search(query)
    }

    fn update(&mut self, id: HistoryItemId, updater: &dyn Fn(HistoryItem) -> HistoryItem) -> Result<()> {
        self.state().memory.update(id, updater)
    }

    fn clear(&mut self) -> Result<()> {
        self.state().memory.clear()
    }

    fn delete(&mut self, id: HistoryItemId) -> Result<()> {
        self.state().memory.delete(id)
    }

    fn sync(&mut self) -> std::io::Result<()> {
        Ok(())
    }

    fn session(&self) -> Option<HistorySessionId> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reedline::SearchDirection;

    fn lines(history: &History) -> Vec<String> {
        let all = SearchQuery::everything(SearchDirection::Forward, None);
        reedline::History::search(history, all).unwrap().into_iter().map(|item| item.command_line).collect()
    }

    #[test]
    fn two_shells_share_a_history() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("history");
        let (one, two) = (History::open(file.clone()), History::open(file.clone()));
        one.write("processes", &LineOutcome::default());
        two.write("dir \"a\nb\"", &LineOutcome { failure: Some("not_found".into()), ..LineOutcome::default() });
        one.catch_up();
        assert_eq!(lines(&one), ["dir \"a\nb\""], "its own line is saved by reedline itself");
        two.catch_up();
        assert_eq!(lines(&History::open(file.clone())), ["processes", "dir \"a\nb\""]);
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(file).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
    }
}
