//! `help <command>`: a page that fits a terminal of 24 rows and 80 columns, examples first.

use unicode_width::UnicodeWidthStr;

use crate::grammar::{Flag, Parameter, Role, Row};

/// The width of the page: one column less than the narrowest terminal there is.
const WIDTH: usize = 79;
/// The height of the page: one line less than such a terminal, for the prompt below.
const LINES: usize = 23;
/// How far examples may push what they mean to the right.
const EXAMPLE: usize = 42;

/// What every command with an answer takes beside its own parameters.
pub(super) const EVERY_ANSWER: &str = "\
Every answer: -output table|json|csv|jsonl, -match TEXT, -sort [-]FIELD,
-columns A,B, -first N; > FILE or >> FILE saves it; & at the end: a job.
";

/// All about one command. Where a line for each parameter and flag would not fit, they share lines.
pub(super) fn page(row: &Row) -> String {
    let roomy = laid_out(row, false);
    if roomy.lines().count() <= LINES { roomy } else { laid_out(row, true) }
}

fn laid_out(row: &Row, is_dense: bool) -> String {
    let mut text = format!("{}: {}\n", row.name, row.summary);
    let width = row.examples.iter().map(|example| example.line.width()).filter(|width| *width <= EXAMPLE).max().unwrap_or(0);
    for example in &row.examples {
        entry(&mut text, &example.line, width, &example.summary);
    }
    text.push('\n');
    for syntax in syntaxes(row) {
        wrapped(&mut text, &syntax, "", "    ");
    }
    let help = row.help.split_whitespace().collect::<Vec<_>>().join(" ");
    wrapped(&mut text, &help, "", "");
    let parts = parts(row);
    if is_dense {
        let told: Vec<String> = parts.iter().map(|(name, about)| format!("{name}: {about}")).collect();
        wrapped(&mut text, &told.join("; "), "  ", "  ");
    } else {
        let width = parts.iter().map(|(name, _)| name.width()).max().unwrap_or(0);
        for (name, about) in &parts {
            entry(&mut text, name, width, about);
        }
    }
    let mut facts = facts(row);
    if row.output.is_some() && !parts.is_empty() {
        facts.push("options of every answer: help".to_owned());
    }
    wrapped(&mut text, &facts.join("; "), "", "");
    if row.output.is_some() && parts.is_empty() {
        text.push_str(EVERY_ANSWER);
    }
    text
}

/// A name and what it means, the further lines below the meaning.
fn entry(text: &mut String, name: &str, width: usize, about: &str) {
    let padded = width.saturating_sub(name.width());
    wrapped(text, about, &format!("  {name}{:padded$}  ", ""), &" ".repeat(width + 4));
}

/// A text in lines of [`WIDTH`], the first behind `first`, the others behind `rest`.
fn wrapped(text: &mut String, words: &str, first: &str, rest: &str) {
    if words.is_empty() {
        return;
    }
    let mut line = first.to_owned();
    let mut is_begun = false;
    for word in words.split(' ') {
        if is_begun && line.width() + 1 + word.width() > WIDTH || !is_begun && line.width() + word.width() > WIDTH {
            text.push_str(line.trim_end());
            text.push('\n');
            rest.clone_into(&mut line);
            is_begun = false;
        }
        if is_begun {
            line.push(' ');
        }
        line.push_str(word);
        is_begun = true;
    }
    text.push_str(&line);
    text.push('\n');
}

/// How a line of it is written, a sub-form a line; those that differ in their value alone share one.
fn syntaxes(row: &Row) -> Vec<String> {
    let mut values: Vec<(Vec<&str>, String)> = Vec::new();
    let mut others = Vec::new();
    for form in &row.forms {
        let (kind, value) = form.when.split_once(':').unwrap_or((form.when.as_str(), ""));
        match kind {
            "value" => {
                let rest = syntax("", form.params.get(1..).unwrap_or_default(), &form.flags);
                match values.iter_mut().find(|(_, same)| *same == rest) {
                    Some((names, _)) => names.push(value),
                    None => values.push((vec![value], rest)),
                }
            }
            "flag" => {
                let flags: Vec<Flag> = form.flags.iter().filter(|flag| flag.name != value).cloned().collect();
                others.push(syntax(&format!("{} -{value}", row.name), &form.params, &flags));
            }
            _ => others.push(syntax(&row.name, &form.params, &form.flags)),
        }
    }
    let main = (!is_action(row)).then(|| syntax(&row.name, &row.params, &row.flags));
    let values = values.into_iter().map(|(names, rest)| format!("{} {}{rest}", row.name, names.join("|")));
    let mut all: Vec<String> = main.into_iter().chain(values).chain(others).collect();
    all.dedup();
    all
}

/// Whether the row's one parameter chooses a sub-form and nothing else: the syntax says all of it.
fn is_action(row: &Row) -> bool {
    let mut own = row.params.iter().filter(|param| is_own(param));
    let chooses = |param: &Parameter| {
        let is_form = |choice: &String| row.forms.iter().any(|form| form.when.strip_prefix("value:") == Some(choice));
        !param.choices.is_empty() && param.choices.iter().all(is_form)
    };
    own.next().is_some_and(chooses) && own.next().is_none()
}

