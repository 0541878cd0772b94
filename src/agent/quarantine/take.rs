//! A file goes to quarantine: the one that was seen, or none.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rustix::fs::FileType;
use rustix::io::Errno;
use serde_json::json;
use uuid::Uuid;
use xattr::FileExt as _;

use super::compare::{compare, difference, was_renumbered};
use super::copy::keep_copy;
use super::look::look;
use super::{Quarantine, SEALED, nearest};
use crate::agent::effects::{Act, Acting};
use crate::agent::faults;
use crate::agent::identity::{FileIdentity, ns};
use crate::agent::journal::{Kept, Kind, Linked, Outcome, Place, Quarantined, Shelf, Step, StepState};
use crate::agent::path::{key, lossy, of_key, problem};
use crate::agent::platform::{
    Facts, Held, Root, handle_of, is_mounted_read_only, is_virtual, is_volatile, is_written_to, open_content, room, set_times,
};
use crate::protocol::Problem;

/// Larger files are hashed again only where the analyst asks for it.
const HASH_LIMIT: u64 = 1024 * 1024 * 1024;
/// From so many bytes on it counts that holes take no room.
const LARGE_HOLES: u64 = 1024 * 1024;
/// The most bytes of extended attributes that are kept of a file that is copied.
const MAX_XATTRS: usize = 1024 * 1024;

/// A file that is about to go to quarantine, held.
#[derive(Debug)]
pub struct Take {
    pub(super) held: Held,
    pub(super) content: Option<File>,
    /// Open unless this is only a plan.
    pub(super) shelf: Option<OwnedFd>,
    pub(super) step: Quarantined,
}

/// What is asked of a file's way to quarantine.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    /// How many bytes the quarantine holds already.
    pub used: u64,
    /// The hash is compared whatever the size.
    pub hash: bool,
    /// It is only asked how it would be: no folder is made for it.
    pub only_plan: bool,
}

/// Refuses what lies on no disk.
///
/// # Errors
/// When the kernel makes it up.
pub fn refuse_made_up(held: &Held) -> Result<(), Problem> {
    if !is_virtual(held.folder.as_fd()) {
        return Ok(());
    }
    let path = lossy(&held.path);
    Err(Problem::new("not_a_file", format!("{path}: the kernel makes it up, so that it cannot be taken away")).at(path))
}

