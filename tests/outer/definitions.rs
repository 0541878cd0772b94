//! Every parameter of every command has help, and is completed or says why not.

use lrsh::grammar::{Form, Kind, Parameter, Row, expected_at, table};

/// Kinds whose values the shell can name.
const COMPLETED: [Kind; 9] = [
    Kind::Choice,
    Kind::Command,
    Kind::CommandId,
    Kind::Device,
    Kind::Fields,
    Kind::LocalPath,
    Kind::Path,
    Kind::Pid,
    Kind::Sort,
];

/// Kinds whose values only the analyst knows, and why.
const NOT_COMPLETED: [(Kind, &str); 7] = [
    (Kind::Addresses, "addresses of the analyst's own network"),
    (Kind::Age, "a span or time the analyst has in mind"),
    (Kind::Count, "a number"),
    (Kind::Duration, "a span the analyst has in mind"),
    (Kind::Name, "a pattern for what is not known yet; the names of processes are"),
    (Kind::Sha256, "comes from a report"),
    (Kind::Size, "a bound the analyst has in mind"),
];

/// Free texts, each with what completes it or why nothing does.
const TEXTS: [(&str, &str); 20] = [
    ("* match", "what is looked for"),
    ("analyze id", "a path or pid, by its type"),
    ("connect comment", "a sentence"),
    ("devices filter", "devices"),
    ("library description", "a sentence"),
    ("library file", "library files"),
    ("library name", "the name of the file that is added"),
    ("library parameters_description", "a sentence"),
    ("putfile file", "library files"),
    ("registry path", "keys and values, asked from the device"),
    ("remediate id", "a path, pid or name, by its type"),
    ("run parameters", "the script's own: what it says of them is shown"),
    ("run script", "library files"),
    ("scheduledtasks task", "tasks of the device"),
    ("settings name", "the switches there are"),
    ("settings value", "what the switch takes"),
    ("undo id", "what was remediated, by its type"),
    ("undo number", "numbers of effects"),
    ("trace state", "on or off"),
    ("help command", "commands"),
];

fn every_parameter(mut each: impl FnMut(&'static Row, Option<&'static Form>, &'static Parameter)) {
    for row in table().rows() {
        row.params.iter().for_each(|param| each(row, None, param));
        for form in &row.forms {
            form.params.iter().for_each(|param| each(row, Some(form), param));
        }
    }
}

#[test]
fn every_parameter_and_flag_has_help() {
    let check = |row: &Row, name: &str, summary: &str| {
        let said = !summary.trim().is_empty() && !summary.ends_with('.') && summary.chars().count() <= 100;
        assert!(said, "{} {name}: {summary:?} is no line of help", row.name);
    };
    every_parameter(|row, _, param| check(row, &param.name, &param.summary));
    for row in table().rows() {
        check(row, "", &row.summary);
        let flags = row.flags.iter().chain(row.forms.iter().flat_map(|form| &form.flags));
        flags.for_each(|flag| check(row, &flag.name, &flag.summary));
    }
}

#[test]
fn every_parameter_is_completed_or_says_why_not() {
    every_parameter(|row, _, param| {
        if !param.choices.is_empty() || COMPLETED.contains(&param.kind) {
            return;
        }
        let by_kind = NOT_COMPLETED.iter().any(|(kind, why)| *kind == param.kind && !why.is_empty());
        let names = [format!("{} {}", row.name, param.name), format!("* {}", param.name)];
        let by_name = TEXTS.iter().any(|(name, why)| names.iter().any(|own| own == name) && !why.is_empty());
        assert!(by_kind || by_name, "{} {}: say what completes it, or why nothing does", row.name, param.name);
    });
}

#[test]
fn every_parameter_and_flag_is_offered_by_name() {
    for row in table().rows() {
        let check = |head: &str, form: Option<&Form>| {
            let line = format!("{head} -");
            let expected = expected_at(&line, line.len(), None);
            let names: Vec<&str> = expected.names.iter().map(|param| param.name.as_str()).collect();
            let flags: Vec<&str> = expected.flags.iter().map(|flag| flag.name.as_str()).collect();
            let (params, own) = form.map_or((&row.params, &row.flags), |form| (&form.params, &form.flags));
            let is_given = |param: &Parameter| form.is_some() && param.name == row.params[0].name;
            let open = params.iter().filter(|param| !param.hidden && !is_given(param));
            for param in open {
                assert!(names.contains(&param.name.as_str()), "{line}: -{} is not offered", param.name);
            }
            for flag in own {
                assert!(flags.contains(&flag.name.as_str()), "{line}: -{} is not offered", flag.name);
            }
        };
        check(&row.name, None);
        for form in &row.forms {
            if let Some(value) = form.when.strip_prefix("value:") {
                check(&format!("{} {value}", row.name), Some(form));
            }
        }
    }
}