fn syntax(head: &str, params: &[Parameter], flags: &[Flag]) -> String {
    let mut text = head.to_owned();
    for param in params.iter().filter(|param| is_own(param)) {
        let name = &param.name;
        text.push_str(&match (param.required, param.named_only) {
            (true, _) => format!(" <{name}>"),
            (false, false) => format!(" [{name}]"),
            // The blank within belongs to it: it is not broken there.
            (false, true) => format!(" [-{name}\u{a0}…]"),
        });
    }
    for flag in flags {
        text.push_str(&format!(" [-{}]", flag.name));
    }
    text
}

/// Whether a parameter is the command's own, and not one that every answer has.
fn is_own(param: &Parameter) -> bool {
    !param.hidden && !matches!(param.name.as_str(), "output" | "match" | "columns" | "sort" | "first")
}

/// Parameters and flags, those of sub-forms behind the row's own, each name once.
fn parts(row: &Row) -> Vec<(String, String)> {
    let mut parts: Vec<(String, String)> = Vec::new();
    let mut add = |name: String, about: String| {
        if parts.iter().all(|(known, _)| *known != name) {
            parts.push((name, about));
        }
    };
    let forms = || row.forms.iter();
    let action = row.params.first().filter(|_| is_action(row)).map(|param| &param.name);
    let params = row.params.iter().chain(forms().flat_map(|form| &form.params));
    for param in params.filter(|param| is_own(param) && action != Some(&param.name)) {
        let dash = if param.named_only { "-" } else { "" };
        add(format!("{dash}{}", param.name), told(param));
    }
    for flag in row.flags.iter().chain(forms().flat_map(|form| &form.flags)) {
        add(format!("-{}", flag.name), flag.summary.clone());
    }
    parts
}

fn told(param: &Parameter) -> String {
    let mut about = param.summary.clone();
    if !param.choices.iter().all(|choice| about.contains(choice.as_str())) {
        about.push_str(&format!(": {}", param.choices.join(", ")));
    }
    if let Some(default) = &param.default {
        about.push_str(&format!(" [{default}]"));
    }
    about
}

/// Prerequisites, limits, role and platforms where they are not the common ones.
fn facts(row: &Row) -> Vec<String> {
    let mut facts = Vec::new();
    if !row.aliases.is_empty() {
        facts.push(format!("also: {}", row.aliases.join(", ")));
    }
    if row.role != Role::Basic {
        facts.push(format!("role: {}", row.role.as_str()));
    }
    for role in [Role::Basic, Role::Advanced, Role::Library, Role::Settings] {
        let needs = row.forms.iter().filter(|form| form.role == Some(role));
        let values: Vec<&str> = needs.filter_map(|form| Some(form.when.split_once(':')?.1)).collect();
        if !values.is_empty() {
            facts.push(format!("role of {}: {}", values.join(", "), role.as_str()));
        }
    }
    if row.platforms.len() < 3 {
        let platforms: Vec<&str> = row.platforms.iter().map(|platform| platform.as_str()).collect();
        facts.push(format!("platforms: {}", platforms.join(", ")));
    }
    if !row.prerequisites.is_empty() {
        let must = row.prerequisites.values().any(|wanted| wanted.required);
        let mut commands: Vec<&str> = row.prerequisites.values().map(|wanted| wanted.command.as_str()).collect();
        commands.dedup();
        let must = if must { "looked at first (or -auto)" } else { "-auto runs first" };
        facts.push(format!("{must}: {}", commands.join(", ")));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grammar::table;

    #[test]
    fn every_page_fits_a_terminal_with_the_prompt_below_it() {
        for row in table().rows() {
            let page = page(row);
            let lines = page.lines().count();
            assert!(lines <= LINES, "help {} has {lines} lines:\n{page}", row.name);
            for line in page.lines() {
                assert!(line.width() <= WIDTH, "help {}: {} columns: {line}", row.name, line.width());
            }
        }
    }

    #[test]
    fn a_page_begins_with_examples_and_says_everything() {
        for row in table().rows() {
            let page = page(row);
            let first = row.examples.first().unwrap_or_else(|| panic!("{} has no example", row.name));
            assert!(page.lines().nth(1).is_some_and(|line| line.trim_start().starts_with(&first.line)), "{page}");
            let own = row.params.iter().filter(|_| !is_action(row));
            let forms = row.forms.iter().filter_map(|form| form.params.get(usize::from(form.when.starts_with("value:"))..));
            let own = own.chain(forms.flatten()).filter(|param| is_own(param));
            let flags = row.flags.iter().chain(row.forms.iter().flat_map(|form| &form.flags));
            for name in own.map(|param| &param.name).chain(flags.map(|flag| &flag.name)) {
                let mut words = page.split_whitespace().map(|word| word.trim_start_matches('-').trim_end_matches(':'));
                assert!(words.any(|word| word == name), "help {} does not explain {name}:\n{page}", row.name);
            }
        }
    }
}
