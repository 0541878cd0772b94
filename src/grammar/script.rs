//! A script → its lines. A quote may span lines, so what is one line to the parser may be several in the file.

use super::lexer::{self, Token};

/// A line of a script, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptLine {
    /// What the parser reads; line ends within quotes are `\n`.
    pub text: String,
    /// The number of its first line in the file, from 1.
    pub number: usize,
}

impl ScriptLine {
    /// Line (from 1) and column (in characters, from 1) in the file of a byte of the text.
    #[must_use]
    pub fn place(&self, at: usize) -> (usize, usize) {
        let before = self.text.get(..at).unwrap_or(&self.text);
        let line = before.matches('\n').count();
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count();
        (self.number + line, column + 1)
    }
}

/// Why bytes are no script.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScriptError {
    /// It begins with the mark of UTF-16.
    #[error("it is UTF-16; save it as UTF-8")]
    Utf16,
    /// It is not UTF-8.
    #[error("line {line}, byte {byte}: not UTF-8")]
    NotUtf8 {
        /// The line, from 1.
        line: usize,
        /// The byte within the file, from 0.
        byte: usize,
    },
}

/// The text of a script's bytes: UTF-8, a byte-order mark dropped.
///
/// # Errors
/// When the bytes are UTF-16 or not UTF-8.
pub fn decode(bytes: &[u8]) -> Result<&str, ScriptError> {
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(ScriptError::Utf16);
    }
    let text = bytes.strip_prefix(&[0xef, 0xbb, 0xbf]).unwrap_or(bytes);
    std::str::from_utf8(text).map_err(|error| {
        let byte = bytes.len() - text.len() + error.valid_up_to();
        let line = bytes.get(..byte).unwrap_or_default().split(|&c| c == b'\n').count();
        ScriptError::NotUtf8 { line, byte }
    })
}

/// Cuts a script into lines, LF or CRLF. A quote that is open at a line's end takes in the lines up to the one that closes it;
/// one that is never closed takes in no other line, so that one slip is one error.
#[must_use]
pub fn script_lines(text: &str) -> Vec<ScriptLine> {
    let mut physical: Vec<&str> = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line)).collect();
    if physical.last().is_some_and(|line| line.is_empty()) {
        physical.pop();
    }
    let mut lines = Vec::new();
    let mut at = 0;
    while let Some(first) = physical.get(at) {
        let (text, taken) = joined(first, physical.get(at + 1..).unwrap_or_default());
        lines.push(ScriptLine { text, number: at + 1 });
        at += 1 + taken;
    }
    lines
}

/// How many lines a quote may span: more is a slip, not a value.
const QUOTE_LINES: usize = 1000;

fn joined(first: &str, following: &[&str]) -> (String, usize) {
    if !has_open_quote(first) {
        return (first.to_owned(), 0);
    }
    let mut text = first.to_owned();
    for (taken, line) in following.iter().take(QUOTE_LINES).enumerate() {
        text.push('\n');
        text.push_str(line);
        if line.contains(['"', '\'']) && !has_open_quote(&text) {
            return (text, taken + 1);
        }
    }
    (first.to_owned(), 0)
}

/// Whether a line ends within a quote, so that more of it is to come.
#[must_use]
pub fn has_open_quote(line: &str) -> bool {
    line.contains(['"', '\'']) && !lexer::is_comment(line) && lexer::tokens(line).iter().any(Token::has_open_quote)
}
