//! Tokens → an invocation, bound by the command's row.
//!
//! In two steps. [`Line::split`] sorts the tokens without knowing the command. [`Binder`] then reads the arguments by the row's
//! parameters: named ones and flags first, anywhere on the line; bare words fill what is left in the definition's order.

use super::arguments::split_arguments;
use super::colours::Class;
use super::invocation::{Diagnostic, ErrorKind, Invocation, Reading, Span};
use super::lexer;
use super::line::{Line, LineEnd, Word};
use super::row::{Flag, Form, Kind, Parameter, Row};
use super::table::{is_shared, is_view_option, table};
use super::{addresses, hints, values};
use crate::protocol::PlatformName;

/// Reads a line by the table. With a platform, commands that it does not have are `not_on_platform`.
#[must_use]
pub fn read(line: &str, platform: Option<PlatformName>) -> Reading {
    bind(line, platform).0
}

/// The same, with what each part of the line was read as.
pub(super) fn bind(line: &str, platform: Option<PlatformName>) -> (Reading, Vec<(Span, Class)>) {
    let end = Span { start: line.len(), end: line.len() };
    if lexer::is_comment(line) {
        let start = line.len() - line.trim_start().len();
        let empty = diagnostic(ErrorKind::Empty, "the line is a comment", end);
        return (
            Reading { invocation: None, diagnostics: vec![empty] },
            vec![(Span { start, end: line.len() }, Class::Comment)],
        );
    }
    let mut split = Line::split(line);
    let Some(command) = split.command.take() else {
        if split.diagnostics.is_empty() {
            split.diagnostics.push(diagnostic(ErrorKind::Empty, "there is no command", end));
        }
        return (Reading { invocation: None, diagnostics: sorted(split.diagnostics) }, split.marks);
    };
    let Some(row) = table().find(&command.text) else {
        split.marks.push((command.span, Class::Error));
        split.diagnostics.push(hints::unknown_command(&command.text, split.arguments.first(), command.span, platform));
        return (Reading { invocation: None, diagnostics: sorted(split.diagnostics) }, split.marks);
    };
    split.marks.push((command.span, Class::Command));
    let mut binder = Binder::new(line, row, command.span, split);
    binder.bind();
    binder.finish(platform)
}

/// Reads the arguments of a line by its command's row.
pub(super) struct Binder<'a> {
    line: &'a str,
    row: &'static Row,
    command: Span,
    pub(super) form: Option<&'static Form>,
    split: Line<'a>,
    /// Everything behind `--`, for commands that take it raw.
    rest: Option<(Span, &'a str)>,
    pub(super) values: Vec<Bound<'a>>,
    pub(super) flags: Vec<(&'static Flag, Span)>,
}

/// A parameter and the word that is its value.
pub(super) struct Bound<'a> {
    pub(super) parameter: &'static Parameter,
    pub(super) value: Word<'a>,
    /// Where the line names the parameter; else its place does.
    pub(super) named: Option<Span>,
}

/// What a dashed word names.
#[derive(Clone, Copy)]
enum Named {
    Flag(&'static Flag),
    Parameter(&'static Parameter),
}

impl<'a> Binder<'a> {
    pub(super) fn new(line: &'a str, row: &'static Row, command: Span, split: Line<'a>) -> Self {
        Self { line, row, command, form: None, split, rest: None, values: Vec::with_capacity(4), flags: Vec::new() }
    }

    fn params(&self) -> &'static [Parameter] {
        self.row.params_of(self.form)
    }

    fn form_flags(&self) -> &'static [Flag] {
        self.form.map_or(self.row.flags.as_slice(), |form| form.flags.as_slice())
    }

    fn named(&self, name: &str) -> Option<Named> {
        let flag = self.form_flags().iter().find(|flag| flag.name.eq_ignore_ascii_case(name)).map(Named::Flag);
        flag.or_else(|| self.params().iter().find(|param| param.name.eq_ignore_ascii_case(name)).map(Named::Parameter))
    }

    fn complain(&mut self, found: Diagnostic) {
        self.split.marks.push((found.span, Class::Error));
        self.split.diagnostics.push(found);
    }

