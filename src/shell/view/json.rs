//! JSON and JSON lines. Rows are copied as they came; only a character that is hostile to a terminal is written as
//! `\uXXXX`, which changes nothing for who parses it.

use std::borrow::Cow;
use std::fmt::Write as _;

use crate::protocol::text::is_hostile;

use super::fields::Wanted;
use super::rows::Shape;

/// JSON on one line, harmless on a terminal: `raw` is valid JSON.
pub fn harmless(raw: &str) -> Cow<'_, str> {
    // Strings of valid JSON hold no raw C0: those bytes are blanks between tokens, and would break a line of JSON lines.
    let plain = raw.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    if plain || !raw.chars().any(is_hostile) {
        return Cow::Borrowed(raw);
    }
    let mut out = String::with_capacity(raw.len() + 64);
    for c in raw.chars() {
        match c {
            '\n' | '\r' | '\t' => {}
            c if is_hostile(c) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    _ = write!(out, "\\u{unit:04x}");
                }
            }
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// JSON over several lines, for people; numbers and strings stay as they are written.
pub(super) fn pretty(raw: &str) -> String {
    let raw = harmless(raw);
    let mut out = String::with_capacity(raw.len() * 5 / 4);
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    let mut chars = raw.chars().peekable();
    let line = |depth: usize, out: &mut String| {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", depth));
    };
    while let Some(c) = chars.next() {
        if in_string {
            out.push(c);
            (in_string, escaped) = (c != '"' || escaped, c == '\\' && !escaped);
            continue;
        }
        match c {
            '"' => {
                in_string = true;
                out.push(c);
            }
            '{' | '[' => {
                while chars.next_if_eq(&' ').is_some() {}
                out.push(c);
                if let Some(close) = chars.next_if(|close| matches!(close, '}' | ']')) {
                    out.push(close);
                } else {
                    depth += 1;
                    line(depth, &mut out);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(depth, &mut out);
                out.push(c);
            }
            ',' => {
                out.push(c);
                line(depth, &mut out);
            }
            ':' => out.push_str(": "),
            ' ' => {}
            c => out.push(c),
        }
    }
    out
}

/// A row with only the wanted fields, each under its name as typed.
pub(super) fn select(row: &str, names: &[String], wanted: &Wanted) -> String {
    let mut out = String::from("{");
    for (name, raw) in names.iter().zip(wanted.find(row)) {
        if out.len() > 1 {
            out.push(',');
        }
        // A name is a key of the command table: writing it cannot fail.
        out.push_str(&serde_json::to_string(name).unwrap_or_default());
        out.push(':');
        out.push_str(raw.unwrap_or("null"));
    }
    out.push('}');
    out
}

/// Rows as JSON: an array with a row a line, or a row a line alone.
#[derive(Debug)]
pub(super) struct Json {
    array: bool,
    columns: Option<(Vec<String>, Wanted)>,
    open: bool,
    rows: u64,
}

impl Json {
    pub(super) fn new(array: bool, columns: Option<Vec<String>>) -> Self {
        let columns = columns.map(|names| {
            let wanted = Wanted::new(names.iter().map(String::as_str));
            (names, wanted)
        });
        Self { array, columns, open: false, rows: 0 }
    }
}

impl Shape for Json {
    fn begin(&mut self, _keys: &[String], out: &mut Vec<u8>) {
        if self.array && !self.open {
            self.open = true;
            out.push(b'[');
        }
    }

    fn row(&mut self, row: &str, out: &mut Vec<u8>) {
        self.begin(&[], out);
        if self.array {
            out.extend_from_slice(if self.rows == 0 { b"\n" } else { b",\n" });
        }
        match &self.columns {
            None => out.extend_from_slice(harmless(row).as_bytes()),
            Some((names, wanted)) => out.extend_from_slice(harmless(&select(row, names, wanted)).as_bytes()),
        }
        if !self.array {
            out.push(b'\n');
        }
        self.rows += 1;
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        if self.open {
            self.open = false;
            out.extend_from_slice(if self.rows == 0 { b"]\n" } else { b"\n]\n" });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_characters_are_escaped_and_mean_the_same() {
        let check = |value: &str| {
            let raw = serde_json::to_string(value).unwrap();
            let safe = harmless(&raw);
            assert!(!safe.chars().any(is_hostile), "{safe}");
            assert_eq!(serde_json::from_str::<String>(&safe).unwrap(), value);
        };
        check("plain größe 文件");
        check("\x1b]0;x\x07 \u{9b} \u{7f} \u{202e} \u{200b} \u{2028} \r\n\t \\ \" /");
        check("\u{e0041}\u{e0100} tags beyond the BMP");
        assert_eq!(harmless("\"\u{e0041}\""), "\"\\udb40\\udc41\"");
        assert_eq!(harmless("{\n\t\"a\": 1\r\n}"), "{\"a\": 1}");
        assert!(matches!(harmless("{\"a\":\"größe\"}"), Cow::Borrowed(_)));
    }

    #[test]
    fn pretty_changes_only_the_blanks() {
        let raw = r#"{"a":[],"b":{},"c":[1.50,{"d":"x{,:\"]\\"}],"e":18446744073709551615}"#;
        let wanted = "{\n  \"a\": [],\n  \"b\": {},\n  \"c\": [\n    1.50,\n    {\n      \"d\": \"x{,:\\\"]\\\\\"\n    }\n  ],\n  \"e\": 18446744073709551615\n}";
        assert_eq!(pretty(raw), wanted);
        assert_eq!(pretty(wanted), wanted);
    }

    #[test]
    fn an_array_is_always_closed() {
        let shown = |array, columns: Option<&[&str]>, rows: &[&str]| {
            let columns = columns.map(|names| names.iter().map(|&name| name.to_owned()).collect());
            let (mut json, mut out) = (Json::new(array, columns), Vec::new());
            json.begin(&[], &mut out);
            rows.iter().for_each(|row| json.row(row, &mut out));
            json.end(&mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(shown(true, None, &[]), "[]\n");
        assert_eq!(shown(true, None, &[r#"{"a":1}"#, r#"{"a":2}"#]), "[\n{\"a\":1},\n{\"a\":2}\n]\n");
        assert_eq!(shown(false, None, &[r#"{"a":1}"#, r#"{"a":2}"#]), "{\"a\":1}\n{\"a\":2}\n");
        assert_eq!(shown(false, None, &[]), "");
        assert_eq!(shown(false, Some(&["b", "a.x"]), &[r#"{"a":{"x":"\u001b"},"c":1}"#]), "{\"b\":null,\"a.x\":\"\\u001b\"}\n");
    }
}
