//! Whether a file is the one that was seen.

use std::fs::File;
use std::io::{self, Seek};

use crate::agent::context::{Meter, Stop, VerbError};
use crate::agent::digest::sha256;
use crate::agent::identity::FileIdentity;
use crate::agent::journal::{Place, Quarantined};
use crate::agent::platform::{Facts, is_overlay, open_content};

/// Whether what was moved has another number only since it lies on an overlay, which copies a file of its lower layer that has
/// other names when one of them is moved: the bytes are those that were seen.
pub(super) fn was_renumbered(step: &Quarantined, now: &Facts, moved: Place<'_>) -> bool {
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
