//! The lines typed before, shared by every shell of a home: one JSON object a line, appended under a lock once the outcome is known.
//!
//! Reedline walks a copy in memory; what other shells have added is read before each prompt. A file that has grown large is cut
//! to its newer half in place, so that no shell is left with one that nobody else reads.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use reedline::{FileBackedHistory, HistoryItem, HistoryItemId, HistorySessionId, Result, SearchQuery};
use serde::{Deserialize, Serialize};

use super::LineOutcome;
use crate::grammar::script_lines;
use crate::host::private_file;

/// Lines kept in memory.
const KEPT: usize = 10_000;
/// Of a history file at most this much is read, from its end.
const MAX_READ: u64 = 8 << 20;
/// A file larger than this is cut to half of it.
const MAX_FILE: u64 = 4 << 20;

/// The history of a home. Clones are the same.
#[derive(Clone)]
pub(crate) struct History(Arc<Mutex<State>>);

struct State {
    memory: FileBackedHistory,
    /// The same lines with what is known of them, oldest first.
    past: VecDeque<Entry>,
    file: PathBuf,
    /// How far the file was read.
    read: u64,
}

/// A line of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// What was typed.
    pub(crate) line: String,
    /// When it had run.
    #[serde(default)]
    pub(crate) time: Option<String>,
    /// The device it ran on.
    #[serde(default)]
    pub(crate) device: Option<String>,
    /// How it went: `done`, or why it failed.
    #[serde(default)]
    pub(crate) outcome: Option<String>,
}

impl Entry {
    /// Reads a line of the file: JSON, or the bare text. Nothing for one that was half written.
    pub(crate) fn read(line: &str) -> Option<Self> {
        match serde_json::from_str(line) {
            Ok(entry) => Some(entry),
            // No command begins so.
            Err(_) if line.is_empty() || line.starts_with('{') => None,
            Err(_) => Some(Self { line: line.to_owned(), ..Self::default() }),
        }
    }
}

impl History {
    pub(crate) fn open(file: PathBuf) -> Self {
        // The size is valid, so the default is never needed.
        let memory = FileBackedHistory::new(KEPT).unwrap_or_default();
        let history = Self(Arc::new(Mutex::new(State { memory, past: VecDeque::new(), file, read: 0 })));
        history.catch_up();
        history
    }

    /// Reads what other shells have added.
    pub(super) fn catch_up(&self) {
        let mut state = self.state();
        let Ok(mut file) = File::open(&state.file) else { return };
        // Whoever writes now is read the next time; a shell that was stopped while it wrote stops no other.
        if file.try_lock_shared().is_ok() {
            state.read_on(&mut file);
        }
    }

    /// Writes a line down, now that it is known how it went.
    pub(crate) fn write(&self, line: &str, outcome: &LineOutcome) {
        if line.trim().is_empty() {
            return;
        }
        let mut state = self.state();
        let entry = Entry {
            line: line.to_owned(),
            time: Some(jiff::Timestamp::now().to_string()),
            device: outcome.device.clone(),
            outcome: Some(outcome.failure.clone().unwrap_or_else(|| "done".to_owned())),
        };
        // A history that cannot be written is no reason to end a shell; it stays in memory.
        let _ = state.append(&entry);
        state.keep(entry);
    }

    /// The newest line that begins so and goes on, from there on.
    pub(super) fn rest_of(&self, typed: &str) -> Option<String> {
        let state = self.state();
        let rests = state.past.iter().rev().filter_map(|entry| entry.line.strip_prefix(typed));
        rests.filter(|rest| !rest.trim().is_empty()).map(str::to_owned).next()
    }

    /// What an adviser makes of the lines, newest first.
    pub(super) fn newest_first<T>(&self, make: impl FnOnce(&mut dyn Iterator<Item = &Entry>) -> T) -> T {
        make(&mut self.state().past.iter().rev())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Reads the file from where it was read to.
    fn read_on(&mut self, file: &mut File) {
        let Ok(length) = file.metadata().map(|facts| facts.len()) else { return };
        if length < self.read {
            // Another shell has cut it: what is left is known.
            self.read = length;
        }
        let from = self.read.max(length.saturating_sub(MAX_READ));
        let mut text = Vec::new();
        if file.seek(SeekFrom::Start(from)).is_err() || file.take(MAX_READ).read_to_end(&mut text).is_err() {
            return;
        }
        // A line that is being written is read the next time.
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        self.read = from + whole as u64;
        let text = String::from_utf8_lossy(text.get(..whole).unwrap_or_default()).into_owned();
        for entry in text.lines().filter_map(Entry::read) {
            // Only an empty capacity refuses a line.
            let _ = reedline::History::save(&mut self.memory, HistoryItem::from_command_line(&entry.line));
            self.keep(entry);
        }
    }

    fn keep(&mut self, entry: Entry) {
        self.past.push_back(entry);
        if self.past.len() > KEPT {
            self.past.pop_front();
        }
    }

    fn append(&mut self, entry: &Entry) -> std::io::Result<()> {
        if let Some(folder) = self.file.parent() {
            crate::host::private_folder(folder)?;
        }
        let mut file = private_file().read(true).append(true).create(true).open(&self.file)?;
        file.lock()?;
        self.read_on(&mut file);
        let mut text = serde_json::to_string(entry)?;
        text.push('\n');
        // What a shell wrote that died in the middle of a line does not take this one with it.
        let length = file.seek(SeekFrom::End(0))?;
        if length > 0 {
            let mut last = [0];
            file.seek(SeekFrom::Start(length - 1))?;
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                text.insert(0, '\n');
            }
        }
        file.write_all(text.as_bytes())?;
        self.read = length + text.len() as u64;
        if self.read > MAX_FILE {
            self.read = cut(&self.file)?;
        }
        Ok(())
    }
}

