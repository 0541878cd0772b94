//! What may stand at the cursor: the menu, the hint and F1 ask this.
//!
//! The word at the cursor is taken as a value, whatever it is so far, and the line is bound as always: the parameter that
//! takes it is the one that is expected. So menu and parser cannot disagree.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::invocation::Span;
use super::lexer::{self, Token, TokenKind};
use super::line::{Line, Word};
use super::parser::Binder;
use super::row::{Column, Flag, Form, Kind, Parameter, Row};
use super::table::table;
use super::values;
use crate::protocol::PlatformName;

/// What may stand at a place of a line. Where nothing may, everything is empty.
#[derive(Debug, Clone, Default)]
pub struct Expected {
    /// What a candidate replaces: the word at the cursor with its quotes, or nothing between two words. In a list of fields
    /// (`a,b`) only the one at the cursor; behind the `-` of `-sort -field`.
    pub span: Span,
    /// The word up to the cursor, quotes stripped.
    pub typed: String,
    /// The quote that is open at the cursor.
    pub quote: Option<char>,
    /// The commands that may stand here: those of the platform that there are already.
    pub commands: Vec<&'static Row>,
    /// The command of the line, when the cursor stands behind it.
    pub row: Option<&'static Row>,
    /// The sub-form that the line fits so far.
    pub form: Option<&'static Form>,
    /// The parameters whose value may stand here, the likeliest first.
    pub values: Vec<ExpectedValue>,
    /// The parameters that may be named here (`-name`): those not given yet.
    pub names: Vec<&'static Parameter>,
    /// The flags that may stand here: those not given yet.
    pub flags: Vec<&'static Flag>,
    /// Whether the local file of a redirect stands here.
    pub target: bool,
    /// What the rest of the line gives: canonical names and values as typed (`type` says what an `id` is).
    pub given: BTreeMap<&'static str, String>,
}

/// A value that may stand at the cursor.
#[derive(Debug, Clone)]
pub struct ExpectedValue {
    /// Whose.
    pub parameter: &'static Parameter,
    /// Of which kind, the other values on the line considered.
    pub kind: Kind,
    /// The only values there are; empty where any of the kind will do.
    pub choices: Vec<&'static str>,
    /// The fields that may be named, for `-sort` and `-columns`.
    pub fields: &'static [Column],
}

/// What may stand at the cursor, a byte offset; one beyond the line or within a character is moved to the left.
#[must_use]
pub fn expected_at(line: &str, cursor: usize, platform: Option<PlatformName>) -> Expected {
    let mut cursor = cursor.min(line.len());
    while !line.is_char_boundary(cursor) {
        cursor -= 1;
    }
    let nothing = Expected { span: Span { start: cursor, end: cursor }, ..Expected::default() };
    if lexer::is_comment(line) {
        return nothing;
    }
    let tokens = lexer::tokens(line);
    // Behind the last character of an operator or a final `&` nothing can be typed that is not part of it.
    let blocked = |token: &Token<'_>| {
        matches!(token.kind, TokenKind::Foreign | TokenKind::Background)
            && token.span.start < cursor
            && cursor <= token.span.end
    };
    if tokens.iter().any(blocked) {
        return nothing;
    }
    let here = Here::find(line, cursor, &tokens);
    let mut expected = Expected { span: here.span, typed: here.typed.clone(), quote: here.quote, ..Expected::default() };
    let before = || tokens.iter().filter(|token| token.span.end <= here.span.start && token.span != here.span);
    if let Some(redirect) = before().find(|token| matches!(token.kind, TokenKind::Redirect { .. })) {
        expected.target = !before().any(|token| token.span.start >= redirect.span.end);
        return expected;
    }
    let Some(first) = before().find(|token| !matches!(token.kind, TokenKind::Background)) else {
        expected.commands = commands(platform).collect();
        return expected;
    };
    if before().any(|token| token.kind == TokenKind::Foreign) {
        return expected;
    }
    let TokenKind::Word { text, .. } = &first.kind else { return expected };
    let Some(row) = table().find(text).filter(|row| platform.is_none_or(|platform| row.platforms.contains(&platform))) else {
        return expected;
    };
    expected.row = Some(row);
    if row.rest.is_some() && before().any(is_rest) {
        return expected;
    }
    arguments(line, row, first.span, &tokens, &here, expected)
}

