//! Quarantine is kept for a time, and not for ever: what an effect that is over left there is removed when that is past. The
//! journal goes on telling the effect.

use std::ffi::CString;
use std::io;
use std::os::fd::AsFd;

use jiff::{SignedDuration, Timestamp};

use super::{Effects, Entry};
use crate::agent::journal::{Evidence, Place, Quarantined, Record, State, Step, StepState};
use crate::agent::platform::{EntryBuffer, Folder, Root};

/// How long what was removed is kept, in days, unless `agent.toml` says otherwise.
pub const DAYS: u32 = 90;

impl Entry {
    /// Whether anything is kept for it.
    fn holds(&self) -> bool {
        self.expired.is_none() && (self.kept().next().is_some() || self.evidence_bytes() > 0)
    }

    /// Until when what is kept for it is kept: from its end, so and so many days.
    #[must_use]
    pub fn kept_until(&self, days: u32) -> Option<Timestamp> {
        let close = self.close.as_ref().filter(|_| self.holds())?;
        close.time.checked_add(SignedDuration::from_hours(24 * i64::from(days))).ok()
    }
}

impl Effects {
    /// Removes what has been kept long enough, and what was to be removed when the agent died.
    pub(super) fn expire(&self, root: &Root) {
        let now = Timestamp::now();
        for entry in self.entries().unwrap_or_default() {
            let id = entry.intent.id;
            if entry.kept_until(self.days).is_some_and(|until| until <= now) {
                if let Err(problem) = self.write(Record::Expire { id, time: now }) {
                    tracing::error!(%problem, effect = id, "what was kept long enough stays");
                    return;
                }
            } else if entry.expired.is_none() {
                continue;
            }
            self.empty(root, &entry);
        }
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

    fn drop_evidence(&self, evidence: &Evidence) -> io::Result<()> {
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
