//! Where a scan looks, and in which order: what runs first, then what starts by itself, then folders.

use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::fs::FileType;

use super::Scan;
use crate::agent::content::Content;
use crate::agent::context::{Context, VerbError, VerbResult};
use crate::agent::digest::sha256;
use crate::agent::engines::Target;
use crate::agent::identity::FileIdentity;
use crate::agent::path::{key, lossy, problem};
use crate::agent::platform::{Entry, Facts, Origin, homes};
use crate::agent::protection::own_folders;
use crate::agent::walk::{Found, Place as Folder, Search, Walk};
use crate::protocol::Problem;

/// Folders for what is temporary.
const TEMPORARY: [&str; 4] = ["/tmp", "/var/tmp", "/dev/shm", "/run/user"];
/// Both, and what programs keep for everybody, on a Windows disk.
const WINDOWS: [&str; 3] = [r"C:\Windows\Temp", r"C:\Users", r"C:\ProgramData"];
/// How long to wait for finds before judgements are told.
const PATIENCE: Duration = Duration::from_millis(5);
/// The most programs that one line of what starts by itself names.
const MAX_PROGRAMS: usize = 4;

/// A file that is to be looked at.
pub(super) struct Place {
    /// Where it is.
    pub(super) path: PathBuf,
    /// The process that runs it.
    pub(super) pid: Option<u32>,
    /// Whether it starts by itself.
    pub(super) autostart: bool,
    /// Where it comes from, where that is known.
    pub(super) origin: Option<Origin>,
}

/// What runs, what starts by itself, temporary and home folders.
pub(super) fn quick(scan: &mut Scan<'_, '_>) -> VerbResult {
    scan.processes()?;
    autostart(scan)?;
    let mut folders: Vec<PathBuf> = TEMPORARY.iter().map(PathBuf::from).collect();
    // Some users have all of the device as their home, or none.
    let homes = homes(&scan.ctx.agent.root).into_iter().map(|user| user.home);
    if scan.ctx.agent.root.is_windows() {
        folders = WINDOWS.iter().map(|folder| scan.ctx.path(folder)).collect();
    }
    folders.extend(homes.filter(|home| home.starts_with("/home") || home.starts_with("/root") || home.starts_with("/srv")));
    for folder in folders {
        if scan.ctx.agent.root.facts(&folder).is_ok_and(|facts| facts.is_folder()) {
            tree(scan, &folder, false)?;
        }
    }
    Ok(())
}

/// What runs, what starts by itself, and every file there is.
pub(super) fn full(scan: &mut Scan<'_, '_>) -> VerbResult {
    scan.processes()?;
    autostart(scan)?;
    tree(scan, Path::new("/"), true)
}

/// The files that start by themselves, and the programs that they name.
fn autostart(scan: &mut Scan<'_, '_>) -> VerbResult {
    let found = match scan.ctx.agent.platform.persistent(&scan.ctx.stop, &scan.ctx.meter) {
        Ok(found) => found,
        Err(VerbError::Failed(problem)) => {
            scan.ctx.problem(problem);
            return Ok(());
        }
        Err(stopped) => return Err(stopped),
    };
    found.doubts.into_iter().for_each(|doubt| scan.ctx.problem(doubt));
    for one in found.all {
        let programs = programs(one.runs.as_deref().unwrap_or_default());
        // Its checksum was compared just now.
        let origin = one.shipped.map(|shipped| Origin { package: one.package.clone(), shipped: Some(shipped) });
        let origin = origin.filter(|origin| origin.package.is_some());
        scan.file(Place { path: one.file, pid: None, autostart: true, origin })?;
        for path in programs {
            scan.file(Place { path, pid: None, autostart: true, origin: None })?;
        }
    }
    Ok(())
}

/// The absolute paths in a command line.
fn programs(line: &str) -> Vec<PathBuf> {
    let words = line.split(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ';' | '|' | '&' | '<' | '>' | '(' | ')'));
    // systemd's marks in front of a program, and assignments.
    let words = words.map(|word| word.trim_start_matches(['-', '@', '+', '!', ':']));
    let paths = words.map(|word| word.rsplit('=').next().unwrap_or(word)).filter(|word| word.starts_with('/'));
    paths.take(MAX_PROGRAMS).map(PathBuf::from).collect()
}

