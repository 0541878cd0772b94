//! The table's own rules. A test asks for them, and the program does at its start.

use std::collections::HashSet;

use super::parser::read;
use super::row::{Kind, Parameter, Row, RunsOn};
use super::table::Table;

/// What is wrong with the rows, a sentence each.
pub(super) fn problems(table: &Table) -> Vec<String> {
    let mut problems = Vec::new();
    for row in table.rows() {
        check_row(table, row, &mut |what| problems.push(format!("{}: {what}", row.name)));
    }
    problems
}

fn check_row(table: &Table, row: &Row, problem: &mut dyn FnMut(String)) {
    if row.summary.is_empty() || row.summary.ends_with('.') {
        problem("the summary is empty or ends in a full stop".into());
    }
    for name in &row.known_as {
        if table.find(name).is_some() {
            problem(format!("`{name}` is a command here, not one of other shells"));
        }
    }
    if row.platforms.is_empty() {
        problem("no platform".into());
    }
    if row.examples.is_empty() {
        problem("no example".into());
    }
    let lists = std::iter::once(&row.params).chain(row.forms.iter().map(|form| &form.params));
    for params in lists {
        check_params(params, problem);
    }
    for form in &row.forms {
        let known =
            form.when == "number" || ["value:", "flag:", "values:", "param:"].iter().any(|start| form.when.starts_with(start));
        if !known {
            problem(format!("`{}` is no condition of a form", form.when));
        }
    }
    for name in row.exclusive.iter().flatten() {
        let known = row.flags.iter().any(|flag| flag.name == *name) || row.params.iter().any(|param| param.name == *name);
        if !known {
            problem(format!("{name} excludes another and is no flag or parameter"));
        }
    }
    for (entity, prerequisite) in &row.prerequisites {
        match table.find(&prerequisite.command) {
            None => problem(format!("the prerequisite of {entity}, {}, is no command", prerequisite.command)),
            Some(looks) => {
                if let Some(param) = &prerequisite.param
                    && !looks.params.iter().any(|known| known.name == *param)
                {
                    problem(format!("{} has no parameter {param}", looks.name));
                }
            }
        }
    }
    for other in &row.see_also {
        if table.find(other).is_none() {
            problem(format!("see_also names {other}, which is no command"));
        }
    }
    if row.columns.iter().map(|column| &column.key).collect::<HashSet<_>>().len() != row.columns.len() {
        problem("a field is listed twice".into());
    }
    if !row.columns.is_empty() && !row.columns.iter().any(|column| column.shown) {
        problem("no field is shown".into());
    }
    if row.runs_on == RunsOn::Shell && row.changes_state {
        problem("a command of the shell alone changes nothing".into());
    }
    for example in &row.examples {
        let reading = read(&example.line, None);
        let fits = reading.invocation.is_some_and(|invocation| invocation.row.name == row.name);
        if let Some(found) = reading.diagnostics.first() {
            problem(format!("the example `{}` is not understood: {}", example.line, found.message));
        } else if !fits {
            problem(format!("the example `{}` is another command", example.line));
        }
    }
}

fn check_params(params: &[Parameter], problem: &mut dyn FnMut(String)) {
    let mut optional = false;
    let mut names = HashSet::new();
    for param in params {
        if !names.insert(&param.name) {
            problem(format!("-{} is listed twice", param.name));
        }
        if param.summary.is_empty() {
            problem(format!("-{} has no summary", param.name));
        }
        if param.kind == Kind::Choice && param.choices.is_empty() {
            problem(format!("-{} is a choice without choices", param.name));
        }
        if !param.named_only && !param.hidden {
            if param.required && optional {
                problem(format!("-{} is required behind an optional one", param.name));
            }
            optional |= !param.required;
        }
    }
}