/// Cuts a history to its newer half, whose lock the caller holds. Whatever ends this in between leaves every line of that half
/// in the file: it is first written over the older one. Answers with the length that is left.
fn cut(path: &std::path::Path) -> std::io::Result<u64> {
    let mut file = private_file().read(true).write(true).open(path)?;
    let mut newer = Vec::new();
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length - length.min(MAX_FILE / 2)))?;
    file.read_to_end(&mut newer)?;
    let first = newer.iter().position(|byte| *byte == b'\n').map_or(newer.len(), |at| at + 1);
    let kept = newer.get(first..).unwrap_or_default();
    file.seek(SeekFrom::Start(0))?;
    file.write_all(kept)?;
    file.set_len(kept.len() as u64)?;
    Ok(kept.len() as u64)
}

impl reedline::History for History {
    fn save(&mut self, item: HistoryItem) -> Result<HistoryItem> {
        // What was pasted is run line by line, and so it is called back.
        let mut state = self.state();
        let mut saved = item.clone();
        for line in script_lines(&item.command_line).into_iter().filter(|line| !line.text.trim().is_empty()) {
            saved = state.memory.save(HistoryItem { command_line: line.text, ..item.clone() })?;
        }
        Ok(saved)
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

    fn shared() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("history");
        (folder, file)
    }

    #[test]
    fn two_shells_share_a_history() {
        let (_folder, file) = shared();
        let (one, two) = (History::open(file.clone()), History::open(file.clone()));
        one.write("processes", &LineOutcome::default());
        two.write("dir \"a\nb\"", &LineOutcome { failure: Some("not_found".into()), ..LineOutcome::default() });
        one.catch_up();
        assert_eq!(lines(&one), ["dir \"a\nb\""], "its own line is saved by reedline itself");
        two.catch_up();
        assert_eq!(lines(&two), ["processes"]);
        assert_eq!(lines(&History::open(file.clone())), ["processes", "dir \"a\nb\""]);
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(file).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_line_that_was_half_written_takes_no_other_with_it() {
        let (_folder, file) = shared();
        std::fs::write(&file, "{\"line\":\"jobs\"}\nbare text\n{\"line\":\"getfi").unwrap();
        let history = History::open(file.clone());
        assert_eq!(lines(&history), ["jobs", "bare text"]);
        history.write("dir", &LineOutcome::default());
        assert_eq!(lines(&History::open(file)), ["jobs", "bare text", "dir"]);
    }

    #[test]
    fn a_history_is_bounded_and_its_newest_lines_stay() {
        let (_folder, file) = shared();
        let entry = |n: usize| serde_json::to_string(&Entry { line: format!("{n} {}", "x".repeat(200)), ..Entry::default() });
        let text: String = (0..20_000).map(|n| entry(n).unwrap() + "\n").collect();
        assert!(text.len() as u64 > MAX_FILE);
        std::fs::write(&file, &text).unwrap();
        let other = History::open(file.clone());
        let history = History::open(file.clone());
        history.write("the last", &LineOutcome::default());
        let left = std::fs::read_to_string(&file).unwrap();
        assert!(left.len() as u64 <= MAX_FILE / 2, "{}", left.len());
        assert!(left.lines().all(|line| Entry::read(line).is_some()) && left.contains("\"19999 "));
        assert!(left.ends_with('\n') && Entry::read(left.lines().last().unwrap()).unwrap().line == "the last");
        other.write("of the other", &LineOutcome::default());
        history.catch_up();
        assert_eq!(lines(&history).last().unwrap(), "of the other");
        assert!(lines(&history).len() <= KEPT);
    }

    #[test]
    fn what_was_pasted_is_called_back_line_by_line() {
        let (_folder, file) = shared();
        let mut history = History::open(file);
        let pasted = "jobs\n\ndir \"a\nb\"\nstatus 2\n";
        reedline::History::save(&mut history, HistoryItem::from_command_line(pasted)).unwrap();
        assert_eq!(lines(&history), ["jobs", "dir \"a\nb\"", "status 2"]);
    }
}
