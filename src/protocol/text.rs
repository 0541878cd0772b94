//! Which characters are harmless on a terminal: one answer for the agent (which name needs its `file:///` form?) and the
//! view (what must be made visible?).

use std::fmt::Write as _;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, percent_encode};
use unicode_width::UnicodeWidthChar as _;

/// What the system itself says of an error, without the number behind it.
#[must_use]
pub fn said(error: &std::io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((text, _)) => text.to_lowercase(),
        None => text,
    }
}

/// Whether a character could move the cursor, start an escape sequence, hide, or reorder text: C0, DEL, C1, bidirectional
/// controls, zero-width and other characters that Unicode has a renderer ignore (`Default_Ignorable_Code_Point`), line and
/// paragraph separators, tags, and noncharacters.
#[must_use]
pub fn is_hostile(c: char) -> bool {
    matches!(c,
        '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}'          // C0, DEL, C1
        | '\u{ad}' | '\u{34f}' | '\u{61c}'                // soft hyphen, grapheme joiner, Arabic letter mark
        | '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}' | '\u{16fe4}' // fillers that show nothing
        | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}' // Khmer inherent vowels, Mongolian selectors and separator
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202f}' // zero-width, separators, bidi
        | '\u{2060}'..='\u{206f}' | '\u{feff}'            // joiners, isolates, deprecated format, BOM
        | '\u{fe00}'..='\u{fe0f}'                         // variation selectors
        | '\u{fdd0}'..='\u{fdef}' | '\u{fff0}'..='\u{fffb}' // noncharacters, interlinear annotation
        | '\u{13430}'..='\u{13455}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' // controls of other scripts
        | '\u{e0000}'..='\u{e0fff}') // tags, variation selectors supplement
        || u32::from(c) & 0xfffe == 0xfffe
}

/// Whether a character that is drawn over the one before it has none to be drawn over: at the start, behind a blank or slash.
#[must_use]
pub fn is_lone_mark(before: Option<char>, c: char) -> bool {
    !c.is_ascii() && c.width() == Some(0) && before.is_none_or(|before| before == '/' || before.is_whitespace())
}

/// Bytes of a path that its `file:///` form writes as `%XX`: what the line grammar or a terminal could take for
/// something else.
const URI: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'\'')
    .add(b'<')
    .add(b'>')
    .add(b'%')
    .add(b'&')
    .add(b'|')
    .add(b';')
    .add(b'#')
    .add(b'?')
    .add(b'*')
    .add(b'[')
    .add(b']')
    .add(b'\\')
    .add(b'`')
    .add(b'{')
    .add(b'}')
    .add(b'^');

/// Whether a path's bytes are UTF-8 and show what they are, so that it can be typed as it is: no hostile character and none for
/// private use, no blank that looks like another, none at an end of a name, where nobody sees it, and no mark without a letter.
#[must_use]
pub fn is_plain(path: &[u8]) -> bool {
    path.iter().all(|byte| (0x21..0x7f).contains(byte))
        || std::str::from_utf8(path).is_ok_and(|path| path.split('/').all(is_plain_name))
}

fn is_plain_name(name: &str) -> bool {
    let mut before = None;
    let shows = |c: char| {
        let blank = c != ' ' && c.is_whitespace() || matches!(c, '\u{2800}' | '\u{1d159}');
        let private = matches!(c, '\u{e000}'..='\u{f8ff}' | '\u{f0000}'..);
        !is_hostile(c) && !blank && !private && !is_lone_mark(before.replace(c), c)
    };
    !name.starts_with(' ') && !name.ends_with(' ') && name.chars().all(shows)
}

/// The exact `file:///` form of an absolute path's bytes.
#[must_use]
pub fn file_uri(path: &[u8]) -> String {
    format!("file://{}", percent_encode(path, URI))
}

/// A typed path that means one thing alone, whatever patterns it could be read as: its `file:///` form where it has any of their
/// characters and can be made absolute in that directory; else as it is.
#[must_use]
pub fn exact(typed: &str, directory: &str) -> String {
    if !typed.contains(['*', '?', '[']) || from_file_uri(typed).is_some() || typed.starts_with('~') {
        return typed.to_owned();
    }
    if typed.starts_with('/') {
        return file_uri(typed.as_bytes());
    }
    let directory = from_file_uri(directory).unwrap_or_else(|| directory.as_bytes().to_vec());
    if directory.starts_with(b"/") {
        file_uri(&[directory.as_slice(), b"/", typed.as_bytes()].concat())
    } else {
        typed.to_owned()
    }
}