/// Looks at a held file and says how it would go to quarantine; nothing is done yet but that a quarantine folder is made.
///
/// # Errors
/// When it is not what was seen, or cannot go there: a sentence for the analyst.
pub fn plan(quarantine: &Quarantine, root: &Root, held: Held, seen: &FileIdentity, asked: Asked) -> Result<Take, Problem> {
    let path = held.path.clone();
    let refuse = |code: &str, why: &str| {
        let path = lossy(&path);
        Err(Problem::new(code, format!("{path}: {why}")).at(path))
    };
    let facts = held.facts;
    let kind = match facts.kind {
        FileType::RegularFile => Kind::File,
        FileType::Symlink => Kind::Link,
        FileType::Fifo => Kind::Fifo,
        FileType::Socket => Kind::Socket,
        FileType::BlockDevice | FileType::CharacterDevice => Kind::Device,
        FileType::Directory | FileType::Unknown => {
            return refuse("is_a_folder", "it is a folder; its files are removed one by one");
        }
    };
    if let Some(difference) = difference(seen, &facts, true) {
        return refuse("changed", &format!("it is not what was seen: {difference}; look again, or give -auto"));
    }
    refuse_made_up(&held)?;
    if is_mounted_read_only(held.folder.as_fd()) {
        return refuse("read_only", "its file system is mounted read-only");
    }
    if let Some(why) = facts.marked() {
        return refuse("immutable", &format!("it is {why}"));
    }
    let folder_facts = Facts::of(held.folder.as_fd(), c"").map_err(|error| problem(&path, &error))?;
    if let Some(why) = folder_facts.marked() {
        return refuse("immutable", &format!("its folder is {why}"));
    }
    if !held.may_be_taken(&folder_facts) {
        return Err(problem(&path, &Errno::ACCESS.into()));
    }
    let used = asked.used;
    let allocated = (facts.size.saturating_sub(facts.allocated) >= LARGE_HOLES).then_some(facts.allocated);
    let bytes = allocated.unwrap_or(facts.size);
    if used.saturating_add(bytes) > quarantine.cap {
        let why = format!(
            "the quarantine holds {used} bytes, and this file of {bytes} would bring it over its cap of {}",
            quarantine.cap
        );
        return refuse("quarantine_full", &why);
    }
    let content = match kind {
        Kind::File => match held.content() {
            Ok(content) => Some(content),
            Err(error) if seen.sha256.is_some() => return Err(problem(&path, &error)),
            Err(_) => None,
        },
        _ => None,
    };
    let linked = kind == Kind::File && facts.links > 1;
    let forgets =
        is_volatile(held.folder.as_fd()) && matches!(quarantine.shelf_for(root, &held.folder, false)?.0, Shelf::At(_));
    let needs_copy = linked || forgets && matches!(kind, Kind::File | Kind::Link);
    let is_room = || {
        let own = nearest(&quarantine.own_path()).map_err(|error| problem(&quarantine.own_path(), &error))?;
        Ok::<_, Problem>(bytes <= room(own.as_fd()))
    };
    if needs_copy {
        let why = if linked { "it has other names, through which it can be changed" } else { "its file system forgets" };
        if kind == Kind::File && content.is_none() {
            return refuse("permission_denied", &format!("{why}, and the agent may not read it to keep a copy"));
        }
        if !is_room()? {
            return refuse("no_room", &format!("{why}, and there is no room in the agent's folder for a copy"));
        }
    }
    // Whoever has it open for writing can go on changing it.
    let written = content.as_ref().is_some_and(|content| is_written_to(content.as_fd()));
    let copied = needs_copy || written && is_room()?;
    let user = rustix::process::geteuid();
    let sealed = kind == Kind::File && !linked && content.is_some() && (user.is_root() || user.as_raw() == facts.uid);
    if kind == Kind::File && !linked && !sealed && facts.permissions & 0o111 != 0 {
        return refuse("permission_denied", "the agent may not take away its right to be run, so that it cannot be kept");
    }
    let xattrs = match content.as_ref().filter(|_| copied) {
        Some(content) => xattrs(content).map_err(|error| problem(&path, &error))?,
        None => BTreeMap::new(),
    };
    let (shelf, folder) = quarantine.shelf_for(root, &held.folder, !asked.only_plan)?;
    let link_target = match kind {
        Kind::Link => {
            let target = rustix::fs::readlinkat(&held.fd, c"", Vec::new()).map_err(|error| problem(&path, &error.into()))?;
            Some(BASE64.encode(target.as_bytes()))
        }
        _ => None,
    };
    let identity = FileIdentity::new(&facts, seen.sha256.clone());
    let step = Quarantined {
        path: key(&path),
        shelf,
        name: Uuid::new_v4().simple().to_string(),
        mount: root.mount_point(held.folder.as_fd()).map(|mount| key(&mount)),
        copied,
        linked: linked.then(|| Linked { handle: handle_of(held.fd.as_fd()).ok() }),
        hashed: identity.sha256.is_some() && (facts.size <= HASH_LIMIT || asked.hash),
        identity,
        facts: Kept {
            kind,
            mode: facts.permissions,
            sealed,
            uid: facts.uid,
            gid: facts.gid,
            atime_ns: ns(facts.accessed.ns()),
            links: facts.links,
            allocated,
            link_target,
            xattrs,
            folder_mtime_ns: ns(folder_facts.modified.ns()),
        },
    };
    Ok(Take { held, content, shelf: folder, step })
}

