//! `undo`: what was removed comes back, step by step, the last one first.

use std::sync::Arc;

use super::service::{Manage, Unmask};
use super::told::CHANGED;
use super::{Act, Change, file};
use crate::agent::context::{Context, VerbError, VerbResult};
use crate::agent::dispatch::Shared;
use crate::agent::identity::FileIdentity;
use crate::agent::journal::{Entry, Quarantined, Rewritten, State, Step, StepState};
use crate::agent::path::{key, lossy, of_key, problem};
use crate::agent::quarantine::{Asked, LineBack, PutBack, PutOver, Relink, Restore, SEALED, plan};
use crate::protocol::{Problem, StreamName};

/// `undo N`.
///
/// # Errors
/// When there is no such effect, or it cannot be undone: why.
pub fn undo_one(ctx: &mut Context, number: &str) -> VerbResult {
    let entries = ctx.agent.effects.entries()?;
    let entry = entries.iter().find(|entry| entry.intent.id.to_string() == number);
    let entry = entry.ok_or_else(|| {
        Problem::new("not_found", format!("there is no effect {number}; `remediate list` shows those there are"))
            .about("number")
    })?;
    undo(ctx, entry)
}

/// `undo TYPE ID`: the newest effect on that entity.
///
/// # Errors
/// When there is none, or it cannot be undone: why.
pub fn undo_target(ctx: &mut Context, entity: &str, id: &str) -> VerbResult {
    let target = if matches!(entity, "file" | "startupfolder") { key(&ctx.path(id)) } else { id.to_owned() };
    let entries = ctx.agent.effects.entries()?;
    let meant = |entry: &&Entry| entry.intent.entity == entity && is_called(entry, &target);
    let undoable = entries.iter().rev().find(|entry| meant(entry) && entry.undoable() != "no");
    let entry = undoable.or_else(|| entries.iter().rev().find(|entry| meant(entry) && entry.intent.undoes.is_none()));
    let entry = entry.ok_or_else(|| {
        let message = format!("nothing was done to the {entity} {target}; `remediate list` shows what was done");
        Problem::new("not_found", message).at(target.clone())
    })?;
    undo(ctx, entry)
}

fn is_called(entry: &Entry, target: &str) -> bool {
    let short = |name: &str| name.strip_suffix(".service").map(ToOwned::to_owned);
    entry.intent.target == target
        || (entry.intent.entity == "service" && short(&entry.intent.target).as_deref() == Some(target))
}

/// `undo -session`: every effect of this session, the newest first. One that cannot be undone does not hold up the others.
///
/// # Errors
/// When one of them could not be undone.
pub fn undo_session(ctx: &mut Context) -> VerbResult {
    let entries = ctx.agent.effects.entries()?;
    let session = ctx.command.session_id.clone();
    let own: Vec<&Entry> = entries.iter().rev().filter(|entry| entry.intent.session_id == session).collect();
    let mut failed = Vec::new();
    let mut undone = 0;
    for entry in own.iter().filter(|entry| entry.undoable() != "no") {
        match undo(ctx, entry) {
            // An isolation that has ended by itself is as it was.
            Err(VerbError::Failed(problem)) if problem.code == "nothing_to_do" => {}
            Err(VerbError::Failed(problem)) => failed.push(problem),
            other => {
                other?;
                undone += 1;
            }
        }
    }
    let count = failed.len();
    let mut failed = failed.into_iter();
    let Some(mut first) = failed.next() else {
        return if undone == 0 { nothing_to_undo(ctx, &own) } else { Ok(()) };
    };
    if count > 1 {
        first.message = format!("{} ({} more could not be undone)", first.message, count - 1);
    }
    failed.for_each(|problem| ctx.problem(problem));
    Err(first.into())
}

/// That nothing was done is said; it is no failure, since everything is as it should be.
fn nothing_to_undo(ctx: &mut Context, own: &[&Entry]) -> VerbResult {
    ctx.table(CHANGED)?;
    let said = if own.iter().all(|entry| entry.intent.undoes.is_some()) {
        "Nothing to undo: this session has remediated nothing.\n"
    } else {
        "Nothing to undo: of what this session has remediated all is back that can be (`remediate list`).\n"
    };
    ctx.text(StreamName::Stdout, said.as_bytes())
}

