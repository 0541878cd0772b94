//! `undo -session`: every place that the session changed gets back what was there before its first change.
//!
//! What the session itself put somewhere, by an undo, is no stranger there: it goes again. What came to a place only after the
//! session had changed it, and was removed or moved aside too, stays in quarantine, and is named. What others have put there since is
//! not touched.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::json;

use super::again::{is_alike, take_again};
use super::told::CHANGED;
use super::undo::{Way, refusal, undo};
use crate::agent::context::{Context, VerbError, VerbResult};
use crate::agent::dispatch::Shared;
use crate::agent::identity::FileIdentity;
use crate::agent::journal::{Entry, State, Step, StepState};
use crate::protocol::{Problem, StreamName};

/// `undo -session`, the newest first. One that cannot be undone does not hold up the others.
///
/// # Errors
/// When one of them could not be undone.
pub fn undo_session(ctx: &mut Context) -> VerbResult {
    let agent = Arc::clone(&ctx.agent);
    let _one = agent.effects.one_at_a_time();
    let entries = agent.effects.entries()?;
    let own: Vec<&Entry> = entries.iter().filter(|entry| entry.intent.session_id == ctx.command.session_id).collect();
    let history = History::of(&own);
    let mut failed: Vec<Problem> = Vec::new();
    let mut skipped: Vec<(&Entry, String)> = Vec::new();
    let mut undone = 0;
    let mut given_up = BTreeSet::new();
    for entry in own.iter().rev() {
        let id = entry.intent.id;
        if !history.reversed.contains(&id) {
            skipped.extend(left(&agent, &history, entry)?.map(|why| (*entry, why)));
            continue;
        }
        if given_up.contains(&id) {
            continue;
        }
        // What stands there goes only for what can come back.
        let below = own.iter().filter(|below| history.is_below(below.intent.id, id));
        let blocked = below.map(|below| (below.intent.id, Way::of(&agent, below, ctx.flag("overwrite"))));
        let blocked: Vec<(u64, VerbError)> = blocked.filter_map(|(id, way)| Some((id, way.err()?))).collect();
        if !blocked.is_empty() {
            for (id, error) in blocked {
                given_up.insert(id);
                failed.push(told(id, error)?);
            }
            continue;
        }
        let done = if entry.is_undo() { take_again(ctx, &agent, entry) } else { undo(ctx, &agent, entry) };
        match done {
            Ok(()) => undone += 1,
            Err(VerbError::Failed(problem)) if matches!(problem.code.as_str(), "nothing_to_do" | "not_undoable") => {
                skipped.push((entry, problem.message));
            }
            Err(error) => failed.push(told(id, error)?),
        }
    }
    tell_skipped(ctx, &skipped)?;
    let count = failed.len();
    let mut failed = failed.into_iter();
    let Some(mut first) = failed.next() else {
        return if undone == 0 && skipped.is_empty() { nothing_to_undo(ctx, &own) } else { Ok(()) };
    };
    if count > 1 {
        first.message = format!("{} ({} more could not be undone)", first.message, count - 1);
    }
    failed.for_each(|problem| ctx.problem(problem));
    Err(first.into())
}

/// What is told of an effect that could not be reversed. Who asks to stop is heard at once.
fn told(id: u64, error: VerbError) -> Result<Problem, VerbError> {
    match error {
        VerbError::Failed(problem) => {
            let message = format!("effect {id}: {}", problem.message);
            Ok(Problem { message, ..problem })
        }
        stopped @ VerbError::Stopped { .. } => Err(stopped),
    }
}

/// Why an effect is left as it is, where that needs saying.
fn left(agent: &Shared, history: &History<'_>, entry: &Entry) -> Result<Option<String>, Problem> {
    let id = entry.intent.id;
    if entry.undoable() != "no" {
        let why = format!(
            "it came there only after this session had changed that place, so that it stays in quarantine; `undo {id} -overwrite` \
             puts it in the place of what is there now"
        );
        return Ok((!history.as_before.contains(&id)).then_some(why));
    }
    if entry.is_undo() || matches!(entry.state(), State::Undone | State::NotDone) {
        return Ok(None);
    }
    refusal(agent, entry)
}