impl Take {
    /// What the journal keeps.
    #[must_use]
    pub fn quarantined(&self) -> &Quarantined {
        &self.step
    }

    fn name(&self) -> io::Result<CString> {
        Ok(CString::new(self.step.name.as_str())?)
    }

    /// Moves it, compares it, and puts it back where it is not what was seen.
    fn act(&self, on: &Acting<'_>) -> io::Result<Outcome> {
        let quarantine = &on.effects.quarantine;
        let name = self.name()?;
        let from = Place { folder: self.held.folder.as_fd(), name: &self.held.name };
        let shelf = self.shelf.as_ref().ok_or_else(|| io::Error::other("this is only a plan"))?;
        let to = Place { folder: shelf.as_fd(), name: &name };
        quarantine.disk.rename_no_replace(from, to)?;
        faults::point("quarantine.after_rename");
        if let Some(why) = self.differs(on, to) {
            return Ok(put_right(quarantine, &self.step, from, to, &why));
        }
        faults::point("quarantine.after_compare");
        self.settle(on, from, to)
    }

    /// Why what was moved is not what was seen.
    fn differs(&self, on: &Acting<'_>, moved: Place<'_>) -> Option<String> {
        let now = match Facts::of(moved.folder, moved.name) {
            Ok(now) => now,
            Err(error) => return Some(format!("what was moved cannot be looked at: {error}")),
        };
        let identity = &self.step.identity;
        let renumbered = was_renumbered(&self.step, &now, moved);
        if !renumbered && let Some(difference) = difference(identity, &now, false) {
            return Some(format!("it is not what was seen: {difference}"));
        }
        let folder = of_key(&self.step.path);
        if on.root.path_of(self.held.folder.as_fd()).as_deref() != folder.parent() {
            return Some("its folder was renamed meanwhile".to_owned());
        }
        let content = self.content.as_ref().filter(|_| !renumbered)?;
        if self.step.hashed {
            match compare(content, identity, on.stop, on.meter) {
                Ok(None) => {}
                Ok(Some(why)) => return Some(why),
                Err(_) => return Some("the command was asked to stop".to_owned()),
            }
        }
        // Who had it open for writing may have gone on meanwhile.
        let now = Facts::of(content.as_fd(), c"").ok()?;
        difference(identity, &now, false).map(|difference| format!("it changes: {difference}"))
    }

    /// What was moved is the right thing: it is sealed, and everything goes to the disk.
    fn settle(&self, on: &Acting<'_>, from: Place<'_>, to: Place<'_>) -> io::Result<Outcome> {
        let quarantine = &on.effects.quarantine;
        // First where it came to, then where it came from: a power cut in between must not lose it. Sealed only then: it must
        // not be found where it was without its mode.
        quarantine.disk.sync_folder(to.folder)?;
        quarantine.disk.sync_folder(from.folder)?;
        faults::point("quarantine.after_sync");
        if let Some(content) = self.content.as_ref().filter(|_| self.step.facts.sealed) {
            if let Err(error) = quarantine.disk.set_mode(content.as_fd(), SEALED) {
                let why = format!("its right to be run cannot be taken away: {error}");
                return Ok(put_right(quarantine, &self.step, from, to, &why));
            }
            faults::point("quarantine.after_seal");
            quarantine.disk.sync(content.as_fd())?;
        }
        if let Some(content) = self.content.as_ref().filter(|_| self.step.copied) {
            if let Err(error) = keep_copy(quarantine, &self.step, content) {
                let why = format!("its bytes could not be copied: {error}");
                return Ok(put_right(quarantine, &self.step, from, to, &why));
            }
            faults::point("quarantine.after_copy");
        }
        if self.step.linked.is_some() {
            quarantine.disk.remove(to)?;
            faults::point("quarantine.after_unlink");
            quarantine.disk.sync_folder(to.folder)?;
        }
        let folder_mtime = Facts::of(from.folder, c"").map(|facts| ns(facts.modified.ns())).ok();
        Ok(Outcome::done(found(quarantine, &self.step, folder_mtime)))
    }
}