/// Every file below a folder, or one file. `named` when the analyst named it: then what is wrong with it is an error.
pub(super) fn tree(scan: &mut Scan<'_, '_>, start: &Path, named: bool) -> VerbResult {
    let root = Arc::clone(&scan.ctx.agent.root);
    let facts = root.facts(start).map_err(|error| problem(start, &error))?;
    if !facts.is_folder() {
        let content = Content::open(&root, start, false)?;
        drop(content);
        return scan.give(Target::File { path: start.to_path_buf(), pid: None, autostart: false, origin: None });
    }
    let base = match root.open_folder(start) {
        Ok(base) => base,
        Err(error) if named => return Err(problem(start, &error).into()),
        Err(error) => {
            scan.ctx.problem(problem(start, &error));
            return Ok(());
        }
    };
    // Where links lead was followed to here; from here on none is.
    let start = root.path_of(base.fd().as_fd()).unwrap_or_else(|| start.to_path_buf());
    let others = Arc::new(AtomicU64::new(0));
    let search = Files { own: own(scan.ctx), others: Arc::clone(&others) };
    let walk = Walk::new(base, &start, Box::new(search), scan.ctx.stop.clone(), Arc::clone(&scan.ctx.meter));
    let agent = Arc::clone(&scan.ctx.agent);
    let walk = agent.walkers.start(scan.ctx.command.session_id.clone(), walk);
    loop {
        let (found, over) = walk.take(PATIENCE);
        if found.is_empty() && over {
            break;
        }
        if found.is_empty() {
            scan.take(PATIENCE)?;
        }
        for one in found {
            let Ok(facts) = one.facts else { continue };
            if scan.known.insert((facts.dev, facts.inode)) {
                let path = PathBuf::from(OsStr::from_bytes(&one.path));
                scan.give(Target::File { path, pid: None, autostart: false, origin: None })?;
            }
        }
    }
    scan.tally.others += others.load(Ordering::Relaxed);
    let tally = walk.tally();
    for (path, why) in &tally.named {
        scan.ctx.problem(Problem::new("unreadable", format!("{}: {why}", key(path))).at(lossy(path)));
    }
    if tally.unreadable > tally.named.len() as u64 {
        let count = tally.unreadable;
        scan.ctx.problem(Problem::new("unreadable", format!("{count} folders below {} could not be read in all", key(&start))));
    }
    Ok(())
}

/// Regular files that hold something and are not this program's own.
struct Files {
    own: Vec<Vec<u8>>,
    /// How many there were that have no content: FIFOs, sockets, devices.
    others: Arc<AtomicU64>,
}

impl Search for Files {
    fn look(&self, place: &Folder<'_>, entry: &Entry<'_>, found: &mut Vec<Found>) {
        if matches!(entry.kind(), FileType::Directory | FileType::Symlink) || is_below(&self.own, place.path) {
            return;
        }
        let Ok(facts) = place.folder.facts(entry.name()) else { return };
        if facts.is_file() && facts.size > 0 {
            found.push(Found::new(place, entry, Ok(facts)));
        } else if !facts.is_file() && !facts.is_folder() && !facts.is_link() {
            self.others.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The folders of this program: the library's rules match themselves, and quarantine holds what was found.
fn own(ctx: &Context) -> Vec<Vec<u8>> {
    let mut own: Vec<Vec<u8>> = Vec::new();
    if ctx.agent.root.is_live() {
        own.extend(own_folders(&ctx.agent.folder).iter().map(|folder| [folder.as_os_str().as_bytes(), b"/"].concat()));
    }
    own.push(format!("/{}", ctx.agent.effects.quarantine.foreign_name()).into_bytes());
    own
}

fn is_below(own: &[Vec<u8>], folder: &[u8]) -> bool {
    let Some((quarantine, folders)) = own.split_last() else { return false };
    folders.iter().any(|own| folder.starts_with(own)) || folder.windows(quarantine.len()).any(|part| part == quarantine)
}

/// Whether a file is this program's own.
pub(super) fn is_own(ctx: &Context, path: &[u8]) -> bool {
    is_below(&own(ctx), path)
}

/// The SHA-256 of a file that is still the same; `None` where it is not, or cannot be read.
pub(super) fn hash(ctx: &Context, path: &Path, identity: &FileIdentity) -> Result<Option<String>, VerbError> {
    let Ok(content) = Content::open(&ctx.agent.root, path, false) else { return Ok(None) };
    let same = |facts: &Facts| FileIdentity::new(facts, None) == FileIdentity { sha256: None, ..identity.clone() };
    if !same(&content.facts) {
        return Ok(None);
    }
    let Ok((_, hash)) = sha256(&content.file, identity.size, &ctx.stop, &ctx.meter)? else { return Ok(None) };
    Ok(Facts::of(content.file.as_fd(), c"").is_ok_and(|now| same(&now)).then_some(hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_in_what_is_run() {
        let check = |line: &str, wanted: &[&str]| {
            assert_eq!(programs(line), wanted.iter().map(PathBuf::from).collect::<Vec<_>>(), "{line}");
        };
        check("-/usr/bin/x -a /etc/y.conf", &["/usr/bin/x", "/etc/y.conf"]);
        check("/bin/sh -c \"/tmp/evil.sh; true\"", &["/bin/sh", "/tmp/evil.sh"]);
        check("LD_PRELOAD=/tmp/x.so cmd", &["/tmp/x.so"]);
        check("cmd", &[]);
    }
}
