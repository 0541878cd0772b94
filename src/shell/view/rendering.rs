//! The answer of one command on its way to the screen or a file: events in, text out.
//!
//! Which shape it takes is decided by what comes: rows, an object, or text. The command table says which shape a person wants,
//! the line may say otherwise.

use std::io;

use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};

use crate::grammar::OutputFormat;
use crate::protocol::{Body, Effect, Status, StreamName};

use super::csv::Csv;
use super::json::{self, Json};
use super::object;
use super::records::Records;
use super::redirect::Writer;
use super::rows::{Rows, Shape};
use super::spec::RenderSpec;
use super::table::Table;
use super::transcript::Transcript;
use super::{RedirectFile, Screen, clean};

/// What is written goes out in pieces of about this size, in bytes.
const PIECE: usize = 64 * 1024;

/// Whether more of the answer is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Go on.
    More,
    /// Every further row would be left out: the command may end.
    Enough,
}

/// Where an answer goes.
#[derive(Debug)]
pub enum Target {
    /// Standard output.
    Screen,
    /// Standard error: it is no part of the answer.
    Beside,
    /// The file of a redirect.
    File(RedirectFile),
}

/// What a person should know of an answer that was written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// A sentence each.
    pub notes: Vec<String>,
}

/// An answer being written.
pub struct Rendering {
    screen: Screen,
    spec: RenderSpec,
    out: Out,
    rows: Rows,
    shape: Option<Box<dyn Shape>>,
    keys: Vec<String>,
    buffer: Vec<u8>,
    /// Cleans what a script writes, a stream each.
    text: [clean::Stream; 2],
    /// A terminal's line that was begun and not ended.
    line_is_open: bool,
    /// The text that is a field of the answer.
    transcript: Option<Transcript>,
    effects: Vec<String>,
    notes: Vec<String>,
    answered: bool,
}

impl std::fmt::Debug for Rendering {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rendering").field("spec", &self.spec).field("out", &self.out).finish_non_exhaustive()
    }
}

#[derive(Debug)]
enum Out {
    Screen,
    Beside,
    File(Writer),
}

impl Rendering {
    /// Begins an answer.
    ///
    /// # Errors
    /// When the redirect's file cannot be opened.
    pub fn begin(screen: &Screen, spec: RenderSpec, target: Target) -> io::Result<Self> {
        let out = match target {
            Target::Screen => Out::Screen,
            Target::Beside => Out::Beside,
            Target::File(file) => Out::File(file.open()?),
        };
        let rows = Rows::new(&spec.options, spec.sort.as_ref(), spec.sort_unit());
        let transcript = Transcript::of(&spec.columns);
        Ok(Self {
            screen: screen.clone(),
            spec,
            out,
            rows,
            shape: None,
            keys: Vec::new(),
            buffer: Vec::new(),
            text: Default::default(),
            line_is_open: false,
            transcript,
            effects: Vec::new(),
            notes: Vec::new(),
            answered: false,
        })
    }

    /// Takes an event.
    ///
    /// # Errors
    /// As the screen or file says; `BrokenPipe` when nobody reads it any more.
    pub fn event(&mut self, body: &Body) -> io::Result<Next> {
        match body {
            Body::Table { keys } => {
                self.keys.clone_from(keys);
                self.answered = true;
                let mut buffer = std::mem::take(&mut self.buffer);
                self.shape().begin(keys, &mut buffer);
                self.buffer = buffer;
            }
            Body::Rows { rows } => {
                self.answered = true;
                for row in rows {
                    self.row(row)?;
                    if self.rows.is_enough() {
                        break;
                    }
                }
            }
            Body::Object { value } => {
                self.answered = true;
                self.object(value)?;
            }
            Body::Text(text) => {
                let bytes = text.data.bytes().unwrap_or_default();
                self.text(text.stream, &bytes)?;
            }
            Body::Effect(effect) => self.effect(effect),
            Body::Unknown { kind, value } => self.screen.aside(&format!("{kind}: {value}")),
            _ => {}
        }
        self.idle()?;
        // What a script says is no row: it is never stopped for want of more.
        Ok(if self.rows.is_enough() && self.transcript.is_none() { Next::Enough } else { Next::More })
    }

    /// Some time went by: what is held only to look better is written.
    ///
    /// # Errors
    /// As [`Rendering::event`].
    pub fn idle(&mut self) -> io::Result<()> {
        if let Some(shape) = &mut self.shape {
            shape.idle(&mut self.buffer);
        }
        self.flush()
    }

    /// Something is said beside the answer: it begins a line of its own.
    ///
    /// # Errors
    /// As [`Rendering::event`].
    pub fn make_way(&mut self) -> io::Result<()> {
        if !self.line_is_open {
            return Ok(());
        }
        self.end_line();
        self.flush()
    }

