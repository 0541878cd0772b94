//! Text that came from a device, made harmless for a terminal: what could move the cursor, start an escape sequence, hide
//! or reorder text is shown instead of sent. Every byte of such text passes here on its way to a screen, a table or a CSV.

use std::borrow::Cow;
use std::fmt::Write as _;

use crate::protocol::text::{is_hostile, is_lone_mark, show};

/// A text for one cell or one line: every hostile character is shown, line ends and tabs included.
#[must_use]
pub fn line(text: &str) -> Cow<'_, str> {
    clean(text, |_| false)
}

/// A text of several lines: line feeds stay, everything else that is hostile is shown.
#[must_use]
pub fn lines(text: &str) -> Cow<'_, str> {
    clean(text, |c| c == '\n')
}

fn clean(text: &str, keep: impl Fn(char) -> bool) -> Cow<'_, str> {
    // Printable ASCII, the usual case, is seen without decoding.
    if text.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
        return Cow::Borrowed(text);
    }
    let hides = |before: &mut Option<char>, c: char| {
        let before = before.replace(c);
        is_hostile(c) && !keep(c) || is_lone_mark(before, c)
    };
    if !text.chars().scan(None, |before, c| Some(hides(before, c))).any(|hides| hides) {
        return Cow::Borrowed(text);
    }
    let (mut out, mut before) = (String::with_capacity(text.len() + 16), None);
    for c in text.chars() {
        if hides(&mut before, c) { show(c, &mut out) } else { out.push(c) }
    }
    Cow::Owned(out)
}

/// Cleans a stream of bytes on its way to a terminal: lines and tabs stay, a carriage return before a line feed is
/// dropped, bytes that are no UTF-8 are shown as `\xNN`. A character or line end may be split between two pieces.
#[derive(Debug, Default)]
pub struct Stream {
    /// The start of a character, or a carriage return, that the next piece decides.
    held: Vec<u8>,
}

impl Stream {
    /// The next piece, cleaned.
    #[must_use]
    pub fn piece(&mut self, bytes: &[u8]) -> String {
        self.held.extend_from_slice(bytes);
        let all = std::mem::take(&mut self.held);
        let mut out = String::with_capacity(all.len());
        let mut chunks = all.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            let last = chunks.peek().is_none();
            self.text(chunk.valid(), last && chunk.invalid().is_empty(), &mut out);
            if last && is_unfinished(chunk.invalid()) {
                self.held = chunk.invalid().to_vec();
            } else {
                show_bytes(chunk.invalid(), &mut out);
            }
        }
        out
    }

    /// What was held back, when nothing follows.
    #[must_use]
    pub fn end(&mut self) -> String {
        let mut out = String::new();
        let held = std::mem::take(&mut self.held);
        match std::str::from_utf8(&held) {
            Ok(text) => text.chars().for_each(|c| show(c, &mut out)),
            Err(_) => show_bytes(&held, &mut out),
        }
        out
    }

    fn text(&mut self, text: &str, at_end: bool, out: &mut String) {
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '\n' | '\t' => out.push(c),
                '\r' if chars.peek() == Some(&'\n') => {}
                '\r' if at_end && chars.peek().is_none() => self.held.push(b'\r'),
                c if is_hostile(c) => show(c, out),
                c => out.push(c),
            }
        }
    }
}

/// Whether bytes that are no UTF-8 yet may become a character with more behind them.
fn is_unfinished(bytes: &[u8]) -> bool {
    !bytes.is_empty() && std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}

fn show_bytes(bytes: &[u8], out: &mut String) {
    for byte in bytes {
        _ = write!(out, "\\x{byte:02x}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_characters_are_shown() {
        let check = |text: &str, shown: &str| assert_eq!(line(text), shown, "{text:?}");
        check("plain", "plain");
        check("größe 文件", "größe 文件");
        check("a\x1b[31mb", "a\\x1b[31mb");
        check("\x1b]52;c;aGk=\x07", "\\x1b]52;c;aGk=\\x07");
        check("evil\r\n\tx", "evil␍␊␉x");
        check("a\u{9b}31m", "a\\u{9b}31m");
        check("a\u{202e}cod.exe\u{200b}\u{feff}", "a\\u{202e}cod.exe\\u{200b}\\u{feff}");
        check("\u{7f}", "\\x7f");
        check("❤\u{fe0f}", "❤\\u{fe0f}");
        check("e\u{301}", "e\u{301}");
        check("\u{301}", "\\u{301}");
        check("/tmp/\u{301}\u{302} \u{20dd}", "/tmp/\\u{301}\u{302} \\u{20dd}");
        check("\u{e0041}", "\\u{e0041}");
        assert_eq!(lines("a\nb\x1bc"), "a\nb\\x1bc");
        assert!(matches!(line("plain"), Cow::Borrowed(_)));
    }

    #[test]
    fn a_stream_is_cleaned_the_same_however_it_is_cut() {
        let check = |bytes: &[u8], shown: &str| {
            for cut in 0..=bytes.len() {
                let mut stream = Stream::default();
                let (front, back) = bytes.split_at(cut);
                let seen = stream.piece(front) + &stream.piece(back) + &stream.end();
                assert_eq!(seen, shown, "{bytes:?} cut at {cut}");
            }
        };
        check(b"one\r\ntwo\n\tthree", "one\ntwo\n\tthree");
        check("größe\r".as_bytes(), "größe␍");
        check(b"a\rb\x1b[2J", "a␍b\\x1b[2J");
        check(b"bad \xff\xfe end", "bad \\xff\\xfe end");
        check("\u{202e}x".as_bytes(), "\\u{202e}x");
        check(b"cut \xe2\x82", "cut \\xe2\\x82");
    }
}
