//! `help`: the commands that this analyst may run on this device, or one of them; all of it from the table.

use serde_json::{Value, json};

use crate::error::{Exit, Failure, Outcome};
use crate::grammar::{Category, Invocation, Parameter, Row, table};
use crate::shell::Shell;

pub(super) fn run(shell: &mut Shell, invocation: &Invocation) -> Outcome<Exit> {
    let is_text = invocation.output.is_none() && invocation.view.is_empty();
    if let Some(name) = invocation.params.get("command") {
        let row = table()
            .find(name)
            .ok_or_else(|| Failure::new(Exit::NotUnderstood, "unknown_command", format!("{name} is no command")))?;
        return if is_text { shell.answer_text(invocation, &page(row)) } else { shell.answer_object(invocation, &row) };
    }
    let rows: Vec<&Row> = table().rows().iter().filter(|row| shell.may_run(row)).collect();
    if is_text {
        return shell.answer_text(invocation, &list(&rows));
    }
    shell.answer_rows(invocation, &rows.into_iter().map(summary).collect::<Vec<_>>())
}

impl Shell {
    /// Whether this analyst may run some form of a command on this device. Without a session everything is listed.
    fn may_run(&self, row: &Row) -> bool {
        let Some(session) = self.session_facts() else { return true };
        row.platforms.contains(&session.device.platform) && row.roles().any(|role| role.is_held(&session.roles))
    }
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

/// The commands by what they are for; those that are not there yet come last.
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
        (Category::Session, "Session and terminal"),
        (Category::Looking, "Looking"),
        (Category::Files, "Files"),
        (Category::Doing, "Doing"),
    ];
    for (category, title) in groups {
        group(title, &mut rows.iter().filter(|row| row.category == category && row.since.is_none()));
    }
    group("Not there yet", &mut rows.iter().filter(|row| row.since.is_some()));
    text.push_str("help COMMAND explains one. & runs in the background, > FILE saves, -output json for programs.\n");
    text
}

/// All about one command, examples first.
fn page(row: &Row) -> String {
    let mut text = format!("{}: {}\n\n", row.name, row.summary);
    let width = row.examples.iter().map(|example| example.line.chars().count()).max().unwrap_or(0).min(48);
    for example in &row.examples {
        text.push_str(&format!("  {:width$}  {}\n", example.line, example.summary));
    }
    if !row.examples.is_empty() {
        text.push('\n');
    }
    text.push_str(&format!("  {}\n", syntax(row)));
    if !row.help.trim().is_empty() {
        text.push_str(&format!("\n{}\n", row.help.trim()));
    }
    let named = |param: &Parameter| !matches!(param.name.as_str(), "output" | "match" | "columns" | "sort" | "first");
    let mut parts: Vec<(String, String)> = Vec::new();
    for param in row.params.iter().filter(|param| !param.hidden && named(param)) {
        let mut about = param.summary.clone();
        if !param.choices.is_empty() {
            about.push_str(&format!(" ({})", param.choices.join(", ")));
        }
        if let Some(default) = &param.default {
            about.push_str(&format!(" [{default}]"));
        }
        parts.push((param.name.clone(), about));
    }
    for flag in row.flags.iter().chain(row.forms.iter().flat_map(|form| &form.flags)) {
        parts.push((format!("-{}", flag.name), flag.summary.clone()));
    }
    let width = parts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    if !parts.is_empty() {
        text.push('\n');
    }
    for (name, about) in parts {
        text.push_str(&format!("  {name:width$}  {about}\n"));
    }
    text.push('\n');
    for line in facts(row) {
        text.push_str(&format!("  {line}\n"));
    }
    text
}

fn syntax(row: &Row) -> String {
    let mut text = row.name.clone();
    for param in row.params.iter().filter(|param| !param.hidden) {
        let name = &param.name;
        let word = match (param.required, param.named_only) {
            (true, _) => format!(" <{name}>"),
            (false, false) => format!(" [{name}]"),
            (false, true) => format!(" [-{name} …]"),
        };
        text.push_str(&word);
    }
    for flag in &row.flags {
        text.push_str(&format!(" [-{}]", flag.name));
    }
    text
}

fn facts(row: &Row) -> Vec<String> {
    let platforms: Vec<&str> = row.platforms.iter().map(|platform| platform.as_str()).collect();
    let mut facts = vec![format!("platforms: {}", platforms.join(", "))];
    if !row.aliases.is_empty() {
        facts.push(format!("also: {}", row.aliases.join(", ")));
    }
    for (entity, wanted) in &row.prerequisites {
        let of = if entity == "*" { String::new() } else { format!(" ({entity})") };
        let must = if wanted.required { "needs" } else { "-auto runs" };
        facts.push(format!("{must} {} first{of}", wanted.command));
    }
    if let Some(seconds) = row.time_limit {
        facts.push(format!("ends after {} minutes", seconds / 60));
    }
    for (platform, bytes) in &row.size_limit {
        let on = if platform == "*" { String::new() } else { format!(" on {platform}") };
        facts.push(format!("files up to {} MB{on}", bytes >> 20));
    }
    if !row.see_also.is_empty() {
        facts.push(format!("see also: {}", row.see_also.join(", ")));
    }
    facts
}