    /// No event follows.
    ///
    /// # Errors
    /// As [`Rendering::event`], and when a redirect's file cannot be made whole.
    pub fn end(mut self, status: Status) -> io::Result<Summary> {
        let mut notes = self.settle(status)?;
        if let Out::File(writer) = self.out {
            notes.extend(writer.end(status == Status::Completed)?.note());
        }
        Ok(Summary { notes })
    }

    /// What follows is an answer of its own: it is shown as it would be alone, behind an empty line.
    ///
    /// # Errors
    /// As [`Rendering::event`].
    pub fn turn_to(&mut self, spec: RenderSpec) -> io::Result<()> {
        self.notes = self.settle(Status::Completed)?;
        self.rows = Rows::new(&spec.options, spec.sort.as_ref(), spec.sort_unit());
        self.transcript = Transcript::of(&spec.columns);
        self.spec = spec;
        self.keys.clear();
        self.answered = false;
        self.buffer.push(b'\n');
        Ok(())
    }

    /// Writes what was held of the answer; what a person should know of it.
    fn settle(&mut self, status: Status) -> io::Result<Vec<String>> {
        for effect in std::mem::take(&mut self.effects) {
            self.row_text(&effect)?;
        }
        if self.holds_text() && self.transcript.as_ref().is_some_and(Transcript::has_text) {
            // It ended before it could say how: what came is told all the same.
            self.whole_object(Map::new())?;
        }
        let mut shape = self.shape.take();
        if shape.is_none() && self.spec.is_data() && self.answered_in_rows(status) {
            // An answer without a row is an empty list, not nothing.
            shape = Some(self.new_shape());
        }
        let mut notes: Vec<String> = Vec::new();
        if let Some(shape) = &mut shape {
            let buffer = &mut self.buffer;
            shape.begin(&self.keys, buffer);
            self.rows.end(|row| shape.row(row, buffer));
            shape.end(buffer);
            notes.extend(self.rows.note());
            notes.extend(shape.notes(status == Status::Completed));
        }
        let [out, err] = self.text.each_mut().map(clean::Stream::end);
        if self.cleans_text() {
            self.buffer.extend(out.into_bytes());
            self.end_line();
        }
        if !err.is_empty() {
            self.screen.write_error(err.as_bytes())?;
        }
        self.flush()?;
        notes.append(&mut self.notes);
        Ok(notes)
    }

    fn answered_in_rows(&self, status: Status) -> bool {
        !self.answered && status == Status::Completed && self.spec.default == OutputFormat::Table
    }

    fn to_screen(&self) -> bool {
        matches!(self.out, Out::Screen)
    }

    fn cleans_text(&self) -> bool {
        matches!(self.out, Out::Beside) || self.to_screen() && self.screen.out_is_terminal()
    }

    /// The shape that rows are written in.
    fn shape(&mut self) -> &mut Box<dyn Shape> {
        if self.shape.is_none() {
            self.shape = Some(self.new_shape());
        }
        // It was just put there.
        self.shape.get_or_insert_with(|| Box::new(Json::new(false, None)))
    }

    fn new_shape(&self) -> Box<dyn Shape> {
        let (width, color) = if self.to_screen() { (self.screen.width(), self.screen.color()) } else { (None, false) };
        let only = self.spec.options.columns.clone();
        match self.spec.format {
            OutputFormat::Json => Box::new(Json::new(true, only)),
            OutputFormat::Jsonl => Box::new(Json::new(false, only)),
            OutputFormat::Csv => Box::new(Csv::new(only.unwrap_or_else(|| self.names()))),
            OutputFormat::Records => {
                Box::new(Records::new(self.spec.columns.clone(), only, width, self.spec.zone.clone(), color))
            }
            OutputFormat::Table | OutputFormat::Text => {
                let mut columns = self.spec.table_columns();
                if columns.is_empty() {
                    columns = self.keys.iter().map(|key| super::spec::named(key)).collect();
                }
                Box::new(Table::new(columns, only.is_some(), width, self.spec.zone.clone(), color))
            }
        }
    }

    fn names(&self) -> Vec<String> {
        if self.spec.columns.is_empty() {
            return self.keys.clone();
        }
        self.spec.columns.iter().map(|column| column.key.clone()).collect()
    }

    fn row(&mut self, row: &RawValue) -> io::Result<()> {
        self.shape();
        if let Some(shape) = &mut self.shape {
            let buffer = &mut self.buffer;
            self.rows.take(row, |row| shape.row(row, buffer));
        }
        if self.buffer.len() >= PIECE { self.flush() } else { Ok(()) }
    }

    fn row_text(&mut self, row: &str) -> io::Result<()> {
        match RawValue::from_string(row.to_owned()) {
            Ok(raw) => self.row(&raw),
            Err(_) => Ok(()),
        }
    }

    /// Whether text is held for the object that follows it.
    fn holds_text(&self) -> bool {
        self.transcript.is_some() && !matches!(self.spec.format, OutputFormat::Text | OutputFormat::Records)
    }

