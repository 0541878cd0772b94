//! Records: one field a line, a blank line between two records. For answers of one object, and for tables that do not fit.
//! Fields with nothing in them stand only where they were asked for; a list of things is a small table below its name.

use jiff::tz::TimeZone;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::grammar::{Column, Unit};

use super::rows::Shape;
use super::wrap::Wrap;
use super::{clean, theme, value, width};

/// A longer list deep within a field is counted: it would push everything else off the screen.
const LONG: usize = 8;
/// A list of things is a table while all its columns but the last fit in this.
const BLOCK: usize = 60;
/// Its columns stand this far apart, and from the edge.
const GAP: usize = 2;

/// A field as it is shown.
#[derive(Debug)]
enum Shown {
    /// Behind its name.
    Line(String),
    /// Behind its name, to be copied as it is: it is never broken.
    Whole(String),
    /// Below its name: a heading, and a row each. Further lines of the last column begin below it.
    Block(Vec<String>, usize),
}

/// Rows as records.
#[derive(Debug)]
pub(super) struct Records {
    /// What is known of the fields: titles and units.
    known: Vec<Column>,
    /// Only these fields, in this order; nothing: whatever the row has.
    only: Option<Vec<String>>,
    /// Where lines are broken; nothing: they are as long as they are.
    width: Option<usize>,
    zone: TimeZone,
    color: bool,
    rows: u64,
}

impl Records {
    pub(super) fn new(
        known: Vec<Column>,
        only: Option<Vec<String>>,
        width: Option<usize>,
        zone: TimeZone,
        color: bool,
    ) -> Self {
        Self { known, only, width, zone, color, rows: 0 }
    }

    fn fields(&self, row: &str) -> Vec<(String, Shown)> {
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
                fields.retain(|(_, shown)| !matches!(shown, Shown::Line(text) if text.is_empty()));
            }
        }
        fields
    }

    /// A field as lines: an object's fields under dotted names, a list's objects as a table, or as lines of their own.
    fn field(&self, key: &str, raw: &str, uri: Option<&str>, out: &mut Vec<(String, Shown)>) {
        let column = self.known.iter().find(|column| column.key == key);
        let title = column.and_then(|column| column.title.as_deref()).unwrap_or(key);
        let title = clean::line(title).into_owned();
        if raw.starts_with(['{', '[']) {
            let nested = serde_json::from_str(raw).unwrap_or(Value::Null);
            return self.nested(&title, &nested, false, out);
        }
        let unit = column.map_or(Unit::Plain, |column| column.unit);
        let shown = value::with_uri(value::cell(raw, unit, &self.zone), uri);
        let shown = shown.into_owned();
        out.push((title, if unit == Unit::Path && !shown.is_empty() { Shown::Whole(shown) } else { Shown::Line(shown) }));
    }

    fn nested(&self, title: &str, nested: &Value, deep: bool, out: &mut Vec<(String, Shown)>) {
        match nested {
            Value::Object(map) if !map.is_empty() => {
                for (key, inner) in map {
                    self.nested(&format!("{title}.{}", clean::line(key)), inner, true, out);
                }
            }
            Value::Array(items) if deep && items.len() > LONG && items.iter().any(Value::is_object) => {
                let told = format!("{} entries: `-output json` has them", items.len());
                out.push((title.to_owned(), Shown::Line(told)));
            }
            Value::Array(items) if items.iter().any(|item| item.is_object() || item.is_array()) => {
                if let Some((lines, last)) = self.block(items) {
                    return out.push((title.to_owned(), Shown::Block(lines, last)));
                }
                for (n, item) in items.iter().enumerate() {
                    self.nested(&format!("{title}[{n}]"), item, true, out);
                }
            }
            Value::Array(items) => {
                let items: Vec<String> = items.iter().map(|item| self.scalar(item)).collect();
                out.push((title.to_owned(), Shown::Line(items.join(", "))));
            }
            Value::Object(_) => out.push((title.to_owned(), Shown::Line(String::new()))),
            scalar => out.push((title.to_owned(), Shown::Line(self.scalar(scalar)))),
        }
    }

    /// Things of plain fields as a table without the columns that say nothing. The last column is as long as it is: what
    /// it says is never cut; where it begins is told too. `None` where they are no such things, or the columns before it take
    /// too much room.
    fn block(&self, items: &[Value]) -> Option<(Vec<String>, usize)> {
        let is_plain = |value: &Value| match value {
            Value::Object(_) => false,
            Value::Array(items) => items.iter().all(|item| !item.is_object() && !item.is_array()),
            _ => true,
        };
        let rows: Vec<_> = items.iter().map(Value::as_object).collect::<Option<_>>()?;
        if rows.iter().any(|row| !row.values().all(is_plain)) {
            return None;
        }
        let keys: indexmap::IndexSet<&String> = rows.iter().flat_map(|row| row.keys()).collect();
        let mut columns: Vec<(usize, bool, Vec<String>)> = Vec::new();
        for key in keys {
            let values = || rows.iter().map(|row| row.get(key).unwrap_or(&Value::Null));
            let mut cells: Vec<String> = values().map(|value| self.scalar(value)).collect();
            if cells.iter().all(String::is_empty) {
                continue;
            }
            cells.insert(0, clean::line(key).into_owned());
            let widest = cells.iter().map(|cell| width::of(cell)).max().unwrap_or(0);
            columns.push((widest, values().all(|value| value.is_number() || value.is_null()), cells));
        }
        let (_, before) = columns.split_last()?;
        let room = before.iter().map(|(wide, ..)| wide + GAP).sum::<usize>();
        if room > BLOCK {
            return None;
        }
        let lines = (0..=rows.len()).map(|at| {
            let mut line = String::new();
            for (wide, is_number, cells) in &columns {
                let cell = cells.get(at).map_or("", String::as_str);
                let pad = wide - width::of(cell);
                width::blanks(if *is_number { GAP + pad } else { GAP }, &mut line);
                line.push_str(cell);
                width::blanks(if *is_number { 0 } else { pad }, &mut line);
            }
            line.truncate(line.trim_end().len());
            line
        });
        Some((lines.collect(), room + GAP))
    }

    fn scalar(&self, scalar: &Value) -> String {
        value::cell(&scalar.to_string(), Unit::Plain, &self.zone).into_owned()
    }
}

