//! `undo`: what was removed comes back, step by step, the last one first.

use std::path::PathBuf;
use std::sync::Arc;

use rustix::io::Errno;

use super::manage::Manage;
use super::way_back::{Asking, Back, after, make_room, moved_note};
use super::{Act, Change};
use crate::agent::context::{Context, VerbError, VerbResult};
use crate::agent::dispatch::Shared;
use crate::agent::journal::{Entry, State, Step, StepState};
use crate::agent::path::{key, problem};
use crate::protocol::Problem;

/// `undo N`.
///
/// # Errors
/// When there is no such effect, or it cannot be undone: why.
pub fn undo_one(ctx: &mut Context, number: &str) -> VerbResult {
    let agent = Arc::clone(&ctx.agent);
    let _one = agent.effects.one_at_a_time();
    let entries = agent.effects.entries()?;
    let entry = entries.iter().find(|entry| entry.intent.id.to_string() == number);
    let entry = entry.ok_or_else(|| {
        Problem::new("not_found", format!("there is no effect {number}; `remediate list` shows those there are"))
            .about("number")
    })?;
    undo(ctx, &agent, entry)
}

/// `undo TYPE ID`: the newest effect on that entity.
///
/// # Errors
/// When there is none, or it cannot be undone: why.
pub fn undo_target(ctx: &mut Context, entity: &str, id: &str) -> VerbResult {
    let agent = Arc::clone(&ctx.agent);
    let (target, real) = if matches!(entity, "file" | "startupfolder") {
        let path = ctx.file_path(id)?;
        if ctx.means_folder(id) {
            return Err(problem(&path, &Errno::NOTDIR.into()).into());
        }
        (key(&path), agent.root.placed(&path).ok().map(|(_, real)| key(&real)))
    } else {
        (id.to_owned(), None)
    };
    let _one = agent.effects.one_at_a_time();
    let entries = agent.effects.entries()?;
    // What -overwrite moved aside was meant by nobody; its number brings it back.
    let meant = |entry: &&Entry| {
        entry.intent.entity == entity
            && entry.intent.aside_for.is_none()
            && (is_called(entry, &target) || real.as_ref().is_some_and(|real| lay_at(entry, real)))
    };
    let undoable = entries.iter().rev().find(|entry| meant(entry) && entry.undoable() != "no");
    let entry = undoable.or_else(|| entries.iter().rev().find(|entry| meant(entry) && !entry.is_undo()));
    let entry = entry.ok_or_else(|| {
        let message = format!("nothing was done to the {entity} {target}; `remediate list` shows what was done");
        Problem::new("not_found", message).at(target.clone())
    })?;
    undo(ctx, &agent, entry)
}

fn is_called(entry: &Entry, target: &str) -> bool {
    let short = |name: &str| name.strip_suffix(".service").map(ToOwned::to_owned);
    entry.intent.target == target
        || (entry.intent.entity == "service" && short(&entry.intent.target).as_deref() == Some(target))
}

/// Whether a file went from that path, whatever its folder was called then.
fn lay_at(entry: &Entry, real: &str) -> bool {
    let lay = |step: &Step| matches!(step, Step::Quarantine(kept) if kept.path == real);
    entry.intent.steps.iter().any(lay)
}

/// Why an effect cannot be undone, where that is in the journal.
pub(super) fn refusal(agent: &Shared, entry: &Entry) -> Result<Option<String>, Problem> {
    let id = entry.intent.id;
    if let Some(undone) = entry.intent.undoes.filter(|_| entry.is_undo()) {
        let why = format!("effect {id} is itself an undo, of effect {undone}; `remediate` removes again what it restored");
        return Ok(Some(why));
    }
    Ok(Some(match (entry.state(), entry.undone_by) {
        (State::Undone, Some(by)) => {
            let entries = agent.effects.entries()?;
            let reversed = entries.iter().find(|entry| entry.intent.id == by).and_then(|entry| entry.undone_by);
            let reversed = reversed.map(|again| format!(", which effect {again} has reversed: `undo {again}` puts it back"));
            format!("effect {id} was undone already, by effect {by}{}", reversed.unwrap_or_default())
        }
        (State::Open, _) => {
            let why = "it is under way, or its file system is not there: then mount that and start lrsh again";
            format!("what became of effect {id} is not known yet: {why}")
        }
        (State::Expired, _) => {
            let why = agent.effects.why(entry).unwrap_or_default();
            format!("effect {id} cannot be undone any more: {why}")
        }
        (State::NotDone, _) => format!("of effect {id} nothing was done"),
        _ if entry.undoable() != "no" => return Ok(None),
        _ if entry.intent.entity == "process" => {
            format!("of effect {id} nothing can be put back: a process that was ended is not started again")
        }
        _ => format!("of effect {id} nothing can be put back"),
    }))
}