    /// The object that an answer of text ends with: with the text in it for programs; for people, who have read the text
    /// by then, what it says beyond that stands beside the answer.
    fn closing_object(&mut self, object: Map<String, Value>) -> io::Result<()> {
        if self.holds_text() {
            return self.whole_object(object);
        }
        if self.spec.format == OutputFormat::Records {
            self.end_line();
            self.flush()?;
            let object: Map<String, Value> = object.into_iter().filter(|(_, value)| !value.is_null()).collect();
            let only = self.spec.options.columns.clone();
            let width = self.screen.err_width();
            let mut records = Records::new(self.spec.columns.clone(), only, width, self.spec.zone.clone(), false);
            let mut said = Vec::new();
            // The one row that there is: what the line leaves out of rows, it leaves out of this too.
            self.rows.take(&to_raw_value(&object)?, |row| records.row(row, &mut said));
            self.rows.end(|row| records.row(row, &mut said));
            self.screen.aside(String::from_utf8_lossy(&said).trim_end());
        }
        Ok(())
    }

    /// What follows a text on a terminal begins a line.
    fn end_line(&mut self) {
        if std::mem::take(&mut self.line_is_open) {
            self.buffer.push(b'\n');
        }
    }

    fn whole_object(&mut self, object: Map<String, Value>) -> io::Result<()> {
        let Some(transcript) = self.transcript.take() else { return Ok(()) };
        self.notes.extend(transcript.note());
        let whole = Value::Object(transcript.fill(object, &self.spec.columns));
        let raw = to_raw_value(&whole)?;
        self.object(&raw)
    }

    /// An answer of one object: as it is in JSON, its entries as rows in everything else.
    fn object(&mut self, value: &RawValue) -> io::Result<()> {
        let parsed: Option<Map<String, Value>> = serde_json::from_str(value.get()).ok();
        if self.transcript.is_some()
            && let Some(object) = parsed
        {
            return self.closing_object(object);
        }
        if self.spec.format == OutputFormat::Text {
            // The text said it.
            return Ok(());
        }
        let Some(object) = parsed else {
            self.buffer.extend_from_slice(json::harmless(value.get()).as_bytes());
            self.buffer.push(b'\n');
            return self.flush();
        };
        if self.spec.format == OutputFormat::Json {
            let columns = self.spec.options.columns.clone();
            let text = if self.spec.options.choose_rows() || columns.is_some() {
                let chosen = object::choose(&object, &mut self.rows, columns.as_deref());
                json::pretty(&Value::Object(chosen).to_string())
            } else {
                json::pretty(value.get())
            };
            self.buffer.extend_from_slice(text.as_bytes());
            self.buffer.push(b'\n');
            return self.flush();
        }
        for row in object::rows(&object) {
            self.row_text(&Value::Object(row).to_string())?;
        }
        Ok(())
    }

    fn text(&mut self, stream: StreamName, bytes: &[u8]) -> io::Result<()> {
        let to_terminal = self.cleans_text();
        if let (true, Some(transcript)) = (self.holds_text(), &mut self.transcript) {
            transcript.take(stream, bytes);
            return Ok(());
        }
        if self.spec.is_data() {
            // Programs read the object that follows; what is said in between is no part of it.
            return Ok(());
        }
        let [out, err] = &mut self.text;
        match stream {
            StreamName::Stdout if to_terminal => {
                let piece = out.piece(bytes);
                self.line_is_open = if piece.is_empty() { self.line_is_open } else { !piece.ends_with('\n') };
                self.buffer.extend_from_slice(piece.as_bytes());
            }
            StreamName::Stdout => self.buffer.extend_from_slice(bytes),
            // What goes wrong is said on the screen also where the answer goes into a file.
            StreamName::Stderr if self.screen.err_is_terminal() => {
                let piece = err.piece(bytes);
                // A script's own words stand where it says them; a note of the device's begins a line.
                if self.transcript.is_none() {
                    self.make_way()?;
                }
                return self.screen.write_error(piece.as_bytes());
            }
            StreamName::Stderr if self.transcript.is_none() => return self.screen.write_beside(bytes),
            StreamName::Stderr => return self.screen.write_error(bytes),
        }
        self.flush()
    }

    /// A change made on the device is a row of the answer.
    fn effect(&mut self, effect: &Effect) {
        self.answered = true;
        let row = serde_json::json!({
            "id": effect.effect_id, "type": effect.entity, "target": effect.target, "action": effect.action,
            "state": effect.state, "reason": effect.reason, "undoable": effect.undoable, "before": effect.before, "after": effect.after,
        });
        self.effects.push(row.to_string());
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let buffer = std::mem::take(&mut self.buffer);
        match &mut self.out {
            Out::Screen => self.screen.write(&buffer),
            Out::Beside => self.screen.write_error(&buffer),
            Out::File(writer) => writer.write(&buffer),
        }
    }
}
