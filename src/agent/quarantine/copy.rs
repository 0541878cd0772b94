//! A file comes back from the copy of its bytes: its file system has forgotten it, or it was changed through another name or by
//! who had it open. One that only lost a name gets that back, as long as it is what it was.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rustix::fs::{AtFlags, Gid, Uid};
use serde_json::json;
use xattr::FileExt as _;

use super::compare::difference;
use super::put_back::Target;
use super::{ACCESS_LIST, BLOCK, Quarantine, SEALED, without_inherited_list};
use crate::agent::digest::Hashing;
use crate::agent::effects::{Act, Acting};
use crate::agent::faults;
use crate::agent::identity::ns;
use crate::agent::journal::{Kind, Outcome, Place, Quarantined, Step};
use crate::agent::path::{of_key, problem};
use crate::agent::platform::{Facts, Root, open_by_handle, open_content, set_times};
use crate::protocol::Problem;

/// A file whose copy is about to be put where it was.
#[derive(Debug)]
pub struct Restore {
    copy: Option<File>,
    target: Target,
    step: Quarantined,
}

/// Copies the bytes of a file in quarantine, sealed; nothing of it stays when they are not what was seen.
pub(super) fn keep_copy(quarantine: &Quarantine, step: &Quarantined, mut content: &File) -> io::Result<()> {
    content.rewind()?;
    let mut reader = Hashing::new(content);
    let size = quarantine.store(&step.copy_name(), &mut reader)?;
    let sha256 = reader.sha256();
    let differs = step.hashed && step.identity.sha256.as_ref().is_some_and(|seen| *seen != sha256);
    if size == step.identity.size && !differs {
        return Ok(());
    }
    drop_copy(quarantine, step)?;
    Err(io::Error::other("it changes while it is read"))
}

pub(super) fn drop_copy(quarantine: &Quarantine, step: &Quarantined) -> io::Result<()> {
    let (own, name) = (quarantine.own()?, CString::new(step.copy_name())?);
    quarantine.disk.remove(Place { folder: own.as_fd(), name: &name })
}

/// Whether the copy is there, and whole: it is sealed last.
pub(super) fn has_copy(quarantine: &Quarantine, step: &Quarantined) -> io::Result<bool> {
    let (own, name) = (quarantine.own()?, CString::new(step.copy_name())?);
    let copy = Facts::of(own.as_fd(), &name);
    Ok(copy.is_ok_and(|copy| copy.size == step.identity.size && copy.permissions == SEALED))
}

/// The copy of a file, opened.
fn open_copy(quarantine: &Quarantine, step: &Quarantined) -> Result<File, Problem> {
    let path = quarantine.own_path().join(step.copy_name());
    let opened = quarantine.own().and_then(|own| open_content(own.as_fd(), &CString::new(step.copy_name())?));
    opened.map_err(|error| problem(&path, &error))
}

impl Restore {
    /// Looks whether a copy can be put where the file was; nothing is done yet.
    ///
    /// # Errors
    /// When the copy is not there, or something else has the name: `conflict`.
    pub fn plan(quarantine: &Quarantine, root: &Root, step: &Quarantined, folder_mtime: Option<i64>) -> Result<Self, Problem> {
        let copy = match step.facts.kind {
            Kind::Link => None,
            _ => Some(open_copy(quarantine, step)?),
        };
        Ok(Self { copy, target: Target::at(root, step, folder_mtime)?.free()?, step: step.clone() })
    }

