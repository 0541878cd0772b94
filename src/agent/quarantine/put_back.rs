//! A file comes back from quarantine: as it was, where it was, never over something else.

use std::ffi::{CStr, CString, OsString};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rustix::fs::{Gid, Uid};
use serde_json::json;
use xattr::FileExt as _;

use super::take::{difference, times_as_before};
use super::{BLOCK, Quarantine, SEALED};
use crate::agent::effects::{Act, Acting};
use crate::agent::faults;
use crate::agent::identity::ns;
use crate::agent::journal::{Kind, Outcome, Place, Quarantined, Step};
use crate::agent::path::{key, of_key, problem};
use crate::agent::platform::{Facts, Held, Root, open_content, set_times};
use crate::protocol::Problem;

/// A file that is about to be moved back, held.
#[derive(Debug)]
pub struct PutBack {
    held: Held,
    content: Option<File>,
    target: Target,
    step: Quarantined,
    /// What its folder's time was right after it was taken.
    folder_mtime: Option<i64>,
}

/// A file whose copy is about to be put where it was, since its file system has forgotten it.
#[derive(Debug)]
pub struct Restore {
    copy: Option<File>,
    target: Target,
    step: Quarantined,
}

/// Where something goes back to: a name that is free.
#[derive(Debug)]
struct Target {
    folder: OwnedFd,
    name: CString,
    path: PathBuf,
}

impl Target {
    fn of(root: &Root, step: &Quarantined) -> Result<Self, Problem> {
        let path = of_key(&step.path);
        let shown = key(&path);
        let (Some(above), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(Problem::new("internal", "the journal names no file").at(shown));
        };
        let folder = root.open_real_folder(above).map_err(|error| {
            let why = problem(above, &error);
            Problem { message: format!("{shown}: its folder cannot be opened: {}", why.message), ..why }
        })?;
        let name = CString::new(name.as_bytes()).map_err(|error| problem(&path, &error.into()))?;
        Ok(Self { folder, name, path })
    }

    fn place(&self) -> Place<'_> {
        Place { folder: self.folder.as_fd(), name: &self.name }
    }

    fn is_free(&self) -> bool {
        Facts::of(self.folder.as_fd(), &self.name).is_err()
    }
}

impl PutBack {
    /// Looks whether a file can go back; nothing is done yet. `folder_mtime` is what its folder's time was right after it was
    /// taken.
    ///
    /// # Errors
    /// When it is not in quarantine as it was put there, or something else has its name: `conflict`.
    pub fn plan(quarantine: &Quarantine, root: &Root, step: &Quarantined, folder_mtime: Option<i64>) -> Result<Self, Problem> {
        let place = quarantine.place(step);
        let missing = |error: &io::Error| problem(&place, error);
        let shelf = quarantine.open(root, &step.shelf).map_err(|error| missing(&error))?;
        let name = CString::new(step.name.as_str()).map_err(|error| missing(&error.into()))?;
        let held = Held::of(shelf, name, place.clone()).map_err(|error| missing(&error))?;
        if let Some(difference) = difference(&step.identity, &held.facts, false) {
            let message = format!("what is in quarantine is not what was put there: {difference}");
            return Err(Problem::new("changed", message).at(key(&place)));
        }
        let content = match step.facts.kind {
            Kind::File => Some(held.content().map_err(|error| missing(&error))?),
            _ => None,
        };
        let target = Target::of(root, step)?;
        free(&target, step)?;
        Ok(Self { held, content, target, step: step.clone(), folder_mtime })
    }

    fn act(&self, on: &Acting<'_>) -> io::Result<Outcome> {
        let disk = &on.effects.quarantine.disk;
        let folder_mtime = Facts::of(self.target.folder.as_fd(), c"").map(|facts| ns(facts.modified.ns())).ok();
        let sealed = self.content.as_ref().filter(|_| self.step.facts.sealed);
        if let Some(content) = sealed {
            disk.set_mode(content.as_fd(), self.step.facts.mode)?;
            disk.sync(content.as_fd())?;
            faults::point("putback.after_unseal");
        }
        let from = Place { folder: self.held.folder.as_fd(), name: &self.held.name };
        if let Err(error) = disk.rename_no_replace(from, self.target.place()) {
            if let Some(content) = sealed {
                disk.set_mode(content.as_fd(), SEALED)?;
                disk.sync(content.as_fd())?;
            }
            return Err(error);
        }
        faults::point("putback.after_rename");
        disk.sync_folder(self.target.folder.as_fd())?;
        disk.sync_folder(from.folder)?;
        faults::point("putback.after_sync");
        self.set_times(folder_mtime);
        if self.step.copied {
            forget_copy(&on.effects.quarantine, &self.step);
        }
        Ok(Outcome::done(json!({ "path": self.step.path })))
    }

