//! What an agent does before it accepts anything: it looks what became of changes that were under way when the last one died.

use super::{Effects, Entry, Outcome, StepState, evidence, isolation, manage, process};
use crate::agent::journal::{State, Step};
use crate::agent::platform::{HeldProcess, Platform, Root};
use crate::agent::quarantine::{look, look_line_back, look_put_back, look_put_over, look_relink, look_restore, look_rewrite};

/// What is looked at.
struct Looking<'a> {
    root: &'a Root,
    platform: &'a dyn Platform,
    boot_id: Option<&'a str>,
}

/// How many of the newest effects are told to the service, which may not have heard how they ended.
const TOLD: usize = 1000;

impl Effects {
    /// Looks at every change that has no end in the journal, and writes down what became of it.
    pub fn recover(&self, root: &Root, platform: &dyn Platform, boot_id: Option<&str>) {
        let on = &Looking { root, platform, boot_id };
        let entries = match self.entries() {
            Ok(entries) => entries,
            Err(problem) => {
                tracing::error!(%problem, "the journal cannot be read");
                return;
            }
        };
        for entry in entries.iter().filter(|entry| entry.state() == State::Open) {
            let Some(outcomes) = self.look(on, entry) else { continue };
            entry.intent.steps.iter().filter_map(Step::shelf).for_each(|shelf| self.quarantine.tidy(root, shelf));
            if let Err(problem) = self.close(entry.intent.id, outcomes, None) {
                tracing::error!(%problem, effect = entry.intent.id, "an effect cannot be closed");
            }
        }
        self.go_on(platform, boot_id);
        self.expire(root);
        let newest = self.entries().unwrap_or_default();
        let newest = newest.iter().rev().take(TOLD).rev().map(|entry| (entry.intent.command_id, entry.told()));
        *self.recovered.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = newest.collect();
    }

    /// Has those go on that the agent made to stand still before it died, and nobody else.
    fn go_on(&self, platform: &dyn Platform, boot_id: Option<&str>) {
        let halted = match self.journal(false) {
            Ok(journal) => journal.as_ref().map(|journal| journal.halted().to_vec()).unwrap_or_default(),
            Err(_) => return,
        };
        for process in halted.iter().filter(|process| process.boot_id.as_deref() == boot_id) {
            let Ok(held) = HeldProcess::open(process.pid) else { continue };
            // Read only now: what has this number is what is held.
            let same = platform.process(process.pid).ok().flatten().is_some_and(|now| now.start_ticks == process.start_ticks);
            if same && let Err(error) = held.go_on() {
                tracing::error!(%error, pid = process.pid, "a process that was made to stand still does not go on");
            }
        }
        if !halted.is_empty() {
            self.gone_on();
        }
    }

    /// What became of each step; `None` while that cannot be told, since the file system that it was on is not there: the change
    /// stays open until the next start.
    fn look(&self, on: &Looking<'_>, entry: &Entry) -> Option<Vec<Outcome>> {
        let mut outcomes: Vec<Outcome> = Vec::new();
        for (at, step) in entry.intent.steps.iter().enumerate() {
            let known = entry.outcomes.get(&at).cloned();
            let begun = outcomes.iter().all(|outcome| outcome.state == StepState::Done);
            let outcome = match known {
                Some(known) => known,
                None if !begun => Outcome::not_done("it was not begun"),
                None => match self.look_at(on, step) {
                    Ok(outcome) => outcome,
                    Err(error) => {
                        tracing::error!(%error, effect = entry.intent.id, "what became of a change cannot be told");
                        return None;
                    }
                },
            };
            outcomes.push(outcome);
        }
        Some(outcomes)
    }

    fn look_at(&self, on: &Looking<'_>, step: &Step) -> std::io::Result<Outcome> {
        let (quarantine, root) = (&self.quarantine, on.root);
        match step {
            Step::Quarantine(kept) | Step::Disable(kept) => look(quarantine, root, kept),
            Step::PutBack(kept) => look_put_back(quarantine, root, kept),
            Step::Restore(kept) => look_restore(quarantine, root, kept),
            Step::Relink(kept) => Ok(look_relink(root, kept)),
            Step::Evidence(evidence) => Ok(evidence::look(quarantine, evidence)),
            Step::End(ended) => Ok(match on.platform.process(ended.pid) {
                Ok(process) => process::look(on.boot_id, process.as_ref(), ended),
                Err(error) => Outcome::not_done(format!("whether process {} runs cannot be told: {error}", ended.pid)),
            }),
            Step::Rewrite(rewritten) => look_rewrite(quarantine, root, rewritten),
            Step::PutOver(rewritten) => look_put_over(quarantine, root, rewritten),
            Step::LineBack(inserted) => look_line_back(quarantine, root, inserted),
            Step::Manage(managed) => Ok(manage::look_managed(root, managed)),
            Step::Mask(masked) => Ok(manage::look_masked(root, masked, true)),
            Step::Unmask(masked) => Ok(manage::look_masked(root, masked, false)),
            Step::Isolate(isolated) => Ok(isolation::look(on.platform, isolated, true)),
            Step::Release(isolated) => Ok(isolation::look(on.platform, isolated, false)),
        }
    }
}
