//! One line of a file goes, the others stay: the file is written anew beside itself, the two are swapped in one step, and the one
//! that was seen goes to quarantine whole. Its way back is the same, if nobody has changed the file since; else the line alone
//! comes back (`line_back`).

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{Gid, Uid};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use xattr::FileExt as _;

use super::copy::{forget, has_copy, keep_copy};
use super::take::{Asked, Take, plan};
use super::{ACCESS_LIST, Quarantine, SEALED, without_inherited_list};
use crate::agent::digest::hex;
use crate::agent::effects::{Act, Acting};
use crate::agent::faults;
use crate::agent::identity::FileIdentity;
use crate::agent::journal::{Disk, Outcome, Place, Quarantined, Rewritten, Step};
use crate::agent::path::{key, lossy, of_key, problem};
use crate::agent::platform::{Facts, Held, Root, open_content};
use crate::protocol::Problem;

/// The largest file that is written anew.
const MAX_FILE: u64 = 4 * 1024 * 1024;

/// The lines of a file, each with its end.
pub(super) fn lines(text: &[u8]) -> Vec<&[u8]> {
    text.split_inclusive(|&byte| byte == b'\n').collect()
}

/// A line that is about to go.
#[derive(Debug)]
pub struct Rewrite {
    take: Take,
    /// What the file held when the line was found in it.
    old: Vec<u8>,
    new: Vec<u8>,
    step: Rewritten,
}

impl Rewrite {
    /// Looks for a line in a held file: its number from 1, and the SHA-256 of it without the blanks around it.
    ///
    /// # Errors
    /// When the line is another by now, or the file cannot go to quarantine.
    pub fn plan(
        quarantine: &Quarantine,
        root: &Root,
        held: Held,
        line: u32,
        sha256: &str,
        asked: Asked,
    ) -> Result<Self, Problem> {
        let shown = lossy(&held.path);
        let path = held.path.clone();
        let old = held.content().and_then(|content| read(&content)).map_err(|error| problem(&path, &error))?;
        let seen = FileIdentity::new(&held.facts, None);
        let mut take = plan(quarantine, root, held, &seen, asked)?;
        // It is swapped with the file without the line: its other names mean it all the same.
        take.step.linked = None;
        let lines = lines(&old);
        let at = usize::try_from(line).unwrap_or(0).checked_sub(1);
        let found = at.and_then(|at| lines.get(at)).filter(|found| hex(&Sha256::digest(found.trim_ascii())) == sha256);
        let Some(found) = found else {
            let message = format!("{shown}: its line {line} is not the one that was seen; look again, or give -auto");
            return Err(Problem::new("changed", message).at(shown));
        };
        let text = String::from_utf8_lossy(found.trim_ascii()).into_owned();
        let others = lines.iter().enumerate().filter(|(number, _)| Some(*number) != at).map(|(_, line)| *line);
        let new: Vec<u8> = others.collect::<Vec<_>>().concat();
        let file = take.quarantined().clone();
        let step =
            Rewritten { beside: format!(".lrsh-{}", file.name), file, line, text, new_sha256: hex(&Sha256::digest(&new)) };
        Ok(Self { take, old, new, step })
    }

    /// What the journal keeps.
    #[must_use]
    pub fn rewritten(&self) -> &Rewritten {
        &self.step
    }

    fn act(&self, on: &Acting<'_>) -> io::Result<Outcome> {
        let quarantine = &on.effects.quarantine;
        let disk = &quarantine.disk;
        let held = &self.take.held;
        let (beside, kept) = (CString::new(self.step.beside.as_str())?, CString::new(self.step.file.name.as_str())?);
        let shelf = self.take.shelf.as_ref().ok_or_else(|| io::Error::other("this is only a plan"))?;
        let here = Place { folder: held.folder.as_fd(), name: &held.name };
        let temporary = Place { folder: held.folder.as_fd(), name: &beside };
        let facts = &self.step.file.facts;
        let like = Like { uid: facts.uid, gid: facts.gid, mode: facts.mode, attributes: self.take.content.as_ref() };
        write_beside(disk.as_ref(), temporary, &self.new, &like)?;
        faults::point("rewrite.after_write");
        disk.exchange(temporary, here)?;
        faults::point("rewrite.after_exchange");
        if !is_still(temporary, &held.facts, &hex(&Sha256::digest(&self.old))) {
            disk.exchange(temporary, here)?;
            disk.remove(temporary)?;
            disk.sync_folder(here.folder)?;
            return Ok(Outcome::not_done(format!("{}: it was changed meanwhile; it is as it was", self.step.file.path)));
        }
        disk.sync_folder(here.folder)?;
        disk.rename_no_replace(temporary, Place { folder: shelf.as_fd(), name: &kept })?;
        faults::point("rewrite.after_rename");
        keep(quarantine, &self.step, shelf, &held.folder)
    }
}

