//! Tokens → an invocation, bound by the command's row.
//!
//! In two steps. `Line::split` sorts the tokens without knowing the command: command word, arguments, redirect, background, and
//! what belongs to other shells. [`Binder`] then reads the arguments by the row's parameters: named ones and flags first,
//! anywhere on the line; bare words fill what is left in the definition's order.

use super::invocation::{Diagnostic, ErrorKind, Invocation, Reading, Redirect, Span};
use super::lexer::{self, Token, TokenKind};
use super::row::{Flag, Form, Kind, Parameter, Row};
use super::table::{is_shared, is_view_option, table};
use super::{hints, values};
use crate::protocol::PlatformName;

/// Reads a line by the table. With a platform, commands that it does not have are `not_on_platform`.
#[must_use]
pub fn read(line: &str, platform: Option<PlatformName>) -> Reading {
    bind(line, platform).0
}

/// What each part of a line was read as: spans in order that together cover the line.
#[must_use]
pub fn highlight(line: &str) -> Vec<(Span, Class)> {
    let mut marks = bind(line, None).1;
    // Of two marks at one place the later says more: a value that did not fit is an error.
    marks.sort_by_key(|(span, _)| span.start);
    let mut whole: Vec<(Span, Class)> = Vec::with_capacity(marks.len() * 2 + 1);
    let mut at = 0;
    let mut push = |start: usize, end: usize, class| {
        if start < end {
            whole.push((Span { start, end }, class));
        }
    };
    for (index, (span, class)) in marks.iter().enumerate() {
        if marks
            .get(index + 1..)
            .unwrap_or_default()
            .iter()
            .take_while(|(later, _)| later.start == span.start)
            .any(|(later, _)| later.end >= span.end)
        {
            continue;
        }
        let start = span.start.max(at);
        push(at, start, Class::Blank);
        push(start, span.end.max(start), *class);
        at = at.max(span.end);
    }
    push(at, line.len(), Class::Blank);
    whole
}

/// What a part of a line is, for colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// A command that there is.
    Command,
    /// The name of a parameter.
    Parameter,
    /// A flag.
    Flag,
    /// A value.
    Value,
    /// `>` or `>>`.
    Redirect,
    /// The file behind it.
    Target,
    /// `&`.
    Background,
    /// A comment.
    Comment,
    /// What was not understood.
    Error,
    /// What stands between words.
    Blank,
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
        split.diagnostics.push(hints::unknown_command(&command.text, command.span, platform));
        return (Reading { invocation: None, diagnostics: sorted(split.diagnostics) }, split.marks);
    };
    split.marks.push((command.span, Class::Command));
    let mut binder = Binder::new(line, row, command.span, split);
    binder.bind();
    binder.finish(platform)
}

/// A word with its quotes stripped.
#[derive(Debug, Clone)]
pub(super) struct Word<'a> {
    pub(super) text: std::borrow::Cow<'a, str>,
    pub(super) span: Span,
    pub(super) quoted: bool,
}

impl Word<'_> {
    fn is_bare(&self, text: &str) -> bool {
        !self.quoted && self.text == text
    }

    /// The name behind the dash, when the word could be a flag or parameter.
    fn dashed(&self) -> Option<&str> {
        (!self.quoted).then(|| self.text.strip_prefix('-')).flatten().filter(|name| !name.is_empty())
    }
}

/// A line whose tokens are sorted, before a command is known.
struct Line<'a> {
    command: Option<Word<'a>>,
    arguments: Vec<Word<'a>>,
    /// Where the arguments end: at the redirect, the final `&`, or the end of the line.
    arguments_end: usize,
    redirect: Option<Redirect>,
    background: bool,
    diagnostics: Vec<Diagnostic>,
    marks: Vec<(Span, Class)>,
}

impl<'a> Line<'a> {
    fn split(line: &'a str) -> Self {
        let tokens = lexer::tokens(line);
        let mut split = Line {
            command: None,
            arguments: Vec::with_capacity(tokens.len()),
            arguments_end: line.len(),
            redirect: None,
            background: false,
            diagnostics: Vec::new(),
            marks: Vec::with_capacity(tokens.len()),
        };
        let mut redirect: Option<(Span, bool)> = None;
        for at in 0..tokens.len() {
            split.sort_in(line, &tokens, at, &mut redirect);
        }
        if let Some((span, _)) = redirect
            && split.redirect.is_none()
            && split.command.is_some()
            && !split
                .diagnostics
                .iter()
                .any(|found| found.kind == ErrorKind::UnsupportedSyntax && found.span.start >= span.start)
        {
            split.diagnostics.push(hints::missing_redirect_target(span));
        }
        split
    }

