//! Effects as they are told: events, and the rows of `remediate list`.

use std::sync::Arc;

use indexmap::IndexMap;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::Change;
use crate::agent::context::{Context, VerbResult};
use crate::agent::journal::{Entry, Quarantined, State, Step, StepState};
use crate::protocol::Effect;

/// The fields of `remediate list`.
const KEYS: &[&str] =
    &["id", "time", "type", "target", "action", "analyst", "state", "undoable", "kept_until", "before", "after", "reason"];

/// What is found only for the way back: when a folder was changed.
const FOLDER_TIME: &str = "folder_mtime_ns";

/// The fields of `remediate` and `undo`, whether or not anything was changed.
pub(super) const CHANGED: &[&str] = &["id", "type", "target", "action", "state", "undoable", "before", "after", "reason"];

impl Entry {
    /// Each step with what became of it, as far as that is known.
    fn steps(&self) -> impl DoubleEndedIterator<Item = (&Step, Option<StepState>)> {
        self.intent.steps.iter().enumerate().map(|(at, step)| (step, self.outcome(at).map(|outcome| outcome.state)))
    }

    /// What became of a step.
    #[must_use]
    pub fn outcome(&self, at: usize) -> Option<&crate::agent::journal::Outcome> {
        match &self.close {
            Some(close) => close.outcomes.get(at),
            None => self.outcomes.get(&at),
        }
    }

    /// What is in quarantine for it, or may be.
    pub fn kept(&self) -> impl Iterator<Item = &Quarantined> {
        let undone = matches!(self.state(), State::Undone | State::Expired);
        self.steps().filter_map(move |(step, state)| match (step, state) {
            (Step::Quarantine(kept) | Step::Disable(kept), None | Some(StepState::Done | StepState::Kept)) if !undone => {
                Some(kept)
            }
            (Step::Rewrite(rewritten), None | Some(StepState::Done)) if !undone => Some(&rewritten.file),
            _ => None,
        })
    }

    /// How much evidence is kept for it.
    #[must_use]
    pub fn evidence_bytes(&self) -> u64 {
        if self.expired.is_some() {
            return 0;
        }
        let outcomes = (0..self.intent.steps.len()).filter_map(|at| self.outcome(at));
        outcomes.filter_map(|outcome| outcome.found.get("evidence_bytes")?.as_u64()).sum()
    }

    /// What was done, in words.
    #[must_use]
    pub fn action(&self) -> String {
        let done = self.steps().filter(|(_, state)| *state == Some(StepState::Done)).map(|(step, _)| step);
        let done = words(done, &self.intent.entity);
        match self.state() {
            State::Kept => "kept in quarantine".to_owned(),
            _ if done.is_empty() => "nothing".to_owned(),
            _ => done,
        }
    }

    /// Whether it put something back. What takes that away again undoes it too, but is none: it can be undone as any removal.
    #[must_use]
    pub fn is_undo(&self) -> bool {
        self.intent.undoes.is_some() && !self.intent.steps.iter().any(Step::is_undoable)
    }

