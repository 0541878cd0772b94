//! The device's record of effects: what `remediate list` and `undo` read, and what the next start looks at when the agent died.
//!
//! A file of lines that is only appended to; each record is on the disk before its writer goes on. A last line that was cut off
//! is taken away at the next start, a damaged one is left out.

mod clock;
mod disk;
mod record;
mod step;

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rustix::fs::{CWD, Mode, OFlags};

pub use clock::{Moment, Uptime};
pub use disk::{Disk, Place, RealDisk};
pub use record::{Close, Intent, Outcome, Record, State, StepState};
pub use step::{
    Ended, Evidence, Inserted, Isolated, Kept, Kind, Linked, Managed, Managing, Masked, Quarantined, Rewritten, Shelf, Step,
};

use crate::agent::faults;
use crate::agent::identity::ProcessIdentity;

const NAME: &CStr = c"journal";

/// The journal of one agent.
#[derive(Debug)]
pub struct Journal {
    disk: Arc<dyn Disk>,
    file: File,
    length: u64,
    entries: BTreeMap<u64, Entry>,
    /// The processes that were made to stand still, and did not go on yet.
    halted: Vec<ProcessIdentity>,
    /// How many records could not be read.
    damaged: usize,
    /// When the clocks were last read, and what had been counted until then.
    clock: Option<Moment>,
    counted: Duration,
}

/// An effect as the journal tells it.
#[derive(Debug, Clone)]
pub struct Entry {
    /// What was meant.
    pub intent: Intent,
    /// What became of steps that are over, while the effect is open.
    pub outcomes: BTreeMap<usize, Outcome>,
    /// How it ended.
    pub close: Option<Close>,
    /// What the journal had counted when it ended: from then on what it left is kept.
    pub kept_since: Duration,
    /// The effect that undid it.
    pub undone_by: Option<u64>,
    /// When what was kept for it was removed, since its time was over.
    pub expired: Option<Timestamp>,
}

impl Entry {
    /// How it stands.
    #[must_use]
    pub fn state(&self) -> State {
        match &self.close {
            None => State::Open,
            Some(_) if self.undone_by.is_some() => State::Undone,
            Some(_) if self.expired.is_some() => State::Expired,
            Some(close) => close.state,
        }
    }
}

/// The agent's folder, made where there is none, and opened.
///
/// # Errors
/// As mkdir and open say.
pub fn agent_folder(folder: &Path, disk: &dyn Disk) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match rustix::fs::openat(CWD, folder, flags, Mode::empty()) {
        Err(rustix::io::Errno::NOENT) => {}
        opened => return Ok(opened?),
    }
    let above = folder.parent().unwrap_or(Path::new("/"));
    let name = folder.file_name().unwrap_or_default();
    let name = std::ffi::CString::new(name.as_encoded_bytes()).map_err(io::Error::other)?;
    crate::host::private_folder(above)?;
    let above = rustix::fs::openat(CWD, above, flags, Mode::empty())?;
    private_folder(disk, Place { folder: above.as_fd(), name: &name })
}

/// A folder that only its owner can look into: made where there is none, refused where it is another's.
///
/// # Errors
/// As mkdir and open say; `PermissionDenied` when it is another's, or others may look into it.
pub fn private_folder(disk: &dyn Disk, at: Place<'_>) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = match rustix::fs::openat(at.folder, at.name, flags, Mode::empty()) {
        Err(rustix::io::Errno::NOENT) => {
            match disk.private_folder(at) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
            disk.sync_folder(at.folder)?;
            rustix::fs::openat(at.folder, at.name, flags, Mode::empty())?
        }
        opened => opened?,
    };
    let stat = rustix::fs::fstat(&opened)?;
    if stat.st_uid != rustix::process::geteuid().as_raw() || stat.st_mode & 0o077 != 0 {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "it belongs to another user, or others may look into it"));
    }
    Ok(opened)
}