impl Act for Take {
    fn step(&self) -> Step {
        Step::Quarantine(self.step.clone())
    }

    fn run(&mut self, on: &Acting<'_>) -> Outcome {
        match self.act(on) {
            Ok(outcome) => outcome,
            Err(error) if Errno::from_io_error(&error) == Some(Errno::NOENT) => {
                Outcome::not_done(format!("{}: it was gone when it should have been moved", self.step.path))
            }
            Err(error) => {
                let why = Some(problem(&self.held.path, &error).message);
                match look(&on.effects.quarantine, on.root, &self.step) {
                    Ok(outcome) => Outcome { reason: why, ..outcome },
                    Err(_) => Outcome { state: StepState::NotDone, reason: why, found: serde_json::Value::Null },
                }
            }
        }
    }
}

/// What is told of a file in quarantine.
pub(super) fn found(quarantine: &Quarantine, step: &Quarantined, folder_mtime_ns: Option<i64>) -> serde_json::Value {
    let copy = step.copied.then(|| key(&quarantine.own_path().join(step.copy_name())));
    let kept = if step.linked.is_some() { copy.clone() } else { Some(key(&quarantine.place(step))) };
    json!({
        "quarantine": kept, "copy": copy, "hash_compared": step.hashed,
        "other_names": step.facts.links.saturating_sub(1), "folder_mtime_ns": folder_mtime_ns,
    })
}

/// Moves back what should not have been moved; what cannot go back, since the name is taken, stays and is told.
pub(super) fn put_right(quarantine: &Quarantine, step: &Quarantined, from: Place<'_>, to: Place<'_>, why: &str) -> Outcome {
    let disk = &quarantine.disk;
    if step.facts.sealed
        && let Ok(file) = open_content(to.folder, to.name)
        && Facts::of(file.as_fd(), c"").is_ok_and(|now| now.inode == step.identity.inode && now.permissions == SEALED)
        && let Err(error) = disk.set_mode(file.as_fd(), step.facts.mode)
    {
        tracing::warn!(%error, "the mode of a file that is put back cannot be set");
    }
    match disk.rename_no_replace(to, from) {
        Ok(()) => {
            for folder in [from.folder, to.folder] {
                if let Err(error) = disk.sync_folder(folder) {
                    tracing::warn!(%error, "a folder cannot be synced");
                }
            }
            times_as_before(step, from.folder, from.name);
            Outcome::not_done(format!("{}: {why}; it is where it was", step.path))
        }
        Err(error) => Outcome {
            state: StepState::Kept,
            reason: Some(format!("{}: {why}; it could not be put back ({error}), so that it stays in quarantine", step.path)),
            found: found(quarantine, step, None),
        },
    }
}

/// Sets a folder's and a file's times as they were before the file was moved.
pub(super) fn times_as_before(step: &Quarantined, folder: BorrowedFd<'_>, name: &std::ffi::CStr) {
    let set = |folder, name, read, changed| {
        if let Err(error) = set_times(folder, name, read, changed) {
            tracing::debug!(%error, "a time cannot be set back");
        }
    };
    set(folder, name, Some(step.facts.atime_ns), None);
    set(folder, c".", None, Some(step.facts.folder_mtime_ns));
}

/// Extended attributes: names, and values in base64.
fn xattrs(file: &File) -> io::Result<BTreeMap<String, String>> {
    let mut all = BTreeMap::new();
    let mut size = 0;
    for name in file.list_xattr()? {
        let Some(value) = file.get_xattr(&name)? else { continue };
        size += value.len();
        if size > MAX_XATTRS {
            return Err(io::Error::other("more extended attributes hang on it than can be kept"));
        }
        if let Some(name) = name.to_str() {
            all.insert(name.to_owned(), BASE64.encode(value));
        }
    }
    Ok(all)
}
