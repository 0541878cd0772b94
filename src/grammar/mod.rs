//! The language: the command table, and how a line is read by it.
//!
//! Pure: no I/O, no clock, no async. Reading never fails and never panics: it returns what was understood together with
//! diagnostics. Only this module knows the table; parser, help, completion, hints, highlighting, `-auto`, validation in
//! the service, role and platform checks, and table columns all ask it.

mod addresses;
mod arguments;
mod check;
mod colours;
mod expected;
mod hints;
mod invocation;
mod lexer;
mod line;
mod operators;
mod parser;
mod reading;
mod row;
mod script;
mod table;
mod values;

pub use addresses::address;
pub use arguments::split_arguments;
pub use colours::{Class, highlight};
pub use expected::{Expected, ExpectedValue, expected_at};
pub use hints::{nearest, not_yet};
pub use invocation::{Diagnostic, ErrorKind, Invocation, Reading, Redirect, Signs, Span};
pub use lexer::{quoted, quoted_in};
pub use parser::read;
pub use row::{
    Alignment, Category, Column, Example, Flag, Form, Kind, OutputFormat, Parameter, Prerequisite, Role, Row, RunsOn, Sort,
    Unit, Weight,
};
pub use script::{NotText, ScriptLine, decode, decode_lines, has_open_quote, script_lines};
pub use table::{Table, table};
