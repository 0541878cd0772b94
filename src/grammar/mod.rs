//! The language: the command table, and how a line is read by it.
//!
//! Pure: no I/O, no clock, no async. Reading never fails and never panics: it returns what was understood together with
//! diagnostics. Only this module knows the table; parser, help, completion, hints, highlighting, `-auto`, validation in
//! the service, role and platform checks, and table columns all ask it.

mod invocation;
mod row;

pub use invocation::{Diagnostic, ErrorKind, Invocation, Reading, Redirect, Span};
pub use row::{
    Alignment, Category, Column, Example, Flag, Form, Kind, OutputFormat, Parameter, Prerequisite, Role, Row, RunsOn, Sort,
    Unit, Weight,
};
