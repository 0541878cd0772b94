//! What became of a move to quarantine that was begun when the agent died.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::io::Errno;

use super::compare::{compare, difference, was_renumbered};
use super::copy::{drop_copy, has_copy, keep_copy};
use super::take::{found, put_right};
use super::{Quarantine, SEALED};
use crate::agent::context::{Meter, Stop};
use crate::agent::journal::{Kind, Outcome, Place, Quarantined, StepState};
use crate::agent::path::of_key;
use crate::agent::platform::{Facts, Root, open_content};

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
