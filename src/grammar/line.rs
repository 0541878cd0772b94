//! Tokens → a line whose parts are sorted, before a command is known: command word, arguments, redirect, background, and what
//! belongs to other shells.

use super::colours::Class;
use super::invocation::{Diagnostic, Redirect, Signs, Span};
use super::lexer::{self, Token, TokenKind};
use super::operators;

/// A word with its quotes stripped.
#[derive(Debug, Clone)]
pub(super) struct Word<'a> {
    pub(super) text: std::borrow::Cow<'a, str>,
    pub(super) span: Span,
    pub(super) quoted: bool,
}

impl Word<'_> {
    pub(super) fn is_bare(&self, text: &str) -> bool {
        !self.quoted && self.text == text
    }

    /// The name behind the dash, when the word could be a flag or parameter.
    pub(super) fn dashed(&self) -> Option<&str> {
        (!self.quoted).then(|| self.text.strip_prefix('-')).flatten().filter(|name| !name.is_empty())
    }
}

/// A line whose tokens are sorted, before a command is known.
pub(super) struct Line<'a> {
    pub(super) command: Option<Word<'a>>,
    pub(super) arguments: Vec<Word<'a>>,
    /// Where the arguments end: at the redirect, the final `&`, or the end of the line.
    pub(super) arguments_end: usize,
    pub(super) redirect: Option<Redirect>,
    /// Where the redirect and the final `&` stand.
    pub(super) signs: Signs,
    /// Where another shell's operator ends what was meant for this command.
    pub(super) end: LineEnd,
    pub(super) diagnostics: Vec<Diagnostic>,
    pub(super) marks: Vec<(Span, Class)>,
}

/// Where the words of a command end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LineEnd {
    /// With the line.
    Line,
    /// At another shell's operator: the words behind it were meant for another command.
    Operator,
    /// At a word that ends in one (`a&&`): it may have been a value.
    Word,
}

impl<'a> Line<'a> {
    /// Arguments alone, up to that byte.
    pub(super) fn of(arguments: Vec<Word<'a>>, arguments_end: usize) -> Self {
        let marks = Vec::with_capacity(arguments.capacity());
        Line {
            command: None,
            arguments,
            arguments_end,
            redirect: None,
            signs: Signs::default(),
            end: LineEnd::Line,
            diagnostics: Vec::new(),
            marks,
        }
    }

    /// Sorts the tokens of a line.
    pub(super) fn split(line: &'a str) -> Self {
        let tokens = lexer::tokens(line);
        let mut split = Line::of(Vec::with_capacity(tokens.len()), line.len());
        let mut redirect: Option<(Span, bool)> = None;
        for at in 0..tokens.len() {
            split.sort_in(line, &tokens, at, &mut redirect);
        }
        split.miss_target(redirect);
        split
    }

    /// A redirect whose file has not come: what stands in its place is not looked at, because it starts later.
    fn miss_target(&mut self, redirect: Option<(Span, bool)>) -> bool {
        let Some((span, append)) = redirect.filter(|_| self.redirect.is_none() && self.command.is_some()) else { return false };
        self.redirect = Some(Redirect { target: String::new(), append });
        self.diagnostics.push(operators::missing_redirect_target(span));
        true
    }

    /// The file of a redirect is not looked for any more: something else is wrong there.
    fn end_target(&mut self, redirect: Option<(Span, bool)>) {
        if let Some((_, append)) = redirect {
            self.redirect.get_or_insert(Redirect { target: String::new(), append });
        }
    }

    fn sort_in(&mut self, line: &'a str, tokens: &[Token<'a>], at: usize, redirect: &mut Option<(Span, bool)>) {
        let Some(Token { span, kind }) = tokens.get(at) else { return };
        let span = *span;
        match kind {
            TokenKind::Word { text, quoted, open } => {
                if let Some(open) = open {
                    self.diagnostics.push(operators::open_quote(Span { start: *open, end: line.len() }));
                }
                let word = Word { text: text.clone(), span, quoted: *quoted };
                match redirect {
                    None if self.command.is_none() => self.command = Some(word),
                    None if self.end != LineEnd::Line => self.marks.push((span, Class::Value)),
                    None => {
                        // Until something better is known of it.
                        self.marks.push((span, Class::Value));
                        self.arguments.push(word);
                    }
                    Some((redirect, append)) if self.redirect.is_none() => {
                        self.marks.push((span, Class::Target));
                        self.diagnostics.extend(operators::bad_target(&word, *redirect));
                        self.redirect = Some(Redirect { target: word.text.into_owned(), append: *append });
                    }
                    Some(_) => {
                        self.marks.push((span, Class::Error));
                        self.diagnostics.push(operators::word_behind_target(span, &word.text));
                    }
                }
            }
            TokenKind::Redirect { append } => {
                if redirect.is_some() {
                    self.end_target(*redirect);
                    self.marks.push((span, Class::Error));
                    self.diagnostics.push(operators::second_redirect(span));
                } else {
                    self.marks.push((span, Class::Redirect));
                    *redirect = Some((span, *append));
                    self.signs.redirect = Some(span);
                    self.arguments_end = self.arguments_end.min(span.start);
                }
            }
            TokenKind::Background => {
                self.marks.push((span, Class::Background));
                self.signs.background = Some(span);
                self.arguments_end = self.arguments_end.min(span.start);
            }
            TokenKind::Foreign => {
                self.marks.push((span, Class::Error));
                let sign = line.get(span.start..span.end).unwrap_or_default();
                if self.end == LineEnd::Line {
                    let is_word = sign.ends_with("&&") && sign != "&&";
                    self.end = if is_word { LineEnd::Word } else { LineEnd::Operator };
                }
                // Of `> x&&` the file is there.
                let is_target = sign.trim_end_matches('&').len() < sign.len() && !sign.trim_end_matches('&').is_empty();
                if !is_target && self.miss_target(*redirect) {
                    return;
                }
                self.end_target(*redirect);
                let next = tokens.get(at + 1..).unwrap_or_default();
                let head = self.command.as_ref().map(|command| command.text.as_ref());
                self.diagnostics.push(operators::foreign(sign, span, head, next));
            }
        }
    }
}
