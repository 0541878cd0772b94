//! What each part of a line was read as, for colours.

use super::invocation::Span;
use super::parser::bind;

/// What each part of a line was read as: spans in order that together cover the line.
#[must_use]
pub fn highlight(line: &str) -> Vec<(Span, Class)> {
    let mut marks = bind(line, None).1;
    // Of two marks at one place the later says more: a value that did not fit is an error.
    marks.sort_by_key(|(span, _)| span.start);
    let mut whole: Vec<(Span, Class)> = Vec::with_capacity(marks.len() * 2 + 1);
    let mut at = 0;
    let mut push = |start: usize, end: usize, class| {
        if start < end {
            whole.push((Span { start, end }, class));
        }
    };
    for (index, (span, class)) in marks.iter().enumerate() {
        if marks
            .get(index + 1..)
            .unwrap_or_default()
            .iter()
            .take_while(|(later, _)| later.start == span.start)
            .any(|(later, _)| later.end >= span.end)
        {
            continue;
        }
        let start = span.start.max(at);
        push(at, start, Class::Blank);
        push(start, span.end.max(start), *class);
        at = at.max(span.end);
    }
    push(at, line.len(), Class::Blank);
    whole
}

/// What a part of a line is, for colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// A command that there is.
    Command,
    /// The name of a parameter.
    Parameter,
    /// A flag.
    Flag,
    /// A value.
    Value,
    /// `>` or `>>`.
    Redirect,
    /// The file behind it.
    Target,
    /// `&`.
    Background,
    /// A comment.
    Comment,
    /// What was not understood.
    Error,
    /// What stands between words.
    Blank,
}
