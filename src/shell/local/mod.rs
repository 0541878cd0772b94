//! Commands that the shell serves itself, one file each: no number, not logged. `connect` is one of them, because opening a
//! session is a call of its own.

mod answer;
mod cls;
mod connect;
mod devices;
mod exit;
mod fg;
mod help;
mod help_page;
mod history;
mod jobs;
mod log;
mod session;
mod sessions;
mod settings;
mod status;
mod trace;

use std::future::ready;
use std::pin::Pin;

pub(super) use self::help::text as help_text;
pub(super) use self::settings::without_session as settings_without_session;

use super::Shell;
use crate::error::{Exit, Outcome};
use crate::grammar::Invocation;

/// What a local command returns.
type Answer<'a> = Pin<Box<dyn Future<Output = Outcome<Exit>> + 'a>>;
/// A local command.
type Local = for<'a> fn(&'a mut Shell, &'a Invocation) -> Answer<'a>;

/// Every local command; a test compares the list with the table.
const LOCAL: [(&str, Local); 13] = [
    ("cls", |shell, invocation| Box::pin(ready(cls::run(shell, invocation)))),
    ("connect", |shell, invocation| Box::pin(connect::run(shell, invocation))),
    ("devices", |shell, invocation| Box::pin(devices::run(shell, invocation))),
    ("exit", |shell, invocation| Box::pin(exit::run(shell, invocation))),
    ("fg", |shell, invocation| Box::pin(fg::run(shell, invocation))),
    ("help", |shell, invocation| Box::pin(ready(help::run(shell, invocation)))),
    ("history", |shell, invocation| Box::pin(ready(history::run(shell, invocation)))),
    ("jobs", |shell, invocation| Box::pin(jobs::run(shell, invocation))),
    ("log", |shell, invocation| Box::pin(log::run(shell, invocation))),
    ("session", |shell, invocation| Box::pin(session::run(shell, invocation))),
    ("sessions", |shell, invocation| Box::pin(sessions::run(shell, invocation))),
    ("status", |shell, invocation| Box::pin(status::run(shell, invocation))),
    ("trace", |shell, invocation| Box::pin(ready(trace::run(shell, invocation)))),
];

/// The command of that canonical name, if the shell serves it itself.
pub(super) fn find(name: &str) -> Option<Local> {
    LOCAL.iter().find(|(local, _)| *local == name).map(|(_, run)| *run)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grammar::{RunsOn, table};

    #[test]
    fn every_row_of_the_shell_has_its_command() {
        let rows = table().rows().iter();
        let wanted: Vec<&str> =
            rows.filter(|row| row.runs_on == RunsOn::Shell || row.name == "connect").map(|row| row.name.as_str()).collect();
        let mut have: Vec<&str> = LOCAL.iter().map(|(name, _)| *name).collect();
        have.sort_unstable();
        assert_eq!(have, wanted);
    }
}
