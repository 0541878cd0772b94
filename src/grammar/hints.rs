//! What a diagnostic says, and what to do instead: the nearest names, and this shell's way of doing what another's syntax does.

use super::invocation::{Diagnostic, ErrorKind, Span};
use super::lexer::quoted;
use super::line::Word;
use super::row::{Flag, Form, Kind, Parameter, Role, Row};
use super::table::{is_shared, table};
use super::values::{self, Expected};
use crate::protocol::PlatformName;

pub(super) fn found(kind: ErrorKind, span: Span, message: String, hint: Option<String>) -> Diagnostic {
    Diagnostic { kind, message, span, hint }
}

/// Up to three of the names that are nearest to what was typed, the nearest first.
#[must_use]
pub fn nearest<'n>(typed: &str, names: impl Iterator<Item = &'n str>) -> Vec<&'n str> {
    // What is longer than any name is near to none, and measuring it would cost its length in time and memory.
    if typed.len() > 64 {
        return Vec::new();
    }
    let typed = typed.to_ascii_lowercase();
    let length = typed.chars().count();
    let reach = 1 + length / 4;
    let mut scored: Vec<(usize, &str)> = names
        .filter_map(|name| {
            if typed.len() >= 2 && name.get(..typed.len()).is_some_and(|start| start.eq_ignore_ascii_case(&typed)) {
                return Some((0, name));
            }
            // No nearer than the two lengths are apart: most names (they are ASCII) need no measuring.
            if name.len().abs_diff(length) > reach {
                return None;
            }
            let distance = strsim::osa_distance(&typed, &name.to_ascii_lowercase());
            // What shares no letter is near to nothing, however short.
            (distance <= reach && distance < name.len()).then_some((distance, name))
        })
        .collect();
    scored.sort_unstable();
    scored.dedup_by_key(|(_, name)| *name);
    scored.truncate(3);
    scored.into_iter().map(|(_, name)| name).collect()
}

fn did_you_mean(names: &[&str]) -> Option<String> {
    (!names.is_empty()).then(|| format!("did you mean {}?", names.join(" or ")))
}

/// An alias beside its own command is no second suggestion.
fn without_aliases_beside<'n>(near: &[&'n str]) -> Vec<&'n str> {
    let is_alias_beside =
        |name: &str| table().find(name).is_some_and(|row| row.name != name && near.contains(&row.name.as_str()));
    near.iter().copied().filter(|name| !is_alias_beside(name)).collect()
}

/// The command that two words are when they are written as one: `get file`, `find file`.
pub(super) fn in_one_word(first: &str, second: &str) -> Option<&'static Row> {
    // No command is longer: a value may be of any length.
    if first.len() + second.len() > 32 {
        return None;
    }
    table().find(&format!("{first}{second}"))
}

fn one_word(row: &Row) -> String {
    format!("it is one word here: `{}`", row.name)
}

/// Says so of what did not fit because the second of the two words was taken for a value: `get file /etc/passwd`.
pub(super) fn meant_in_one_word(row: &Row, line: &str, [first, second]: [&str; 2], diagnostics: &mut [Diagnostic]) {
    let misread = |found: &&mut Diagnostic| matches!(found.kind, ErrorKind::TooManyValues | ErrorKind::BadValue);
    for found in diagnostics.iter_mut().filter(misread) {
        let typed = line.get(found.span.start..found.span.end).unwrap_or_default();
        found.message = format!("`{first}` took `{second}` for its value, and has no use for `{typed}`");
        found.hint = Some(one_word(row));
    }
}

/// `next` is the word behind it, where there is one.
pub(super) fn unknown_command(typed: &str, next: Option<&Word<'_>>, span: Span, platform: Option<PlatformName>) -> Diagnostic {
    let rows = table().rows().iter().filter(|row| platform.is_none_or(|platform| row.platforms.contains(&platform)));
    let names = rows.flat_map(Row::names);
    let joined = next.filter(|next| !next.quoted).and_then(|next| in_one_word(typed, &next.text));
    let hint = match table().known_as(typed) {
        _ if joined.is_some() => joined.map(one_word),
        Some(row) => Some(format!("here it is `{}`: {}", row.name, lower(&row.summary))),
        None => {
            did_you_mean(&without_aliases_beside(&nearest(typed, names))).or_else(|| Some("`help` lists the commands".into()))
        }
    };
    found(ErrorKind::UnknownCommand, span, format!("there is no command `{typed}`"), hint)
}