fn tell_skipped(ctx: &mut Context, skipped: &[(&Entry, String)]) -> VerbResult {
    if skipped.is_empty() {
        return Ok(());
    }
    ctx.table(CHANGED)?;
    for (entry, why) in skipped {
        ctx.row(&json!({
            "id": entry.intent.id, "type": entry.intent.entity, "target": entry.intent.target, "action": "nothing",
            "state": "skipped", "undoable": entry.undoable(), "before": null, "after": null, "reason": why,
        }))?;
    }
    Ok(())
}

/// That nothing was done is said; it is no failure, since everything is as it should be.
fn nothing_to_undo(ctx: &mut Context, own: &[&Entry]) -> VerbResult {
    ctx.table(CHANGED)?;
    let said = if own.iter().all(|entry| entry.is_undo()) {
        "Nothing to undo: this session has remediated nothing.\n"
    } else {
        "Nothing to undo: of what this session has remediated all is back that can be (`remediate list`).\n"
    };
    ctx.text(StreamName::Stdout, said.as_bytes())
}

/// What a step did to a place.
#[derive(Debug, Clone, Copy)]
enum Touch<'a> {
    /// It took that away.
    Took(&'a FileIdentity),
    /// It put that there.
    Put(&'a FileIdentity),
    /// It changed what is there: a line went, a mask came.
    Changed,
    /// It reversed such a change.
    ChangedBack,
}

impl Step {
    /// The place that it changes, and how.
    fn touch(&self) -> Option<(&str, Touch<'_>)> {
        match self {
            Self::Quarantine(kept) | Self::Disable(kept) => Some((&kept.path, Touch::Took(&kept.identity))),
            Self::PutBack(kept) | Self::Restore(kept) | Self::Relink(kept) => Some((&kept.path, Touch::Put(&kept.identity))),
            Self::Rewrite(rewritten) => Some((&rewritten.file.path, Touch::Changed)),
            Self::PutOver(rewritten) => Some((&rewritten.file.path, Touch::ChangedBack)),
            Self::LineBack(inserted) => Some((&inserted.file.path, Touch::ChangedBack)),
            Self::Mask(masked) => Some((&masked.path, Touch::Changed)),
            Self::Unmask(masked) => Some((&masked.path, Touch::ChangedBack)),
            Self::Evidence(_) | Self::End(_) | Self::Manage(_) | Self::Isolate(_) | Self::Release(_) => None,
        }
    }
}

impl Entry {
    /// The places that it changed.
    fn touches(&self) -> impl Iterator<Item = (&str, Touch<'_>)> {
        let steps = self.intent.steps.iter().enumerate();
        let done = steps.filter(|(at, _)| {
            matches!(self.outcome(*at).map(|outcome| outcome.state), Some(StepState::Done | StepState::Kept))
        });
        done.filter_map(|(_, step)| step.touch())
    }
}

/// A change of a place that stands.
#[derive(Debug, Clone, Copy)]
struct Standing<'a> {
    entry: &'a Entry,
    touch: Touch<'a>,
}

impl Standing<'_> {
    fn id(&self) -> u64 {
        self.entry.intent.id
    }

    /// Whether the whole of what is there came or went.
    fn is_whole(&self) -> bool {
        matches!(self.touch, Touch::Took(_) | Touch::Put(_))
    }

    fn put_what_is_like(&self, taken: &FileIdentity) -> bool {
        matches!(self.touch, Touch::Put(put) if is_alike(put, taken))
    }

    /// Whether it undid what another session had done.
    fn undoes_another_s(&self, is_own: &impl Fn(&u64) -> bool) -> bool {
        self.entry.intent.undoes.as_ref().is_some_and(|id| !is_own(id))
    }
}

/// What of a session's effects has to be reversed so that all is as before it.
#[derive(Debug, Default)]
struct History<'a> {
    /// What stands at each place, the oldest first.
    places: BTreeMap<&'a str, Vec<Standing<'a>>>,
    /// What is to be reversed.
    reversed: BTreeSet<u64>,
    /// What is in quarantine as it was before the session.
    as_before: BTreeSet<u64>,
}

