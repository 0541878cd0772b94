//! Which characters are harmless on a terminal: one answer for the agent (which name needs its `file:///` form?) and the
//! view (what must be made visible?).

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, percent_encode};

/// Whether a character could move the cursor, start an escape sequence, hide, or reorder text: C0, DEL, C1, bidirectional
/// controls, zero-width and other invisible format characters, line and paragraph separators, tags, and noncharacters.
#[must_use]
pub fn is_hostile(c: char) -> bool {
    matches!(c,
        '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}'          // C0, DEL, C1
        | '\u{ad}' | '\u{61c}' | '\u{180e}'               // soft hyphen, Arabic letter mark, Mongolian vowel separator
        | '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}' // fillers that show nothing
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202f}' // zero-width, separators, bidi
        | '\u{2060}'..='\u{206f}' | '\u{feff}'            // joiners, isolates, deprecated format, BOM
        | '\u{fff9}'..='\u{fffb}' | '\u{fffe}' | '\u{ffff}'
        | '\u{e0000}'..='\u{e0fff}') // tags, variation selectors supplement
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

/// Whether a path's bytes are UTF-8 and show what they are, so that it can be typed as it is: no hostile character, no blank
/// that looks like another, none at an end of a name, where nobody sees it.
#[must_use]
pub fn is_plain(path: &[u8]) -> bool {
    let seen = |name: &str| !name.starts_with(' ') && !name.ends_with(' ');
    std::str::from_utf8(path).is_ok_and(|text| {
        !text.chars().any(|c| is_hostile(c) || c != ' ' && c.is_whitespace())
            && (!text.contains(' ') || text.split('/').all(seen))
    })
}

/// The exact `file:///` form of an absolute path's bytes.
#[must_use]
pub fn file_uri(path: &[u8]) -> String {
    format!("file://{}", percent_encode(path, URI))
}

/// The bytes that a `file:///` form stands for; `None` for any other text.
#[must_use]
pub fn from_file_uri(text: &str) -> Option<Vec<u8>> {
    let path = text.strip_prefix("file://")?;
    path.starts_with('/').then(|| percent_decode_str(path).collect())
}

/// The text with every hostile character shown as `\u{…}`.
#[must_use]
pub fn visible(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut shown, c| {
        if is_hostile(c) {
            shown.extend(c.escape_unicode());
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