    pub(super) fn bind(&mut self) {
        self.take_rest();
        self.form = self.choose_form();
        let arguments = std::mem::take(&mut self.split.arguments);
        let mut bare = Vec::with_capacity(arguments.len());
        let mut at = 0;
        while let Some(word) = arguments.get(at) {
            at += 1;
            let Some((name, span, used)) = dash_at(word, arguments.get(at)) else {
                bare.push(word.clone());
                continue;
            };
            match self.named(name) {
                Some(Named::Flag(flag)) => {
                    at += used;
                    self.take_flag(flag, span);
                }
                Some(Named::Parameter(parameter)) => {
                    at += used;
                    self.split.marks.push((span, Class::Parameter));
                    let next = arguments.get(at).filter(|next| self.may_be_value(parameter, next, arguments.get(at + 1)));
                    match next {
                        Some(value) => {
                            at += 1;
                            self.take_value(parameter, value.clone(), span);
                        }
                        // The word that an operator ends may have been the value.
                        None if self.split.end == LineEnd::Word && at == arguments.len() => {}
                        None => {
                            let next = arguments.get(at).map(|next| next.text.as_ref());
                            self.complain(hints::missing_value(self.row, self.form, parameter, next, span));
                        }
                    }
                }
                None if used == 1 => bare.push(word.clone()),
                None => {
                    let found = hints::unknown_parameter(self.row, self.form, &word.text, word.span);
                    self.complain(found);
                }
            }
        }
        self.fill(bare);
        self.bind_rest();
        self.check_exclusive();
        self.check_required();
    }

    /// Takes the text behind the first unquoted `--`, raw, where the command has a parameter for it.
    fn take_rest(&mut self) {
        if self.row.rest.is_none() {
            return;
        }
        let Some(at) = self.split.arguments.iter().position(|word| word.is_bare("--")) else { return };
        let Some(dashes) = self.split.arguments.get(at).map(|word| word.span) else { return };
        self.split.arguments.truncate(at);
        let text = self.line.get(dashes.end..self.split.arguments_end).unwrap_or_default().trim_matches(lexer::is_blank);
        self.split.marks.push((Span { start: dashes.start, end: self.split.arguments_end }, Class::Value));
        self.rest = Some((dashes, text));
    }

