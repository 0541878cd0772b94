//! What a typed path means on the device: one thing, or all that its pattern matches.
//!
//! `dir`, `fileinfo`, `getfile` and `cat` take patterns, in any part of the path. In each part an existing name wins over what
//! the part would match as a pattern, and hidden names are matched as others are: who hides a file starts with the dot. A
//! `file:///` form is exact and never a pattern.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::io::Errno;

use super::context::{Context, VerbError};
use super::path::{lossy, problem};
use super::pattern::{Pattern, is_pattern};
use super::platform::EntryBuffer;
use crate::protocol::Problem;
use crate::protocol::text::from_file_uri;

/// The most paths that one pattern may stand for.
const MAX: usize = 100_000;

/// What a typed path means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Targets {
    /// One path, whether there is anything or not.
    One(PathBuf),
    /// All that a pattern matches, sorted; at least one.
    Matches {
        /// The folder that all of them lie below: the part in front of the first part that is a pattern.
        base: PathBuf,
        /// Absolute.
        paths: Vec<PathBuf>,
    },
}

impl Targets {
    /// What a typed path means for a command.
    ///
    /// # Errors
    /// When a pattern matches nothing, or more than anybody wants, or the command was asked to stop.
    pub fn of(ctx: &Context, typed: &str) -> Result<Self, VerbError> {
        let whole = ctx.path(typed);
        // Only a folder is called so. What is not there is for the command to say.
        let is_folder = ctx.means_folder(typed);
        let is_other = |path: &Path| is_folder && ctx.agent.root.facts(path).is_ok_and(|facts| !facts.is_folder());
        if is_other(&whole) {
            return Err(problem(&whole, &Errno::NOTDIR.into()).into());
        }
        if from_file_uri(typed).is_some() || !is_pattern(typed) || ctx.agent.root.link_facts(&whole).is_ok() {
            return Ok(Self::One(whole));
        }
        let mut base = None;
        let mut paths = vec![PathBuf::from("/")];
        for part in whole.components().filter(|part| matches!(part, Component::Normal(_))) {
            let name = part.as_os_str();
            match name.to_str().filter(|name| is_pattern(name)) {
                Some(pattern) => paths = matching(ctx, paths, pattern, &mut base)?,
                None => {
                    for path in &mut paths {
                        path.push(name);
                        if base.is_some() {
                            *path = ctx.agent.root.spelled(path);
                        }
                    }
                }
            }
        }
        let Some(base) = base else { return Ok(Self::One(whole)) };
        paths.retain(|path| ctx.agent.root.link_facts(path).is_ok() && !is_other(path));
        if paths.is_empty() {
            let path = lossy(&whole);
            return Err(Problem::new("not_found", format!("nothing matches {path}")).at(path).into());
        }
        paths.sort_unstable();
        Ok(Self::Matches { base, paths })
    }

    /// The paths.
    #[must_use]
    pub fn paths(&self) -> &[PathBuf] {
        match self {
            Self::One(path) => std::slice::from_ref(path),
            Self::Matches { paths, .. } => paths,
        }
    }
}

/// The entries of folders that match one part of a pattern. Folders that cannot be read match nothing, unless it is the
/// only one, in front of the whole pattern.
fn matching(
    ctx: &Context,
    folders: Vec<PathBuf>,
    pattern: &str,
    base: &mut Option<PathBuf>,
) -> Result<Vec<PathBuf>, VerbError> {
    let read = Pattern::new(pattern, ctx.agent.root.is_windows());
    let mut buffer = EntryBuffer::default();
    let mut found = Vec::new();
    for path in folders {
        let literal = ctx.agent.root.spelled(&path.join(pattern));
        if ctx.agent.root.link_facts(&literal).is_ok() {
            found.push(literal);
            continue;
        }
        let first = base.is_none();
        base.get_or_insert_with(|| path.clone());
        let folder = match ctx.agent.root.open_folder(&path) {
            Ok(folder) => folder,
            Err(error) if first => return Err(problem(&path, &error).into()),
            Err(_) => continue,
        };
        let mut entries = folder.entries(&mut buffer);
        while let Some(Ok(entry)) = entries.next() {
            let name = entry.name().to_bytes();
            if !entry.is_dots() && read.matches(name) {
                found.push(path.join(OsStr::from_bytes(name)));
            }
            if found.len() > MAX {
                return Err(too_many(&path, pattern));
            }
            if entries.at_batch_end() {
                ctx.stop.check()?;
            }
        }
    }
    Ok(found)
}

fn too_many(folder: &Path, pattern: &str) -> VerbError {
    let path = lossy(&folder.join(pattern));
    Problem::new("too_many", format!("{path} matches more than {MAX} names; findfile streams any number")).at(path).into()
}