    fn act(&mut self, on: &Acting<'_>) -> io::Result<Outcome> {
        let disk = &on.effects.quarantine.disk;
        let facts = &self.step.facts;
        let folder_time = self.target.folder_time();
        let beside = beside(&self.step)?;
        let temporary = Place { folder: self.target.folder.as_fd(), name: &beside };
        let (owner, group) = (Some(Uid::from_raw(facts.uid)), Some(Gid::from_raw(facts.gid)));
        if let Some(copy) = &mut self.copy {
            let file = disk.create(temporary)?;
            on.effects.quarantine.fill(&file, copy)?;
            faults::point("putback.after_write");
            rustix::fs::fchown(&file, owner, group)?;
            if !facts.xattrs.contains_key(ACCESS_LIST) {
                without_inherited_list(&file);
            }
            for (name, value) in &facts.xattrs {
                file.set_xattr(name, &BASE64.decode(value).unwrap_or_default())?;
            }
            disk.set_mode(file.as_fd(), facts.mode)?;
            set_times(temporary.folder, temporary.name, Some(facts.atime_ns), Some(self.step.identity.mtime_ns))?;
            disk.sync(file.as_fd())?;
        } else {
            disk.link_to(&self.step.link_target().unwrap_or_default(), temporary)?;
            rustix::fs::chownat(temporary.folder, temporary.name, owner, group, AtFlags::SYMLINK_NOFOLLOW)?;
            set_times(temporary.folder, temporary.name, Some(facts.atime_ns), Some(self.step.identity.mtime_ns))?;
        }
        disk.rename_no_replace(temporary, self.target.place())?;
        disk.sync_folder(temporary.folder)?;
        faults::point("putback.after_copy");
        self.target.times_as_before(&self.step, folder_time);
        forget(&on.effects.quarantine, on.root, &self.step);
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

/// What is in quarantine of a file that is back is no longer needed: its copy, and what became of the file itself.
pub(super) fn forget(quarantine: &Quarantine, root: &Root, step: &Quarantined) {
    let remove = |folder: io::Result<OwnedFd>, name: &str| {
        let (folder, name) = (folder?, CString::new(name)?);
        quarantine.disk.remove(Place { folder: folder.as_fd(), name: &name })?;
        // Nothing would look for it any more after a power cut.
        quarantine.disk.sync_folder(folder.as_fd())
    };
    let removed = [remove(quarantine.own(), &step.copy_name()), remove(quarantine.open(root, &step.shelf), &step.name)];
    for error in removed.into_iter().filter_map(Result::err).filter(|error| error.kind() != io::ErrorKind::NotFound) {
        tracing::warn!(%error, "something of what is back stays in quarantine");
    }
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

/// A file that goes on under other names is about to get back the one that was taken from it.
#[derive(Debug)]
pub struct Relink {
    file: OwnedFd,
    target: Target,
    step: Quarantined,
}

impl Relink {
    /// Looks whether the file is still what it was; nothing is done yet.
    ///
    /// # Errors
    /// When something else has the name: `conflict`; `gone` when it has no name left, or cannot be found; `changed` when it is
    /// not what it was.
    pub fn plan(quarantine: &Quarantine, root: &Root, step: &Quarantined, folder_mtime: Option<i64>) -> Result<Self, Problem> {
        let gone = |why: String| Problem::new("gone", why).at(step.path.clone());
        let handle = step.linked.as_ref().and_then(|linked| linked.handle.as_deref());
        let handle = handle.ok_or_else(|| gone("its file system finds no file by anything but its name".to_owned()))?;
        let target = Target::at(root, step, folder_mtime)?;
        let file = match open_by_handle(target.folder.as_fd(), handle) {
            Ok(file) => file,
            Err(error) if rustix::io::Errno::from_io_error(&error) == Some(rustix::io::Errno::STALE) => {
                return Err(gone("its other names are gone".to_owned()));
            }
            Err(error) => {
                return Err(gone(format!(
                    "it cannot be found by its other names: {}",
                    problem(Path::new("/"), &error).message
                )));
            }
        };
        let facts = Facts::of(file.as_fd(), c"").map_err(|error| problem(&target.path, &error))?;
        let changed = |why: String| Err(Problem::new("changed", format!("it was changed through another name: {why}")));
        if facts.links == 0 {
            return Err(gone("its other names are gone".to_owned()));
        }
        if let Some(why) = difference(&step.identity, &facts, false) {
            return changed(why);
        }
        if (facts.permissions, facts.uid, facts.gid) != (step.facts.mode, step.facts.uid, step.facts.gid) {
            return changed("mode or owner".to_owned());
        }
        let file_again = file.try_clone().map_err(|error| problem(&target.path, &error))?;
        let same = same_bytes(&mut File::from(file_again), &mut open_copy(quarantine, step)?);
        if !same.map_err(|error| problem(&target.path, &error))? {
            return changed("its content is another".to_owned());
        }
        Ok(Self { file, target: target.free()?, step: step.clone() })
    }

    fn act(&self, on: &Acting<'_>) -> io::Result<Outcome> {
        let disk = &on.effects.quarantine.disk;
        let folder_time = self.target.folder_time();
        disk.name_again(self.file.as_fd(), self.target.place())?;
        faults::point("putback.after_link");
        disk.sync_folder(self.target.folder.as_fd())?;
        self.target.times_as_before(&self.step, folder_time);
        forget(&on.effects.quarantine, on.root, &self.step);
        Ok(Outcome::done(json!({ "path": self.step.path, "from": "its other names" })))
    }
}

fn same_bytes(one: &mut impl Read, other: &mut impl Read) -> io::Result<bool> {
    let (mut left, mut right) = (Vec::with_capacity(BLOCK), Vec::with_capacity(BLOCK));
    let size = u64::try_from(BLOCK).unwrap_or(u64::MAX);
    loop {
        left.clear();
        right.clear();
        one.by_ref().take(size).read_to_end(&mut left)?;
        other.by_ref().take(size).read_to_end(&mut right)?;
        if left != right || left.is_empty() {
            return Ok(left == right);
        }
    }
}

impl Act for Relink {
    fn step(&self) -> Step {
        Step::Relink(self.step.clone())
    }

    fn run(&mut self, on: &Acting<'_>) -> Outcome {
        self.act(on).unwrap_or_else(|error| {
            let found = look_relink(on.root, &self.step);
            Outcome { reason: Some(problem(&self.target.path, &error).message), ..found }
        })
    }
}

/// What became of a name that was being given back when the agent died.
#[must_use]
pub fn look_relink(root: &Root, step: &Quarantined) -> Outcome {
    let here = root.link_facts(&of_key(&step.path));
    if here.is_ok_and(|here| (here.dev, here.inode) == (step.identity.dev, step.identity.inode)) {
        Outcome::done(json!({ "path": step.path }))
    } else {
        Outcome::not_done("it is still in quarantine")
    }
}
