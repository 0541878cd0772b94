//! What a line was read as, asked with its sub-form in mind.

use indexmap::IndexMap;
use serde_json::{Map, Value, json};

use super::invocation::{Diagnostic, ErrorKind, Invocation, Reading};
use super::row::{Column, OutputFormat, Role, RunsOn, Sort};
use super::{hints, operators, values};

impl Reading {
    /// The diagnostic that counts, when the line may not run.
    #[must_use]
    pub fn error(&self) -> Option<&Diagnostic> {
        self.diagnostics.first()
    }

    /// What a person is told of the line. Of a word whose quote is not closed only that: nobody knows what it was to be.
    #[must_use]
    pub fn told(&self) -> Vec<Diagnostic> {
        let open = self.diagnostics.iter().find(|found| found.kind == ErrorKind::OpenQuote).map(|found| found.span.start);
        let counts = |found: &&Diagnostic| {
            found.kind == ErrorKind::OpenQuote || open.is_none_or(|open| !(found.span.start..found.span.end).contains(&open))
        };
        self.diagnostics.iter().filter(counts).cloned().collect()
    }

    /// The same of a line that somebody has just typed: of a parameter that there is none of, nothing is said of its value.
    #[must_use]
    pub fn told_of(&self, line: &str) -> Vec<Diagnostic> {
        let is_behind = |name: &Diagnostic, value: &Diagnostic| {
            let gap = line.get(name.span.end..value.span.start);
            name.kind == ErrorKind::UnknownParameter && gap.is_some_and(|gap| gap.trim().is_empty())
        };
        let is_value = |found: &Diagnostic| {
            matches!(found.kind, ErrorKind::BadValue | ErrorKind::TooManyValues)
                && self.diagnostics.iter().any(|name| is_behind(name, found))
        };
        let mut told = self.told();
        told.retain(|found| !is_value(found));
        told
    }

    /// Whether there is nothing on the line: blanks, or a comment.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.error().is_some_and(|error| error.kind == ErrorKind::Empty)
    }

    /// What `lrsh explain` prints: the reading, or its first error.
    #[must_use]
    pub fn explained(&self) -> Value {
        match (self.error(), &self.invocation) {
            (None, Some(invocation)) => invocation.explained(),
            (Some(error), _) => json!({"error": {
                "kind": error.kind, "message": error.message, "span": [error.span.start, error.span.end], "hint": error.hint,
            }}),
            (None, None) => json!({}),
        }
    }
}

impl Invocation {
    /// Who may run this form.
    #[must_use]
    pub fn role(&self) -> Role {
        self.form.and_then(|form| form.role).unwrap_or(self.row.role)
    }

    /// Why it may not run though it is understood: no verb carries it out yet, or none of the roles that are held (where that
    /// is known) allows it.
    #[must_use]
    pub fn obstacle(&self, roles: Option<&[String]>) -> Option<Diagnostic> {
        if self.row.since.is_some() {
            return Some(hints::not_yet(self.row, self.command));
        }
        if let Some(dropped) = self.dropped() {
            return Some(dropped);
        }
        let role = self.role();
        let lacking = roles.is_some_and(|held| !role.is_held(held));
        lacking.then(|| hints::missing_role(self.row, role, self.command))
    }

    /// What the line asks for and the shell would not do: a command that it serves itself runs in no background, and one that
    /// has no answer fills no file.
    #[must_use]
    pub fn dropped(&self) -> Option<Diagnostic> {
        if self.row.runs_on != RunsOn::Shell && self.row.name != "connect" {
            return None;
        }
        // What `fg` brings has an answer of its own.
        let redirect = self.signs.redirect.filter(|_| self.row.output.is_none() && self.row.name != "fg");
        redirect.map(|span| operators::no_answer(self.row, span)).or_else(|| {
            let background = self.signs.background.filter(|_| !self.row.background);
            background.map(|span| operators::no_background(self.row, span))
        })
    }

    /// The parameters as the device takes them. There a path that begins with `file:///` is decoded; one that was quoted is
    /// a name like any other, and stands in the current directory.
    #[must_use]
    pub fn for_device(&self) -> IndexMap<String, String> {
        let params = self.params.iter().map(|(name, value)| (name.clone(), self.value_for_device(name, value)));
        params.collect()
    }

    /// The value of a parameter as the device takes it: see [`Invocation::for_device`].
    #[must_use]
    pub fn value_for_device(&self, name: &str, value: &str) -> String {
        if self.literal.contains(name) { format!("./{value}") } else { value.to_owned() }
    }

    /// How its answer is shown: `-output`, or the default.
    #[must_use]
    pub fn output_format(&self) -> OutputFormat {
        self.output.or_else(|| self.form.and_then(|form| form.output)).or(self.row.output).unwrap_or(OutputFormat::Text)
    }

    /// Every field of its rows, those shown in a table marked.
    #[must_use]
    pub fn columns(&self) -> &'static [Column] {
        values::columns(self.row, self.form)
    }

    /// The order of its rows.
    #[must_use]
    pub fn sort(&self) -> Option<&'static Sort> {
        match self.form {
            Some(form) if !form.columns.is_empty() => form.sort.as_ref(),
            Some(form) => form.sort.as_ref().or(self.row.sort.as_ref()),
            None => self.row.sort.as_ref(),
        }
    }

    /// Whether it changes the device or the service.
    #[must_use]
    pub fn changes_state(&self) -> bool {
        self.form.and_then(|form| form.changes_state).unwrap_or(self.row.changes_state)
    }

    /// Seconds after which it is ended, where it has a limit of its own.
    #[must_use]
    pub fn time_limit(&self) -> Option<u64> {
        self.form.and_then(|form| form.time_limit).or(self.row.time_limit)
    }

    fn explained(&self) -> Value {
        let params: Map<String, Value> = self.params.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        json!({
            "command": self.row.name,
            "params": params,
            "flags": self.flags,
            "output": self.output,
            "view": self.view,
            "redirect": self.redirect.as_ref().map(|redirect| &redirect.target),
            "append": self.redirect.as_ref().is_some_and(|redirect| redirect.append),
            "background": self.background,
        })
    }
}
