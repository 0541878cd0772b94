//! A line → tokens. Knows quotes, redirects, `&` and the operators of other shells; knows no command.
//!
//! Backslash is an ordinary character everywhere. `"…"` and `'…'` delimit and are stripped, may begin inside a word, and
//! hold the other kind or their own doubled. The first unquoted `>` ends the word before it. What looks like another shell's
//! syntax is told apart here and refused by the parser, never passed on as text.

use std::borrow::Cow;

use super::invocation::Span;

/// A piece of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token<'a> {
    /// Where, quotes included.
    pub(super) span: Span,
    /// What.
    pub(super) kind: TokenKind<'a>,
}

/// The kinds of [`Token`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TokenKind<'a> {
    /// A word.
    Word {
        /// Its text, quotes stripped.
        text: Cow<'a, str>,
        /// Whether any part of it was quoted: then it is no flag, no operator and no comment.
        quoted: bool,
        /// Where its open quote stands, if it has one.
        open: Option<usize>,
    },
    /// `>` or `>>`.
    Redirect {
        /// `>>`.
        append: bool,
    },
    /// `&` as the last word, or the last character of the last word.
    Background,
    /// What other shells have: `|`, `;`, `&&`, `2>…`.
    Foreign,
}

impl Token<'_> {
    /// Whether it is a word with a quote that is not closed.
    pub(super) fn has_open_quote(&self) -> bool {
        matches!(self.kind, TokenKind::Word { open: Some(_), .. })
    }
}

/// Cuts a line into tokens. Total: every byte that is not a blank belongs to exactly one token.
pub(super) fn tokens(line: &str) -> Vec<Token<'_>> {
    let mut lexer = Lexer { line, at: 0, tokens: Vec::with_capacity(8) };
    lexer.run();
    lexer.tokens
}

/// Whether a line is a comment: its first character that is not a blank is `#`.
pub(super) fn is_comment(line: &str) -> bool {
    line.trim_start_matches(is_blank).starts_with('#')
}

/// What separates words: blanks, and the line ends that only a quote can hold back.
pub(super) fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

struct Lexer<'a> {
    line: &'a str,
    at: usize,
    tokens: Vec<Token<'a>>,
}

impl<'a> Lexer<'a> {
    fn run(&mut self) {
        while let Some(c) = self.peek() {
            if is_blank(c) {
                self.at += c.len_utf8();
            } else if c == '>' {
                self.redirect();
            } else if self.begins_foreign_redirect() {
                self.foreign_redirect();
            } else {
                self.word();
            }
        }
    }

    fn rest(&self) -> &'a str {
        self.line.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn push(&mut self, start: usize, kind: TokenKind<'a>) {
        self.tokens.push(Token { span: Span { start, end: self.at }, kind });
    }

    fn redirect(&mut self) {
        let start = self.at;
        let append = self.rest().starts_with(">>");
        self.at += if append { 2 } else { 1 };
        self.push(start, TokenKind::Redirect { append });
    }

    fn begins_foreign_redirect(&self) -> bool {
        ["2>", "1>", "&>"].iter().any(|mark| self.rest().starts_with(mark))
    }

    fn foreign_redirect(&mut self) {
        let start = self.at;
        // The whole word, its quoted parts too, so that a file name in quotes is not read as words of its own.
        while let Some(c) = self.peek().filter(|c| !is_blank(*c)) {
            self.at += c.len_utf8();
            if matches!(c, '"' | '\'') {
                self.quoted_part(c, &mut String::new());
            }
        }
        self.push(start, TokenKind::Foreign);
    }

