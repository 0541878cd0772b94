//! Crontabs of users and of the system, and the scripts in cron's folders.

use std::collections::{HashMap, HashSet};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::cron_time::When;
use super::crontab::{CronLine, MAX_LINES, Owner, parse};
use super::dialect::{Dialect, SPOOLS};
use super::{Due, Found, MAX_FILE, Search, sha256};
use crate::agent::context::VerbResult;
use crate::agent::path::{key, reason};
use crate::agent::platform::linux::facts::{Facts, Time};
use crate::agent::platform::task::Task;

const SYSTEM: &str = "/etc/crontab";
const PACKAGES: &str = "/etc/cron.d";
/// Folders whose scripts run together, and the kind of task that makes them: Debian's and Fedora's, then Alpine's.
const FOLDERS: [(&str, &str); 10] = [
    ("cron.hourly", "/etc/cron.hourly"),
    ("cron.daily", "/etc/cron.daily"),
    ("cron.weekly", "/etc/cron.weekly"),
    ("cron.monthly", "/etc/cron.monthly"),
    ("cron.yearly", "/etc/cron.yearly"),
    ("cron.15min", "/etc/periodic/15min"),
    ("cron.hourly", "/etc/periodic/hourly"),
    ("cron.daily", "/etc/periodic/daily"),
    ("cron.weekly", "/etc/periodic/weekly"),
    ("cron.monthly", "/etc/periodic/monthly"),
];
const ANACRON: &str = "/usr/sbin/anacron";

/// A crontab, and why cron does not read it.
struct File {
    path: PathBuf,
    owner: Owner,
    /// The user whose it is.
    user: Option<String>,
    refused: Option<String>,
    modified: Option<Time>,
}