pub(super) fn unknown_parameter(row: &'static Row, form: Option<&'static Form>, typed: &str, span: Span) -> Diagnostic {
    let name = typed.trim_start_matches('-');
    let names = |params: &'static [Parameter], flags: &'static [Flag]| {
        let params = params.iter().filter(|param| !param.hidden).map(|param| param.name.as_str());
        params.chain(flags.iter().map(|flag| flag.name.as_str()))
    };
    let here = names(row.params_of(form), form.map_or(&row.flags, |form| &form.flags));
    // A flag may also have meant a form that the line did not bind.
    let elsewhere = row.forms.iter().flat_map(|form| names(&[], &form.flags));
    let is_it = |known: &str| known.eq_ignore_ascii_case(name);
    let other = row.forms.iter().find(|form| names(&form.params, &form.flags).any(is_it) && !is_shared(name));
    let whole = other.and_then(|other| match other.when.split_once(':') {
        Some(("value", action)) => Some(format!("{} {action}", row.name)),
        Some(("flag", flag)) => Some(format!("{} -{flag}", row.name)),
        _ => None,
    });
    if let Some(whole) = whole {
        let message = format!("{} has no parameter or flag `{typed}` here", row.name);
        return found(ErrorKind::UnknownParameter, span, message, Some(format!("-{name} belongs to `{whole}`")));
    }
    if form.is_some() && row.flags.iter().any(|flag| is_it(&flag.name)) {
        let message = format!("{} has no parameter or flag `{typed}` here", row.name);
        return found(ErrorKind::UnknownParameter, span, message, Some(format!("-{name} goes with {}", names_of(&row.params))));
    }
    let near = nearest(name, here.clone().chain(elsewhere));
    let near: Vec<String> = near.iter().map(|name| format!("-{name}")).collect();
    let near: Vec<&str> = near.iter().map(String::as_str).collect();
    let hint = with_a_sign(name, here).or_else(|| did_you_mean(&near)).unwrap_or_else(|| match form {
        // The type of `undo 3 -type file`: it belongs to the main form.
        Some(_) if row.params.iter().any(|param| param.name.eq_ignore_ascii_case(name)) => {
            format!("-{name} goes with {}", names_of(&row.params))
        }
        _ => format!("`help {}` lists what it takes; a value that begins with a dash is written in quotes", row.name),
    });
    let hint = Some(hint);
    found(ErrorKind::UnknownParameter, span, format!("{} has no parameter or flag `{typed}`", row.name), hint)
}

/// `-output=json`, as others write it: which of the names it gives, and how the value follows here.
fn with_a_sign<'n>(typed: &str, mut names: impl Iterator<Item = &'n str>) -> Option<String> {
    let (name, value) = typed.split_once(['=', ':'])?;
    let name = names.find(|known| known.eq_ignore_ascii_case(name))?;
    let value = if value.is_empty() { "VALUE".to_owned() } else { quoted(value) };
    Some(format!("the value follows its name behind a blank: `-{name} {value}`"))
}

fn names_of(params: &[Parameter]) -> String {
    let names = params.iter().filter(|param| param.required).map(|param| format!("-{}", param.name));
    names.collect::<Vec<_>>().join(" and ")
}

/// `next` is the word behind it, where there is one.
pub(super) fn missing_value(
    row: &Row,
    form: Option<&Form>,
    parameter: &Parameter,
    next: Option<&str>,
    span: Span,
) -> Diagnostic {
    let message = format!("-{} needs a value: {}", parameter.name, lower(&parameter.summary));
    let kind = parameter.kind;
    let hint = if !parameter.choices.is_empty() {
        format!("write one of {}", parameter.choices.join(", "))
    } else if matches!(kind, Kind::Path | Kind::LocalPath | Kind::Name | Kind::Text | Kind::Device) {
        // Nothing else begins with a dash and is a value.
        match next {
            Some(next) => format!("`{next}` is a parameter or flag; a value that begins with a dash is written in quotes"),
            None => {
                let what = match kind {
                    Kind::Path | Kind::LocalPath => "PATH",
                    Kind::Name => "NAME",
                    Kind::Device => "DEVICE",
                    _ => "TEXT",
                };
                format!("write `-{} {what}`", parameter.name)
            }
        }
    } else {
        format!("write {}", values::expected(kind, row, form))
    };
    found(ErrorKind::MissingValue, span, message, Some(hint))
}

