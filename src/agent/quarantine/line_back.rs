//! A line comes back into a file that somebody has changed since it was removed: alone, where it stood among its neighbours, and
//! without touching the others.

use std::collections::HashMap;
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;

use serde_json::json;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::Quarantine;
use super::copy::forget;
use super::rewrite::{Like, hash_of, is_still, lines, read, write_beside};
use crate::agent::digest::hex;
use crate::agent::effects::{Act, Acting};
use crate::agent::faults;
use crate::agent::journal::{Inserted, Outcome, Place, Rewritten, Step};
use crate::agent::path::{of_key, problem};
use crate::agent::platform::{Facts, Held, Root, is_mounted_read_only, open_content};
use crate::protocol::Problem;

/// A line that is about to come back.
#[derive(Debug)]
pub struct LineBack {
    now: Held,
    /// The file that it comes back into.
    content: File,
    new: Vec<u8>,
    step: Inserted,
}

/// Where a line stands again, and by what that was found.
#[derive(Debug, PartialEq, Eq)]
struct Spot {
    /// In front of which of the lines that are there now.
    at: usize,
    by: By,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Both,
    Before,
    Behind,
    Nothing,
}

impl LineBack {
    /// Looks whether a line can come back into the file that is there now; nothing is done yet.
    ///
    /// # Errors
    /// `conflict` when it is there again already; `changed` when what is in quarantine is not what was put there; or as the
    /// system says.
    pub fn plan(quarantine: &Quarantine, root: &Root, step: &Rewritten) -> Result<Self, Problem> {
        let path = of_key(&step.file.path);
        let refuse =
            |code: &str, why: &str| Err(Problem::new(code, format!("{}: {why}", step.file.path)).at(step.file.path.clone()));
        let now = root.hold(&path).map_err(|error| problem(&path, &error))?;
        if !now.facts.is_file() {
            return refuse("conflict", "it is no regular file any more; -overwrite puts that into quarantine first");
        }
        if is_mounted_read_only(now.folder.as_fd()) {
            return refuse("read_only", "its file system is mounted read-only");
        }
        if let Some(why) = now.facts.marked() {
            return refuse("immutable", &format!("it is {why}"));
        }
        if let Some(why) = Facts::of(now.folder.as_fd(), c"").map_err(|error| problem(&path, &error))?.marked() {
            return refuse("immutable", &format!("its folder is {why}"));
        }
        let content = now.content().map_err(|error| problem(&path, &error))?;
        let found = read(&content).map_err(|error| problem(&path, &error))?;
        let Some(old) = as_it_was(quarantine, root, step) else {
            return refuse("changed", "what is in quarantine of it is not what was put there, so that the line is lost");
        };
        let old = lines(&old);
        let at = usize::try_from(step.line).unwrap_or(0).saturating_sub(1);
        let Some(line) = old.get(at) else { return refuse("internal", "the journal names no line of it") };
        let others = count(&found, line);
        let was = old.iter().filter(|other| bare(other) == bare(line)).count();
        if others >= was {
            return refuse("conflict", "the line is there again already; -overwrite puts the whole old file back");
        }
        let spot = spot(&old, at, &lines(&found));
        let new = with_line(&lines(&found), spot.at, line);
        let sha256 = |bytes: &[u8]| hex(&Sha256::digest(bytes));
        let step = Inserted {
            file: step.file.clone(),
            beside: format!(".lrsh-{}", Uuid::new_v4().simple()),
            line: u32::try_from(spot.at + 1).unwrap_or(u32::MAX),
            text: step.text.clone(),
            others: u32::try_from(others).unwrap_or(u32::MAX),
            old_sha256: sha256(&found),
            new_sha256: sha256(&new),
            place: match spot.by {
                By::Both => "between its old neighbours",
                By::Before => "behind the nearest of its old neighbours",
                By::Behind => "in front of the nearest of its old neighbours",
                By::Nothing => "at the end, since none of its neighbours is there any more",
            }
            .to_owned(),
        };
        Ok(Self { now, content, new, step })
    }

    /// What is said of it.
    #[must_use]
    pub fn note(&self) -> String {
        let Inserted { line, place, .. } = &self.step;
        let other_names = if self.now.facts.links > 1 { "; other names of that file stay without it" } else { "" };
        format!(
            "its file was changed since: the line alone is put back, as line {line}, {place}; the others stay as they are{other_names}"
        )
    }

