//! The few styles that the shell paints with. Only what reads well on dark and on light ground: the terminal's own
//! foreground in bold, dim or underlined, and its red, green, cyan and magenta; never yellow, white or blue.

use nu_ansi_term::{Color, Style};

/// A table's headings.
#[must_use]
pub fn heading() -> Style {
    Style::new().bold()
}

/// The names of a record's fields.
#[must_use]
pub fn field() -> Style {
    Style::new().fg(Color::Cyan)
}

/// What went wrong.
#[must_use]
pub fn error() -> Style {
    Style::new().fg(Color::Red).bold()
}

/// What went well.
#[must_use]
pub fn good() -> Style {
    Style::new().fg(Color::Green)
}

/// What is said beside the matter: notes, hints, what was left out.
#[must_use]
pub fn aside() -> Style {
    Style::new().dimmed()
}

/// What an analyst could do now.
#[must_use]
pub fn advice() -> Style {
    Style::new().fg(Color::Cyan)
}

/// A text in a style, where colour is wanted.
#[must_use]
pub fn paint(style: Style, text: &str, color: bool) -> String {
    if color { style.paint(text).to_string() } else { text.to_owned() }
}