impl Journal {
    /// Opens the journal in the agent's folder; makes it where there is none and `make` says so.
    ///
    /// # Errors
    /// As the system says.
    pub fn open(folder: &OwnedFd, disk: Arc<dyn Disk>, make: bool) -> io::Result<Option<Self>> {
        let flags = OFlags::RDWR | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(folder, NAME, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(rustix::io::Errno::NOENT) if !make => return Ok(None),
            Err(rustix::io::Errno::NOENT) => disk.create(Place { folder: folder.as_fd(), name: NAME })?,
            Err(error) => return Err(error.into()),
        };
        disk.sync_folder(folder.as_fd())?;
        let mut text = Vec::new();
        (&file).read_to_end(&mut text)?;
        let whole = text.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        if whole < text.len() {
            tracing::warn!(bytes = text.len() - whole, "the journal's last record was cut off, and is taken away");
            disk.set_length(&file, whole as u64)?;
            disk.sync(file.as_fd())?;
            text.truncate(whole);
        }
        let mut journal = Self {
            disk,
            file,
            length: whole as u64,
            entries: BTreeMap::new(),
            halted: Vec::new(),
            damaged: 0,
            clock: None,
            counted: Duration::ZERO,
        };
        for line in text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            match Record::read(line) {
                Some(record) => journal.take(record),
                None => journal.damaged += 1,
            }
        }
        if journal.damaged > 0 {
            tracing::error!(records = journal.damaged, "records of the journal are damaged, and are left out");
        }
        Ok(Some(journal))
    }

    /// How many of its records are damaged, so that what they told is not known.
    #[must_use]
    pub fn damaged(&self) -> usize {
        self.damaged
    }

    /// The processes that were made to stand still, and did not go on yet.
    #[must_use]
    pub fn halted(&self) -> &[ProcessIdentity] {
        &self.halted
    }

    /// When the clocks were last read.
    #[must_use]
    pub fn clock(&self) -> Option<&Moment> {
        self.clock.as_ref()
    }

    /// How much time has passed by both clocks until a moment, from the first time that they were read.
    #[must_use]
    pub fn counted(&self, until: &Moment) -> Duration {
        self.clock.as_ref().map_or(self.counted, |last| self.counted.saturating_add(until.since(last)))
    }

    /// The number that the next effect has.
    #[must_use]
    pub fn next_id(&self) -> u64 {
        self.entries.last_key_value().map_or(1, |(id, _)| id + 1)
    }

    /// An effect.
    #[must_use]
    pub fn entry(&self, id: u64) -> Option<&Entry> {
        self.entries.get(&id)
    }

    /// All effects, the oldest first.
    pub fn entries(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.entries.values()
    }

    /// Writes a record; it is on the disk when this returns.
    ///
    /// # Errors
    /// As the disk says. Nothing of the record is kept then.
    pub fn write(&mut self, record: Record) -> io::Result<()> {
        let line = record.line().map_err(io::Error::other)?;
        let (before, after) = match &record {
            Record::Intent(_) => ("journal.intent.before_fsync", "journal.intent.after_fsync"),
            Record::Step { .. } => ("journal.step.before_fsync", "journal.step.after_fsync"),
            Record::Close(_) => ("journal.close.before_fsync", "journal.close.after_fsync"),
            Record::Halt { .. } => ("journal.halt.before_fsync", "journal.halt.after_fsync"),
            Record::GoOn => ("journal.go_on.before_fsync", "journal.go_on.after_fsync"),
            Record::Expire { .. } => ("journal.expire.before_fsync", "journal.expire.after_fsync"),
            Record::Clock(_) => ("journal.clock.before_fsync", "journal.clock.after_fsync"),
        };
        let written = self.disk.append(&self.file, &line).and_then(|()| {
            faults::point(before);
            self.disk.sync(self.file.as_fd())
        });
        if let Err(error) = written {
            // A half of a line must not stay in front of the next one.
            if let Err(error) = self.disk.set_length(&self.file, self.length) {
                tracing::error!(%error, "the journal cannot be cut");
            }
            return Err(error);
        }
        self.length += line.len() as u64;
        self.take(record);
        faults::point(after);
        Ok(())
    }

    fn take(&mut self, record: Record) {
        match record {
            Record::Intent(intent) => {
                let entry = Entry {
                    intent,
                    outcomes: BTreeMap::new(),
                    close: None,
                    kept_since: Duration::ZERO,
                    undone_by: None,
                    expired: None,
                };
                self.entries.insert(entry.intent.id, entry);
            }
            Record::Step { id, step, outcome } => {
                if let Some(entry) = self.entries.get_mut(&id) {
                    entry.outcomes.insert(step, outcome);
                }
            }
            Record::Expire { id, time } => {
                if let Some(entry) = self.entries.get_mut(&id) {
                    entry.expired = Some(time);
                }
            }
            Record::Clock(moment) => self.read_clock(moment),
            Record::Halt { processes } => self.halted.extend(processes),
            Record::GoOn => self.halted.clear(),
            Record::Close(close) => {
                if let Some(uptime) = &close.uptime {
                    self.read_clock(Moment { time: close.time, uptime: uptime.clone() });
                }
                let Some(entry) = self.entries.get_mut(&close.id) else { return };
                let undoes = entry.intent.undoes.filter(|_| close.state == State::Done);
                let id = close.id;
                entry.close = Some(close);
                entry.kept_since = self.counted;
                if let Some(undone) = undoes.and_then(|undone| self.entries.get_mut(&undone)) {
                    undone.undone_by = Some(id);
                }
            }
        }
    }

    fn read_clock(&mut self, moment: Moment) {
        self.counted = self.counted(&moment);
        self.clock = Some(moment);
    }
}