pub(super) fn missing_parameter(row: &Row, form: Option<&Form>, missing: &[&Parameter], span: Span) -> Diagnostic {
    let names: Vec<&str> = missing.iter().map(|param| param.name.as_str()).collect();
    let first = missing.first().map(|param| lower(&param.summary)).unwrap_or_default();
    let head = match form.and_then(|form| form.when.strip_prefix("value:")) {
        Some(value) => format!("{} {value}", row.name),
        None => row.name.clone(),
    };
    let message = format!("{head} needs {} ({first})", names.join(" and "));
    let hint = row
        .examples
        .iter()
        .find(|example| example.line.starts_with(&head))
        .map(|example| format!("for example: {}", example.line));
    found(ErrorKind::MissingParameter, span, message, hint)
}

pub(super) fn duplicate(name: &str, span: Span) -> Diagnostic {
    found(ErrorKind::DuplicateParameter, span, format!("-{name} is given twice"), None)
}

/// `before` is the parameter that took the value before it by its place.
pub(super) fn too_many_values(row: &Row, before: Option<&Parameter>, typed: &str, span: Span) -> Diagnostic {
    let message = match before {
        None => format!("{} takes no value here, so `{typed}` is too many", row.name),
        Some(_) => format!("`{typed}` is one value too many for {}", row.name),
    };
    // A text may have lost its quotes; a number or a format had none.
    let has_blanks = |before: &Parameter| {
        before.choices.is_empty()
            && matches!(before.kind, Kind::Path | Kind::LocalPath | Kind::Name | Kind::Text | Kind::Device)
    };
    let hint = match before {
        Some(before) if has_blanks(before) => "a value with blanks is written in quotes".to_owned(),
        _ => format!("`help {}` lists what it takes", row.name),
    };
    found(ErrorKind::TooManyValues, span, message, Some(hint))
}

/// `by_place`: nobody named the parameter, so that another may have been meant.
pub(super) fn bad_value(
    row: &Row,
    form: Option<&Form>,
    parameter: &Parameter,
    typed: &str,
    expected: &Expected,
    span: Span,
    by_place: bool,
) -> Diagnostic {
    let hint = did_you_mean(&likely(row, form, parameter, typed)).or_else(|| {
        let is_output = parameter.name == "output";
        let by_name = || row.params.iter().find(|param| param.name == "name" && parameter.kind == Kind::Pid);
        match by_place {
            true if is_output => Some("a value with blanks is written in quotes".to_owned()),
            true => by_name().map(|name| format!("by name: `{} -{} {}`", row.name, name.name, quoted(typed))),
            false => None,
        }
    });
    let message = if typed.is_empty() {
        format!("{} is empty: expected {}", parameter.name, expected.0)
    } else {
        format!("`{typed}` does not fit {}: expected {}", parameter.name, expected.0)
    };
    found(ErrorKind::BadValue, span, message, hint)
}

/// The values near to what was typed, of those that there are.
fn likely<'t>(row: &'t Row, form: Option<&'t Form>, parameter: &'t Parameter, typed: &str) -> Vec<&'t str> {
    let columns = values::columns(row, form);
    let near = |wrong: &str| match wrong.split_once('.') {
        Some((head, within)) if let Some(object) = columns.iter().find(|column| column.key == head) => {
            nearest(within, object.fields.iter().map(String::as_str))
        }
        _ => nearest(wrong, columns.iter().map(|column| column.key.as_str())),
    };
    match parameter.kind {
        Kind::Command => without_aliases_beside(&nearest(typed, table().names())),
        Kind::Sort => near(typed.trim_start_matches('-')),
        Kind::Fields => {
            let wrong = typed.split(',').map(str::trim).find(|field| !columns.iter().any(|column| column.holds(field)));
            wrong.map(near).unwrap_or_default()
        }
        _ => nearest(typed, parameter.choices.iter().map(String::as_str)),
    }
}

pub(super) fn exclusive(first: &str, second: &str, span: Span) -> Diagnostic {
    found(ErrorKind::BadValue, span, format!("-{second} excludes -{first}"), Some("give one of them".into()))
}