    fn act(&self, on: &Acting<'_>) -> io::Result<Outcome> {
        let disk = &on.effects.quarantine.disk;
        let beside = CString::new(self.step.beside.as_str())?;
        let here = Place { folder: self.now.folder.as_fd(), name: &self.now.name };
        let temporary = Place { folder: self.now.folder.as_fd(), name: &beside };
        let facts = &self.now.facts;
        let like = Like { uid: facts.uid, gid: facts.gid, mode: facts.permissions, attributes: Some(&self.content) };
        write_beside(disk.as_ref(), temporary, &self.new, &like)?;
        faults::point("line_back.after_write");
        disk.exchange(temporary, here)?;
        faults::point("line_back.after_exchange");
        if !is_still(temporary, facts, &self.step.old_sha256) {
            disk.exchange(temporary, here)?;
            disk.remove(temporary)?;
            disk.sync_folder(here.folder)?;
            return Ok(Outcome::not_done(format!("{}: it was changed meanwhile; it is as it was", self.step.file.path)));
        }
        disk.sync_folder(here.folder)?;
        disk.remove(temporary)?;
        disk.sync_folder(here.folder)?;
        Ok(done(&on.effects.quarantine, on.root, &self.step))
    }
}

impl Act for LineBack {
    fn step(&self) -> Step {
        Step::LineBack(self.step.clone())
    }

    fn run(&mut self, on: &Acting<'_>) -> Outcome {
        self.act(on).unwrap_or_else(|error| match look_line_back(&on.effects.quarantine, on.root, &self.step) {
            Ok(outcome) => Outcome { reason: Some(problem(&self.now.path, &error).message), ..outcome },
            Err(_) => Outcome::not_done(problem(&self.now.path, &error).message),
        })
    }
}

/// The line is back, so that the file that had it is no longer needed.
fn done(quarantine: &Quarantine, root: &Root, step: &Inserted) -> Outcome {
    forget(quarantine, root, &step.file);
    Outcome::done(json!({ "path": step.file.path, "line": step.line, "text": step.text }))
}

/// The file as it was when the line was removed, from quarantine or from its sealed copy: what the journal knows of it must hold.
fn as_it_was(quarantine: &Quarantine, root: &Root, step: &Rewritten) -> Option<Vec<u8>> {
    let from = |folder: io::Result<std::os::fd::OwnedFd>, name: &str| {
        let content = open_content(folder?.as_fd(), &CString::new(name)?)?;
        read(&content)
    };
    let kept = from(quarantine.open(root, &step.file.shelf), &step.file.name);
    let copy = || from(quarantine.own(), &step.file.copy_name());
    let holds = |bytes: &Vec<u8>| {
        let mut lines = lines(bytes);
        let at = usize::try_from(step.line).unwrap_or(0).saturating_sub(1);
        let text = lines.get(at).map(|line| String::from_utf8_lossy(line.trim_ascii()).into_owned());
        if text.as_deref() != Some(step.text.as_str()) {
            return false;
        }
        lines.remove(at);
        hex(&Sha256::digest(lines.concat())) == step.new_sha256
    };
    kept.ok().filter(holds).or_else(|| copy().ok().filter(holds))
}

/// A line without its end.
fn bare(line: &[u8]) -> &[u8] {
    line.trim_ascii()
}

/// How often a line stands in a file.
fn count(text: &[u8], line: &[u8]) -> usize {
    lines(text).into_iter().filter(|other| bare(other) == bare(line)).count()
}

/// Where a line goes back: between its old neighbours; else beside the nearest of the lines around it that is still there; else at
/// the end.
fn spot(old: &[&[u8]], at: usize, now: &[&[u8]]) -> Spot {
    let mut places: HashMap<&[u8], Vec<usize>> = HashMap::new();
    for (place, line) in now.iter().enumerate() {
        places.entry(bare(line)).or_default().push(place);
    }
    let (before, behind) = (at.checked_sub(1).and_then(|at| old.get(at)), old.get(at + 1));
    let is = |line: Option<&&[u8]>, there: Option<&&[u8]>| line.map(|line| bare(line)) == there.map(|there| bare(there));
    let between = |spot: &usize| is(before, spot.checked_sub(1).and_then(|spot| now.get(spot))) && is(behind, now.get(*spot));
    if let Some(at) = (0..=now.len()).filter(between).min_by_key(|spot| spot.abs_diff(at)) {
        return Spot { at, by: By::Both };
    }
    // Blank lines are everywhere.
    let still = |place: usize| {
        let line = old.get(place).map(|line| bare(line)).filter(|line| !line.is_empty())?;
        places.get(line)?.iter().copied().min_by_key(|now| now.abs_diff(place))
    };
    let anchors = (at + 1..old.len()).chain((0..at).rev()).filter_map(|place| Some((place, still(place)?)));
    // Of two that are as near, the one that it was read after.
    let Some((from, mut found)) = anchors.min_by_key(|(place, _)| (place.abs_diff(at), *place)) else {
        return Spot { at: now.len(), by: By::Nothing };
    };
    // Blank lines in between stay in between.
    let same = |place: usize, there: usize| is(old.get(place), now.get(there));
    if from < at {
        for place in from + 1..at {
            found += usize::from(same(place, found + 1));
        }
        Spot { at: found + 1, by: By::Before }
    } else {
        for place in (at + 1..from).rev() {
            found -= usize::from(found > 0 && same(place, found - 1));
        }
        Spot { at: found, by: By::Behind }
    }
}

