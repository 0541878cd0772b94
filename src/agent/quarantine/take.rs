//! A file goes to quarantine: the one that was seen, or none.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::File;
use std::io::{self, Seek};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rustix::fs::FileType;
use rustix::io::Errno;
use serde_json::json;
use uuid::Uuid;
use xattr::FileExt as _;

use super::{Quarantine, SEALED, nearest};
use crate::agent::context::{Meter, Stop, VerbError};
use crate::agent::digest::{Hashing, sha256};
use crate::agent::effects::{Act, Acting};
use crate::agent::faults;
use crate::agent::identity::{FileIdentity, ns};
use crate::agent::journal::{Kept, Kind, Linked, Outcome, Place, Quarantined, Shelf, Step, StepState};
use crate::agent::path::{key, lossy, of_key, problem};
use crate::agent::platform::{
    Facts, Held, Root, handle_of, is_mounted_read_only, is_overlay, is_virtual, is_volatile, is_written_to, open_content, room,
    set_times,
};
use crate::protocol::Problem;

/// Larger files are hashed again only where the analyst asks for it.
const HASH_LIMIT: u64 = 1024 * 1024 * 1024;
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
    if is_virtual(held.folder.as_fd()) {
        return refuse("not_a_file", "the kernel makes it up, so that it cannot be taken away");
    }
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
    let used = asked.used;
    if used.saturating_add(facts.size) > quarantine.cap {
        let why = format!(
            "the quarantine holds {used} bytes, and this file of {} would bring it over its cap of {}",
            facts.size, quarantine.cap
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
        Ok::<_, Problem>(facts.size <= room(own.as_fd()))
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

fn drop_copy(quarantine: &Quarantine, step: &Quarantined) -> io::Result<()> {
    let (own, name) = (quarantine.own()?, CString::new(step.copy_name())?);
    quarantine.disk.remove(Place { folder: own.as_fd(), name: &name })
}

/// Whether the copy is there, and whole: it is sealed last.
pub(super) fn has_copy(quarantine: &Quarantine, step: &Quarantined) -> io::Result<bool> {
    let (own, name) = (quarantine.own()?, CString::new(step.copy_name())?);
    let copy = Facts::of(own.as_fd(), &name);
    Ok(copy.is_ok_and(|copy| copy.size == step.identity.size && copy.permissions == SEALED))
}

/// What is told of a file in quarantine.
fn found(quarantine: &Quarantine, step: &Quarantined, folder_mtime_ns: Option<i64>) -> serde_json::Value {
    let copy = step.copied.then(|| key(&quarantine.own_path().join(step.copy_name())));
    let kept = if step.linked.is_some() { copy.clone() } else { Some(key(&quarantine.place(step))) };
    json!({
        "quarantine": kept, "copy": copy, "hash_compared": step.hashed,
        "other_names": step.facts.links.saturating_sub(1), "folder_mtime_ns": folder_mtime_ns,
    })
}

/// Moves back what should not have been moved; what cannot go back, since the name is taken, stays and is told.
fn put_right(quarantine: &Quarantine, step: &Quarantined, from: Place<'_>, to: Place<'_>, why: &str) -> Outcome {
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

/// Whether what was moved has another number only since it lies on an overlay, which copies a file of its lower layer that has
/// other names when one of them is moved: the bytes are those that were seen.
fn was_renumbered(step: &Quarantined, now: &Facts, moved: Place<'_>) -> bool {
    let mut was = step.identity.clone();
    (was.dev, was.inode) = (now.dev, now.inode);
    let same_hash = || {
        let content = open_content(moved.folder, moved.name)?;
        let differs = compare(&content, &step.identity, &Stop::default(), &Meter::default());
        Ok::<_, io::Error>(matches!(differs, Ok(None)))
    };
    step.linked.is_some()
        && step.hashed
        && now.inode != step.identity.inode
        && is_overlay(moved.folder)
        && difference(&was, now, false).is_none()
        && same_hash().unwrap_or(false)
}

/// What stands in the journal of a move that was begun when the agent died: what became of it. Puts back what is not what was
/// seen, and never goes on.
///
/// # Errors
/// When a folder cannot be looked into.
pub fn look(quarantine: &Quarantine, root: &Root, step: &Quarantined) -> io::Result<Outcome> {
    let path = of_key(&step.path);
    let here = || root.link_facts(&path).ok();
    let shelf = match quarantine.open(root, &step.shelf) {
        Ok(shelf) => shelf,
        Err(_) if here().is_some() => return Ok(Outcome::not_done("the agent's process ended before it was moved")),
        Err(error) => return Err(error),
    };
    let name = CString::new(step.name.as_str())?;
    let to = Place { folder: shelf.as_fd(), name: &name };
    let now = match Facts::of(to.folder, to.name) {
        Ok(now) => now,
        Err(error) if Errno::from_io_error(&error) == Some(Errno::NOENT) => {
            if step.linked.is_some() && has_copy(quarantine, step)? {
                return Ok(moved(quarantine, step));
            }
            let what = if here().is_some() { "is where it was" } else { "is gone, and not in quarantine" };
            return Ok(Outcome::not_done(format!("the agent's process ended before it was moved; {} {what}", step.path)));
        }
        Err(error) => return Err(error),
    };
    if here().is_some_and(|here| (here.dev, here.inode) == (now.dev, now.inode)) {
        // A power cut kept both names: the old one is the one that counts.
        quarantine.disk.remove(to)?;
        quarantine.disk.sync_folder(to.folder)?;
        return Ok(Outcome::not_done("the power was cut while it was moved; it is where it was"));
    }
    let content = (step.facts.kind == Kind::File).then(|| open_content(to.folder, to.name)).transpose()?;
    let difference = difference(&step.identity, &now, false).filter(|_| !was_renumbered(step, &now, to));
    let why = match (difference, content.as_ref().filter(|_| step.hashed)) {
        (Some(difference), _) => Some(format!("it is not what was seen: {difference}")),
        (None, Some(content)) => {
            compare(content, &step.identity, &Stop::default(), &Meter::default()).map_err(|_| io::Error::other("stopped"))?
        }
        (None, None) => None,
    };
    if let Some(why) = why {
        let folder = root.open_real_folder(path.parent().unwrap_or(Path::new("/")));
        let from_name = CString::new(path.file_name().unwrap_or_default().as_bytes())?;
        return Ok(match &folder {
            Ok(folder) => put_right(quarantine, step, Place { folder: folder.as_fd(), name: &from_name }, to, &why),
            Err(error) => Outcome {
                state: StepState::Kept,
                reason: Some(format!(
                    "{}: {why}; its folder cannot be opened ({error}), so that it stays in quarantine",
                    step.path
                )),
                found: found(quarantine, step, None),
            },
        });
    }
    if let Ok(folder) = root.open_real_folder(path.parent().unwrap_or(Path::new("/"))) {
        quarantine.disk.sync_folder(folder.as_fd())?;
    }
    finish(quarantine, step, &shelf, content)
}

/// The right thing is in quarantine: what makes it safe there is done again, whether or not it was.
fn finish(quarantine: &Quarantine, step: &Quarantined, shelf: &OwnedFd, content: Option<File>) -> io::Result<Outcome> {
    quarantine.disk.sync_folder(shelf.as_fd())?;
    if let Some(content) = content.as_ref().filter(|_| step.facts.sealed) {
        quarantine.disk.set_mode(content.as_fd(), SEALED)?;
        quarantine.disk.sync(content.as_fd())?;
    }
    if let Some(content) = content.filter(|_| step.copied)
        && !has_copy(quarantine, step)?
    {
        match drop_copy(quarantine, step) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        keep_copy(quarantine, step, &content)?;
    }
    if step.linked.is_some() {
        let name = CString::new(step.name.as_str())?;
        quarantine.disk.remove(Place { folder: shelf.as_fd(), name: &name })?;
        quarantine.disk.sync_folder(shelf.as_fd())?;
    }
    Ok(moved(quarantine, step))
}

fn moved(quarantine: &Quarantine, step: &Quarantined) -> Outcome {
    Outcome {
        reason: Some("the agent's process ended when it had been moved".into()),
        ..Outcome::done(found(quarantine, step, None))
    }
}

/// The hash of what is held, compared with what was seen: why it differs.
pub(super) fn compare(
    mut content: &File,
    seen: &FileIdentity,
    stop: &Stop,
    meter: &Meter,
) -> Result<Option<String>, VerbError> {
    let Some(expected) = &seen.sha256 else { return Ok(None) };
    if let Err(error) = content.rewind() {
        return Ok(Some(format!("it cannot be read: {error}")));
    }
    Ok(match sha256(content, u64::MAX, stop, meter)? {
        Err(error) => Some(format!("it cannot be read: {error}")),
        Ok((_, found)) if found != *expected => Some(format!("its SHA-256 was {expected} and is {found}")),
        Ok(_) => None,
    })
}

/// How a file differs from what was seen; `None` when it does not. Moving it changes `ctime`, so that this counts only before.
#[must_use]
pub(super) fn difference(seen: &FileIdentity, facts: &Facts, unmoved: bool) -> Option<String> {
    let now = FileIdentity::new(facts, None);
    if (seen.dev, seen.inode) != (now.dev, now.inode) {
        return Some(format!(
            "another file has its name now (inode {} of device {}, which was {} of {})",
            now.inode, now.dev, seen.inode, seen.dev
        ));
    }
    let mut all = Vec::new();
    if seen.size != now.size {
        all.push(format!("its size was {} and is {}", seen.size, now.size));
    }
    let time =
        |ns: i64| jiff::Timestamp::from_nanosecond(i128::from(ns)).map_or_else(|_| ns.to_string(), |time| time.to_string());
    if seen.mtime_ns != now.mtime_ns {
        all.push(format!("its content was changed at {} and now at {}", time(seen.mtime_ns), time(now.mtime_ns)));
    } else if unmoved && seen.ctime_ns != now.ctime_ns {
        all.push(format!(
            "it was changed (mode, owner, links or content) at {} and now at {}",
            time(seen.ctime_ns),
            time(now.ctime_ns)
        ));
    }
    (!all.is_empty()).then(|| all.join(", "))
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