    /// The sub-form that the line fits. Which words are values depends on the form's parameters, and the form on the first
    /// value: so names are taken from the row and all its forms here.
    fn choose_form(&self) -> Option<&'static Form> {
        if self.row.forms.is_empty() {
            return None;
        }
        let any_flag = |name: &str| {
            let mut lists = std::iter::once(&self.row.flags).chain(self.row.forms.iter().map(|form| &form.flags));
            lists.any(|flags| flags.iter().any(|flag| flag.name.eq_ignore_ascii_case(name)))
        };
        let any_param = |name: &str| {
            let mut lists = std::iter::once(&self.row.params).chain(self.row.forms.iter().map(|form| &form.params));
            lists.any(|params| params.iter().any(|param| param.name.eq_ignore_ascii_case(name)))
        };
        let first_name = self.row.params.first().map_or("", |param| param.name.as_str());
        let words = &self.split.arguments;
        let (mut value, mut number, mut named_first, mut named_number) = (None, None, false, false);
        let mut flags: Vec<&str> = Vec::new();
        let mut names: Vec<&str> = Vec::new();
        let mut count = 0;
        let mut at = 0;
        while let Some(word) = words.get(at) {
            at += 1;
            match dash_at(word, words.get(at)) {
                Some((name, _, used)) if any_flag(name) => {
                    at += used;
                    flags.push(name);
                }
                Some((name, _, used)) if any_param(name) => {
                    at += used;
                    let named = words.get(at).map(|word| word.text.as_ref());
                    if name.eq_ignore_ascii_case(first_name) {
                        value = named;
                        named_first = true;
                    } else if name.eq_ignore_ascii_case("number") {
                        named_number = true;
                    }
                    names.push(name);
                    count += usize::from(!is_shared(name));
                    at += 1;
                }
                _ => {
                    if !named_first && value.is_none() {
                        value = Some(word.text.as_ref());
                    }
                    // Behind a named first parameter a number is its partner: `undo -type process 8`.
                    number = number.or((!named_first).then_some(word.text.as_ref()));
                    count += 1;
                }
            }
        }
        self.row.forms.iter().find(|form| match form.when.split_once(':') {
            Some(("value", wanted)) => value.is_some_and(|value| value.eq_ignore_ascii_case(wanted)),
            Some(("flag", wanted)) => flags.iter().any(|flag| flag.eq_ignore_ascii_case(wanted)),
            Some(("values", wanted)) => wanted.parse().is_ok_and(|wanted: usize| count >= wanted),
            Some(("param", wanted)) => {
                let place = self.row.params.iter().position(|param| param.name == wanted);
                names.iter().any(|name| name.eq_ignore_ascii_case(wanted)) || place.is_some_and(|place| count > place)
            }
            _ => form.when == "number" && (named_number || number.is_some_and(values::is_number)),
        })
    }

    fn may_be_value(&self, parameter: &Parameter, next: &Word<'_>, after: Option<&Word<'_>>) -> bool {
        if parameter.kind == Kind::Sort {
            return true;
        }
        match dash_at(next, after) {
            None => true,
            Some((name, _, used)) => {
                // A lone dash before a word is a value unless the two name something; other dash words where the kind has them.
                self.named(name).is_none() && (used == 1 || values::admits_dash(parameter.kind))
            }
        }
    }

    fn take_flag(&mut self, flag: &'static Flag, span: Span) {
        if self.flags.iter().any(|(known, _)| known.name == flag.name) {
            self.complain(hints::duplicate(&flag.name, span));
        } else {
            self.split.marks.push((span, Class::Flag));
            self.flags.push((flag, span));
        }
    }

    fn take_value(&mut self, parameter: &'static Parameter, value: Word<'a>, name: Span) {
        if self.values.iter().any(|bound| bound.parameter.name == parameter.name) {
            self.complain(hints::duplicate(&parameter.name, name));
        } else {
            self.values.push(Bound { parameter, value, named: Some(name) });
        }
    }

    fn fill(&mut self, bare: Vec<Word<'a>>) {
        let params = self.params();
        let mut open = params.iter().filter(|param| !param.hidden && !param.named_only);
        for word in bare {
            let next = open.find(|param| !self.values.iter().any(|bound| bound.parameter.name == param.name));
            if let Some(parameter) = next {
                self.values.push(Bound { parameter, value: word, named: None });
            } else {
                let before = self.values.iter().rfind(|bound| bound.named.is_none());
                let found = hints::too_many_values(self.row, before.map(|bound| bound.parameter), &word.text, word.span);
                self.complain(found);
            }
        }
    }

    fn bind_rest(&mut self) {
        let Some((span, text)) = self.rest else { return };
        let Some(parameter) = self.row.rest.as_ref().and_then(|name| self.params().iter().find(|param| param.name == *name))
        else {
            return;
        };
        let value = Word { text: text.into(), span: Span { start: span.end, end: self.split.arguments_end }, quoted: true };
        self.take_value(parameter, value, span);
    }

    /// Whether a text of parameters has an open quote that the line itself has not.
    fn is_torn(&self, parameter: &Parameter, text: &str) -> bool {
        self.row.rest.as_ref() == Some(&parameter.name)
            && split_arguments(text).is_err()
            && !self.split.diagnostics.iter().any(|found| found.kind == ErrorKind::OpenQuote)
    }

    fn check_exclusive(&mut self) {
        for set in &self.row.exclusive {
            let flags = self.flags.iter().map(|(flag, span)| (&flag.name, *span));
            let values = self.values.iter().map(|bound| (&bound.parameter.name, bound.named.unwrap_or(bound.value.span)));
            let mut given: Vec<_> = flags.chain(values).filter(|(name, _)| set.contains(name)).collect();
            given.sort_by_key(|(_, span)| span.start);
            if let [(first, _), (second, span), ..] = given.as_slice() {
                let found = hints::exclusive(first, second, *span);
                self.complain(found);
            }
        }
    }

    fn check_required(&mut self) {
        if !self.split.diagnostics.is_empty() {
            return;
        }
        let missing = self.params().iter().filter(|param| param.required);
        let missing = missing.filter(|param| !self.values.iter().any(|bound| bound.parameter.name == param.name));
        let missing: Vec<&Parameter> = missing.collect();
        if !missing.is_empty() {
            self.split.diagnostics.push(hints::missing_parameter(self.row, self.form, &missing, self.command));
        }
    }

    /// What of a value does not fit, where that can be told: one address of several.
    fn part_meant<'v>(&self, kind: Kind, value: &'v Word<'_>) -> (&'v str, Span) {
        let whole = (value.text.as_ref(), value.span);
        // Where quotes were taken away, places are others.
        if kind != Kind::Addresses || self.line.get(value.span.start..value.span.end) != Some(whole.0) {
            return whole;
        }
        let part = addresses::first_wrong(whole.0).map(|(range, _)| range);
        let part = part.and_then(|part| Some((whole.0.get(part.clone())?, part)));
        part.map_or(whole, |(text, part)| {
            (text, Span { start: value.span.start + part.start, end: value.span.start + part.end })
        })
    }

    fn finish(mut self, platform: Option<PlatformName>) -> (Reading, Vec<(Span, Class)>) {
        let mut invocation = Invocation {
            row: self.row,
            command: self.command,
            form: self.form,
            params: indexmap::IndexMap::with_capacity(self.values.len()),
            literal: std::collections::BTreeSet::new(),
            flags: self.flags.iter().map(|(flag, _)| flag.name.clone()).collect(),
            output: None,
            view: std::collections::BTreeMap::new(),
            redirect: self.split.redirect.take(),
            background: self.split.signs.background.is_some(),
            signs: self.split.signs,
        };
        let bound = std::mem::take(&mut self.values);
        for parameter in self.params() {
            let Some(Bound { value, named, .. }) = bound.iter().find(|bound| bound.parameter.name == parameter.name) else {
                continue;
            };
            let kind = values::kind_of(parameter, |name| {
                bound.iter().find(|other| other.parameter.name == name).map(|other| other.value.text.as_ref())
            });
            match values::canonical(parameter, kind, &value.text, self.row, self.form) {
                Ok(text) if self.is_torn(parameter, &text) => {
                    let closed = values::Expected("parameters whose quotes are closed".into());
                    self.complain(hints::bad_value(self.row, self.form, parameter, &text, &closed, value.span, false));
                }
                Ok(text) if values::has_nul(path_kind(parameter, kind), &text, value.quoted) => {
                    let whole = values::Expected("a name without NUL: nothing is called so".into());
                    let shown = text.replace('\0', "\\0");
                    self.complain(hints::bad_value(self.row, self.form, parameter, &shown, &whole, value.span, false));
                }
                Ok(text) => {
                    if parameter.name == "output" {
                        invocation.output = values::output_format(&text);
                    } else if is_view_option(&parameter.name) {
                        invocation.view.insert(parameter.name.clone(), text.into_owned());
                    } else {
                        if value.quoted && text.starts_with("file:///") && names_a_path(parameter, kind) {
                            invocation.literal.insert(parameter.name.clone());
                        }
                        invocation.params.insert(parameter.name.clone(), text.into_owned());
                    }
                }
                Err(problem) => {
                    let by_place = named.is_none();
                    let (row, form) = (self.row, self.form);
                    let (typed, span) = self.part_meant(kind, value);
                    self.complain(hints::bad_value(row, form, parameter, typed, &problem, span, by_place));
                }
            }
        }
        if self.split.diagnostics.is_empty()
            && let Some(platform) = platform
            && !self.row.platforms.contains(&platform)
        {
            self.split.diagnostics.push(hints::not_on_platform(self.row, platform, self.command));
        }
        let others = self.split.diagnostics.iter().any(|found| found.kind != ErrorKind::MissingParameter);
        if others {
            self.split.diagnostics.retain(|found| found.kind != ErrorKind::MissingParameter);
            let first = bound.iter().find(|bound| bound.named.is_none() && !bound.value.quoted);
            let typed = self.line.get(self.command.start..self.command.end).unwrap_or_default();
            if let Some(second) = first.map(|first| first.value.text.as_ref())
                && let Some(row) = hints::in_one_word(typed, second)
            {
                hints::meant_in_one_word(row, self.line, [typed, second], &mut self.split.diagnostics);
            }
        }
        (Reading { invocation: Some(invocation), diagnostics: sorted(self.split.diagnostics) }, self.split.marks)
    }
}