/// The lines with one more in front of that one; each ends before the next begins.
fn with_line(now: &[&[u8]], at: usize, line: &[u8]) -> Vec<u8> {
    let (before, behind) = now.split_at(at.min(now.len()));
    let mut all = before.concat();
    if !all.is_empty() && !all.ends_with(b"\n") {
        all.push(b'\n');
    }
    all.extend_from_slice(line);
    if !behind.is_empty() && !line.ends_with(b"\n") {
        all.push(b'\n');
    }
    all.extend(behind.concat());
    all
}

/// What became of a line that was on its way back when the agent died. Never goes on.
///
/// # Errors
/// When its folder cannot be looked into.
pub fn look_line_back(quarantine: &Quarantine, root: &Root, step: &Inserted) -> io::Result<Outcome> {
    let path = of_key(&step.file.path);
    let folder = root.open_real_folder(path.parent().unwrap_or(&path))?;
    let name = CString::new(path.file_name().unwrap_or_default().as_bytes())?;
    let beside = CString::new(step.beside.as_str())?;
    let here = Place { folder: folder.as_fd(), name: &name };
    let temporary = Place { folder: folder.as_fd(), name: &beside };
    if Facts::of(temporary.folder, temporary.name).is_ok() {
        let is = |place, wanted: &str| hash_of(place).is_some_and(|found| found == *wanted);
        if is(here, &step.new_sha256) && !is(temporary, &step.new_sha256) && !is(temporary, &step.old_sha256) {
            // Somebody's newer file was swapped away just when the agent died: it gets its name back.
            quarantine.disk.exchange(temporary, here)?;
        }
        quarantine.disk.remove(temporary)?;
        quarantine.disk.sync_folder(temporary.folder)?;
    }
    let found = open_content(here.folder, here.name).and_then(|content| read(&content)).unwrap_or_default();
    let times = count(&found, step.text.as_bytes());
    if times > usize::try_from(step.others).unwrap_or(usize::MAX) || hash_of(here).is_some_and(|now| now == step.new_sha256) {
        return Ok(done(quarantine, root, step));
    }
    Ok(Outcome::not_done("the line is still in quarantine"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_goes_back_among_its_neighbours() {
        let check = |old: &str, at: usize, now: &str, by: By, wanted: &str| {
            let (old, now) = (lines(old.as_bytes()), lines(now.as_bytes()));
            let spot = spot(&old, at, &now);
            let new = with_line(&now, spot.at, old[at]);
            assert_eq!((spot.by, String::from_utf8(new).unwrap().as_str()), (by, wanted), "{now:?}");
        };
        // Both neighbours stand, whatever else came or went.
        check("a\nX\nb\n", 1, "new\na\nb\nmore\n", By::Both, "new\na\nX\nb\nmore\n");
        check("X\nb\n", 0, "b\nmore\n", By::Both, "X\nb\nmore\n");
        check("a\nX\n", 1, "new\na\n", By::Both, "new\na\nX\n");
        check("X\n", 0, "", By::Both, "X\n");
        // The nearest of several such places.
        check("a\nb\na\nX\nb\n", 3, "a\nb\na\nb\nmore\n", By::Both, "a\nb\na\nX\nb\nmore\n");
        // The nearest of those around it.
        check("e\n\nX\nb\n", 2, "e\n\nnew\nb\n", By::Behind, "e\n\nnew\nX\nb\n");
        check("e\na\nX\nb\n", 2, "e\na\nnew\nb\n", By::Before, "e\na\nX\nnew\nb\n");
        check("e\na\nX\nb\n", 2, "e\nnew\n", By::Before, "e\nX\nnew\n");
        check("a\nX\n\nb\n", 1, "new\n\nb\n", By::Behind, "new\nX\n\nb\n");
        check("a\n\nX\nb\n", 2, "a\n\nnew\n", By::Before, "a\n\nX\nnew\n");
        // None, and a last line that has no end.
        check("a\nX\nb\n", 1, "new", By::Nothing, "new\nX\n");
        check("a\nX", 1, "a\nnew\n", By::Before, "a\nX\nnew\n");
        check("a\nX", 1, "a", By::Both, "a\nX");
    }

    #[test]
    fn a_file_of_lines_without_end_is_searched_in_no_time() {
        let old: String = (0..200_000).map(|line| format!("old {line}\n")).collect();
        let now: String = (0..200_000).map(|line| format!("new {line}\n")).collect();
        let spot = spot(&lines(old.as_bytes()), 100_000, &lines(now.as_bytes()));
        assert_eq!(spot, Spot { at: 200_000, by: By::Nothing });
    }
}