/// Undoes an effect, if all of it can be. With `-overwrite` what stands in its way is moved aside first.
///
/// # Errors
/// When it cannot be undone, or not all of it was: why.
pub(super) fn undo(ctx: &mut Context, agent: &Arc<Shared>, entry: &Entry) -> VerbResult {
    let id = entry.intent.id;
    if let Some(why) = refusal(agent, entry)? {
        return Err(Problem::new("not_undoable", why).at(entry.intent.target.clone()).into());
    }
    let overwrite = ctx.flag("overwrite");
    let mut way = Way::of(agent, entry, overwrite)?;
    let moved = if overwrite { make_room(ctx, agent, &way.taken, id)? } else { Vec::new() };
    if !moved.is_empty() {
        way = Way::of(agent, entry, overwrite).map_err(|error| after(error, &moved))?;
    }
    if let Some((_, conflict)) = way.taken.into_iter().next() {
        return Err(after(conflict, &moved));
    }
    let mut before = entry.after();
    if let Some(before) = before.as_object_mut() {
        // It is kept, whatever comes back.
        before.retain(|key, _| !key.starts_with("evidence"));
    }
    let mut notes = vec![format!("the undo of effect {id}")];
    notes.extend(way.notes);
    notes.extend(moved_note(&moved));
    let (entity, target) = (entity_of(entry), entry.intent.target.clone());
    let change = Change { entity, target, undoes: Some(id), before, acts: way.acts, notes };
    agent.effects.carry_out(ctx, change)
}

/// How an effect is undone: looked at whole before anything is done.
pub(super) struct Way {
    acts: Vec<Box<dyn Act>>,
    notes: Vec<String>,
    /// Where something else stands by now, and the refusal that this is.
    taken: Vec<(PathBuf, Problem)>,
}

impl Way {
    /// That of an effect.
    ///
    /// # Errors
    /// When a step of it cannot be reversed, whatever stands in its way.
    pub(super) fn of(agent: &Arc<Shared>, entry: &Entry, overwrite: bool) -> Result<Self, VerbError> {
        let back = put_back_already(&agent.effects.entries()?, entry.intent.id);
        let mut asking = Asking { agent, overwrite, notes: Vec::new() };
        let (mut acts, mut taken): (Vec<Box<dyn Act>>, Vec<_>) = (Vec::new(), Vec::new());
        let mut resume = None;
        for (at, step) in entry.intent.steps.iter().enumerate().rev() {
            let done = matches!(entry.outcome(at).map(|outcome| outcome.state), Some(StepState::Done | StepState::Kept));
            match step {
                // Only when every link is back can it start: what stopped it stands first.
                Step::Manage(managed) if done => resume = Some(managed),
                _ if step.kept_as().is_some_and(|name| back.iter().any(|back| back == name)) => {}
                _ if done && step.is_undoable() => match asking.reverse(entry, at, step)? {
                    Back::Act(act) => acts.push(act),
                    Back::Taken(path, conflict) => taken.push((path, conflict)),
                    Back::Already => {}
                },
                _ => {}
            }
        }
        if let Some(managed) = resume {
            acts.push(Box::new(Manage::reverse(managed)));
        }
        Ok(Self { acts, notes: asking.notes, taken })
    }
}

/// What earlier undos of an effect have put back, when they came to an end half-way: by what it was kept as.
fn put_back_already(entries: &[Entry], id: u64) -> Vec<String> {
    let undos = entries.iter().filter(|entry| entry.intent.undoes == Some(id));
    let done = undos.flat_map(|undo| {
        let steps = undo.intent.steps.iter().enumerate();
        steps.filter(|(at, _)| undo.outcome(*at).is_some_and(|outcome| outcome.state == StepState::Done))
    });
    done.filter_map(|(_, step)| step.kept_as().map(ToOwned::to_owned)).collect()
}

/// The entity types that effects have.
const ENTITIES: [&str; 6] = ["file", "process", "service", "scheduledtask", "startupfolder", super::isolation::ENTITY];

/// The entity type of an effect.
pub(super) fn entity_of(entry: &Entry) -> &'static str {
    ENTITIES.iter().find(|entity| **entity == entry.intent.entity).copied().unwrap_or("file")
}
