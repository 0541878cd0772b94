//! Scheduled tasks: every crontab, what cron's folders hold, anacron, at, and systemd's timers, with their next run on the device's
//! own clock.
//!
//! Reading text and reckoning with time is pure (`cron_time`, `crontab`, `anacron`, `at`, `calendar`, `calendar_text`); the other files look at
//! the device.

pub mod anacron;
pub mod at;
pub mod calendar;
pub mod calendar_text;
mod clock;
mod cron;
pub mod cron_time;
pub mod crontab;
mod dialect;
mod spool;
mod timers;

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use sha2::{Digest as _, Sha256};

pub use clock::zone_of;

use super::homes::{User, users};
use super::root::Root;
use super::unseen::Unseen;
use crate::agent::context::{Stop, VerbError, VerbResult};
use crate::agent::digest::hex;
use crate::agent::path::{key, reason};
use crate::agent::platform::Told;
use crate::agent::platform::task::Task;
use crate::protocol::Problem;
use calendar::Calendar;
use clock::Clock;
use cron_time::Fields;
use dialect::Dialect;

/// The largest file of tasks that is read.
const MAX_FILE: u64 = 4 * 1024 * 1024;

/// All scheduled tasks: cron's, anacron's, at's, then timers; and what could not be looked at.
///
/// # Errors
/// Only when told to stop: what cannot be read is said with the task it is about.
pub fn tasks(root: &Root, stop: &Stop) -> Result<(Told<Task>, Unseen), VerbError> {
    let (clock, users, dialect) = (Clock::of(root), users(root), Dialect::of(root));
    let mut search = Search { root, stop, clock, users, dialect, found: Vec::new(), doubt: None, unseen: RefCell::default() };
    cron::crontabs(&mut search)?;
    timers::timers(&mut search)?;
    search.tell_next_runs()?;
    spool::anacron(&mut search)?;
    cron::folders(&mut search)?;
    spool::at(&mut search)?;
    let order = |kind: &str| ["cron", "cron.", "anacron", "at", "timer"].iter().position(|known| kind.starts_with(known));
    search.found.sort_by_key(|found| order(found.task.kind));
    let doubts = search.doubt.into_iter().map(|why| Problem::new("no_manager", why)).collect();
    let all = search.found.into_iter().map(|found| found.task).collect();
    Ok((Told { all, doubts }, search.unseen.into_inner()))
}

/// What is being looked for, and what was found.
struct Search<'a> {
    root: &'a Root,
    stop: &'a Stop,
    clock: Clock<'a>,
    users: Vec<User>,
    /// The cron that is installed.
    dialect: Option<Dialect>,
    found: Vec<Found>,
    doubt: Option<String>,
    /// What could not be looked at.
    unseen: RefCell<Unseen>,
}

/// A task, and when it is due.
struct Found {
    task: Task,
    due: Vec<Due>,
}

/// What makes a task due.
enum Due {
    Cron(Fields, TimeZone),
    Calendar(Calendar, TimeZone),
}

impl Due {
    fn next(&self, after: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Cron(fields, zone) => fields.next(after, zone),
            Self::Calendar(calendar, zone) => calendar.next(after, zone),
        }
    }
}

impl Found {
    fn next(&self, after: Timestamp) -> Option<Timestamp> {
        self.due.iter().filter_map(|due| due.next(after)).min()
    }
}

impl From<Task> for Found {
    fn from(task: Task) -> Self {
        Self { task, due: Vec::new() }
    }
}

impl Search<'_> {
    /// The cron whose rules decide.
    fn judged_by(&self) -> Dialect {
        self.dialect.unwrap_or(Dialect::Debian)
    }

    /// A task that is a whole file, with what the file system tells of it, and its text.
    fn file(&self, kind: &'static str, path: PathBuf) -> (Task, Option<Vec<u8>>) {
        let mut task = Task { id: key(&path), kind, ..Task::default() };
        task.modified = self.root.facts(&path).ok().map(|facts| facts.modified);
        let text = match self.root.read(&path, MAX_FILE) {
            Ok(text) => Some(text),
            Err(error) => {
                task.error = Some(reason(&error).1);
                None
            }
        };
        task.sha256 = text.as_deref().map(sha256);
        task.file = Some(path);
        (task, text)
    }

    fn names(&self, folder: &str) -> Vec<PathBuf> {
        self.unseen.borrow_mut().paths(self.root, Path::new(folder))
    }

    fn user_of(&self, uid: u32) -> String {
        self.users.iter().find(|user| user.uid == uid).map_or_else(|| uid.to_string(), |user| user.name.clone())
    }

    fn tell_next_runs(&mut self) -> VerbResult {
        let now = self.clock.now;
        for found in &mut self.found {
            self.stop.check()?;
            if found.task.enabled && found.task.next_run.is_none() {
                found.task.next_run = found.next(now);
            }
        }
        Ok(())
    }
}

fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}
