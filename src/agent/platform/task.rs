//! What a device tells of its scheduled tasks.

use std::path::PathBuf;

use jiff::Timestamp;

use super::Time;

/// A scheduled task: on Linux a line of a crontab, a script that cron runs, a job of anacron or at, a timer of systemd; on Windows
/// a definition of the task scheduler.
#[derive(Debug, Clone, Default)]
pub struct Task {
    /// What it is called, the same as long as it stays what it is.
    pub id: String,
    /// What kind of task it is: `cron`, `cron.daily`, `anacron`, `at`, `timer`, …
    pub kind: &'static str,
    /// Whether it would run.
    pub enabled: bool,
    /// What it says it is.
    pub description: Option<String>,
    /// Who made it, where that is kept.
    pub author: Option<String>,
    /// What it calls itself, where it does.
    pub uri: Option<String>,
    /// When, as written.
    pub schedule: Option<String>,
    /// As whom; `None` where that is each user who logs in.
    pub user: Option<String>,
    /// What a definition calls whom it runs as.
    pub principal: Option<String>,
    /// Which of those its actions run as.
    pub context: Option<String>,
    /// The class of a COM object that it calls, and what it hands over.
    pub handler: Option<(String, Option<String>)>,
    /// What, as written.
    pub command: Option<String>,
    /// The programs that are started for it, with their arguments.
    pub programs: Vec<(String, Option<String>)>,
    /// The variables that are set for it.
    pub environment: Vec<(String, String)>,
    /// Where it is described.
    pub file: Option<PathBuf>,
    /// Which line of that, from 1; `None` when the whole file is the task.
    pub line: Option<u32>,
    /// When the file last changed.
    pub modified: Option<Time>,
    /// Of the line or the file, in hexadecimal.
    pub sha256: Option<String>,
    /// When it runs next; `None` when that cannot be told, or never.
    pub next_run: Option<Timestamp>,
    /// When it last ran, where something keeps that.
    pub last_run: Option<Timestamp>,
    /// What is wrong with it.
    pub error: Option<String>,
}