impl Act for Rewrite {
    fn step(&self) -> Step {
        Step::Rewrite(self.step.clone())
    }

    fn run(&mut self, on: &Acting<'_>) -> Outcome {
        self.act(on).unwrap_or_else(|error| match look_rewrite(&on.effects.quarantine, on.root, &self.step) {
            Ok(outcome) => Outcome { reason: Some(problem(&self.take.held.path, &error).message), ..outcome },
            Err(_) => Outcome::not_done(problem(&self.take.held.path, &error).message),
        })
    }
}

/// The file that was seen is in quarantine: names first, then its mode, as with every file there.
fn keep(quarantine: &Quarantine, step: &Rewritten, shelf: &OwnedFd, folder: &OwnedFd) -> io::Result<Outcome> {
    let disk = &quarantine.disk;
    disk.sync_folder(shelf.as_fd())?;
    disk.sync_folder(folder.as_fd())?;
    let name = CString::new(step.file.name.as_str())?;
    if step.file.facts.sealed {
        let file = open_content(shelf.as_fd(), &name)?;
        disk.set_mode(file.as_fd(), SEALED)?;
        disk.sync(file.as_fd())?;
    }
    if step.file.copied && !has_copy(quarantine, &step.file)? {
        keep_copy(quarantine, &step.file, &open_content(shelf.as_fd(), &name)?)?;
    }
    Ok(Outcome::done(json!({ "quarantine": key(&quarantine.place(&step.file)), "line": step.line, "text": step.text })))
}

/// What hangs on a file that is written anew.
pub(super) struct Like<'a> {
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mode: u32,
    /// The file that has the extended attributes.
    pub(super) attributes: Option<&'a File>,
}

/// Writes a file anew beside itself, with everything that hangs on it.
pub(super) fn write_beside(disk: &dyn Disk, temporary: Place<'_>, bytes: &[u8], like: &Like<'_>) -> io::Result<()> {
    let file = disk.create(temporary)?;
    disk.append(&file, bytes)?;
    rustix::fs::fchown(&file, Some(Uid::from_raw(like.uid)), Some(Gid::from_raw(like.gid)))?;
    if let Some(content) = like.attributes {
        let names: Vec<_> = content.list_xattr()?.collect();
        if !names.iter().any(|name| name == ACCESS_LIST) {
            without_inherited_list(&file);
        }
        for name in names {
            if let Some(value) = content.get_xattr(&name)? {
                file.set_xattr(&name, &value)?;
            }
        }
    }
    disk.set_mode(file.as_fd(), like.mode)?;
    disk.sync(file.as_fd())?;
    disk.sync_folder(temporary.folder)
}

/// Whether what was swapped away is the file that was looked at, and says what it said then.
pub(super) fn is_still(moved: Place<'_>, facts: &Facts, sha256: &str) -> bool {
    let same = Facts::of(moved.folder, moved.name).is_ok_and(|now| (now.dev, now.inode) == (facts.dev, facts.inode));
    same && hash_of(moved).is_some_and(|found| found == sha256)
}

/// The hash of a small file in a folder.
pub(super) fn hash_of(place: Place<'_>) -> Option<String> {
    let bytes = open_content(place.folder, place.name).and_then(|content| read(&content)).ok()?;
    Some(hex(&Sha256::digest(&bytes)))
}

/// The content of a file, if it is one that is written anew.
pub(super) fn read(mut file: &File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("larger than {MAX_FILE} bytes")));
    }
    Ok(bytes)
}

/// A file without the line is about to become the one with it again.
#[derive(Debug)]
pub struct PutOver {
    shelf: OwnedFd,
    content: File,
    now: Held,
    step: Rewritten,
}

