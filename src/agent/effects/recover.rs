//! What an agent does before it accepts anything: it looks what became of changes that were under way when the last one died.

use super::{Effects, Entry, Outcome, StepState, evidence, isolation, process, service};
use crate::agent::journal::{State, Step};
use crate::agent::platform::{Platform, Root};
use crate::agent::quarantine::{look, look_put_back, look_put_over, look_restore, look_rewrite};

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
            let outcomes = self.look(on, entry);
            if let Err(problem) = self.close(entry.intent.id, outcomes, None) {
                tracing::error!(%problem, effect = entry.intent.id, "an effect cannot be closed");
            }
        }
        let newest = self.entries().unwrap_or_default();
        let newest = newest.iter().rev().take(TOLD).rev().map(|entry| (entry.intent.command_id, entry.told()));
        *self.recovered.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = newest.collect();
    }

    fn look(&self, on: &Looking<'_>, entry: &Entry) -> Vec<Outcome> {
        let mut outcomes: Vec<Outcome> = Vec::new();
        for (at, step) in entry.intent.steps.iter().enumerate() {
            let known = entry.outcomes.get(&at).cloned();
            let begun = outcomes.iter().all(|outcome| outcome.state == StepState::Done);
            let outcome =
                known.unwrap_or_else(|| if begun { self.look_at(on, step) } else { Outcome::not_done("it was not begun") });
            outcomes.push(outcome);
        }
        outcomes
    }

    fn look_at(&self, on: &Looking<'_>, step: &Step) -> Outcome {
        let (quarantine, root) = (&self.quarantine, on.root);
        let looked = match step {
            Step::Quarantine(kept) | Step::Disable(kept) => look(quarantine, root, kept),
            Step::PutBack(kept) => look_put_back(quarantine, root, kept),
            Step::Restore(kept) => look_restore(quarantine, root, kept),
            Step::Evidence(evidence) => Ok(evidence::look(quarantine, evidence)),
            Step::End(ended) => Ok(match on.platform.process(ended.pid) {
                Ok(process) => process::look(on.boot_id, process.as_ref(), ended),
                Err(error) => Outcome::not_done(format!("whether process {} runs cannot be told: {error}", ended.pid)),
            }),
            Step::Rewrite(rewritten) => look_rewrite(quarantine, root, rewritten),
            Step::PutOver(rewritten) => look_put_over(quarantine, root, rewritten),
            Step::Manage(managed) => Ok(service::look_managed(managed)),
            Step::Mask(masked) => Ok(service::look_masked(root, masked, true)),
            Step::Unmask(masked) => Ok(service::look_masked(root, masked, false)),
            Step::Isolate(isolated) => Ok(isolation::look(on.platform, isolated, true)),
            Step::Release(isolated) => Ok(isolation::look(on.platform, isolated, false)),
        };
        looked.unwrap_or_else(|error| Outcome::not_done(format!("what became of it cannot be told: {error}")))
    }
}
