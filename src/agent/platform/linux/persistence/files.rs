//! The files of the table's places: which are there, and what each of them runs.

use std::collections::{HashMap, HashSet, VecDeque};
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::behind::named_in;
use super::lines::{MAX_TOLD, Told, naming};
use super::places::{self, How, Place};
use super::{MAX_TEXT, Search, glob};
use crate::agent::context::{VerbError, VerbResult};
use crate::agent::path::reason;
use crate::agent::platform::linux::facts::Facts;
use crate::agent::platform::linux::homes::User;
use crate::agent::platform::startup_item::Persistent;

/// How many files include each other, one behind the other, and how many are looked at in all.
const MAX_INCLUDED: usize = 8;
const MAX_FILES: usize = 2_000_000;

/// Adds what every place of the table holds.
pub(super) fn places(search: &mut Search<'_>) -> VerbResult {
    let homes = search.homes;
    let mut known = Known::default();
    for place in places::all() {
        search.stop.check()?;
        let found = glob::files(search.root, &mut search.unseen, place.path, homes);
        let mut next: VecDeque<(PathBuf, Option<String>, usize)> =
            found.into_iter().map(|(file, user)| (file, user.map(|user| user.name.clone()), 0)).collect();
        while let Some((file, user, depth)) = next.pop_front() {
            search.stop.check()?;
            let own = match search.root.link_facts(&file) {
                Ok(own) => own,
                Err(error) => {
                    search.unseen.closed(search.root, &file, &error);
                    continue;
                }
            };
            let facts = search.root.facts(&file);
            if facts.as_ref().unwrap_or(&own).is_folder() || !known.is_new(search, place, &file) {
                continue;
            }
            let included = search.place(place, &file, user.as_deref(), &facts)?;
            if depth < MAX_INCLUDED {
                next.extend(included.into_iter().map(|(path, user)| (path, user, depth + 1)));
            }
        }
    }
    Ok(())
}

/// The files that were looked at. One has two names where `/usr` is merged: it is known by the folder that it lies in, for by its own
/// number it would be one with its hard links, which are read for their own sake. Several readers may look at one file.
#[derive(Default)]
struct Known {
    folders: HashMap<PathBuf, Folder>,
    files: HashSet<(Reader, Folder, OsString)>,
}