impl PutOver {
    /// Looks whether the file can come back; nothing is done yet. `None` when the one without the line is gone.
    ///
    /// # Errors
    /// When it is not in quarantine as it was put there: `changed`; or somebody has changed the one that is there: `conflict`.
    pub fn plan(quarantine: &Quarantine, root: &Root, step: &Rewritten) -> Result<Option<Self>, Problem> {
        let path = of_key(&step.file.path);
        let Ok(now) = root.hold(&path) else { return Ok(None) };
        let found = now.content().and_then(|content| read(&content)).map_err(|error| problem(&path, &error))?;
        if hex(&Sha256::digest(&found)) != step.new_sha256 {
            let message = format!("{}: it was changed since the line was removed", step.file.path);
            return Err(Problem::new("conflict", message).at(step.file.path.clone()));
        }
        let place = quarantine.place(&step.file);
        let missing = |error: &io::Error| problem(&place, error);
        let shelf = quarantine.open(root, &step.file.shelf).map_err(|error| missing(&error))?;
        let name = CString::new(step.file.name.as_str()).map_err(|error| missing(&error.into()))?;
        let content = open_content(shelf.as_fd(), &name).map_err(|error| missing(&error))?;
        let facts = Facts::of(content.as_fd(), c"").map_err(|error| missing(&error))?;
        if !is_original(&step.file, &facts) {
            let message =
                "what is in quarantine is not what was put there; -overwrite puts the sealed copy back where there is one";
            return Err(Problem::new("changed", message).at(key(&place)));
        }
        Ok(Some(Self { shelf, content, now, step: step.clone() }))
    }

    fn act(&self, on: &Acting<'_>) -> io::Result<Outcome> {
        let disk = &on.effects.quarantine.disk;
        let (beside, kept) = (CString::new(self.step.beside.as_str())?, CString::new(self.step.file.name.as_str())?);
        let here = Place { folder: self.now.folder.as_fd(), name: &self.now.name };
        let temporary = Place { folder: self.now.folder.as_fd(), name: &beside };
        let kept = Place { folder: self.shelf.as_fd(), name: &kept };
        if self.step.file.facts.sealed {
            disk.set_mode(self.content.as_fd(), self.step.file.facts.mode)?;
            disk.sync(self.content.as_fd())?;
        }
        disk.rename_no_replace(kept, temporary)?;
        disk.sync_folder(temporary.folder)?;
        disk.sync_folder(kept.folder)?;
        faults::point("rewrite.before_return");
        disk.exchange(temporary, here)?;
        faults::point("rewrite.after_return");
        if !is_still(temporary, &self.now.facts, &self.step.new_sha256) {
            disk.exchange(temporary, here)?;
            disk.rename_no_replace(temporary, kept)?;
            disk.sync_folder(kept.folder)?;
            disk.sync_folder(here.folder)?;
            return Ok(Outcome::not_done(format!("{}: it was changed meanwhile; it is as it was", self.step.file.path)));
        }
        disk.sync_folder(here.folder)?;
        disk.remove(temporary)?;
        disk.sync_folder(here.folder)?;
        if self.step.file.copied {
            forget(&on.effects.quarantine, on.root, &self.step.file);
        }
        Ok(Outcome::done(json!({ "path": self.step.file.path, "line": self.step.line })))
    }
}

impl Act for PutOver {
    fn step(&self) -> Step {
        Step::PutOver(self.step.clone())
    }

    fn run(&mut self, on: &Acting<'_>) -> Outcome {
        self.act(on).unwrap_or_else(|error| match look_put_over(&on.effects.quarantine, on.root, &self.step) {
            Ok(outcome) => Outcome { reason: Some(problem(&self.now.path, &error).message), ..outcome },
            Err(_) => Outcome::not_done(problem(&self.now.path, &error).message),
        })
    }
}

fn is_original(file: &Quarantined, facts: &Facts) -> bool {
    let is = FileIdentity::new(facts, None);
    let was = &file.identity;
    (is.dev, is.inode, is.size, is.mtime_ns) == (was.dev, was.inode, was.size, was.mtime_ns)
}

/// Where things stand: the folder, what is beside the file, whether the file itself is the one that was seen.
struct Standing {
    folder: OwnedFd,
    name: CString,
    beside: CString,
    beside_facts: Option<Facts>,
    original_here: bool,
}

