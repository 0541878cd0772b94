//! Logs, as they are; and who logged in when.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{logins, none};
use crate::agent::collect::{Gathered, Gatherer};
use crate::agent::platform::Facts;
use crate::protocol::Problem;

/// How the names of logs begin that are taken, rotated ones too.
const LOGS: [&str; 14] = [
    "auth.log",
    "secure",
    "syslog",
    "messages",
    "kern.log",
    "daemon.log",
    "user.log",
    "cron",
    "dpkg.log",
    "faillog",
    "lastlog",
    "wtmp",
    "btmp",
    "boot.log",
];
/// Folders of `/var/log` whose files are taken too.
const FOLDERS: [&str; 2] = ["/var/log/audit", "/var/log/apt"];
const JOURNALS: [&str; 2] = ["/var/log/journal", "/run/log/journal"];
const MAX_NAMES: usize = 10_000;
/// Of the journal the newest files up to this.
const MAX_JOURNAL: u64 = 512 * 1024 * 1024;

pub(super) fn gather(to: &mut Gatherer) -> Gathered {
    let agent = Arc::clone(&to.agent);
    let names = |folder: &str| {
        let mut names = agent.root.names(Path::new(folder), MAX_NAMES).unwrap_or_default();
        names.sort();
        names.into_iter().map(|name| Path::new(folder).join(name)).collect::<Vec<PathBuf>>()
    };
    let mut files: Vec<PathBuf> = names("/var/log").into_iter().filter(|path| is_called(path, &LOGS)).collect();
    files.extend(FOLDERS.iter().flat_map(|folder| names(folder)));
    files.push(PathBuf::from("/var/run/utmp"));
    let of_logins: Vec<PathBuf> = files.iter().filter(|path| is_one_of(path, &["wtmp", "btmp", "utmp"])).cloned().collect();
    logins::gather(to, &of_logins)?;
    let mut any = false;
    // lastlog is as long as the highest user's number makes it, and empty for the most part: its rows tell it all.
    for path in files.iter().filter(|path| !is_one_of(path, &["lastlog"])) {
        any |= to.raw(path)?;
    }
    for path in journals(to)? {
        any |= to.raw(&path)?;
    }
    none(any, "logs")
}

/// Whether it is called as one of these logs, or as one that was rotated.
fn is_called(path: &Path, names: &[&str]) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let rotated = |rest: &str| rest.is_empty() || rest.starts_with(['.', '-']);
    names.iter().any(|wanted| name.strip_prefix(wanted).is_some_and(rotated))
}

/// The same of one that is not packed.
pub(super) fn is_one_of(path: &Path, names: &[&str]) -> bool {
    let packed = ["gz", "xz", "bz2", "zst"];
    is_called(path, names) && !path.extension().is_some_and(|ending| packed.iter().any(|known| ending == *known))
}

/// The journal's files, the newest first, up to a size; what is left out is said.
fn journals(to: &mut Gatherer) -> Result<Vec<PathBuf>, crate::agent::collect::Over> {
    let agent = Arc::clone(&to.agent);
    let names = |folder: &Path| agent.root.names(folder, MAX_NAMES).unwrap_or_default();
    let mut files = Vec::new();
    for top in JOURNALS.map(Path::new) {
        for folder in names(top) {
            let folder = top.join(folder);
            files.extend(names(&folder).into_iter().filter_map(|name| {
                let path = folder.join(name);
                let facts = agent.root.link_facts(&path).ok().filter(Facts::is_file)?;
                Some((facts.modified.ns(), facts.allocated.min(facts.size), path))
            }));
        }
    }
    files.sort_by_key(|(modified, _, _)| std::cmp::Reverse(*modified));
    let (mut taken, mut left_out, mut room) = (Vec::new(), 0_u32, MAX_JOURNAL);
    for (_, size, path) in files {
        match room.checked_sub(size) {
            Some(rest) => {
                room = rest;
                taken.push(path);
            }
            None => left_out += 1,
        }
    }
    if left_out > 0 {
        let message =
            format!("{left_out} older files of the journal are left out: they are more than {} MB", MAX_JOURNAL >> 20);
        to.problem(Problem::new("limit", message))?;
    }
    Ok(taken)
}
