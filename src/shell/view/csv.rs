//! Comma-separated values: every field of a row, nested ones as compact JSON, cleaned as tables are.

use super::fields::{self, Wanted};
use super::rows::Shape;
use super::{clean, json};

/// Rows as CSV with a line of names first.
#[derive(Debug, Default)]
pub(super) struct Csv {
    /// The fields, where the line or the table says them; else those of the first row.
    names: Vec<String>,
    wanted: Option<Wanted>,
}

impl Csv {
    pub(super) fn new(names: Vec<String>) -> Self {
        Self { names, wanted: None }
    }
}

impl Shape for Csv {
    fn begin(&mut self, keys: &[String], out: &mut Vec<u8>) {
        if self.wanted.is_some() {
            return;
        }
        if self.names.is_empty() {
            self.names = keys.to_vec();
        }
        if !self.names.is_empty() {
            self.wanted = Some(Wanted::new(self.names.iter().map(String::as_str)));
            line(self.names.iter().map(String::as_str), out);
        }
    }

    fn row(&mut self, row: &str, out: &mut Vec<u8>) {
        if self.wanted.is_none() {
            let keys: Vec<String> = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(row)
                .map(|map| map.keys().cloned().collect())
                .unwrap_or_default();
            self.begin(&keys, out);
        }
        let Some(wanted) = &self.wanted else { return };
        let cells = wanted.find(row).into_iter().map(|raw| {
            let raw = raw.unwrap_or("null");
            // What is nested stays JSON, so it is cleaned as JSON is and parses again.
            if raw.starts_with(['{', '[']) {
                json::harmless(raw).into_owned()
            } else {
                clean::line(&fields::text(raw)).into_owned()
            }
        });
        let cells: Vec<String> = cells.collect();
        line(cells.iter().map(String::as_str), out);
    }

    fn end(&mut self, _out: &mut Vec<u8>) {}
}

fn line<'c>(cells: impl Iterator<Item = &'c str>, out: &mut Vec<u8>) {
    for (n, cell) in cells.enumerate() {
        if n > 0 {
            out.push(b',');
        }
        if cell.contains([',', '"', '\n', '\r']) || cell.starts_with(' ') || cell.ends_with(' ') {
            out.push(b'"');
            out.extend_from_slice(cell.replace('"', "\"\"").as_bytes());
            out.push(b'"');
        } else {
            out.extend_from_slice(cell.as_bytes());
        }
    }
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_written() {
        let (mut csv, mut out) = (Csv::default(), Vec::new());
        let keys: Vec<String> = ["name", "size", "task"].map(str::to_owned).to_vec();
        csv.begin(&keys, &mut out);
        csv.row(r#"{"name":"a,b \"c\"\u001b","size":1.5,"task":{"x":[1,"\u202e"]}}"#, &mut out);
        csv.row(r#"{"size":null,"name":"line\nend"}"#, &mut out);
        let wanted = "name,size,task\n\"a,b \"\"c\"\"\\x1b\",1.5,\"{\"\"x\"\":[1,\"\"\\u202e\"\"]}\"\nline␊end,,\n";
        assert_eq!(String::from_utf8(out).unwrap(), wanted);
    }
}