/// Whether a value may be a path on the device.
fn names_a_path(parameter: &Parameter, kind: Kind) -> bool {
    path_kind(parameter, kind) == Kind::Path
}

/// The kind of a value that may be a path on the device: of `id` that depends on the type, and a process is a number.
fn path_kind(parameter: &Parameter, kind: Kind) -> Kind {
    if kind == Kind::Text && parameter.name == "id" { Kind::Path } else { kind }
}

/// The name that a dash word gives, where it stands, and how many further words it takes: `-auto`, or `-` and `auto` with a gap.
fn dash_at<'w>(word: &'w Word<'_>, next: Option<&'w Word<'_>>) -> Option<(&'w str, Span, usize)> {
    if let Some(name) = word.dashed() {
        return Some((name, word.span, 0));
    }
    let next = next.filter(|next| word.is_bare("-") && !next.quoted)?;
    Some((next.text.as_ref(), Span { start: word.span.start, end: next.span.end }, 1))
}

fn sorted(mut diagnostics: Vec<Diagnostic>) -> Vec<Diagnostic> {
    diagnostics.sort_by_key(|found| (found.span.start, found.kind));
    // What stands behind another shell's operator was meant for another command: one slip is one error.
    if let Some(at) = diagnostics.iter().position(|found| found.kind == ErrorKind::UnsupportedSyntax) {
        diagnostics.truncate(at + 1);
    }
    diagnostics
}

fn diagnostic(kind: ErrorKind, message: &str, span: Span) -> Diagnostic {
    Diagnostic { kind, message: message.to_owned(), span, hint: None }
}