    fn word(&mut self) {
        let start = self.at;
        let mut built: Option<String> = None;
        let mut plain_from = start;
        let mut quoted = false;
        let mut open = None;
        loop {
            let rest = self.rest();
            self.at += rest.find(|c| matches!(c, '"' | '\'' | '>') || is_blank(c)).unwrap_or(rest.len());
            match self.peek() {
                Some(c @ ('"' | '\'')) => {
                    let text = built.get_or_insert_with(String::new);
                    text.push_str(self.line.get(plain_from..self.at).unwrap_or_default());
                    quoted = true;
                    let begun = self.at;
                    self.at += 1;
                    if !self.quoted_part(c, built.get_or_insert_with(String::new)) {
                        open = Some(begun);
                    }
                    plain_from = self.at;
                }
                _ => break,
            }
        }
        let plain = self.line.get(plain_from..self.at).unwrap_or_default();
        let behind = self.rest().trim_start_matches(is_blank);
        let last = behind.is_empty();
        // The final `&` stands outside any quote when plain text ends in it.
        let background = last && open.is_none() && plain.ends_with('&');
        // `a&&` and `a& &` say more than one `&` may.
        let doubled = plain.ends_with("&&") || plain.ends_with('&') && behind.trim_end_matches(is_blank) == "&";
        // Behind a quoted part only where it ends the line: inside a word `&` is ordinary.
        let doubled = doubled && (!quoted || open.is_none() && (last || !plain.ends_with("&&")));
        if doubled || !quoted && is_operator(plain) && !(plain == "&" && last) {
            self.push(start, TokenKind::Foreign);
            return;
        }
        let plain = if background { plain.strip_suffix('&').unwrap_or(plain) } else { plain };
        if background {
            self.at -= 1;
        }
        if self.at > start {
            let text = match built {
                None => Cow::Borrowed(plain),
                Some(mut text) => {
                    text.push_str(plain);
                    Cow::Owned(text)
                }
            };
            self.push(start, TokenKind::Word { text, quoted, open });
        }
        if background {
            let start = self.at;
            self.at += 1;
            self.push(start, TokenKind::Background);
        }
    }

    /// Reads behind an opening quote up to its end; `false` when the line ends first.
    fn quoted_part(&mut self, quote: char, text: &mut String) -> bool {
        loop {
            let rest = self.rest();
            let Some(length) = rest.find(quote) else {
                text.push_str(rest);
                self.at = self.line.len();
                return false;
            };
            text.push_str(rest.get(..length).unwrap_or_default());
            self.at += length + 1;
            if self.peek() != Some(quote) {
                return true;
            }
            text.push(quote);
            self.at += 1;
        }
    }
}

/// The beginning of a word with its quotes stripped, and the quote that is open at its end.
pub(super) fn unquoted(word: &str) -> (String, Option<char>) {
    let mut text = String::with_capacity(word.len());
    let mut quote = None;
    let mut chars = word.chars().peekable();
    while let Some(c) = chars.next() {
        match quote {
            None if matches!(c, '"' | '\'') => quote = Some(c),
            Some(open) if c == open => {
                if chars.next_if_eq(&open).is_some() {
                    text.push(open);
                } else {
                    quote = None;
                }
            }
            _ => text.push(c),
        }
    }
    (text, quote)
}

fn is_operator(word: &str) -> bool {
    matches!(word, "|" | "||" | "<" | "<<" | ";" | "&&" | "&")
}

/// A value as it is written on a line so that it reads as it is: in quotes where it needs them.
#[must_use]
pub fn quoted(value: &str) -> String {
    let plain = !value.is_empty()
        && !value.starts_with(['-', '#'])
        && !value.ends_with('&')
        && !value.contains(|c: char| is_blank(c) || matches!(c, '"' | '\'' | '>'))
        && !is_operator(value);
    if plain { value.to_owned() } else { format!("\"{}\"", value.replace('"', "\"\"")) }
}

/// A value as [`quoted`] writes it, in the quotes that were begun where there are some.
#[must_use]
pub fn quoted_in(value: &str, begun: Option<char>) -> String {
    match begun {
        Some(quote) => format!("{quote}{}{quote}", value.replace(quote, &format!("{quote}{quote}"))),
        None => quoted(value),
    }
}