    fn sort_in(&mut self, line: &'a str, tokens: &[Token<'a>], at: usize, redirect: &mut Option<(Span, bool)>) {
        let Some(Token { span, kind }) = tokens.get(at) else { return };
        let span = *span;
        match kind {
            TokenKind::Word { text, quoted, open } => {
                if let Some(open) = open {
                    self.diagnostics.push(hints::open_quote(Span { start: *open, end: line.len() }));
                }
                let word = Word { text: text.clone(), span, quoted: *quoted };
                match redirect {
                    None if self.command.is_none() => self.command = Some(word),
                    None => self.arguments.push(word),
                    Some((_, append)) if self.redirect.is_none() => {
                        self.marks.push((span, Class::Target));
                        self.redirect = Some(Redirect { target: word.text.into_owned(), append: *append });
                    }
                    Some(_) => {
                        self.marks.push((span, Class::Error));
                        self.diagnostics.push(hints::word_behind_target(span, &word.text));
                    }
                }
            }
            TokenKind::Redirect { append } => {
                if redirect.is_some() {
                    self.marks.push((span, Class::Error));
                    self.diagnostics.push(hints::second_redirect(span));
                } else {
                    self.marks.push((span, Class::Redirect));
                    *redirect = Some((span, *append));
                    self.arguments_end = self.arguments_end.min(span.start);
                }
            }
            TokenKind::Background => {
                self.marks.push((span, Class::Background));
                self.background = true;
                self.arguments_end = self.arguments_end.min(span.start);
            }
            TokenKind::Foreign => {
                self.marks.push((span, Class::Error));
                let sign = line.get(span.start..span.end).unwrap_or_default();
                let next = tokens.get(at + 1..).unwrap_or_default();
                let head = self.command.as_ref().map(|command| command.text.as_ref());
                self.diagnostics.push(hints::foreign(sign, span, head, next));
            }
        }
    }
}

struct Binder<'a> {
    line: &'a str,
    row: &'static Row,
    command: Span,
    form: Option<&'static Form>,
    split: Line<'a>,
    /// Everything behind `--`, for commands that take it raw.
    rest: Option<(Span, &'a str)>,
    values: Vec<Bound<'a>>,
    flags: Vec<(&'static Flag, Span)>,
}

struct Bound<'a> {
    parameter: &'static Parameter,
    value: Word<'a>,
}

/// What a dashed word names.
#[derive(Clone, Copy)]
enum Named {
    Flag(&'static Flag),
    Parameter(&'static Parameter),
}

impl<'a> Binder<'a> {
    fn new(line: &'a str, row: &'static Row, command: Span, split: Line<'a>) -> Self {
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

    fn bind(&mut self) {
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
                        None => self.complain(hints::missing_value(parameter, span)),
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
                    count += usize::from(!is_shared(name));
                    at += 1;
                }
                _ => {
                    if !named_first && value.is_none() {
                        value = Some(word.text.as_ref());
                    }
                    number = number.or(Some(word.text.as_ref()));
                    count += 1;
                }
            }
        }
        self.row.forms.iter().find(|form| match form.when.split_once(':') {
            Some(("value", wanted)) => value.is_some_and(|value| value.eq_ignore_ascii_case(wanted)),
            Some(("flag", wanted)) => flags.iter().any(|flag| flag.eq_ignore_ascii_case(wanted)),
            Some(("values", wanted)) => wanted.parse().is_ok_and(|wanted: usize| count >= wanted),
            _ => form.when == "number" && (named_number || !named_first && number.is_some_and(values::is_number)),
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
            self.values.push(Bound { parameter, value });
        }
    }

    fn fill(&mut self, bare: Vec<Word<'a>>) {
        let params = self.params();
        let mut open = params.iter().filter(|param| !param.hidden && !param.named_only);
        for word in bare {
            let next = open.find(|param| !self.values.iter().any(|bound| bound.parameter.name == param.name));
            if let Some(parameter) = next {
                self.values.push(Bound { parameter, value: word });
            } else {
                let found = hints::too_many_values(self.row, params, &word.text, word.span);
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

    fn check_exclusive(&mut self) {
        for set in &self.row.exclusive {
            let mut given: Vec<_> = self.flags.iter().filter(|(flag, _)| set.contains(&flag.name)).copied().collect();
            given.sort_by_key(|(_, span)| span.start);
            if let [(first, _), (second, span), ..] = given.as_slice() {
                let found = hints::exclusive(&first.name, &second.name, *span);
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

    fn finish(mut self, platform: Option<PlatformName>) -> (Reading, Vec<(Span, Class)>) {
        let mut invocation = Invocation {
            row: self.row,
            form: self.form,
            params: indexmap::IndexMap::with_capacity(self.values.len()),
            flags: self.flags.iter().map(|(flag, _)| flag.name.clone()).collect(),
            output: None,
            view: std::collections::BTreeMap::new(),
            redirect: self.split.redirect.take(),
            background: self.split.background,
        };
        let bound = std::mem::take(&mut self.values);
        for parameter in self.params() {
            let Some(Bound { value, .. }) = bound.iter().find(|bound| bound.parameter.name == parameter.name) else { continue };
            let kind = values::kind_of(parameter, |name| {
                bound.iter().find(|other| other.parameter.name == name).map(|other| other.value.text.as_ref())
            });
            match values::canonical(parameter, kind, &value.text, self.row, self.form) {
                Ok(text) => {
                    self.split.marks.push((value.span, Class::Value));
                    if parameter.name == "output" {
                        invocation.output = values::output_format(&text);
                    } else if is_view_option(&parameter.name) {
                        invocation.view.insert(parameter.name.clone(), text.into_owned());
                    } else {
                        invocation.params.insert(parameter.name.clone(), text.into_owned());
                    }
                }
                Err(problem) => self.complain(hints::bad_value(parameter, &value.text, &problem, value.span)),
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
        }
        (Reading { invocation: Some(invocation), diagnostics: sorted(self.split.diagnostics) }, self.split.marks)
    }
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
    diagnostics
}

fn diagnostic(kind: ErrorKind, message: &str, span: Span) -> Diagnostic {
    Diagnostic { kind, message: message.to_owned(), span, hint: None }
}
