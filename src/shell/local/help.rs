//! `help`: the commands that this analyst may run on this device, or one of them; all of it from the table.

use serde_json::{Value, json};

use super::help_page;
use crate::error::{Exit, Failure, Outcome};
use crate::grammar::{Category, Invocation, Row, table};
use crate::protocol::Session;
use crate::shell::Shell;

pub(super) fn run(shell: &mut Shell, invocation: &Invocation) -> Outcome<Exit> {
    let is_text = invocation.output.is_none() && invocation.view.is_empty();
    if let Some(name) = invocation.params.get("command") {
        let row = table()
            .find(name)
            .ok_or_else(|| Failure::new(Exit::NotUnderstood, "unknown_command", format!("{name} is no command")))?;
        if !is_text {
            return shell.answer_object(invocation, &row);
        }
        return shell.answer_text(invocation, &text(shell.session_facts(), Some(row)));
    }
    if is_text {
        return shell.answer_text(invocation, &text(shell.session_facts(), None));
    }
    let rows = allowed(shell.session_facts()).into_iter().map(summary);
    shell.answer_rows(invocation, &rows.collect::<Vec<_>>())
}

/// The help of a command, or without one the list of those that may be run.
pub(in crate::shell) fn text(session: Option<&Session>, row: Option<&Row>) -> String {
    match row {
        Some(row) => {
            let refusal = refusal(session, row).map_or(String::new(), |why| format!("  ({why})\n\n"));
            format!("{refusal}{}", help_page::page(row))
        }
        None => format!("{}{}", heading(session), list(&allowed(session))),
    }
}

fn allowed(session: Option<&Session>) -> Vec<&'static Row> {
    table().rows().iter().filter(|row| refusal(session, row).is_none()).collect()
}

/// Why this analyst may run no form of a command on this device. Without a session nothing is known that forbids it.
fn refusal(session: Option<&Session>, row: &Row) -> Option<String> {
    let session = session?;
    let platform = session.device.platform;
    if !row.platforms.contains(&platform) {
        return Some(format!("not to be had on {platform}"));
    }
    let is_held = row.roles().any(|role| role.is_held(&session.roles));
    (!is_held).then(|| format!("needs the role {}", row.role.as_str()))
}

/// For whom the list is.
fn heading(session: Option<&Session>) -> String {
    let Some(session) = session else { return String::new() };
    let (device, platform) = (&session.device.name, session.device.platform);
    format!("What {} may run on {device} ({platform}), as {}:\n\n", session.analyst, session.roles.join(", "))
}

fn summary(row: &Row) -> Value {
    json!({
        "name": row.name,
        "category": row.category,
        "summary": row.summary,
        "role": row.role,
        "platforms": row.platforms,
        "aliases": row.aliases,
        "parameters": row.params.iter().map(|param| &param.name).collect::<Vec<_>>(),
        "flags": row.flags.iter().map(|flag| &flag.name).collect::<Vec<_>>(),
        "examples": row.examples.iter().map(|example| &example.line).collect::<Vec<_>>(),
    })
}

/// What to type first; then the commands by what they are for, those that are not there yet last.
fn list(rows: &[&Row]) -> String {
    let width = rows.iter().map(|row| row.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    let mut group = |title: &str, rows: &mut dyn Iterator<Item = &&Row>| {
        let mut lines = rows.map(|row| format!("  {:width$}  {}\n", row.name, row.summary)).peekable();
        if lines.peek().is_some() {
            text.push_str(title);
            text.push('\n');
            text.extend(lines);
            text.push('\n');
        }
    };
    let groups = [
        (Category::Looking, "Looking"),
        (Category::Files, "Files"),
        (Category::Doing, "Doing"),
        (Category::Session, "Session and terminal"),
    ];
    for (category, title) in groups {
        group(title, &mut rows.iter().filter(|row| row.category == category && row.since.is_none()));
    }
    group("Not there yet", &mut rows.iter().filter(|row| row.since.is_some()));
    text.push_str("help COMMAND explains one, examples first.\n\n");
    text.push_str(help_page::EVERY_ANSWER);
    text.push_str(KEYS);
    text
}

/// The keys that a newcomer would not guess.
const KEYS: &str = "\
Keys: Tab offers what may stand here, F1 explains what the cursor is on, Ctrl+R
finds earlier lines, Ctrl+C stops a command on the device too, Ctrl+Z sends it
to the background, Ctrl+D leaves.
";

#[cfg(test)]
mod tests {
    use unicode_width::UnicodeWidthStr;

    use super::*;

    #[test]
    fn the_list_fits_a_terminal_of_80_columns() {
        let text = text(None, None);
        for line in text.lines() {
            assert!(line.width() < 80, "{} columns: {line}", line.width());
        }
        assert!(text.contains("Ctrl+R") && text.contains("F1"), "{text}");
    }
}
