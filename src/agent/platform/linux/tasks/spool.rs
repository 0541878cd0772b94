//! What keeps its state in a spool: anacron's jobs and those of at.

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::anacron::{AnacronLine, note, parse};
use super::{MAX_FILE, Search, at, sha256};
use crate::agent::context::VerbResult;
use crate::agent::path::{key, reason};
use crate::agent::platform::task::Task;

const ANACRONTAB: &str = "/etc/anacrontab";
const HOURLY: &str = "/etc/cron.hourly";
const NOTES: &str = "/var/spool/anacron";
/// Debian's folder, and others'.
const AT_JOBS: [&str; 2] = ["/var/spool/cron/atjobs", "/var/spool/at"];
/// How often anacron's own starts are looked at.
const MAX_STARTS: usize = 400;

/// Finds anacron's jobs. A job runs when anacron starts on the day that it is due, or later.
pub(super) fn anacron(search: &mut Search<'_>) -> VerbResult {
    let path = Path::new(ANACRONTAB);
    let Ok(facts) = search.root.facts(path) else { return Ok(()) };
    let text = match search.root.read(path, MAX_FILE) {
        Ok(text) => text,
        Err(error) => {
            let error = Some(reason(&error).1);
            let task = Task { id: key(path), kind: "anacron", file: Some(path.to_owned()), error, ..Task::default() };
            search.found.push(task.into());
            return Ok(());
        }
    };
    for line in parse(&text) {
        search.stop.check()?;
        let mut task = of_line(search, &line);
        task.modified = Some(facts.modified);
        search.found.push(task.into());
    }
    Ok(())
}

fn of_line(search: &Search<'_>, line: &AnacronLine) -> Task {
    let shell = line.settings.iter().find(|(name, _)| name == "SHELL").map_or("/bin/sh", |(_, shell)| shell);
    let mut task = Task {
        id: format!("{ANACRONTAB}#{}", line.name),
        kind: "anacron",
        enabled: line.period.is_ok(),
        schedule: Some(line.schedule.clone()),
        user: Some("root".to_owned()),
        command: Some(line.command.clone()),
        programs: vec![(shell.to_owned(), Some(format!("-c {}", line.command)))],
        environment: line.settings.to_vec(),
        file: Some(PathBuf::from(ANACRONTAB)),
        line: Some(line.number),
        sha256: Some(sha256(&line.text)),
        error: line.period.as_ref().err().cloned(),
        ..Task::default()
    };
    if line.period.is_err() {
        task.id = format!("{ANACRONTAB}#{}", task.sha256.as_deref().and_then(|hash| hash.get(..8)).unwrap_or_default());
        task.command = Some(String::from_utf8_lossy(&line.text).into_owned());
        (task.schedule, task.programs) = (None, Vec::new());
    }
    let Ok((period, delay)) = line.period else { return task };
    let written = search.root.read(&Path::new(NOTES).join(&line.name), 64).ok().and_then(|text| note(&text));
    let midnight = |date: jiff::civil::Date| search.clock.zone.to_timestamp(date.at(0, 0, 0, 0)).ok();
    task.last_run = written.and_then(midnight);
    let due = written.and_then(|last| period.due(last)).and_then(midnight).unwrap_or(search.clock.now);
    task.next_run = next_start(search, due.max(search.clock.now))
        .and_then(|start| start.checked_add(jiff::SignedDuration::from_mins(delay.into())).ok());
    task
}

/// When something next starts anacron: a timer, a line of a crontab, or one that runs a folder with a script that does (Fedora's).
fn next_start(search: &Search<'_>, after: Timestamp) -> Option<Timestamp> {
    let hourly = search.names(HOURLY).iter().any(|script| script.to_string_lossy().ends_with("anacron"));
    let starts = |command: &str| {
        (command.contains("anacron") && !command.starts_with("test -x")) || (hourly && command.contains(HOURLY))
    };
    let starters = search.found.iter().filter(|found| found.task.enabled && found.task.command.as_deref().is_some_and(starts));
    starters.take(MAX_STARTS).filter_map(|found| found.next(after)).min()
}

/// Finds the jobs of at and batch.
pub(super) fn at(search: &mut Search<'_>) -> VerbResult {
    for folder in AT_JOBS {
        for path in search.names(folder) {
            search.stop.check()?;
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let is_file = search.root.link_facts(&path).is_ok_and(|facts| !facts.is_folder());
            // `.SEQ` and `.lockfile` are at's own.
            if !is_file || name.starts_with('.') {
                continue;
            }
            let facts = search.root.link_facts(&path).ok();
            let (mut task, text) = search.file("at", path);
            if let Some(job) = at::name(&name) {
                task.id = format!("at:{}", job.number);
                task.schedule = Some(format!("{} queue {}", job.due, job.queue));
                task.enabled = text.is_some();
                task.next_run = Some(job.due);
            } else {
                task.error.get_or_insert_with(|| "its name is not that of a job: atd passes it over".to_owned());
            }
            let script = at::script(&text.unwrap_or_default());
            let uid = script.uid.or(facts.map(|facts| facts.uid));
            task.user = uid.map(|uid| search.user_of(uid));
            task.programs.push(("/bin/sh".to_owned(), task.file.as_ref().map(|file| file.to_string_lossy().into_owned())));
            task.command = Some(script.command);
            search.found.push(task.into());
        }
    }
    Ok(())
}
