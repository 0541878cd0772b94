//! What a line was read as.

use std::collections::{BTreeMap, BTreeSet};

use indexmap::IndexMap;
use serde::Serialize;

use super::row::{Form, OutputFormat, Row};

/// A range of bytes of the line, from 0, the end excluded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Span {
    /// The first byte.
    pub start: usize,
    /// The byte behind the last.
    pub end: usize,
}

/// What was understood of a line, and what was not.
#[derive(Debug, Clone)]
pub struct Reading {
    /// What was understood; `None` where no command was recognised.
    pub invocation: Option<Invocation>,
    /// What was not, the one that counts first (see the design, section 3). Empty: the line may run.
    pub diagnostics: Vec<Diagnostic>,
}

/// A line bound to a definition.
#[derive(Debug, Clone)]
pub struct Invocation {
    /// The command's row.
    pub row: &'static Row,
    /// Where the command's word stands.
    pub command: Span,
    /// The sub-form that bound, if one did.
    pub form: Option<&'static Form>,
    /// Canonical names and values in the definition's order, without `output` and the view options.
    pub params: IndexMap<String, String>,
    /// The parameters whose value looks like a `file:///` form and is none, because it was quoted.
    pub literal: BTreeSet<String>,
    /// Canonical names.
    pub flags: BTreeSet<String>,
    /// The value of `output`.
    pub output: Option<OutputFormat>,
    /// `match`, `columns`, `sort`, `first`, as typed.
    pub view: BTreeMap<String, String>,
    /// Where the answer goes.
    pub redirect: Option<Redirect>,
    /// Whether the line ended in `&`.
    pub background: bool,
    /// Where the redirect and the final `&` stand.
    pub signs: Signs,
}

/// Where the signs behind the arguments stand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Signs {
    /// `>` or `>>`.
    pub redirect: Option<Span>,
    /// The final `&`.
    pub background: Option<Span>,
}

/// Where an answer goes instead of the screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// The local file, as typed, quotes stripped.
    pub target: String,
    /// `>>`.
    pub append: bool,
}

/// Something in a line that was not understood.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// What kind of thing.
    pub kind: ErrorKind,
    /// A sentence.
    pub message: String,
    /// Where.
    pub span: Span,
    /// What to do instead.
    pub hint: Option<String>,
}

/// The kinds of [`Diagnostic`], in the order that decides between two at one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// No command has this name.
    UnknownCommand,
    /// The command has no such parameter or flag.
    UnknownParameter,
    /// A parameter without its value.
    MissingValue,
    /// A required parameter is not there.
    MissingParameter,
    /// Given twice.
    DuplicateParameter,
    /// More values than parameters.
    TooManyValues,
    /// Outside the parameter's choices or kind.
    BadValue,
    /// A quote that is not closed.
    OpenQuote,
    /// `>` without a file.
    MissingRedirectTarget,
    /// What other shells have and this one has not.
    UnsupportedSyntax,
    /// Not to be had on this kind of device, or not yet.
    NotOnPlatform,
    /// The analyst lacks the role. Reading a line never says so: see [`Invocation::obstacle`].
    Role,
    /// Nothing there.
    Empty,
}

impl ErrorKind {
    /// As it is written in `explain`, `check` and on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnknownCommand => "unknown_command",
            Self::UnknownParameter => "unknown_parameter",
            Self::MissingValue => "missing_value",
            Self::MissingParameter => "missing_parameter",
            Self::DuplicateParameter => "duplicate_parameter",
            Self::TooManyValues => "too_many_values",
            Self::BadValue => "bad_value",
            Self::OpenQuote => "open_quote",
            Self::MissingRedirectTarget => "missing_redirect_target",
            Self::UnsupportedSyntax => "unsupported_syntax",
            Self::NotOnPlatform => "not_on_platform",
            Self::Role => "role",
            Self::Empty => "empty",
        }
    }
}