fn undo(ctx: &mut Context, entry: &Entry) -> VerbResult {
    let id = entry.intent.id;
    let refuse = |why: String| Err(Problem::new("not_undoable", why).at(entry.intent.target.clone()).into());
    if let Some(undone) = entry.intent.undoes {
        return refuse(format!(
            "effect {id} is itself an undo, of effect {undone}; `remediate` removes again what it restored"
        ));
    }
    match (entry.state(), entry.undone_by) {
        (State::Undone, Some(by)) => return refuse(format!("effect {id} was undone already, by effect {by}")),
        (State::Open, _) => {
            let why = "it is under way, or its file system is not there: then mount that and start lrsh again";
            return refuse(format!("what became of effect {id} is not known yet: {why}"));
        }
        (State::Expired, _) => {
            let why = ctx.agent.effects.why(entry).unwrap_or_default();
            return refuse(format!("effect {id} cannot be undone any more: {why}"));
        }
        (State::NotDone, _) => return refuse(format!("of effect {id} nothing was done")),
        _ if entry.undoable() == "no" && entry.intent.entity == "process" => {
            return refuse(format!("of effect {id} nothing can be put back: a process that was ended is not started again"));
        }
        _ if entry.undoable() == "no" => return refuse(format!("of effect {id} nothing can be put back")),
        _ => {}
    }
    let agent = Arc::clone(&ctx.agent);
    let _one = agent.effects.one_at_a_time();
    let back = put_back_already(&agent.effects.entries()?, id);
    let mut acts: Vec<Box<dyn Act>> = Vec::new();
    let mut notes = vec![format!("the undo of effect {id}")];
    let mut resume = None;
    for (at, step) in entry.intent.steps.iter().enumerate().rev() {
        let done = matches!(entry.outcome(at).map(|outcome| outcome.state), Some(StepState::Done | StepState::Kept));
        match step {
            // Only when every link is back can it start: what stopped it stands first.
            Step::Manage(managed) if done => resume = Some(managed),
            _ if step.kept_as().is_some_and(|name| back.iter().any(|back| back == name)) => {}
            _ if done && step.is_undoable() => acts.push(reverse(ctx, &agent, entry, at, step, &mut notes)?),
            _ => {}
        }
    }
    if let Some(managed) = resume {
        acts.push(Box::new(Manage::reverse(managed)));
    }
    let mut before = entry.after();
    if let Some(before) = before.as_object_mut() {
        // It is kept, whatever comes back.
        before.retain(|key, _| !key.starts_with("evidence"));
    }
    let entity = ENTITIES.iter().find(|entity| **entity == entry.intent.entity).copied().unwrap_or("file");
    let change = Change { entity, target: entry.intent.target.clone(), undoes: Some(id), before, acts, notes };
    agent.effects.carry_out(ctx, change)
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

/// What reverses a step.
fn reverse(
    ctx: &mut Context,
    agent: &Arc<Shared>,
    entry: &Entry,
    at: usize,
    step: &Step,
    notes: &mut Vec<String>,
) -> Result<Box<dyn Act>, VerbError> {
    match step {
        Step::Quarantine(kept) | Step::Disable(kept) => {
            let found = entry.outcome(at).map(|outcome| &outcome.found);
            let folder_mtime = found.and_then(|found| found.get("folder_mtime_ns")?.as_i64());
            put_back(ctx, agent, entry.state(), kept, folder_mtime, notes)
        }
        Step::Rewrite(rewritten) => line_back(ctx, agent, rewritten, notes),
        Step::Mask(masked) => Ok(Box::new(Unmask::plan(agent, masked)?)),
        Step::Isolate(isolated) => super::isolation::reverse(agent, isolated),
        _ => Err(VerbError::failed("not_undoable", "a step of it cannot be undone")),
    }
}

/// A file with one line less becomes the one that was seen again. If somebody has changed it since, the line alone comes back;
/// with `-overwrite` the whole file, whatever is there now.
fn line_back(ctx: &mut Context, agent: &Shared, step: &Rewritten, notes: &mut Vec<String>) -> Result<Box<dyn Act>, VerbError> {
    match PutOver::plan(&agent.effects.quarantine, &agent.root, step) {
        Ok(Some(act)) => Ok(Box::new(act)),
        // The file is gone: the one in quarantine takes its place.
        Ok(None) => put_back(ctx, agent, State::Done, &step.file, None, notes),
        Err(problem) if matches!(problem.code.as_str(), "conflict" | "changed") && ctx.flag("overwrite") => {
            put_back(ctx, agent, State::Done, &step.file, None, notes)
        }
        Err(problem) if problem.code == "conflict" => {
            let act = LineBack::plan(&agent.effects.quarantine, &agent.root, step)?;
            notes.push(act.note());
            Ok(Box::new(act))
        }
        Err(problem) => Err(problem.into()),
    }
}

fn put_back(
    ctx: &mut Context,
    agent: &Shared,
    state: State,
    kept: &Quarantined,
    folder_mtime: Option<i64>,
    notes: &mut Vec<String>,
) -> Result<Box<dyn Act>, VerbError> {
    // What stayed in quarantine since it was not what was seen is put back as it is.
    let kept = match state {
        State::Kept => as_it_is(agent, kept)?,
        _ => kept.clone(),
    };
    let overwrite = ctx.flag("overwrite");
    match come_back(agent, &kept, folder_mtime, overwrite, notes) {
        // Only what can come back may take the place of something else: that was looked at first.
        Err(problem) if problem.code == "conflict" && overwrite => {
            make_room(ctx, agent, &kept)?;
            Ok(come_back(agent, &kept, folder_mtime, overwrite, notes)?)
        }
        done => Ok(done?),
    }
}

/// How a file comes back to a name that is free: itself, or made from its sealed copy.
fn come_back(
    agent: &Shared,
    kept: &Quarantined,
    folder_mtime: Option<i64>,
    overwrite: bool,
    notes: &mut Vec<String>,
) -> Result<Box<dyn Act>, Problem> {
    let (quarantine, root) = (&agent.effects.quarantine, &agent.root);
    let failed = if kept.linked.is_some() {
        match Relink::plan(quarantine, root, kept, folder_mtime) {
            Ok(act) => {
                notes.push("it is again the file that its other names mean".to_owned());
                return Ok(Box::new(act));
            }
            Err(problem) => problem,
        }
    } else {
        match PutBack::plan(quarantine, root, kept, folder_mtime) {
            Ok(act) => return Ok(Box::new(act)),
            Err(problem) => problem,
        }
    };
    match failed.code.as_str() {
        "not_found" | "changed" | "gone" if kept.copied => {
            let act = Restore::plan(quarantine, root, kept, folder_mtime)?;
            if failed.code != "not_found" {
                let why = failed.message;
                notes.push(format!("it is a file of its own, made from the sealed copy: {why}"));
            }
            Ok(Box::new(act))
        }
        "changed" if overwrite => {
            let act = PutBack::plan(quarantine, root, &as_it_is(agent, kept)?, folder_mtime)?;
            notes.push(format!("as it is in quarantine: {}", failed.message));
            Ok(Box::new(act))
        }
        "changed" => {
            let message = format!("{}; -overwrite puts it back as it is now", failed.message);
            Err(Problem { message, ..failed })
        }
        _ => Err(failed),
    }
}

fn as_it_is(agent: &Shared, kept: &Quarantined) -> Result<Quarantined, Problem> {
    let place = agent.effects.quarantine.place(kept);
    let now = agent.root.link_facts(&place).map_err(|error| problem(&place, &error))?;
    let mut facts = kept.facts.clone();
    // One that was kept since it was another than was seen was never sealed.
    facts.sealed &= now.permissions == SEALED;
    let identity = FileIdentity::new(&now, None);
    Ok(Quarantined { identity, hashed: false, copied: false, linked: None, facts, ..kept.clone() })
}

/// With `-overwrite`: what is there now goes to quarantine, as an effect of its own.
fn make_room(ctx: &mut Context, agent: &Shared, kept: &Quarantined) -> VerbResult {
    let path = of_key(&kept.path);
    let Ok(held) = agent.root.hold(&path) else { return Ok(()) };
    if held.facts.is_folder() {
        let shown = lossy(&path);
        return Err(Problem::new("conflict", format!("{shown}: a folder is there now, which is not overwritten"))
            .at(shown)
            .into());
    }
    file::refuse_protected(agent, &held)?;
    let identity = FileIdentity::new(&held.now().map_err(|error| problem(&path, &error))?, None);
    let asked = Asked { used: agent.effects.used()?, hash: false, only_plan: false };
    let take = plan(&agent.effects.quarantine, &agent.root, held, &identity, asked)?;
    let change = file::change(agent, "file", key(&path), take);
    agent.effects.carry_out(ctx, change)
}