    /// Sets times as they were; the folder's only where nobody else has changed it since: `now` is what it was before this.
    fn set_times(&self, now: Option<i64>) {
        let Target { folder, name, .. } = &self.target;
        if self.folder_mtime.is_some() && self.folder_mtime == now {
            times_as_before(&self.step, folder.as_fd(), name);
        } else if let Err(error) = set_times(folder.as_fd(), name, Some(self.step.facts.atime_ns), None) {
            tracing::debug!(%error, "a time cannot be set back");
        }
    }
}

/// Refuses where something else is by now.
fn free(target: &Target, step: &Quarantined) -> Result<(), Problem> {
    if target.is_free() {
        return Ok(());
    }
    let message = format!("{}: something else is there now; -overwrite puts that into quarantine first", step.path);
    Err(Problem::new("conflict", message).at(step.path.clone()))
}

impl Act for PutBack {
    fn step(&self) -> Step {
        Step::PutBack(self.step.clone())
    }

    fn run(&mut self, on: &Acting<'_>) -> Outcome {
        self.act(on).unwrap_or_else(|error| match look_put_back(&on.effects.quarantine, on.root, &self.step) {
            Ok(outcome) => Outcome { reason: Some(problem(&self.target.path, &error).message), ..outcome },
            Err(_) => Outcome::not_done(problem(&self.target.path, &error).message),
        })
    }
}

impl Restore {
    /// Looks whether a copy can be put where the file was; nothing is done yet.
    ///
    /// # Errors
    /// When the copy is not there, or something else has the name: `conflict`.
    pub fn plan(quarantine: &Quarantine, root: &Root, step: &Quarantined) -> Result<Self, Problem> {
        let path = quarantine.own_path().join(&step.name);
        let copy = match step.facts.kind {
            Kind::Link => None,
            _ => {
                let own = quarantine.own().map_err(|error| problem(&path, &error))?;
                let name = CString::new(step.name.as_str()).map_err(|error| problem(&path, &error.into()))?;
                Some(open_content(own.as_fd(), &name).map_err(|error| problem(&path, &error))?)
            }
        };
        let target = Target::of(root, step)?;
        free(&target, step)?;
        Ok(Self { copy, target, step: step.clone() })
    }

    fn act(&mut self, on: &Acting<'_>) -> io::Result<Outcome> {
        let disk = &on.effects.quarantine.disk;
        let facts = &self.step.facts;
        let beside = beside(&self.step)?;
        let temporary = Place { folder: self.target.folder.as_fd(), name: &beside };
        if let Some(copy) = &mut self.copy {
            let file = disk.create(temporary)?;
            let mut block = vec![0; BLOCK];
            loop {
                let read = copy.read(&mut block)?;
                if read == 0 {
                    break;
                }
                disk.append(&file, block.get(..read).unwrap_or_default())?;
            }
            faults::point("putback.after_write");
            rustix::fs::fchown(&file, Some(Uid::from_raw(facts.uid)), Some(Gid::from_raw(facts.gid)))?;
            for (name, value) in &facts.xattrs {
                file.set_xattr(name, &BASE64.decode(value).unwrap_or_default())?;
            }
            disk.set_mode(file.as_fd(), facts.mode)?;
            set_times(temporary.folder, temporary.name, Some(facts.atime_ns), Some(self.step.identity.mtime_ns))?;
            disk.sync(file.as_fd())?;
        } else {
            let target = facts.link_target.as_deref().and_then(|target| BASE64.decode(target).ok()).unwrap_or_default();
            rustix::fs::symlinkat(OsString::from_vec(target), temporary.folder, temporary.name)?;
            set_times(temporary.folder, temporary.name, Some(facts.atime_ns), Some(self.step.identity.mtime_ns))?;
        }
        disk.rename_no_replace(temporary, self.target.place())?;
        disk.sync_folder(temporary.folder)?;
        faults::point("putback.after_copy");
        forget_copy(&on.effects.quarantine, &self.step);
        Ok(Outcome::done(json!({ "path": self.step.path, "from": "copy" })))
    }
}