pub(super) fn not_on_platform(row: &Row, platform: PlatformName, span: Span) -> Diagnostic {
    let platforms: Vec<&str> = row.platforms.iter().map(|platform| platform.as_str()).collect();
    let message = format!("{} is not to be had on {platform}, only on {}", row.name, platforms.join(" and "));
    found(ErrorKind::NotOnPlatform, span, message, None)
}

/// The diagnostic of a command that the table lists and no verb carries out yet.
#[must_use]
pub fn not_yet(row: &Row, span: Span) -> Diagnostic {
    let message = format!("{} is not to be had yet; it comes with a later version", row.name);
    found(ErrorKind::NotOnPlatform, span, message, None)
}

pub(super) fn missing_role(row: &Row, role: Role, span: Span) -> Diagnostic {
    let message = format!("{} needs the role `{}`, which you do not have", row.name, role.as_str());
    found(ErrorKind::Role, span, message, Some("roles are given in `service.toml`".into()))
}

fn lower(text: &str) -> String {
    let mut chars = text.chars();
    match (chars.next(), chars.clone().next()) {
        (Some(first), Some(second)) if first.is_uppercase() && !second.is_uppercase() => {
            first.to_lowercase().chain(chars).collect()
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use crate::grammar::read;

    #[test]
    fn a_hint_says_what_to_write() {
        let check = |line: &str, hint: &str| {
            let found = read(line, None).diagnostics;
            let said = found.first().and_then(|found| found.hint.clone()).unwrap_or_default();
            assert!(said.contains(hint), "{line}: {said}");
        };
        check("dir -first -1", "write a whole number");
        check("findfile x -limit -tree", "write a whole number");
        check("get file /etc/passwd", "it is one word here: `getfile`");
        check("find file x", "it is one word here: `findfile`");
        check("file info /etc/passwd", "it is one word here: `fileinfo`");
        check("Put File x.sh", "it is one word here: `putfile`");
        check("scheduled tasks", "it is one word here: `scheduledtasks`");
        check("file \"info\"", "here it is `fileinfo`");
        check("get a b", "a value with blanks is written in quotes");
        for (habit, command) in [
            ("ps aux", "processes"),
            ("netstat -tulpn", "connections"),
            ("bg", "jobs"),
            ("pwd", "cd"),
            ("md5sum /bin/ls", "fileinfo"),
            ("sudo id", "run"),
            ("iptables -L", "isolate"),
            ("ssh web01", "connect"),
            ("keys", "help"),
            ("reg query HKLM", "registry"),
        ] {
            check(habit, &format!("here it is `{command}`: "));
        }
        check("fileinof /etc/passwd", "did you mean fileinfo?");
        check("dir -output", "write one of table, json, csv, jsonl");
        check("dir -path", "write `-path PATH`");
        check(
            "findfile x -path -limit",
            "`-limit` is a parameter or flag; a value that begins with a dash is written in quotes",
        );
        check("dir -output=json", "behind a blank: `-output json`");
        check("dir -OUTPUT:", "behind a blank: `-output VALUE`");
        check("processes -name=a b", "`-name a`");
        check("cls x", "`help cls` lists");
        check("dir /etc json more", "`help dir` lists");
        check("help proceses", "did you mean processes?");
        check("help -command connection", "did you mean connections");
        check("processes -sort -memory", "did you mean memory_k or memory_usage?");
        check("processes -columns pid,nam", "did you mean name?");
        check("processes -sort cpu_time", "did you mean cpu_time_ms?");
        check("processes sshd", "by name: `processes -name sshd`");
        check("fileinfo my file", "a value with blanks is written in quotes");
        check("dir -output jso", "did you mean json");
        check("cd a b", "a value with blanks is written in quotes");
        check("undo 3 -type file", "-type goes with -type and -id");
        check("undo 3 -session", "-session belongs to `undo -session`");
        check("library show x -name y", "-name belongs to `library add`");
        check("remediate list -auto", "-auto goes with -type and -id");
        check("dir a& &", "one `&` at the end runs a command in the background");
        check("dir \"a\"& &", "one `&` at the end runs a command in the background");
        check("help proceses", "did you mean processes?");
        check("dir -columns size,isdirectory", "did you mean isDirectory?");
        check("dir -sort -isdirectory", "did you mean isDirectory?");
        for line in ["trace json", "findfile a -type z"] {
            assert_eq!(read(line, None).diagnostics.first().and_then(|found| found.hint.clone()), None, "{line}");
        }
    }
}