/// The bytes that a `file:///` form stands for; `None` for any other text.
#[must_use]
pub fn from_file_uri(text: &str) -> Option<Vec<u8>> {
    let path = text.strip_prefix("file://")?;
    path.starts_with('/').then(|| percent_decode_str(path).collect())
}

/// Writes a hostile character so that it can be seen: `␍`, `\x1b`, `\u{202e}`.
pub fn show(c: char, out: &mut String) {
    match c {
        '\t' => out.push('␉'),
        '\n' => out.push('␊'),
        '\r' => out.push('␍'),
        '\0'..='\x1f' | '\x7f' => _ = write!(out, "\\x{:02x}", u32::from(c)),
        _ => _ = write!(out, "\\u{{{:x}}}", u32::from(c)),
    }
}

/// The text with every hostile character shown.
#[must_use]
pub fn visible(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut shown, c| {
        if is_hostile(c) {
            show(c, &mut shown);
        } else {
            shown.push(c);
        }
        shown
    })
}

/// Cuts a stream of bytes so that no UTF-8 character is cut in two between pieces.
#[derive(Debug, Default)]
pub struct Pieces {
    held: Vec<u8>,
}

impl Pieces {
    /// Takes what came next; gives what can be told of it now. Only what could still become a character is held back.
    #[must_use]
    pub fn take(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(bytes);
        let whole = match std::str::from_utf8(&self.held) {
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            _ => self.held.len(),
        };
        let rest = self.held.split_off(whole);
        std::mem::replace(&mut self.held, rest)
    }

    /// Nothing follows: what is still held.
    #[must_use]
    pub fn end(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_invisible_hides_in_a_plain_name() {
        let check = |path: &str, plain: bool| assert_eq!(is_plain(path.as_bytes()), plain, "{path:?}");
        check("/srv/größe 文件/e\u{301}t\u{e9}/안/\u{1112}\u{1161}\u{11ab}/❤.txt", true);
        check("/srv/a b", true);
        check("/srv/ a", false);
        check("/srv/a /b", false);
        for hidden in [
            '\u{fe0f}',
            '\u{34f}',
            '\u{180b}',
            '\u{17b4}',
            '\u{200d}',
            '\u{2800}',
            '\u{e001}',
            '\u{f0001}',
            '\u{1d173}',
            '\u{fdd0}',
            '\u{1fffe}',
            '\u{a0}',
            '\u{3000}',
            '\u{115f}',
        ] {
            check(&format!("/srv/a{hidden}b"), false);
        }
        // A mark alone is drawn over the slash, or over what the table shows before it.
        check("/srv/\u{301}", false);
        check("/srv/\u{301}\u{302}x", false);
        check("/srv/a \u{20dd}", false);
        assert_eq!(visible("a\0\n\u{85}\u{fe0f}"), "a\\x00␊\\u{85}\\u{fe0f}");
    }

    #[test]
    fn what_could_be_a_pattern_is_made_exact() {
        let check = |typed: &str, directory: &str, exactly: &str| assert_eq!(exact(typed, directory), exactly, "{typed}");
        check("/tmp/evil", "/", "/tmp/evil");
        check("/tmp/[x]*", "/", "file:///tmp/%5Bx%5D%2A");
        check("[x]*", "/tmp", "file:///tmp/%5Bx%5D%2A");
        check("[x]*", "file:///tmp/a%20b", "file:///tmp/a%20b/%5Bx%5D%2A");
        check("~/[x]", "/tmp", "~/[x]");
        check("C:\\[x]", "C:\\", "C:\\[x]");
        check("file:///tmp/%5B", "/", "file:///tmp/%5B");
    }

    #[test]
    fn no_character_is_cut_and_no_byte_lost() {
        for content in ["aé€😀b".as_bytes(), b"\xff\xf0\x9f", b"", b"\xe2\x82"] {
            for size in 1..=content.len().max(1) {
                let mut pieces = Pieces::default();
                let mut told: Vec<Vec<u8>> = content.chunks(size).map(|chunk| pieces.take(chunk)).collect();
                told.push(pieces.end());
                assert_eq!(told.concat(), content, "{size}");
                if std::str::from_utf8(content).is_ok() {
                    assert!(told.iter().all(|piece| std::str::from_utf8(piece).is_ok()), "{told:?}");
                }
            }
        }
    }
}