/// The commands that can be run on such a device.
fn commands(platform: Option<PlatformName>) -> impl Iterator<Item = &'static Row> {
    let there = move |row: &&Row| row.since.is_none() && platform.is_none_or(|platform| row.platforms.contains(&platform));
    table().rows().iter().filter(there)
}

fn is_rest(token: &Token<'_>) -> bool {
    matches!(&token.kind, TokenKind::Word { text, quoted: false, .. } if text == "--")
}

/// The word at the cursor.
struct Here {
    span: Span,
    typed: String,
    quote: Option<char>,
    /// Whether any part of it is quoted: then it is a value.
    quoted: bool,
}

impl Here {
    fn find(line: &str, cursor: usize, tokens: &[Token<'_>]) -> Self {
        let at = tokens.iter().position(|token| {
            matches!(token.kind, TokenKind::Word { .. }) && token.span.start <= cursor && cursor <= token.span.end
        });
        let Some((at, token)) = at.and_then(|at| Some((at, tokens.get(at)?))) else {
            let span = Span { start: cursor, end: cursor };
            let before = tokens.iter().rposition(|token| token.span.end <= cursor);
            let here = Self { span, typed: String::new(), quote: None, quoted: false };
            return here.with_gap(tokens, before);
        };
        let (typed, quote) = lexer::unquoted(line.get(token.span.start..cursor).unwrap_or_default());
        let quoted = matches!(token.kind, TokenKind::Word { quoted: true, .. });
        Self { span: token.span, typed, quote, quoted }.with_gap(tokens, at.checked_sub(1))
    }

    /// `- au` reads as `-au`: the lone dash before belongs to the word.
    fn with_gap(mut self, tokens: &[Token<'_>], before: Option<usize>) -> Self {
        let dash = before.filter(|at| *at > 0).and_then(|at| tokens.get(at)).filter(|token| {
            matches!(&token.kind, TokenKind::Word { text, quoted: false, .. } if text == "-")
                && token.span.end < self.span.start
        });
        if let Some(dash) = dash.filter(|_| !self.quoted && !self.typed.starts_with('-')) {
            self.span.start = dash.span.start;
            self.typed.insert(0, '-');
        }
        self
    }

    fn is_dashed(&self) -> bool {
        !self.quoted && self.typed.starts_with('-')
    }
}

fn arguments(
    line: &str,
    row: &'static Row,
    command: Span,
    tokens: &[Token<'_>],
    here: &Here,
    mut expected: Expected,
) -> Expected {
    let mut words: Vec<Word<'_>> = Vec::with_capacity(tokens.len());
    let marker = Word { text: Cow::Owned(here.typed.clone()), span: here.span, quoted: true };
    let elsewhere = |token: &Token<'_>| token.span.end < here.span.start || token.span.start > here.span.end;
    for token in tokens {
        match &token.kind {
            TokenKind::Redirect { .. } => break,
            TokenKind::Word { text, quoted, .. } if token.span.start > command.start && elsewhere(token) => {
                words.push(Word { text: text.clone(), span: token.span, quoted: *quoted });
            }
            _ => {}
        }
    }
    let at = words.iter().position(|word| word.span.start > here.span.start).unwrap_or(words.len());
    words.insert(at, marker);
    let mut binder = Binder::new(line, row, command, Line::of(words, line.len()));
    binder.bind();
    expected.form = binder.form;
    let bound = binder.values.iter().find(|bound| bound.value.span == here.span);
    for other in &binder.values {
        if other.value.span != here.span {
            expected.given.insert(other.parameter.name.as_str(), other.value.text.clone().into_owned());
        }
    }
    let by_name = bound.is_some_and(|bound| bound.named.is_some());
    if let Some(bound) = bound.filter(|bound| bound.named.is_some() || !here.is_dashed()) {
        expected.values.push(value(row, binder.form, bound.parameter, &expected.given));
    }
    if !by_name && (here.typed.is_empty() && !here.quoted || here.is_dashed()) {
        let given = &expected.given;
        let open = |param: &&Parameter| !param.hidden && !given.contains_key(param.name.as_str());
        expected.names = row.params_of(binder.form).iter().filter(open).collect();
        let flags = binder.form.map_or(row.flags.as_slice(), |form| form.flags.as_slice());
        let taken = |flag: &&Flag| !binder.flags.iter().any(|(known, _)| known.name == flag.name);
        expected.flags = flags.iter().filter(taken).collect();
    }
    if binder.form.is_none() && expected.given.is_empty() && binder.flags.is_empty() && !by_name {
        other_forms(row, here, &mut expected);
    }
    narrowed(line, expected, here.quoted)
}

/// What the command's other forms add while none is chosen: the number of `undo 3`, the flag of `undo -session`.
fn other_forms(row: &'static Row, here: &Here, expected: &mut Expected) {
    for form in &row.forms {
        if form.when == "number" && !here.is_dashed() {
            if let Some(number) = form.params.iter().find(|param| param.name == "number") {
                expected.values.push(value(row, Some(form), number, &expected.given));
            }
        } else if let Some(name) = form.when.strip_prefix("flag:")
            && (here.is_dashed() || here.typed.is_empty() && !here.quoted)
        {
            expected.flags.extend(form.flags.iter().filter(|flag| flag.name == name));
        }
    }
}

fn value(
    row: &'static Row,
    form: Option<&'static Form>,
    parameter: &'static Parameter,
    given: &BTreeMap<&'static str, String>,
) -> ExpectedValue {
    let kind = values::kind_of(parameter, |name| given.get(name).map(String::as_str));
    let mut choices: Vec<&'static str> = parameter.choices.iter().map(String::as_str).collect();
    if !choices.is_empty() && row.params.first().is_some_and(|first| first.name == parameter.name) {
        let more = row.forms.iter().filter_map(|form| form.when.strip_prefix("value:"));
        choices.extend(more.filter(|name| !parameter.choices.iter().any(|choice| choice == name)));
    }
    let fields = if matches!(kind, Kind::Sort | Kind::Fields) { values::columns(row, form) } else { &[] };
    ExpectedValue { parameter, kind, choices, fields }
}

/// Within a list of fields, or behind the dash of a sort, only that part of the word is replaced.
fn narrowed(line: &str, mut expected: Expected, quoted: bool) -> Expected {
    let part = match expected.values.first().map(|value| value.kind) {
        Some(Kind::Fields) if !quoted => expected.typed.rfind(',').map_or(0, |comma| comma + 1),
        Some(Kind::Sort) if !quoted => usize::from(expected.typed.starts_with('-')),
        _ => 0,
    };
    if matches!(expected.values.first(), Some(value) if value.kind == Kind::Fields) && !quoted {
        let list = expected.typed.get(..part).unwrap_or_default().to_owned();
        expected.given.insert("columns", list);
        // What is typed has no quotes, so its length is that of its place on the line.
        let cursor = expected.span.start + expected.typed.len();
        let behind = line.get(cursor..expected.span.end).unwrap_or_default();
        expected.span.end = cursor + behind.find(',').unwrap_or(behind.len());
    }
    expected.span.start += part;
    expected.typed.drain(..part);
    expected
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is expected where `^` stands in the line, in short.
    fn at(marked: &str) -> String {
        let cursor = marked.find('^').unwrap();
        let line = marked.replacen('^', "", 1);
        let expected = expected_at(&line, cursor, Some(PlatformName::Linux));
        let mut parts = vec![format!("[{}]", line.get(expected.span.start..expected.span.end).unwrap())];
        if !expected.typed.is_empty() {
            parts.push(format!("typed {}", expected.typed));
        }
        parts.extend(expected.quote.map(|quote| format!("within {quote}")));
        if !expected.commands.is_empty() {
            parts.push("commands".into());
        }
        for value in &expected.values {
            let mut what = format!("{}: {:?}", value.parameter.name, value.kind).to_lowercase();
            if !value.choices.is_empty() {
                what = format!("{} of {}", value.parameter.name, value.choices.join(" "));
            }
            if !value.fields.is_empty() {
                what.push_str(" with fields");
            }
            parts.push(what);
        }
        let own = expected.names.iter().map(|param| param.name.as_str());
        let own = own.filter(|name| !["output", "match", "columns", "sort", "first"].contains(name));
        let names: Vec<&str> = own.chain(expected.flags.iter().map(|flag| flag.name.as_str())).collect();
        if !names.is_empty() {
            parts.push(format!("-{}", names.join(" -")));
        }
        if expected.target {
            parts.push("target".into());
        }
        parts.join(", ")
    }

    #[test]
    fn the_line_is_asked_at_each_place() {
        let cases = [
            ("^", "[], commands"),
            ("  ^", "[], commands"),
            ("di^", "[di], typed di, commands"),
            ("d^ir /etc", "[dir], typed d, commands"),
            ("\"di^", "[\"di], typed di, within \", commands"),
            ("# di^", "[]"),
            ("dir ^", "[], path: path, -path -full_path -relative_path"),
            ("dir /et^", "[/et], typed /et, path: path"),
            ("dir \"/a b^", "[\"/a b], typed /a b, within \", path: path"),
            ("dir \"/a b\"^", "[\"/a b\"], typed /a b, path: path"),
            ("dir -f^", "[-f], typed -f, -path -full_path -relative_path"),
            ("dir - f^", "[- f], typed -f, -path -full_path -relative_path"),
            ("dir /etc -full_path -^", "[-], typed -, -relative_path"),
            ("dir /etc ^", "[], output of table json csv jsonl, -full_path -relative_path"),
            ("dir ^ /etc", "[], path: path, -path -full_path -relative_path"),
            ("dir -output js^", "[js], typed js, output of table json csv jsonl"),
            ("dir -sort -mo^", "[mo], typed mo, sort: sort with fields"),
            ("dir -columns path,si^,mode", "[si], typed si, columns: fields with fields"),
            ("dir -columns ^", "[], columns: fields with fields"),
            ("dir > ^", "[], target"),
            ("dir >^", "[], target"),
            ("dir>x^ &", "[x], typed x, target"),
            ("dir > x ^", "[]"),
            ("dir &^", "[]"),
            ("dir ^ > x", "[], path: path, -path -full_path -relative_path"),
            ("dir | ^", "[]"),
            ("nosuch ^", "[]"),
            ("registry ^", "[]"),
            ("remediate file ^", "[], id: text, -id -auto -plan -image -tree -hash -force"),
            ("remediate -id ^ process", "[], id: pid"),
            ("remediate li^", "[li], typed li, type of file process service registry scheduledtask startupfolder list"),
            (
                "undo ^",
                "[], type of file process service registry scheduledtask startupfolder, number: count, -type -id -overwrite -session",
            ),
            ("undo 3 -^", "[-], typed -, -overwrite"),
            ("undo -session -^", "[-], typed -, -overwrite"),
            ("library ^", "[], action of list add show delete, -action"),
            ("library add ^", "[], file: localpath, -file -name -description -parameters_description -signature -overwrite"),
            ("library delete x^", "[x], typed x, file: text"),
            ("help di^", "[di], typed di, command: command"),
            ("run x.sh -- a^", "[a], typed a"),
            ("cd größe^", "[größe], typed größe, id: path"),
        ];
        let wrong = cases.into_iter().filter(|(marked, wanted)| at(marked) != *wanted);
        let wrong: Vec<String> = wrong.map(|(marked, wanted)| format!("{marked}\n  {wanted}\n  {}", at(marked))).collect();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn a_cursor_outside_or_within_a_character_is_moved() {
        assert_eq!(expected_at("cd ö", 4, None).typed, "");
        assert_eq!(expected_at("cd ö", 99, None).typed, "ö");
    }
}
