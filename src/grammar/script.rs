//! A script → its lines. A quote may span lines, so what is one line to the parser may be several in the file.

use super::invocation::{Diagnostic, ErrorKind, Span};
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

/// Why bytes are no script: the line that shows it, as far as it can be shown, and what is wrong where in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotText {
    /// The line; what is no text in it is U+FFFD.
    pub line: ScriptLine,
    /// What is wrong with it.
    pub found: Diagnostic,
}

impl NotText {
    fn new(number: usize, text: String, span: Span, message: String) -> Self {
        let hint = Some("save it as UTF-8".to_owned());
        let found = Diagnostic { kind: ErrorKind::UnsupportedSyntax, message, span, hint };
        Self { line: ScriptLine { text, number }, found }
    }
}

/// The text of a script's bytes: UTF-8, a byte-order mark dropped.
///
/// # Errors
/// When the bytes are UTF-16 (with a mark or without) or not UTF-8: where.
pub fn decode(bytes: &[u8]) -> Result<&str, Box<NotText>> {
    let bytes = bytes.strip_prefix(&[0xef, 0xbb, 0xbf]).unwrap_or(bytes);
    decode_lines(bytes, 1)
}

/// The text of lines within a script, the first of which has that number.
///
/// # Errors
/// As [`decode`].
pub fn decode_lines(bytes: &[u8], number: usize) -> Result<&str, Box<NotText>> {
    if let Some(text) = utf16(bytes) {
        let span = Span { start: 0, end: text.len() };
        return Err(NotText::new(number, text, span, "the script is UTF-16".to_owned()).into());
    }
    std::str::from_utf8(bytes).map_err(|error| {
        let (valid, rest) = bytes.split_at_checked(error.valid_up_to()).unwrap_or((bytes, &[]));
        let before = valid.rsplit(|&byte| byte == b'\n').next().unwrap_or_default();
        let number = number + valid.split(|&byte| byte == b'\n').count() - 1;
        let behind = rest.split(|&byte| byte == b'\n').next().unwrap_or_default();
        let behind = behind.get(..SHOWN.min(behind.len())).unwrap_or_default();
        let text = String::from_utf8_lossy(before) + String::from_utf8_lossy(behind);
        let span = Span { start: before.len(), end: before.len() + char::REPLACEMENT_CHARACTER.len_utf8() };
        let message = format!("the byte \\x{:02x} is not UTF-8", rest.first().copied().unwrap_or_default());
        NotText::new(number, text.trim_end_matches('\r').to_owned(), span, message).into()
    })
}

/// How much of a line that is no text is shown, in bytes.
const SHOWN: usize = 200;

/// The beginning of the first line, when the bytes look like UTF-16: its mark, or every other byte NUL, more or less.
fn utf16(bytes: &[u8]) -> Option<String> {
    let (pairs, _) = bytes.get(..SHOWN.min(bytes.len())).unwrap_or_default().as_chunks::<2>();
    let (low, high) = (pairs.iter().filter(|pair| pair[0] == 0).count(), pairs.iter().filter(|pair| pair[1] == 0).count());
    let read: fn([u8; 2]) -> u16 = match pairs.first()? {
        [0xff, 0xfe] => u16::from_le_bytes,
        [0xfe, 0xff] => u16::from_be_bytes,
        _ if low == 0 && high * 2 > pairs.len() => u16::from_le_bytes,
        _ if high == 0 && low * 2 > pairs.len() => u16::from_be_bytes,
        _ => return None,
    };
    let units = pairs.iter().map(|&pair| read(pair));
    let chars = char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER));
    Some(chars.filter(|&c| c != '\u{feff}').take_while(|&c| !matches!(c, '\r' | '\n')).collect())
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
