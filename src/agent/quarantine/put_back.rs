//! A file comes back from quarantine: as it was, where it was, never over something else.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use serde_json::json;

use super::compare::{compare, difference};
use super::copy::forget;
use super::take::times_as_before;
use super::{Quarantine, SEALED};
use crate::agent::context::{Meter, Stop};
use crate::agent::effects::{Act, Acting};
use crate::agent::faults;
use crate::agent::identity::ns;
use crate::agent::journal::{Kind, Outcome, Place, Quarantined, Step};
use crate::agent::path::{key, of_key, problem};
use crate::agent::platform::{Facts, Held, Root, is_mounted_read_only, open_content, set_times};
use crate::protocol::Problem;

/// A file that is about to be moved back, held.
#[derive(Debug)]
pub struct PutBack {
    held: Held,
    content: Option<File>,
    target: Target,
    step: Quarantined,
}

/// Where something goes back to.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) folder: OwnedFd,
    pub(super) name: CString,
    pub(super) path: PathBuf,
    /// What the folder's time was right after it was taken.
    folder_mtime: Option<i64>,
}

impl Target {
    /// The name, if it lies where it lay.
    pub(super) fn at(root: &Root, step: &Quarantined, folder_mtime: Option<i64>) -> Result<Self, Problem> {
        let path = of_key(&step.path);
        let shown = key(&path);
        let refuse = |code: &str, why: String| Err(Problem::new(code, format!("{shown}: {why}")).at(shown.clone()));
        let (Some(above), Some(name)) = (path.parent(), path.file_name()) else {
            return refuse("internal", "the journal names no file".to_owned());
        };
        if let Some(mount) = step.mount.as_deref().filter(|mount| !is_mount_point(root, mount)) {
            let why = format!("the file system that it lay on was mounted at {mount}, and is not any more; mount it first");
            return refuse("not_mounted", why);
        }
        let folder = root.open_real_folder(above).map_err(|error| {
            let why = problem(above, &error);
            Problem { message: format!("{shown}: its folder cannot be opened: {}", why.message), ..why }
        })?;
        let mount = root.mount_point(folder.as_fd()).map(|mount| key(&mount));
        if let (Some(was), Some(is)) = (&step.mount, mount)
            && *was != is
        {
            let why = format!("its folder lies on the file system at {is} now, it lay on the one at {was}; unmount that first");
            return refuse("not_mounted", why);
        }
        if is_mounted_read_only(folder.as_fd()) {
            return refuse("read_only", "its file system is mounted read-only".to_owned());
        }
        let facts = Facts::of(folder.as_fd(), c"").map_err(|error| problem(above, &error))?;
        if let Some(why) = facts.marked() {
            return refuse("immutable", format!("its folder is {why}"));
        }
        let name = CString::new(name.as_bytes()).map_err(|error| problem(&path, &error.into()))?;
        Ok(Self { folder, name, path, folder_mtime })
    }

    /// The same, if the name is free. Looked at last: `conflict` says that all else is well.
    pub(super) fn free(self) -> Result<Self, Problem> {
        if Facts::of(self.folder.as_fd(), &self.name).is_err() {
            return Ok(self);
        }
        let shown = key(&self.path);
        let message = format!("{shown}: something else is there now; -overwrite puts that into quarantine first");
        Err(Problem::new("conflict", message).at(shown))
    }

    pub(super) fn place(&self) -> Place<'_> {
        Place { folder: self.folder.as_fd(), name: &self.name }
    }

    /// The folder's time as it is.
    pub(super) fn folder_time(&self) -> Option<i64> {
        Facts::of(self.folder.as_fd(), c"").map(|facts| ns(facts.modified.ns())).ok()
    }

    /// Sets times as they were; the folder's only where nobody else has changed it since: `now` is what it was before this.
    pub(super) fn times_as_before(&self, step: &Quarantined, now: Option<i64>) {
        if self.folder_mtime.is_some() && self.folder_mtime == now {
            times_as_before(step, self.folder.as_fd(), &self.name);
        } else if let Err(error) = set_times(self.folder.as_fd(), &self.name, Some(step.facts.atime_ns), None) {
            tracing::debug!(%error, "a time cannot be set back");
        }
    }
}

/// Whether a file system is mounted at a path.
fn is_mount_point(root: &Root, mount: &str) -> bool {
    let path = of_key(mount);
    root.open_real_folder(&path).is_ok_and(|folder| root.mount_point(folder.as_fd()).is_some_and(|is| is == path))
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
        if let Some(content) = content.as_ref().filter(|_| step.hashed) {
            // Who had it open when it was taken may have written to it since, and set its time back.
            if let Ok(Some(why)) = compare(content, &step.identity, &Stop::default(), &Meter::default()) {
                let message = format!("what is in quarantine is not what was put there: {why}");
                return Err(Problem::new("changed", message).at(key(&place)));
            }
        }
        Ok(Self { held, content, target: Target::at(root, step, folder_mtime)?.free()?, step: step.clone() })
    }

    fn act(&self, on: &Acting<'_>) -> io::Result<Outcome> {
        let disk = &on.effects.quarantine.disk;
        let folder_time = self.target.folder_time();
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
        self.target.times_as_before(&self.step, folder_time);
        if self.step.copied {
            forget(&on.effects.quarantine, on.root, &self.step);
        }
        Ok(Outcome::done(json!({ "path": self.step.path })))
    }
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
