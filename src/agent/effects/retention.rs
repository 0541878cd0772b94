//! Quarantine is kept for a time, and not for ever: what an effect that is over left there is removed when that is past. The
//! journal goes on telling the effect.

use std::ffi::CString;
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use jiff::Timestamp;

use super::{Effects, Entry};
use crate::agent::journal::{Evidence, Journal, Moment, Place, Quarantined, Record, State, Step, StepState};
use crate::agent::platform::{EntryBuffer, Folder, Root};
use crate::protocol::Problem;

/// How long what was removed is kept, in days, unless `agent.toml` says otherwise.
pub const DAYS: u32 = 90;
/// The clocks are written down at most this often.
const READ_EVERY: Duration = Duration::from_hours(1);

/// How long things are kept, and how much of that has passed.
#[derive(Debug)]
pub struct Keeping {
    days: u32,
    now: Moment,
    counted: Duration,
}

impl Entry {
    /// Whether anything is kept for it.
    fn holds(&self) -> bool {
        self.expired.is_none() && (self.kept().next().is_some() || self.evidence_bytes() > 0)
    }
}

impl Keeping {
    /// How long what is kept for an effect is kept yet; `None` where nothing is, or while it is not over.
    fn left(&self, entry: &Entry) -> Option<Duration> {
        let days = Duration::from_hours(24 * u64::from(self.days));
        let kept = self.counted.saturating_sub(entry.kept_since);
        (entry.close.is_some() && entry.holds()).then(|| days.saturating_sub(kept))
    }

    /// Until when what is kept for an effect is kept, if the clocks agree until then; longer if they do not.
    #[must_use]
    pub fn until(&self, entry: &Entry) -> Option<Timestamp> {
        self.now.time.checked_add(self.left(entry)?).ok()
    }
}

impl Effects {
    /// How long what is kept is kept yet.
    ///
    /// # Errors
    /// When the journal cannot be opened.
    pub fn keeping(&self) -> Result<Keeping, Problem> {
        let now = Moment::now();
        let counted = self.journal(false)?.as_ref().map(|journal| journal.counted(&now)).unwrap_or_default();
        Ok(Keeping { days: self.days, now, counted })
    }

    /// Removes what has been kept long enough, and what was to be removed when the agent died.
    pub(super) fn expire(&self, root: &Root) {
        let entries = self.entries().unwrap_or_default();
        let keeping = match self.keeping() {
            Ok(keeping) if !entries.is_empty() => keeping,
            _ => return,
        };
        if entries.iter().any(Entry::holds) && self.is_time_to_read_clocks(&keeping.now) {
            // Without it what is kept is only kept longer.
            if let Err(problem) = self.write(Record::Clock(keeping.now.clone())) {
                tracing::warn!(%problem, "what the clocks say cannot be written down");
            }
        }
        for entry in entries {
            let id = entry.intent.id;
            if keeping.left(&entry) == Some(Duration::ZERO) {
                if let Err(problem) = self.write(Record::Expire { id, time: keeping.now.time }) {
                    tracing::error!(%problem, effect = id, "what was kept long enough stays");
                    return;
                }
            } else if entry.expired.is_none() {
                continue;
            }
            self.empty(root, &entry);
        }
    }

    fn is_time_to_read_clocks(&self, now: &Moment) -> bool {
        let journal = self.journal(false);
        let last = journal.as_ref().ok().and_then(|journal| journal.as_ref().and_then(Journal::clock));
        last.is_none_or(|last| now.since(last) >= READ_EVERY)
    }

    /// Removes all that is in quarantine for an effect.
    fn empty(&self, root: &Root, entry: &Entry) {
        for (at, step) in entry.intent.steps.iter().enumerate() {
            let state = entry.outcome(at).map(|outcome| outcome.state);
            let removed = match step {
                Step::Evidence(evidence) => self.drop_evidence(evidence),
                _ if entry.undone_by.is_some() || !matches!(state, Some(StepState::Done | StepState::Kept)) => Ok(()),
                Step::Quarantine(kept) | Step::Disable(kept) => self.drop_kept(root, kept),
                Step::Rewrite(rewritten) => self.drop_kept(root, &rewritten.file),
                _ => Ok(()),
            };
            match removed {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(%error, effect = entry.intent.id, "something stays in quarantine");
                }
                _ => {}
            }
        }
    }

    fn drop_kept(&self, root: &Root, kept: &Quarantined) -> io::Result<()> {
        let shelf = self.quarantine.open(root, &kept.shelf)?;
        let name = CString::new(kept.name.as_str())?;
        let disk = &self.quarantine.disk;
        let removed = disk.remove(Place { folder: shelf.as_fd(), name: &name }).and_then(|()| disk.sync_folder(shelf.as_fd()));
        self.quarantine.tidy(root, &kept.shelf);
        if kept.copied {
            let (own, copy) = (self.quarantine.own()?, CString::new(kept.copy_name())?);
            disk.remove(Place { folder: own.as_fd(), name: &copy })?;
        }
        removed
    }

    /// Removes a folder of evidence.
    pub(super) fn drop_evidence(&self, evidence: &Evidence) -> io::Result<()> {
        let disk = &self.quarantine.disk;
        let own = Folder::new(self.quarantine.own()?);
        let name = CString::new(evidence.folder.as_str())?;
        let folder = own.folder(&name)?;
        let mut buffer = EntryBuffer::default();
        let mut names = Vec::new();
        let mut entries = folder.entries(&mut buffer);
        while let Some(entry) = entries.next() {
            let entry = entry?;
            if !entry.is_dots() {
                names.push(entry.name().to_owned());
            }
        }
        for name in names {
            disk.remove(Place { folder: folder.fd(), name: &name })?;
        }
        disk.remove_folder(Place { folder: own.fd(), name: &name })?;
        disk.sync_folder(own.fd())
    }

    /// Why an effect stands as it does, with its end by age.
    pub(super) fn why(&self, entry: &Entry) -> Option<String> {
        let reason = entry.reason();
        match (entry.state(), entry.expired) {
            (State::Expired, Some(when)) => {
                let gone = format!("what was kept of it was removed at {when:.0}, after {} days", self.days);
                Some(reason.map_or_else(|| gone.clone(), |reason| format!("{gone}; {reason}")))
            }
            _ => reason,
        }
    }
}
