//! Records: one field a line, a blank line between two records. For answers of one object, and for tables that do not fit.

use jiff::tz::TimeZone;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::grammar::{Column, Unit};

use super::rows::Shape;
use super::{clean, theme, value, width};

/// A longer list deep within a field is counted: it would push everything else off the screen.
const LONG: usize = 8;

/// Rows as records.
#[derive(Debug)]
pub(super) struct Records {
    /// What is known of the fields: titles and units.
    known: Vec<Column>,
    /// Only these fields, in this order; nothing: whatever the row has.
    only: Option<Vec<String>>,
    zone: TimeZone,
    color: bool,
    rows: u64,
}

impl Records {
    pub(super) fn new(known: Vec<Column>, only: Option<Vec<String>>, zone: TimeZone, color: bool) -> Self {
        Self { known, only, zone, color, rows: 0 }
    }

    fn fields(&self, row: &str) -> Vec<(String, String)> {
        let mut fields = Vec::new();
        match &self.only {
            Some(keys) => {
                for key in keys {
                    let raw = super::fields::find(row, key).unwrap_or("null");
                    let uri = super::fields::find(row, &format!("{key}_uri"));
                    self.field(key, raw, uri, &mut fields);
                }
            }
            None => {
                let map: indexmap::IndexMap<String, Box<RawValue>> = serde_json::from_str(row).unwrap_or_default();
                for (key, raw) in &map {
                    let of = key.strip_suffix("_uri").filter(|of| map.contains_key(*of));
                    if of.is_none() {
                        let uri = map.get(&format!("{key}_uri")).map(|uri| uri.get());
                        self.field(key, raw.get(), uri, &mut fields);
                    }
                }
            }
        }
        fields
    }

    /// A field as lines: an object's fields under dotted names, a list's objects as lines of their own.
    fn field(&self, key: &str, raw: &str, uri: Option<&str>, out: &mut Vec<(String, String)>) {
        let column = self.known.iter().find(|column| column.key == key);
        let title = column.and_then(|column| column.title.as_deref()).unwrap_or(key);
        let title = clean::line(title).into_owned();
        if raw.starts_with(['{', '[']) {
            let nested = serde_json::from_str(raw).unwrap_or(Value::Null);
            return self.nested(&title, &nested, false, out);
        }
        let unit = column.map_or(Unit::Plain, |column| column.unit);
        let (shown, _) = value::with_uri(value::cell(raw, unit, &self.zone), uri);
        out.push((title, shown.into_owned()));
    }

    fn nested(&self, title: &str, nested: &Value, deep: bool, out: &mut Vec<(String, String)>) {
        match nested {
            Value::Object(map) if !map.is_empty() => {
                for (key, inner) in map {
                    self.nested(&format!("{title}.{}", clean::line(key)), inner, true, out);
                }
            }
            Value::Array(items) if deep && items.len() > LONG && items.iter().any(Value::is_object) => {
                out.push((title.to_owned(), format!("{} entries: `-output json` has them", items.len())));
            }
            Value::Array(items) if items.iter().any(|item| item.is_object() || item.is_array()) => {
                for (n, item) in items.iter().enumerate() {
                    self.nested(&format!("{title}[{n}]"), item, true, out);
                }
            }
            Value::Array(items) => {
                let items: Vec<String> = items.iter().map(|item| self.scalar(item)).collect();
                out.push((title.to_owned(), items.join(", ")));
            }
            Value::Object(_) => out.push((title.to_owned(), String::new())),
            scalar => out.push((title.to_owned(), self.scalar(scalar))),
        }
    }

    fn scalar(&self, scalar: &Value) -> String {
        value::cell(&scalar.to_string(), Unit::Plain, &self.zone).into_owned()
    }
}

impl Shape for Records {
    fn begin(&mut self, _keys: &[String], _out: &mut Vec<u8>) {}

    fn row(&mut self, row: &str, out: &mut Vec<u8>) {
        let fields = self.fields(row);
        let widest = fields.iter().map(|(title, _)| width::of(title)).max().unwrap_or(0);
        if self.rows > 0 {
            out.push(b'\n');
        }
        self.rows += 1;
        for (title, shown) in fields {
            let mut line = theme::paint(theme::field(), &title, self.color);
            if !shown.is_empty() {
                width::blanks(widest - width::of(&title) + 2, &mut line);
                line.push_str(&shown);
            }
            line.push('\n');
            out.extend_from_slice(line.as_bytes());
        }
    }

    fn end(&mut self, _out: &mut Vec<u8>) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(only: Option<&[&str]>, rows: &[&str]) -> String {
        let known = vec![
            toml::from_str("key = \"modified\"\nunit = \"time\"").unwrap(),
            toml::from_str("key = \"memory_k\"\ntitle = \"memory (K)\"").unwrap(),
        ];
        let only = only.map(|keys| keys.iter().map(|&key| key.to_owned()).collect());
        let (mut records, mut out) = (Records::new(known, only, TimeZone::UTC, false), Vec::new());
        rows.iter().for_each(|row| records.row(row, &mut out));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn one_field_a_line() {
        let row = r#"{"path":"a\nb","path_uri":"file:///a%0Ab","modified":"2026-01-01T00:00:00.5Z","memory_k":4,"none":null,
            "tags":["x","y"],"limits":{"idle":5,"x":{}},"exec":[{"command":"sh\u001b"}]}"#;
        let wanted = "path             a␊b  file:///a%0Ab\n\
                      modified         2026-01-01T00:00:00Z\n\
                      memory (K)       4\n\
                      none\n\
                      tags             x, y\n\
                      limits.idle      5\n\
                      limits.x\n\
                      exec[0].command  sh\\x1b\n";
        assert_eq!(show(None, &[row]), wanted);
    }

    #[test]
    fn a_long_list_deep_within_a_field_is_counted() {
        let list = |length: usize| vec![r#"{"x":1}"#; length].join(",");
        let row = format!(r#"{{"top":[{}],"after":{{"few":[{}],"files":[{}]}}}}"#, list(9), list(1), list(9));
        let shown = show(None, &[&row]);
        assert!(shown.starts_with("top[0].x        1\n") && shown.contains("top[8].x        1\n"), "{shown}");
        assert!(shown.contains("after.few[0].x  1\n"), "{shown}");
        assert!(shown.ends_with("after.files     9 entries: `-output json` has them\n"), "{shown}");
    }

    #[test]
    fn a_blank_line_between_two() {
        assert_eq!(
            show(Some(&["a", "b.c"]), &[r#"{"a":1,"b":{"c":2},"d":3}"#, r#"{"a":2}"#]),
            "a    1\nb.c  2\n\na    2\nb.c\n"
        );
    }
}