impl Standing {
    /// Somebody's newer file was swapped away just when the agent died: it gets its name back. Whatever else is beside the file
    /// was on its way there, and goes.
    fn settle(&self, disk: &dyn Disk, new_sha256: &str) -> io::Result<()> {
        let beside = Place { folder: self.folder.as_fd(), name: &self.beside };
        let here = Place { folder: self.folder.as_fd(), name: &self.name };
        if self.beside_facts.is_none() {
            return Ok(());
        }
        if hash_of(here).is_some_and(|found| found == new_sha256) {
            disk.exchange(beside, here)?;
        }
        disk.remove(beside)?;
        disk.sync_folder(beside.folder)
    }
}

fn standing(root: &Root, step: &Rewritten) -> io::Result<Standing> {
    let path = of_key(&step.file.path);
    let folder = root.open_real_folder(path.parent().unwrap_or(&path))?;
    let name = CString::new(path.file_name().unwrap_or_default().as_bytes())?;
    let beside = CString::new(step.beside.as_str())?;
    let beside_facts = Facts::of(folder.as_fd(), &beside).ok();
    let original_here = Facts::of(folder.as_fd(), &name).is_ok_and(|facts| is_original(&step.file, &facts));
    Ok(Standing { folder, name, beside, beside_facts, original_here })
}

/// What became of a rewrite that was begun when the agent died.
///
/// # Errors
/// When a folder cannot be looked into.
pub fn look_rewrite(quarantine: &Quarantine, root: &Root, step: &Rewritten) -> io::Result<Outcome> {
    let stands = standing(root, step)?;
    let temporary = Place { folder: stands.folder.as_fd(), name: &stands.beside };
    if stands.original_here {
        if stands.beside_facts.is_some() {
            quarantine.disk.remove(temporary)?;
            quarantine.disk.sync_folder(temporary.folder)?;
        }
        return Ok(Outcome::not_done("the line is where it was"));
    }
    let shelf = quarantine.open(root, &step.file.shelf)?;
    let name = CString::new(step.file.name.as_str())?;
    let kept = Place { folder: shelf.as_fd(), name: &name };
    if stands.beside_facts.is_some_and(|facts| is_original(&step.file, &facts)) {
        // The line is gone; the file that had it must not be lost.
        if Facts::of(kept.folder, kept.name).is_ok() {
            quarantine.disk.remove(temporary)?;
        } else {
            quarantine.disk.rename_no_replace(temporary, kept)?;
        }
    }
    if Facts::of(kept.folder, kept.name).is_ok_and(|facts| is_original(&step.file, &facts)) {
        return keep(quarantine, step, &shelf, &stands.folder);
    }
    stands.settle(quarantine.disk.as_ref(), &step.new_sha256)?;
    Ok(Outcome::not_done(format!("{}: somebody has changed it meanwhile", step.file.path)))
}

/// What became of a return that was begun when the agent died.
///
/// # Errors
/// When a folder cannot be looked into.
pub fn look_put_over(quarantine: &Quarantine, root: &Root, step: &Rewritten) -> io::Result<Outcome> {
    let mut stands = standing(root, step)?;
    let temporary = Place { folder: stands.folder.as_fd(), name: &stands.beside };
    if stands.original_here && hash_of(temporary).is_some_and(|found| found != step.new_sha256) {
        // Somebody's newer file was swapped away just when the agent died: it gets its name back.
        quarantine.disk.exchange(temporary, Place { folder: stands.folder.as_fd(), name: &stands.name })?;
        stands = standing(root, step)?;
    }
    let temporary = Place { folder: stands.folder.as_fd(), name: &stands.beside };
    if stands.original_here {
        if stands.beside_facts.is_some() {
            quarantine.disk.remove(temporary)?;
            quarantine.disk.sync_folder(temporary.folder)?;
        }
        return Ok(Outcome::done(json!({ "path": step.file.path, "line": step.line })));
    }
    let shelf = quarantine.open(root, &step.file.shelf)?;
    if stands.beside_facts.is_some_and(|facts| is_original(&step.file, &facts)) {
        let name = CString::new(step.file.name.as_str())?;
        let kept = Place { folder: shelf.as_fd(), name: &name };
        if Facts::of(kept.folder, kept.name).is_ok() {
            quarantine.disk.remove(temporary)?;
        } else {
            quarantine.disk.rename_no_replace(temporary, kept)?;
        }
    }
    keep(quarantine, step, &shelf, &stands.folder)?;
    Ok(Outcome::not_done("it is still in quarantine"))
}
