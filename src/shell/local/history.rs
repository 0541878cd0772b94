//! `history`: the lines typed before, in every shell of this home.

use serde::Serialize;

use crate::error::{Exit, Failure, Outcome};
use crate::grammar::Invocation;
use crate::shell::Shell;
use crate::shell::editor::Entry;

/// A line of the history, as it is shown.
#[derive(Serialize)]
struct Typed {
    number: usize,
    #[serde(flatten)]
    entry: Entry,
}

pub(super) fn run(shell: &mut Shell, invocation: &Invocation) -> Outcome<Exit> {
    let file = shell.home.history_file();
    let text = match std::fs::read(&file) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(Failure::here("history", format!("{} cannot be read: {error}", file.display()))),
    };
    let entries = text.lines().filter_map(Entry::read).enumerate().map(|(n, entry)| Typed { number: n + 1, entry });
    let mut entries: Vec<Typed> = entries.collect();
    let count = invocation.params.get("count").and_then(|count| count.parse::<usize>().ok());
    if let Some(count) = count {
        entries.drain(..entries.len().saturating_sub(count));
    }
    shell.answer_rows(invocation, &entries)
}