/// What reads a file, and for which list.
type Reader = (&'static str, usize);
/// A folder's file system and its number there.
type Folder = Option<(u64, u64)>;

impl Known {
    fn is_new(&mut self, search: &Search<'_>, place: &Place, file: &Path) -> bool {
        let (Some(folder), Some(name)) = (file.parent(), file.file_name()) else { return false };
        let at = match self.folders.get(folder) {
            Some(&at) => at,
            None => {
                let at = search.root.facts(folder).ok().map(|facts| (facts.dev, facts.inode));
                self.folders.insert(folder.to_owned(), at);
                at
            }
        };
        let reader = match place.how {
            How::Program | How::Runnable => 1,
            How::Loaded | How::Foreign => 2,
            How::Naming(words) => words.as_ptr().addr(),
            How::Lines(finder) | How::Including(finder, _) => finder as usize,
        };
        self.files.len() < MAX_FILES && self.files.insert(((place.category, reader), at, name.to_owned()))
    }
}

impl Search<'_> {
    /// Adds what a file of a place runs; returns the files that it includes.
    fn place(
        &mut self,
        place: &Place,
        file: &Path,
        user: Option<&str>,
        facts: &std::io::Result<Facts>,
    ) -> Result<Vec<(PathBuf, Option<String>)>, VerbError> {
        let mut included = Vec::new();
        let told = match (&place.how, facts) {
            (_, Err(error)) => Err(reason(error).1),
            (How::Program, Ok(facts)) => {
                // Notes that packages leave in such folders are not run; what may be run is, whatever it is called.
                let name = file.file_name().unwrap_or_default().as_bytes();
                if name.starts_with(b"README") && facts.permissions & 0o111 == 0 {
                    return Ok(included);
                }
                Ok(Vec::new())
            }
            (How::Runnable, Ok(facts)) if facts.permissions & 0o111 == 0 => return Ok(included),
            (How::Loaded | How::Runnable, Ok(_)) => Ok(Vec::new()),
            (How::Foreign, Ok(_)) => {
                if self.index().owner(self.root, file).is_some() {
                    return Ok(included);
                }
                Ok(Vec::new())
            }
            (How::Naming(words), Ok(_)) => self.text(file).map(|text| naming(&text, words)),
            (How::Lines(finder), Ok(_)) => self.text(file).map(|text| finder(&text)),
            (How::Including(finder, includes), Ok(_)) => self.text(file).map(|text| {
                let base = if file.starts_with("/etc/ssh") { Path::new("/etc/ssh") } else { file.parent().unwrap_or(file) };
                for pattern in includes(&text) {
                    for (path, user) in self.meant(base, &pattern, user) {
                        let files = glob::named(self.root, &mut self.unseen, &path);
                        included.extend(files.into_iter().map(|path| (path, user.clone())));
                    }
                }
                finder(&text)
            }),
        };
        let is_lines = matches!(place.how, How::Naming(_) | How::Lines(_) | How::Including(..));
        match told {
            Ok(told) if is_lines => self.tell(place, file, user, told)?,
            told => {
                let mut entry = self.entry(place.category, place.technique, file);
                entry.user = user.map(ToOwned::to_owned);
                match told {
                    Ok(_) => {
                        entry.runs = Some(file.to_string_lossy().into_owned());
                        let executable = facts.as_ref().is_ok_and(|facts| facts.permissions & 0o111 != 0);
                        entry.enabled = matches!(place.how, How::Program | How::Runnable).then_some(executable);
                    }
                    Err(error) => entry.error = Some(error),
                }
                self.found.push(entry);
            }
        }
        Ok(included)
    }

    /// The text of a file; why it cannot be read as one.
    fn text(&self, file: &Path) -> Result<String, String> {
        let bytes = self.root.read(file, MAX_TEXT).map_err(|error| reason(&error).1)?;
        if bytes.contains(&0) {
            return Err("it is no text: there are zero bytes in it".to_owned());
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The patterns that one in a file means, and whose files they name: `~/` is the home of the user whose file it is, `%h` and `%u`
    /// stand for each user's home and name.
    fn meant(&self, base: &Path, pattern: &str, user: Option<&str>) -> Vec<(PathBuf, Option<String>)> {
        if pattern.contains("%h") || pattern.contains("%u") {
            let of_user = |user: &User| {
                let home = user.home.to_string_lossy();
                let path = pattern.replace("%h", &home).replace("%u", &user.name).replace("%%", "%");
                (PathBuf::from(path), Some(user.name.clone()))
            };
            return self.homes.iter().map(of_user).collect();
        }
        let home = || self.homes.iter().find(|home| Some(home.name.as_str()) == user);
        let path = match (pattern.strip_prefix("~/"), home()) {
            (Some(rest), Some(user)) => user.home.join(rest),
            _ => base.join(pattern),
        };
        vec![(path, user.map(ToOwned::to_owned))]
    }

    fn tell(&mut self, place: &Place, file: &Path, user: Option<&str>, mut told: Told) -> VerbResult {
        let rest = told.get(MAX_TOLD).map(|(line, _)| *line);
        told.truncate(MAX_TOLD);
        if told.is_empty() {
            return Ok(());
        }
        let mut whole = self.entry(place.category, place.technique, file);
        whole.user = user.map(ToOwned::to_owned);
        // Accounts are nobody's to ship.
        if ["/etc/passwd", "/etc/shadow", "/etc/group"].iter().any(|accounts| file == Path::new(accounts)) {
            whole.shipped = Some(false);
        }
        // What was enabled by a link is as good as what it leads to.
        let is_enabling = file.parent().is_some_and(|folder| folder.to_string_lossy().ends_with("-enabled"));
        if let Some(real) = self.behind_link(file).filter(|_| is_enabling && whole.package.is_none()) {
            let origin = self.origin(&real);
            (whole.package, whole.shipped) = (origin.package, origin.shipped);
        }
        for (line, runs) in told {
            let named = named_in(&runs);
            let mut entry = Persistent { line: Some(line), runs: Some(runs), ..whole.clone() };
            self.judge(&mut entry, named)?;
            self.found.push(entry);
        }
        if rest.is_some() {
            whole.line = rest;
            whole.error = Some(format!("more than {MAX_TOLD} lines of it count: what follows from here on is not told"));
            self.found.push(whole);
        }
        Ok(())
    }
}
