//! What an undo put back goes once more: so `undo -session` reverses an undo. It is kept as any removal is, and can be undone.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::manage::Disable;
use super::undo::entity_of;
use super::{Act, Change, file};
use crate::agent::context::{Context, VerbError, VerbResult};
use crate::agent::digest::hex;
use crate::agent::dispatch::Shared;
use crate::agent::identity::FileIdentity;
use crate::agent::journal::{Entry, Quarantined, Step, StepState};
use crate::agent::path::{of_key, problem};
use crate::agent::platform::Held;
use crate::agent::quarantine::{Asked, Rewrite, plan};
use crate::protocol::Problem;

/// Removes what an undo put back, if it is still what that put there.
///
/// # Errors
/// When it is not, or more than files was put back: `not_undoable`.
pub(super) fn take_again(ctx: &mut Context, agent: &Arc<Shared>, undo: &Entry) -> VerbResult {
    let id = undo.intent.id;
    let entries = agent.effects.entries()?;
    let undone = undo.intent.undoes.and_then(|id| entries.iter().find(|entry| entry.intent.id == id));
    let mut acts: Vec<Box<dyn Act>> = Vec::new();
    let mut notes = vec![format!("effect {id} put it back, which this reverses")];
    for (at, step) in undo.intent.steps.iter().enumerate().rev() {
        if undo.outcome(at).is_none_or(|outcome| outcome.state != StepState::Done) {
            continue;
        }
        match step {
            Step::PutBack(kept) | Step::Relink(kept) | Step::Restore(kept) => {
                let (held, identity) = put_there(agent, &entries, undo, step, kept)?;
                let asked = Asked { used: agent.effects.used()?, hash: false, only_plan: false };
                let take = plan(&agent.effects.quarantine, &agent.root, held, &identity, asked)?;
                if undone.is_some_and(|undone| is_link_of_service(undone, kept)) {
                    acts.push(Box::new(Disable(take)));
                } else {
                    let change = file::change(agent, entity_of(undo), undo.intent.target.clone(), take);
                    acts.extend(change.acts);
                    notes.extend(change.notes);
                }
            }
            Step::PutOver(rewritten) => acts.push(line(agent, &rewritten.file, rewritten.line, &rewritten.text)?),
            Step::LineBack(inserted) => acts.push(line(agent, &inserted.file, inserted.line, &inserted.text)?),
            _ => {
                let (entity, target) = (&undo.intent.entity, crate::grammar::quoted(&undo.intent.target));
                let why = match entity_of(undo) {
                    super::isolation::ENTITY => "it ended an isolation: `isolate` begins one anew".to_owned(),
                    _ => format!("more than files came back with it: `remediate {entity} {target}` removes that again"),
                };
                return Err(Problem::new("not_undoable", why).at(undo.intent.target.clone()).into());
            }
        }
    }
    let (entity, target) = (entity_of(undo), undo.intent.target.clone());
    let change = Change { entity, target, undoes: Some(id), before: undo.after(), acts, notes };
    agent.effects.carry_out(ctx, change)
}

fn is_link_of_service(undone: &Entry, kept: &Quarantined) -> bool {
    undone.intent.steps.iter().any(|step| matches!(step, Step::Disable(link) if link.name == kept.name))
}

/// The file that an undo put at its place, held.
fn put_there(
    agent: &Shared,
    entries: &[Entry],
    undo: &Entry,
    step: &Step,
    kept: &Quarantined,
) -> Result<(Held, FileIdentity), Problem> {
    let path = of_key(&kept.path);
    let id = undo.intent.id;
    let refuse = |why: String| Problem::new("changed", format!("{}: {why}", kept.path)).at(kept.path.clone());
    let held = match agent.root.hold(&path) {
        Ok(held) => held,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let taken = |step: &Step| matches!(step, Step::Quarantine(other) | Step::Disable(other) if other.path == kept.path);
            let by = entries.iter().rev().take_while(|entry| entry.intent.id > id);
            let by = by.filter(|entry| entry.intent.steps.iter().any(taken)).map(|entry| entry.intent.id).next();
            return Err(refuse(match by {
                Some(by) => format!("effect {by} has removed it since"),
                None => format!("what effect {id} put there is gone"),
            }));
        }
        Err(error) => return Err(problem(&path, &error)),
    };
    file::refuse_protected(agent, &held)?;
    let identity = FileIdentity::new(&held.facts, kept.identity.sha256.clone());
    // What was made from a copy has a number of its own.
    let same_file =
        matches!(step, Step::Restore(_)) || (identity.dev, identity.inode) == (kept.identity.dev, kept.identity.inode);
    if !same_file || !is_alike(&identity, &kept.identity) {
        return Err(refuse(format!("it is not what effect {id} put there: somebody has changed it since")));
    }
    Ok((held, identity))
}

/// Whether two files say the same, as far as that can be told without reading them.
pub(super) fn is_alike(one: &FileIdentity, other: &FileIdentity) -> bool {
    (one.size, one.mtime_ns) == (other.size, other.mtime_ns)
}

fn line(agent: &Shared, file: &Quarantined, line: u32, text: &str) -> Result<Box<dyn Act>, VerbError> {
    let path = of_key(&file.path);
    let held = agent.root.hold(&path).map_err(|error| problem(&path, &error))?;
    file::refuse_protected(agent, &held)?;
    let asked = Asked { used: agent.effects.used()?, hash: true, only_plan: false };
    let sha256 = hex(&Sha256::digest(text.as_bytes()));
    Ok(Box::new(Rewrite::plan(&agent.effects.quarantine, &agent.root, held, line, &sha256, asked)?))
}