impl Act for Restore {
    fn step(&self) -> Step {
        Step::Restore(self.step.clone())
    }

    fn run(&mut self, on: &Acting<'_>) -> Outcome {
        self.act(on).unwrap_or_else(|error| match look_restore(&on.effects.quarantine, on.root, &self.step) {
            Ok(outcome) => Outcome { reason: Some(problem(&self.target.path, &error).message), ..outcome },
            Err(_) => Outcome::not_done(problem(&self.target.path, &error).message),
        })
    }
}

/// The name that a copy is written under, beside the one that it gets.
fn beside(step: &Quarantined) -> io::Result<CString> {
    Ok(CString::new(format!(".lrsh-{}", step.name))?)
}

/// The copy of what is back is no longer needed.
fn forget_copy(quarantine: &Quarantine, step: &Quarantined) {
    let removed = quarantine.own().and_then(|own| {
        let name = CString::new(step.name.as_str())?;
        quarantine.disk.remove(Place { folder: own.as_fd(), name: &name })
    });
    if let Err(error) = removed
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(%error, "a copy stays in quarantine");
    }
}

/// What became of a move back that was begun when the agent died. Never goes on.
///
/// # Errors
/// When a folder cannot be looked into.
pub fn look_put_back(quarantine: &Quarantine, root: &Root, step: &Quarantined) -> io::Result<Outcome> {
    let here = root.link_facts(&of_key(&step.path)).ok();
    let is_here = |facts: &Facts| here.is_some_and(|here| (here.dev, here.inode) == (facts.dev, facts.inode));
    let back = here.is_some_and(|here| (here.dev, here.inode) == (step.identity.dev, step.identity.inode));
    let shelf = match quarantine.open(root, &step.shelf) {
        Ok(shelf) => shelf,
        Err(_) if back => return Ok(Outcome::done(json!({ "path": step.path }))),
        Err(error) => return Err(error),
    };
    let name = CString::new(step.name.as_str())?;
    let kept = Place { folder: shelf.as_fd(), name: &name };
    let Ok(now) = Facts::of(kept.folder, kept.name) else {
        return Ok(if back {
            Outcome::done(json!({ "path": step.path }))
        } else {
            Outcome::not_done(format!("{} is neither there nor in quarantine", step.path))
        });
    };
    if is_here(&now) {
        // A power cut kept both names: it was on its way back.
        quarantine.disk.remove(kept)?;
        quarantine.disk.sync_folder(kept.folder)?;
        return Ok(Outcome::done(json!({ "path": step.path })));
    }
    if step.facts.sealed && now.permissions != SEALED {
        seal(quarantine, kept)?;
    }
    Ok(Outcome::not_done("it is still in quarantine"))
}

fn seal(quarantine: &Quarantine, kept: Place<'_>) -> io::Result<()> {
    let file = open_content(kept.folder, kept.name)?;
    quarantine.disk.set_mode(file.as_fd(), SEALED)?;
    quarantine.disk.sync(file.as_fd())
}

/// What became of a copy that was on its way when the agent died: a half-written one is taken away.
///
/// # Errors
/// When its folder cannot be looked into.
pub fn look_restore(quarantine: &Quarantine, root: &Root, step: &Quarantined) -> io::Result<Outcome> {
    let path = of_key(&step.path);
    let folder = root.open_real_folder(path.parent().unwrap_or(&path))?;
    let beside: &CStr = &beside(step)?;
    let temporary = Place { folder: folder.as_fd(), name: beside };
    if Facts::of(temporary.folder, temporary.name).is_ok() {
        quarantine.disk.remove(temporary)?;
        quarantine.disk.sync_folder(temporary.folder)?;
        return Ok(Outcome::not_done("it is still in quarantine"));
    }
    let here = root.link_facts(&path).ok();
    let whole = here.is_some_and(|here| here.size == step.identity.size && ns(here.modified.ns()) == step.identity.mtime_ns);
    Ok(if whole { Outcome::done(json!({ "path": step.path })) } else { Outcome::not_done("it is still in quarantine") })
}
