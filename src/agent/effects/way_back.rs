//! What reverses one step of an effect: looked at first, whole, so that nothing is moved for what cannot come back.

use std::path::PathBuf;
use std::sync::Arc;

use super::manage::Unmask;
use super::{Act, file};
use crate::agent::context::{Context, VerbError};
use crate::agent::dispatch::Shared;
use crate::agent::identity::FileIdentity;
use crate::agent::journal::{Entry, Quarantined, Rewritten, State, Step};
use crate::agent::path::{key, lossy, of_key, problem};
use crate::agent::quarantine::{Asked, LineBack, PutBack, PutOver, Relink, Restore, SEALED, plan};
use crate::protocol::Problem;

/// What reverses a step.
pub enum Back {
    /// This does.
    Act(Box<dyn Act>),
    /// All is well but that something else stands at that path.
    Taken(PathBuf, Problem),
    /// It is reversed already.
    Already,
}

/// What steps are put back with.
pub struct Asking<'a> {
    /// The device, journal and quarantine.
    pub agent: &'a Arc<Shared>,
    /// Whatever stands there now, and as it is in quarantine.
    pub overwrite: bool,
    /// What is to be said of it.
    pub notes: Vec<String>,
}

impl Asking<'_> {
    /// What reverses a step of an effect.
    ///
    /// # Errors
    /// When it cannot be reversed: why.
    pub fn reverse(&mut self, entry: &Entry, at: usize, step: &Step) -> Result<Back, VerbError> {
        match step {
            Step::Quarantine(kept) | Step::Disable(kept) => {
                let found = entry.outcome(at).map(|outcome| &outcome.found);
                let folder_mtime = found.and_then(|found| found.get("folder_mtime_ns")?.as_i64());
                Ok(self.put_back(entry.state(), kept, folder_mtime)?)
            }
            Step::Rewrite(rewritten) => Ok(self.line_back(rewritten)?),
            Step::Mask(masked) => match Unmask::plan(self.agent, masked) {
                Ok(Some(act)) => Ok(Back::Act(Box::new(act))),
                Ok(None) => {
                    self.notes.push(format!("{} is gone already", masked.path));
                    Ok(Back::Already)
                }
                Err(problem) => Ok(Back::Taken(of_key(&masked.path), problem)),
            },
            Step::Isolate(isolated) => Ok(Back::Act(super::isolation::reverse(self.agent, isolated)?)),
            _ => Err(VerbError::failed("not_undoable", "a step of it cannot be undone")),
        }
    }

    /// A file with one line less becomes the one that was seen again. If somebody has changed it since, the line alone comes
    /// back; with `-overwrite` the whole file, whatever is there now.
    fn line_back(&mut self, step: &Rewritten) -> Result<Back, Problem> {
        let (quarantine, root) = (&self.agent.effects.quarantine, &self.agent.root);
        match PutOver::plan(quarantine, root, step) {
            Ok(Some(act)) => Ok(Back::Act(Box::new(act))),
            // The file is gone: the one in quarantine takes its place.
            Ok(None) => self.put_back(State::Done, &step.file, None),
            Err(problem) if matches!(problem.code.as_str(), "conflict" | "changed") && self.overwrite => {
                self.put_back(State::Done, &step.file, None)
            }
            Err(problem) if problem.code == "conflict" => {
                let act = LineBack::plan(quarantine, root, step)?;
                self.notes.push(act.note());
                Ok(Back::Act(Box::new(act)))
            }
            Err(problem) => Err(problem),
        }
    }

    fn put_back(&mut self, state: State, kept: &Quarantined, folder_mtime: Option<i64>) -> Result<Back, Problem> {
        // What stayed in quarantine since it was not what was seen is put back as it is.
        let kept = match state {
            State::Kept => as_it_is(self.agent, kept)?,
            _ => kept.clone(),
        };
        match self.come_back(&kept, folder_mtime) {
            Ok(act) => Ok(Back::Act(act)),
            // Only what can come back may take the place of something else: that was looked at first.
            Err(problem) if problem.code == "conflict" => Ok(Back::Taken(of_key(&kept.path), problem)),
            Err(problem) => Err(problem),
        }
    }

    /// How a file comes back to a name that is free: itself, or made from its sealed copy.
    fn come_back(&mut self, kept: &Quarantined, folder_mtime: Option<i64>) -> Result<Box<dyn Act>, Problem> {
        let (quarantine, root) = (&self.agent.effects.quarantine, &self.agent.root);
        let failed = if kept.linked.is_some() {
            match Relink::plan(quarantine, root, kept, folder_mtime) {
                Ok(act) => {
                    self.notes.push("it is again the file that its other names mean".to_owned());
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
                    self.notes.push(format!("it is a file of its own, made from the sealed copy: {why}"));
                }
                Ok(Box::new(act))
            }
            "changed" if self.overwrite => {
                let act = PutBack::plan(quarantine, root, &as_it_is(self.agent, kept)?, folder_mtime)?;
                self.notes.push(format!("as it is in quarantine: {}", failed.message));
                Ok(Box::new(act))
            }
            "changed" => {
                let message = format!("{}; -overwrite puts it back as it is now", failed.message);
                Err(Problem { message, ..failed })
            }
            _ => Err(failed),
        }
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

/// With `-overwrite`: what stands at these paths goes to quarantine, each as an effect of its own; their numbers. Nothing goes
/// unless all can.
///
/// # Errors
/// When one of them cannot go: why, and what went before it.
pub fn make_room(
    ctx: &mut Context,
    agent: &Arc<Shared>,
    taken: &[(PathBuf, Problem)],
    undone: u64,
) -> Result<Vec<u64>, VerbError> {
    let mut changes = Vec::new();
    let mut used = agent.effects.used()?;
    for (path, _) in taken {
        // What is gone by now is in nobody's way.
        let Ok(held) = agent.root.hold(path) else { continue };
        if held.facts.is_folder() {
            let shown = lossy(path);
            let message = format!("{shown}: a folder is there now, which is not overwritten");
            return Err(Problem::new("conflict", message).at(shown).into());
        }
        file::refuse_protected(agent, &held)?;
        let identity = FileIdentity::new(&held.now().map_err(|error| problem(path, &error))?, None);
        let asked = Asked { used, hash: false, only_plan: false };
        let take = plan(&agent.effects.quarantine, &agent.root, held, &identity, asked)?;
        used = used.saturating_add(take.quarantined().bytes());
        let mut change = file::change(agent, "file", key(path), take);
        change.notes.insert(0, format!("it stood in the way of the undo of effect {undone}"));
        changes.push(change);
    }
    let mut moved = Vec::new();
    for change in changes {
        match agent.effects.effect_of(ctx, change, Some(undone)) {
            Ok(number) => moved.push(number),
            Err(error) => return Err(after(error, &moved)),
        }
    }
    Ok(moved)
}

/// The same error, with what was moved aside before it.
pub fn after(error: impl Into<VerbError>, moved: &[u64]) -> VerbError {
    match error.into() {
        VerbError::Failed(problem) if !moved.is_empty() => {
            let undos: Vec<String> = moved.iter().map(|number| format!("`undo {number}`")).collect();
            let message =
                format!("{}; what stood in its way is in quarantine: {} puts it back", problem.message, undos.join(", "));
            Problem { message, ..problem }.into()
        }
        error => error,
    }
}

/// What is said of an effect that something was moved aside for.
pub fn moved_note(moved: &[u64]) -> Option<String> {
    let numbers: Vec<String> = moved.iter().map(ToString::to_string).collect();
    match numbers.as_slice() {
        [] => None,
        [one] => Some(format!("what stood in its way went to quarantine as effect {one}")),
        several => Some(format!("what stood in its way went to quarantine as effects {}", several.join(" and "))),
    }
}