impl Shape for Records {
    fn begin(&mut self, _keys: &[String], _out: &mut Vec<u8>) {}

    fn row(&mut self, row: &str, out: &mut Vec<u8>) {
        let fields = self.fields(row);
        let lines = |(title, shown): &(String, Shown)| (!matches!(shown, Shown::Block(..))).then(|| width::of(title));
        let widest = fields.iter().filter_map(lines).max().unwrap_or(0);
        if self.rows > 0 {
            out.push(b'\n');
        }
        self.rows += 1;
        for (title, shown) in fields {
            let mut text = theme::paint(theme::field(), &title, self.color);
            match shown {
                Shown::Line(shown) if shown.is_empty() => {}
                Shown::Line(shown) => {
                    width::blanks(widest - width::of(&title) + GAP, &mut text);
                    let taken = widest + GAP;
                    Wrap { columns: self.width, taken, hang: taken }.line(&shown, &mut text);
                }
                Shown::Whole(shown) => {
                    width::blanks(widest - width::of(&title) + GAP, &mut text);
                    text.push_str(&shown);
                }
                Shown::Block(lines, last) => {
                    for (n, line) in lines.iter().enumerate() {
                        text.push('\n');
                        if n == 0 {
                            text.push_str(&theme::paint(theme::aside(), line, self.color));
                        } else {
                            Wrap { columns: self.width, taken: 0, hang: last }.line(line, &mut text);
                        }
                    }
                }
            }
            text.push('\n');
            out.extend_from_slice(text.as_bytes());
        }
    }

    fn end(&mut self, _out: &mut Vec<u8>) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(only: Option<&[&str]>, rows: &[&str]) -> String {
        show_in(None, only, rows)
    }

