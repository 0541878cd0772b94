//! `dir`: the entries of a folder, in the order the file system has them, each told as soon as it is read: a folder of a
//! million files takes no more memory than one of ten.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::agent::context::{Context, VerbResult};
use crate::agent::listing::{KEYS, Listing};
use crate::agent::path::{problem, reason};
use crate::agent::platform::EntryBuffer;
use crate::agent::targets::Targets;
use crate::protocol::Problem;

pub(super) fn run(ctx: &mut Context) -> VerbResult {
    let full_paths = ctx.flag("full_path");
    if full_paths && ctx.flag("relative_path") {
        return Err(Problem::new("bad_value", "-full_path and -relative_path exclude each other")
            .about("relative_path")
            .into());
    }
    match Targets::of(ctx, ctx.param("path").unwrap_or("."))? {
        Targets::One(path) => {
            let is_folder = ctx.agent.root.facts(&path).is_ok_and(|facts| facts.is_folder());
            if is_folder {
                return list(ctx, &path, full_paths);
            }
            // A file lists itself; a link that leads nowhere too.
            ctx.agent.root.link_facts(&path).map_err(|error| problem(&path, &error))?;
            let folder = path.parent().unwrap_or(Path::new("/")).to_owned();
            each(ctx, &folder, std::slice::from_ref(&path), full_paths)
        }
        Targets::Matches { base, paths } => each(ctx, &base, &paths, full_paths),
    }
}

/// Tells the entries of a folder.
fn list(ctx: &mut Context, path: &Path, full_paths: bool) -> VerbResult {
    let folder = ctx.agent.root.open_folder(path).map_err(|error| problem(path, &error))?;
    let listing = Listing::new(ctx.agent.accounts.names(&ctx.agent.root), path, full_paths);
    ctx.table(KEYS)?;
    let mut buffer = EntryBuffer::default();
    let mut entries = folder.entries(&mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry.map_err(|error| problem(path, &error))?;
        if entry.is_dots() {
            continue;
        }
        let name = entry.name();
        match folder.facts(name) {
            Ok(facts) => {
                let target = if facts.is_link() { folder.read_link(name).ok() } else { None };
                ctx.row(&listing.row(name.to_bytes(), &facts, target.as_deref()))?;
            }
            Err(error) => ctx.row(&listing.unreadable(name.to_bytes(), reason(&error).1))?,
        }
    }
    Ok(())
}

/// Tells single files, each as itself.
fn each(ctx: &mut Context, base: &Path, paths: &[std::path::PathBuf], full_paths: bool) -> VerbResult {
    let listing = Listing::new(ctx.agent.accounts.names(&ctx.agent.root), base, full_paths);
    ctx.table(KEYS)?;
    for path in paths {
        let below = path.strip_prefix(base).unwrap_or(path).as_os_str().as_bytes();
        match ctx.agent.root.link_facts(path) {
            Ok(facts) => {
                let target = if facts.is_link() { ctx.agent.root.read_link(path).ok() } else { None };
                ctx.row(&listing.row(below, &facts, target.as_deref()))?;
            }
            Err(error) => ctx.row(&listing.unreadable(below, reason(&error).1))?,
        }
    }
    Ok(())
}