    /// Whether `undo` can put it back, and how much of it: `yes`, `no`, `image only`.
    #[must_use]
    pub fn undoable(&self) -> &'static str {
        if !matches!(self.state(), State::Done | State::Partly | State::Kept) {
            return "no";
        }
        let mut done = self.steps().filter(|(_, state)| matches!(state, Some(StepState::Done | StepState::Kept)));
        let any = done.any(|(step, _)| step.is_undoable());
        match (any, self.intent.entity.as_str()) {
            (false, _) => "no",
            (true, "process") => "image only",
            (true, _) => "yes",
        }
    }

    /// Why it stands as it does, where that needs saying.
    #[must_use]
    pub fn reason(&self) -> Option<String> {
        let outcomes = self.close.iter().flat_map(|close| &close.outcomes).filter_map(|outcome| outcome.reason.as_deref());
        let own = self.close.as_ref().and_then(|close| close.reason.as_deref());
        let all: Vec<&str> = own.into_iter().chain(outcomes).chain(self.intent.notes.iter().map(String::as_str)).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }

    /// How it is now.
    #[must_use]
    pub fn after(&self) -> Value {
        let outcomes = self.close.iter().flat_map(|close| &close.outcomes).filter_map(|outcome| outcome.found.as_object());
        let mut all: IndexMap<&str, Vec<Value>> = IndexMap::new();
        for (key, value) in outcomes.flatten().filter(|(key, value)| !value.is_null() && *key != FOLDER_TIME) {
            all.entry(key).or_default().push(value.clone());
        }
        // Several steps may tell the same of several things.
        let told = |mut values: Vec<Value>| if values.len() == 1 { values.remove(0) } else { Value::Array(values) };
        all.into_iter().map(|(key, values)| (key.to_owned(), told(values))).collect::<Map<_, _>>().into()
    }

    /// The event that tells it.
    #[must_use]
    pub fn told(&self) -> Effect {
        Effect {
            effect_id: self.intent.id,
            entity: self.intent.entity.clone(),
            target: self.intent.target.clone(),
            action: self.action(),
            before: self.intent.before.clone(),
            after: self.after(),
            undoable: json!(self.undoable()),
            state: self.state().as_str().to_owned(),
            reason: self.reason(),
        }
    }
}

/// What steps do, in words, each word once.
fn words<'a>(steps: impl Iterator<Item = &'a Step>, entity: &str) -> String {
    let mut words: Vec<&str> = Vec::new();
    for word in steps.filter_map(|step| step.done_word(entity)) {
        if !words.contains(&word) {
            words.push(word);
        }
    }
    words.join(", ")
}

#[derive(Serialize)]
struct Row<'a> {
    id: u64,
    time: String,
    #[serde(rename = "type")]
    entity: &'a str,
    target: &'a str,
    action: String,
    analyst: &'a str,
    state: &'static str,
    undoable: &'static str,
    kept_until: Option<String>,
    before: &'a Value,
    after: Value,
    reason: Option<String>,
}

/// `remediate list`.
///
/// # Errors
/// When the journal cannot be read.
pub fn list(ctx: &mut Context) -> VerbResult {
    let agent = Arc::clone(&ctx.agent);
    let entries = agent.effects.entries()?;
    let keeping = agent.effects.keeping()?;
    ctx.table(KEYS)?;
    for entry in &entries {
        ctx.row(&Row {
            id: entry.intent.id,
            time: entry.intent.time.to_string(),
            entity: &entry.intent.entity,
            target: &entry.intent.target,
            action: entry.action(),
            analyst: &entry.intent.analyst,
            state: entry.state().as_str(),
            undoable: entry.undoable(),
            kept_until: keeping.until(entry).map(|until| until.round(jiff::Unit::Second).unwrap_or(until).to_string()),
            before: &entry.intent.before,
            after: entry.after(),
            reason: agent.effects.why(entry),
        })?;
    }
    if let Some(damage) = agent.effects.damage()? {
        ctx.problem(damage);
    }
    Ok(())
}

/// What `-plan` tells of changes that it does not make.
///
/// # Errors
/// When nobody listens any more.
pub fn planned(ctx: &mut Context, changes: &[Change]) -> VerbResult {
    ctx.table(CHANGED)?;
    for change in changes {
        let steps: Vec<Step> = change.acts.iter().map(|act| act.step()).collect();
        let action = words(steps.iter(), change.entity);
        let undoable = match (steps.iter().any(Step::is_undoable), change.entity) {
            (false, _) => "no",
            (true, "process") => "image only",
            (true, _) => "yes",
        };
        ctx.row(&json!({
            "id": null, "type": change.entity, "target": change.target, "action": action, "state": "planned",
            "undoable": undoable, "before": change.before, "after": null,
            "reason": (!change.notes.is_empty()).then(|| change.notes.join("; ")),
        }))?;
    }
    Ok(())
}