    fn show_in(width: Option<usize>, only: Option<&[&str]>, rows: &[&str]) -> String {
        let known = vec![
            toml::from_str("key = \"modified\"\nunit = \"time\"").unwrap(),
            toml::from_str("key = \"memory_k\"\ntitle = \"memory (K)\"").unwrap(),
            toml::from_str("key = \"path\"\nunit = \"path\"").unwrap(),
        ];
        let only = only.map(|keys| keys.iter().map(|&key| key.to_owned()).collect());
        let (mut records, mut out) = (Records::new(known, only, width, TimeZone::UTC, false), Vec::new());
        rows.iter().for_each(|row| records.row(row, &mut out));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn one_field_a_line() {
        let row = r#"{"path":"a\nb","path_uri":"file:///a%0Ab","modified":"2026-01-01T00:00:00.5Z","memory_k":4,"none":null,
            "tags":["x","y"],"limits":{"idle":5,"x":{}},"exec":[{"command":"sh\u001b"}]}"#;
        let wanted = "path         a␊b  file:///a%0Ab\n\
                      modified     2026-01-01T00:00:00Z\n\
                      memory (K)   4\n\
                      tags         x, y\n\
                      limits.idle  5\n\
                      exec\n\
                      \x20 command\n\
                      \x20 sh\\x1b\n";
        assert_eq!(show(None, &[row]), wanted);
    }

    #[test]
    fn a_long_list_deep_within_a_field_is_counted() {
        let list = |length: usize| vec![r#"{"x":1}"#; length].join(",");
        let row = format!(r#"{{"top":[{}],"after":{{"few":[{}],"files":[{}]}}}}"#, list(9), list(1), list(9));
        let shown = show(None, &[&row]);
        assert!(shown.starts_with("top\n  x\n  1\n") && shown.matches("\n  1").count() == 10, "{shown}");
        assert!(shown.contains("after.few\n  x\n  1\n"), "{shown}");
        assert!(shown.ends_with("after.files  9 entries: `-output json` has them\n"), "{shown}");
    }

    #[test]
    fn a_list_of_things_is_a_table_without_its_empty_columns() {
        let row = r#"{"verdict":"clean","engines":[
            {"engine":"yara","weight":5,"tags":["a","b"],"error":null,"why":"no rules"},
            {"engine":"packages","weight":100,"tags":[],"error":null,"why":"as\u001b shipped"}],"not_looked_at":[]}"#;
        let wanted = "verdict  clean\n\
                      engines\n\
                      \x20 engine    weight  tags  why\n\
                      \x20 yara           5  a, b  no rules\n\
                      \x20 packages     100        as\\x1b shipped\n";
        assert_eq!(show(None, &[row]), wanted);
        // Where they hold more, or are too wide, each field has a line of its own.
        assert_eq!(show(None, &[r#"{"a":[{"b":{"c":1}},{"b":{"c":2}}]}"#]), "a[0].b.c  1\na[1].b.c  2\n");
        let long = "x".repeat(70);
        let wide = format!(r#"{{"a":[{{"b":"{long}","c":1}}]}}"#);
        assert_eq!(show(None, &[&wide]), format!("a[0].b  {long}\na[0].c  1\n"));
    }

    #[test]
    fn on_a_terminal_a_long_value_goes_on_below_itself() {
        let row = r#"{"path":"/a path/with blanks in it","why":"nothing that is known","hash":"0123456789abcdef0123456789abcdef",
            "engines":[{"engine":"yara","why":"there are no rules in the library"}]}"#;
        let wanted = "path  /a path/with blanks in it\n\
                      why   nothing that is\n\
                      \x20     known\n\
                      hash  0123456789abcdef0123456789abcdef\n\
                      engines\n\
                      \x20 engine  why\n\
                      \x20 yara    there are no\n\
                      \x20         rules in the\n\
                      \x20         library\n";
        assert_eq!(show_in(Some(23), None, &[row]), wanted);
        assert!(show(None, &[row]).contains("yara    there are no rules in the library\n"));
    }

    #[test]
    fn a_blank_line_between_two() {
        assert_eq!(
            show(Some(&["a", "b.c"]), &[r#"{"a":1,"b":{"c":2},"d":3}"#, r#"{"a":2}"#]),
            "a    1\nb.c  2\n\na    2\nb.c\n"
        );
    }
}