impl<'a> History<'a> {
    /// Of a session's effects, the oldest first.
    fn of(own: &[&'a Entry]) -> Self {
        let mut history = Self::default();
        let ids: BTreeSet<u64> = own.iter().map(|entry| entry.intent.id).collect();
        let is_own = |id: &u64| ids.contains(id);
        // What another session has undone is its business.
        let stands = |entry: &Entry| entry.undone_by.as_ref().is_none_or(is_own);
        for entry in own.iter().filter(|entry| !matches!(entry.state(), State::Open | State::NotDone)) {
            for (path, touch) in entry.touches() {
                let new = history.take(path, Standing { entry, touch }, &is_own);
                history.places.entry(path).or_default().extend(new.filter(|_| stands(entry)));
            }
        }
        let everywhere = own.iter().filter(|entry| entry.touches().next().is_none());
        let undone = |entry: &Entry| entry.intent.undoes.is_some_and(|id| !is_own(&id)) && entry.undone_by.is_none();
        let without_place = everywhere.filter(|entry| entry.undoable() != "no" || (entry.is_undo() && undone(entry)));
        history.reversed.extend(without_place.filter(|entry| stands(entry)).map(|entry| entry.intent.id));
        history.choose();
        history
    }

    /// Takes away what an effect puts an end to at a place; what stands there from then on, if that is new.
    fn take(&mut self, path: &'a str, new: Standing<'a>, is_own: &impl Fn(&u64) -> bool) -> Option<Standing<'a>> {
        let place = self.places.entry(path).or_default();
        let undone = new.entry.intent.undoes;
        let at = undone.and_then(|id| place.iter().position(|standing| standing.id() == id));
        match (new.touch, at) {
            // All is as it was before what it undoes.
            (Touch::Put(_), Some(at)) => place.truncate(at),
            (Touch::ChangedBack, Some(at)) => drop(place.remove(at)),
            (Touch::Put(_), None) => {
                // Others have taken away what was put there before.
                while place.last().is_some_and(|last| matches!(last.touch, Touch::Put(_))) {
                    place.pop();
                }
                return Some(new);
            }
            // What an undo of this session put there is gone again.
            (Touch::Took(_) | Touch::Changed, Some(at)) => {
                let undo = if new.is_whole() { place.drain(at..).next() } else { Some(place.remove(at)) };
                self.as_before.extend(undo.filter(|undo| undo.undoes_another_s(is_own)).map(|_| new.id()));
            }
            (Touch::Took(taken), None) => match place.pop_if(|last| last.put_what_is_like(taken)) {
                Some(undo) => self.as_before.extend(undo.undoes_another_s(is_own).then(|| new.id())),
                None => return Some(new),
            },
            (Touch::Changed | Touch::ChangedBack, None) => return Some(new),
        }
        None
    }

    fn choose(&mut self) {
        for place in self.places.values() {
            let whole = || place.iter().filter(|standing| standing.is_whole());
            let top = whole().next_back().filter(|standing| matches!(standing.touch, Touch::Put(_))).map(Standing::id);
            let first = |standing: &&Standing<'_>| match standing.touch {
                Touch::Took(_) => standing.entry.undoable() != "no",
                _ => Some(standing.id()) == top,
            };
            self.reversed.extend(top.into_iter().chain(whole().find(first).map(Standing::id)));
        }
        for place in self.places.values() {
            for (at, standing) in place.iter().enumerate().filter(|(_, standing)| !standing.is_whole()) {
                // Where the file that it changed was removed after it, it comes back only with that.
                let removed = place.iter().skip(at).find(|after| after.is_whole());
                let is_there = removed.is_none_or(|after| self.reversed.contains(&after.id()));
                if is_there && (standing.entry.is_undo() || standing.entry.undoable() != "no") {
                    self.reversed.insert(standing.id());
                }
            }
        }
    }

    /// Whether an effect is to be reversed at a place once another one is that put something there.
    fn is_below(&self, below: u64, undo: u64) -> bool {
        let puts = |standing: &Standing<'_>| standing.id() == undo && matches!(standing.touch, Touch::Put(_));
        let is_below = |place: &Vec<Standing<'_>>| {
            let at = place.iter().position(puts);
            at.is_some_and(|at| place.iter().take(at).any(|standing| standing.id() == below && standing.is_whole()))
        };
        self.reversed.contains(&below) && self.places.values().any(is_below)
    }
}
