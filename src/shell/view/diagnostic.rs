//! A diagnostic as a person reads it: where, what, the line with a caret under the place, and what to do instead.

use std::borrow::Cow;

use crate::grammar::{Diagnostic, ErrorKind};

use super::wrap::Wrap;
use super::{clean, theme, width};

/// Of what stands before the place so much is shown, of the place itself, and of what stands behind it: a line may have a
/// megabyte, and what is wrong with it is to stay on the screen.
const SHOWN: [usize; 3] = [60, 80, 40];
/// The line stands this far in, and has so many columns on a terminal however narrow.
const INDENT: usize = 2;
const LEAST: usize = 20;
/// And of the sentence, which may name a value of any length.
const SENTENCE: usize = 400;

/// Where a line came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The script's name, `-` for standard input, `-c` for a line of the command line.
    pub source: String,
    /// The line's number within it, from 1.
    pub number: usize,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", clean::line(&self.source), self.number)
    }
}

/// Draws one diagnostic; no line feed at its end.
#[must_use]
pub(super) fn render(line: &str, origin: Option<&Origin>, found: &Diagnostic, color: bool, columns: Option<usize>) -> String {
    let mut out = String::new();
    let start = floor(line, found.span.start);
    if let Some(origin) = origin {
        // A quote may span lines: the place is counted from the line that the span starts in.
        let before = line.get(..start).unwrap_or_default();
        let number = origin.number + before.matches('\n').count();
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        out.push_str(&format!("{}:{number}:{column}: ", clean::line(&origin.source)));
    }
    let wrap = Wrap { columns, taken: width::of(&out) + "error:".len(), hang: 2 };
    out.push_str(&theme::paint(theme::error(), "error:", color));
    let message = clean::line(&found.message);
    wrap.line(&format!(" {}", width::cut_path(&message, SENTENCE).map_or(message, Cow::Owned)), &mut out);
    if found.kind != ErrorKind::Empty {
        place(line, start, found.span.end, color, columns, &mut out);
    }
    if let Some(hint) = &found.hint {
        let mut told = String::new();
        Wrap { columns, taken: 2, hang: 4 }.line(&clean::line(hint), &mut told);
        out.push_str("\n  ");
        out.push_str(&theme::paint(theme::advice(), &told, color));
    }
    out
}

/// The line that the span starts in, and carets below the span.
fn place(line: &str, start: usize, end: usize, color: bool, columns: Option<usize>, out: &mut String) {
    let from = line.get(..start).and_then(|before| before.rfind('\n')).map_or(0, |at| at + 1);
    let to = line.get(start..).and_then(|rest| rest.find('\n')).map_or(line.len(), |at| start + at);
    let end = floor(line, end).clamp(start, to);
    // Cleaned in parts, so that a hostile character's longer form moves the carets with it.
    let part = |range| clean::line(line.get(range).unwrap_or_default());
    let [room_before, room, room_after] = SHOWN;
    // All of it on one line of the terminal, or the carets would stand below something else: the place itself first, then
    // what stands before it.
    let columns = columns.map_or(usize::MAX, |columns| columns.saturating_sub(INDENT).max(LEAST));
    let cut = |text: Cow<'_, str>, room| width::cut(&text, room).unwrap_or_else(|| text.into_owned());
    let marked = cut(part(start..end), room.min(columns / 2));
    let left = columns - width::of(&marked).max(1);
    let before = part(from..start);
    let before = width::cut_start(&before, room_before.min(left)).unwrap_or_else(|| before.into_owned());
    let after = cut(part(end..to), room_after.min(left - width::of(&before)));
    out.push_str("\n  ");
    out.push_str(&before);
    out.push_str(&marked);
    out.push_str(&after);
    out.push_str("\n  ");
    width::blanks(width::of(&before), out);
    out.push_str(&theme::paint(theme::error(), &"^".repeat(width::of(&marked).max(1)), color));
}

/// The nearest place at or before `at` where a character starts.
fn floor(line: &str, at: usize) -> usize {
    (0..=at.min(line.len())).rev().find(|at| line.is_char_boundary(*at)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grammar::Span;

    fn check(line: &str, start: usize, end: usize, drawn: &str) {
        let found = Diagnostic {
            kind: ErrorKind::BadValue,
            message: "no such thing".into(),
            span: Span { start, end },
            hint: Some("try another".into()),
        };
        assert_eq!(render(line, None, &found, false, None), format!("error: no such thing\n{drawn}\n  try another"), "{line}");
    }

    #[test]
    fn the_caret_stands_under_the_place() {
        check("dir -x", 4, 6, "  dir -x\n      ^^");
        check("dir 文件 -x", 11, 13, "  dir 文件 -x\n           ^^");
        check("dir \t-x", 5, 7, "  dir ␉-x\n       ^^");
        check("dir \x1b[2J", 4, 8, "  dir \\x1b[2J\n      ^^^^^^^");
        check("", 0, 0, "  \n  ^");
        check("dir", 3, 3, "  dir\n     ^");
        check("dir", 90, 99, "  dir\n     ^");
        check("cat \"a\nb\" -x", 10, 12, "  b\" -x\n     ^^");
    }

    #[test]
    fn of_a_long_line_only_what_is_near_is_shown() {
        let line = format!("dir {} -x {}", "y".repeat(10_000), "z".repeat(10_000));
        let drawn = format!("  …{} -x {}…\n  {}^^", "y".repeat(58), "z".repeat(38), " ".repeat(60));
        check(&line, 10_005, 10_007, &drawn);
        check(&"x".repeat(10_000), 0, 10_000, &format!("  {}…\n  {}", "x".repeat(79), "^".repeat(80)));
        let found = Diagnostic {
            kind: ErrorKind::Empty,
            message: format!("`{}` is no command", "x".repeat(10_000)),
            span: Span { start: 0, end: 0 },
            hint: None,
        };
        let told = render("", None, &found, false, None);
        assert!(
            told.starts_with("error: `xxx") && told.ends_with("xxx` is no command") && told.chars().count() < 450,
            "{told}"
        );
    }

    #[test]
    fn on_a_terminal_the_caret_stays_below_its_place_and_words_are_whole() {
        let line = format!("dir {} -x {}", "y".repeat(50), "z".repeat(50));
        let found = Diagnostic {
            kind: ErrorKind::UnknownParameter,
            message: "dir has no parameter or flag `-x`, nor anything like it".into(),
            span: Span { start: 55, end: 57 },
            hint: Some("`help dir` lists what it takes; a value with a dash in quotes".into()),
        };
        let drawn = render(&line, None, &found, false, Some(40));
        let wanted = format!(
            "error: dir has no parameter or flag\n  `-x`, nor anything like it\n  …{} -x\n  {}^^\n  `help dir` lists what it takes; a\n    value with a dash in quotes",
            "y".repeat(34),
            " ".repeat(36)
        );
        assert_eq!(drawn, wanted);
        assert!(drawn.lines().all(|line| width::of(line) <= 40), "{drawn}");
    }

    #[test]
    fn the_origin_names_the_line_that_the_place_is_in() {
        let found = Diagnostic {
            kind: ErrorKind::OpenQuote,
            message: "the quote is not closed".into(),
            span: Span { start: 8, end: 9 },
            hint: None,
        };
        let origin = Origin { source: "fix.lr".into(), number: 4 };
        let drawn = render("cat 'ö\n'", Some(&origin), &found, false, None);
        assert_eq!(drawn, "fix.lr:5:1: error: the quote is not closed\n  '\n  ^");
    }
}
