//! Text that is a field of the answer where programs read it: what a script wrote, what a library file holds.
//!
//! People get such text as it comes; JSON and CSV get it as fields of the object that the command ends with.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value};

use crate::grammar::Column;
use crate::protocol::StreamName;

/// No more of a stream is held for a field, in bytes.
const HELD: usize = 64 * 1024 * 1024;

/// The text of one answer.
#[derive(Debug)]
pub(super) struct Transcript {
    out: Field,
    err: Option<Field>,
}

#[derive(Debug)]
struct Field {
    name: &'static str,
    bytes: Vec<u8>,
    cut: bool,
}

impl Transcript {
    /// For a command whose columns say that its text is a field.
    pub(super) fn of(columns: &[Column]) -> Option<Self> {
        let has = |name: &str| columns.iter().any(|column| column.key == name);
        let field = |name| Field { name, bytes: Vec::new(), cut: false };
        if has("script_output") {
            Some(Self { out: field("script_output"), err: Some(field("script_errors")) })
        } else if has("content") {
            Some(Self { out: field("content"), err: None })
        } else {
            None
        }
    }

    /// Keeps what was told.
    pub(super) fn take(&mut self, stream: StreamName, bytes: &[u8]) {
        let field = match (stream, &mut self.err) {
            (StreamName::Stderr, Some(err)) => err,
            _ => &mut self.out,
        };
        let room = HELD.saturating_sub(field.bytes.len());
        field.bytes.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        field.cut |= bytes.len() > room;
    }

    /// Whether anything was told.
    pub(super) fn has_text(&self) -> bool {
        std::iter::once(&self.out).chain(&self.err).any(|field| !field.bytes.is_empty())
    }

    /// Puts the text into the object that the command ended with, in the order of the columns.
    pub(super) fn fill(self, object: Map<String, Value>, columns: &[Column]) -> Map<String, Value> {
        let mut fields = object;
        for field in std::iter::once(self.out).chain(self.err) {
            field.put(&mut fields);
        }
        let mut ordered = Map::new();
        for column in columns {
            ordered.extend(fields.shift_remove(&column.key).map(|value| (column.key.clone(), value)));
        }
        ordered.extend(fields);
        ordered
    }

    /// What a reader should know of it.
    pub(super) fn note(&self) -> Option<String> {
        let cut = std::iter::once(&self.out).chain(&self.err).find(|field| field.cut)?;
        Some(format!("{} is cut at {} MiB; without -output it is whole", cut.name, HELD >> 20))
    }
}

impl Field {
    /// The field as text, beside it its exact bytes where it is no UTF-8.
    fn put(self, object: &mut Map<String, Value>) {
        let (text, exact) = match String::from_utf8(self.bytes) {
            Ok(text) => (text, None),
            Err(error) => {
                let bytes = error.as_bytes();
                (String::from_utf8_lossy(bytes).into_owned(), Some(BASE64.encode(bytes)))
            }
        };
        object.insert(self.name.to_owned(), Value::String(text));
        if let Some(exact) = exact {
            object.insert(format!("{}_b64", self.name), Value::String(exact));
        }
        if self.cut {
            object.insert(format!("{}_cut", self.name), Value::Bool(true));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn text_becomes_fields_in_the_order_of_the_columns() {
        let run = crate::grammar::table().find("run").unwrap();
        let mut transcript = Transcript::of(&run.columns).unwrap();
        transcript.take(StreamName::Stdout, b"one\n");
        transcript.take(StreamName::Stderr, b"\xff");
        transcript.take(StreamName::Stdout, b"two");
        let object = json!({"script_name": "x.sh", "exit_code": 3, "more": true});
        let filled = transcript.fill(object.as_object().unwrap().clone(), &run.columns);
        let wanted = json!({"script_name": "x.sh", "exit_code": 3, "script_output": "one\ntwo", "script_errors": "\u{fffd}",
            "more": true, "script_errors_b64": "/w=="});
        assert_eq!(Value::Object(filled.clone()), wanted);
        assert_eq!(filled.keys().take(4).collect::<Vec<_>>(), ["script_name", "exit_code", "script_output", "script_errors"]);
        assert!(Transcript::of(&crate::grammar::table().find("cat").unwrap().columns).is_none());
    }
}
