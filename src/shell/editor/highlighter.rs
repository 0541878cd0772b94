//! Colours as one types, from the same reading that decides what runs.

use nu_ansi_term::{Color, Style};
use reedline::StyledText;

use crate::grammar::{Class, highlight};

/// Paints a line; its text stays the same.
pub(super) struct Highlighter;

impl reedline::Highlighter for Highlighter {
    fn highlight(&self, line: &str, _cursor: usize) -> StyledText {
        let mut styled = StyledText::new();
        for (span, class) in highlight(line) {
            let text = line.get(span.start..span.end).unwrap_or_default();
            styled.push((style(class), text.to_owned()));
        }
        styled
    }
}

/// Readable on dark and on light: the terminal's own colours, and never white or black.
fn style(class: Class) -> Style {
    match class {
        Class::Command => Style::new().bold(),
        Class::Parameter | Class::Flag => Style::new().fg(Color::Cyan),
        Class::Value => Style::new().fg(Color::Green),
        Class::Redirect | Class::Target | Class::Background => Style::new().fg(Color::Magenta),
        Class::Comment => Style::new().dimmed(),
        Class::Error => Style::new().fg(Color::Red),
        Class::Blank => Style::new(),
    }
}