/// Finds the lines of all crontabs.
pub(super) fn crontabs(search: &mut Search<'_>) -> VerbResult {
    let elsewhere = |readers: &[Dialect]| {
        let dialect = search.dialect.filter(|dialect| !readers.contains(dialect))?;
        Some(format!("{}, which this device has, does not look there", dialect.name()))
    };
    let of_system = elsewhere(&[Dialect::Debian, Dialect::Cronie]);
    let mut files = vec![(PathBuf::from(SYSTEM), Owner::System, of_system.clone())];
    files.extend(search.names(PACKAGES).into_iter().map(|path| (path, Owner::System, of_system.clone())));
    // A spool may have two names.
    let mut known = HashSet::new();
    for (spool, readers) in SPOOLS {
        let folder = search.root.facts(Path::new(spool)).ok().map(|facts| (facts.dev, facts.inode));
        if !folder.is_some_and(|folder| known.insert(folder)) {
            continue;
        }
        let elsewhere = elsewhere(readers);
        files.extend(search.names(spool).into_iter().map(|path| (path, Owner::User, elsewhere.clone())));
    }
    for (path, owner, elsewhere) in files {
        search.stop.check()?;
        let Ok(facts) = search.root.link_facts(&path) else { continue };
        if facts.is_folder() {
            continue;
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let refused = elsewhere.or_else(|| refusal(search, &path, owner, &name, &facts));
        let mut file = File { refused, path, owner, user: None, modified: None };
        file.user = (owner == Owner::User).then_some(name);
        file.modified = search.root.facts(&file.path).ok().map(|facts| facts.modified);
        add(search, file);
    }
    Ok(())
}

/// Why cron does not even open a crontab. Owner and rights are asked only of a running system: those of a tree may be the ones
/// of who unpacked it.
fn refusal(search: &Search<'_>, path: &Path, owner: Owner, name: &str, facts: &Facts) -> Option<String> {
    let dialect = search.judged_by();
    let uid = match owner {
        Owner::User => {
            let Some(user) = search.users.iter().find(|user| user.name == name) else {
                return Some("there is no user of that name in /etc/passwd".to_owned());
            };
            if facts.is_link() {
                return Some("it is a link".to_owned());
            }
            user.uid
        }
        Owner::System => {
            if path.starts_with(PACKAGES) && !dialect.takes_name(name.as_bytes()) {
                return Some(format!("{} takes no file of such a name", dialect.name()));
            }
            0
        }
    };
    if !search.root.is_live() {
        return None;
    }
    let target = search.root.facts(path).ok()?;
    let refused = match owner {
        Owner::User => dialect.refuses_user(&target, uid),
        Owner::System => dialect.refuses_system(&target),
    };
    let refused = refused.or((target.links > 1 && dialect != Dialect::Busybox).then_some("it has several names"));
    refused.map(ToOwned::to_owned)
}

fn add(search: &mut Search<'_>, file: File) {
    let text = match search.root.read(&file.path, MAX_FILE) {
        Ok(text) => text,
        Err(error) => {
            let task = Task {
                id: key(&file.path),
                kind: "cron",
                user: file.user,
                modified: file.modified,
                error: Some(reason(&error).1),
                file: Some(file.path),
                ..Task::default()
            };
            search.found.push(task.into());
            return;
        }
    };
    let dialect = search.judged_by();
    let mut crontab = parse(&text, file.owner);
    // Others pass over the line alone.
    let whole = dialect.is_strict() || crontab.lines.len() >= MAX_LINES;
    let ignored = file.refused.clone().or_else(|| crontab.refused.clone().filter(|_| whole));
    if dialect == Dialect::Cronie
        && !text.ends_with(b"\n")
        && let Some(last) = crontab.lines.last_mut()
        && text.trim_ascii_end().ends_with(&last.text)
    {
        last.when = Err("the last line has no newline".to_owned());
    }
    let mut ids: HashMap<String, u32> = HashMap::new();
    for line in &crontab.lines {
        let found = of_line(search, &file, line, ignored.as_deref(), &mut ids);
        search.found.push(found);
    }
}

fn of_line(search: &Search<'_>, file: &File, line: &CronLine, ignored: Option<&str>, ids: &mut HashMap<String, u32>) -> Found {
    let hash = sha256(&line.text);
    let mut id = format!("{}#{}", key(&file.path), hash.get(..8).unwrap_or_default());
    let same = ids.entry(id.clone()).or_default();
    *same += 1;
    if *same > 1 {
        id = format!("{id}.{same}");
    }
    let user = line.user.clone().or_else(|| file.user.clone());
    let unknown = |user: &String| line.user.is_some() && !search.users.iter().any(|known| known.name == *user);
    let mut wrong = line.when.as_ref().err().cloned();
    if let (None, Some(user)) = (&wrong, user.as_ref().filter(|user| unknown(user))) {
        wrong = Some(format!("there is no user {user} in /etc/passwd"));
    }
    let shell = line.setting("SHELL").unwrap_or("/bin/sh").to_owned();
    let is_job = line.when.is_ok();
    let mut task = Task {
        id,
        kind: "cron",
        enabled: wrong.is_none() && ignored.is_none(),
        schedule: is_job.then(|| line.schedule.clone()),
        user,
        command: Some(line.command.clone()),
        environment: line.settings.to_vec(),
        file: Some(file.path.clone()),
        line: Some(line.number),
        modified: file.modified,
        sha256: Some(hash),
        error: wrong,
        ..Task::default()
    };
    if is_job {
        task.programs.push((shell, Some(format!("-c {}", line.shell_command()))));
    }
    if let (None, Some(why)) = (&task.error, ignored) {
        task.error = Some(format!("cron ignores this file: {why}"));
    }
    // Of a range with `~` cronie draws a time when it starts.
    let is_drawn = search.dialect == Some(Dialect::Cronie) && line.schedule.contains('~');
    let due = match &line.when {
        Ok(When::At(fields)) if !is_drawn => vec![Due::Cron(fields.clone(), zone(search, line))],
        _ => Vec::new(),
    };
    Found { task, due }
}

/// Debian's cron knows the device's zone alone; cronie has `CRON_TZ`.
fn zone(search: &Search<'_>, line: &CronLine) -> jiff::tz::TimeZone {
    let is_cronie = search.dialect == Some(Dialect::Cronie);
    let named = line.setting("CRON_TZ").filter(|_| is_cronie).and_then(|name| search.clock.named(name));
    named.unwrap_or_else(|| search.clock.zone.clone())
}

/// Finds the scripts in cron's folders: they run when what runs the folder does.
pub(super) fn folders(search: &mut Search<'_>) -> VerbResult {
    let anacron = search.root.facts(Path::new(ANACRON)).is_ok();
    let dialect = search.judged_by();
    for (kind, folder) in FOLDERS {
        let scripts = search.names(folder);
        let runs = |found: &&Found| {
            let command = found.task.command.as_deref().unwrap_or_default();
            let other = anacron && command.contains(&format!("test -x {ANACRON}"));
            let named = command.split([' ', '\t', ';', '}']).any(|word| word.trim_end_matches('/') == folder);
            found.task.enabled && named && !other
        };
        let (next_run, last_run) = {
            let runners: Vec<&Found> = search.found.iter().filter(runs).collect();
            let next = runners.iter().filter_map(|found| found.task.next_run).min();
            (next, runners.iter().filter_map(|found| found.task.last_run).max())
        };
        for path in scripts {
            search.stop.check()?;
            let name = path.file_name().unwrap_or_default().as_bytes().to_vec();
            let Ok(facts) = search.root.facts(&path) else {
                let (task, _) = search.file(kind, path);
                search.found.push(task.into());
                continue;
            };
            if facts.is_folder() || name == b".placeholder" {
                continue;
            }
            let (mut task, text) = search.file(kind, path.clone());
            task.schedule = kind.strip_prefix("cron.").map(ToOwned::to_owned);
            task.user = Some("root".to_owned());
            task.command = Some(path.to_string_lossy().into_owned());
            task.programs.push((path.to_string_lossy().into_owned(), None));
            task.enabled = text.is_some() && dialect.runs_name(&name) && facts.permissions & 0o111 != 0;
            if task.enabled {
                (task.next_run, task.last_run) = (next_run, last_run);
            }
            search.found.push(task.into());
        }
    }
    Ok(())
}
