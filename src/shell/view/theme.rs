//! The few styles that the shell paints with, here and in the editor. Only what reads well on dark and on light ground: the
//! terminal's own foreground in bold, dim or underlined, and those of its sixteen colours that no usual palette draws hard to
//! see on either ground: red, green and magenta. Cyan and yellow are next to nothing on white, blue is on black, and white,
//! black and the bright ones are on one of the two. A test holds that against the palettes of the terminals people use.

use nu_ansi_term::{Color, Style};

use crate::grammar::Class;

/// A table's headings.
#[must_use]
pub fn heading() -> Style {
    Style::new().bold()
}

/// The names of a record's fields.
#[must_use]
pub fn field() -> Style {
    Style::new().bold()
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

/// What an analyst could do now, and what an entry of a menu is.
#[must_use]
pub fn advice() -> Style {
    Style::new().fg(Color::Magenta)
}

/// A part of a line as it is typed. What is not understood is underlined too: red and green are one colour to many.
#[must_use]
pub fn typed(class: Class) -> Style {
    match class {
        Class::Command => Style::new().bold(),
        Class::Parameter | Class::Flag => Style::new().fg(Color::Magenta),
        Class::Value => Style::new().fg(Color::Green),
        Class::Redirect | Class::Target | Class::Background => Style::new().fg(Color::Magenta).bold(),
        Class::Comment => Style::new().dimmed(),
        Class::Error => Style::new().fg(Color::Red).underline(),
        Class::Blank => Style::new(),
    }
}

/// A text in a style, where colour is wanted.
#[must_use]
pub fn paint(style: Style, text: &str, color: bool) -> String {
    if color { style.paint(text).to_string() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Red, green, yellow, blue, magenta and cyan of a terminal, and the grounds it is used on.
    const PALETTES: [(&str, &str, &str); 9] = [
        ("xterm", "cd0000 00cd00 cdcd00 0000ee cd00cd 00cdcd", "ffffff 000000"),
        ("the console", "aa0000 00aa00 aa5500 0000aa aa00aa 00aaaa", "ffffff 000000"),
        ("macOS", "990000 00a600 999900 0000b2 b200b2 00a6b2", "ffffff 000000"),
        ("GNOME", "c01c28 26a269 a2734c 12488b a347ba 2aa1b3", "ffffff 171421"),
        ("Tango", "cc0000 4e9a06 c4a000 3465a4 75507b 06989a", "ffffff 000000"),
        ("Windows", "c50f1f 13a10e c19c00 0037da 881798 3a96dd", "0c0c0c"),
        ("VS Code, light", "cd3131 107c10 949800 0451a5 bc05bc 0598bc", "ffffff"),
        ("VS Code, dark", "cd3131 0dbc79 e5e510 2472c8 bc3fbc 11a8cd", "1e1e1e"),
        ("Solarized", "dc322f 859900 b58900 268bd2 d33682 2aa198", "fdf6e3 002b36"),
    ];

    /// The contrast of two colours, as the Web Content Accessibility Guidelines reckon it: 1 is none.
    fn contrast(one: u32, other: u32) -> f64 {
        let part = |color: u32, shift: u32| {
            let part = f64::from((color >> shift) & 0xff) / 255.0;
            if part <= 0.03928 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
        };
        let light = |color| 0.2126 * part(color, 16) + 0.7152 * part(color, 8) + 0.0722 * part(color, 0);
        let (one, other) = (light(one), light(other));
        (one.max(other) + 0.05) / (one.min(other) + 0.05)
    }

    fn place(color: Color) -> usize {
        let colors = [Color::Red, Color::Green, Color::Yellow, Color::Blue, Color::Magenta, Color::Cyan];
        colors.iter().position(|one| *one == color).unwrap_or_else(|| panic!("{color:?} is none of the six"))
    }

    /// The least contrast of a colour on any ground.
    fn worst(color: Color) -> f64 {
        let read = |text: &str| text.split(' ').map(|one| u32::from_str_radix(one, 16).unwrap()).collect::<Vec<_>>();
        let each = PALETTES.iter().flat_map(|(_, colors, grounds)| {
            let color = read(colors)[place(color)];
            read(grounds).into_iter().map(move |ground| contrast(color, ground))
        });
        each.fold(f64::INFINITY, f64::min)
    }

    #[test]
    fn every_colour_reads_on_dark_and_on_light_ground() {
        let classes = [Class::Command, Class::Parameter, Class::Flag, Class::Value, Class::Redirect, Class::Target];
        let classes = classes.into_iter().chain([Class::Background, Class::Comment, Class::Error, Class::Blank]);
        let styles = [heading(), field(), error(), good(), aside(), advice()].into_iter().chain(classes.map(typed));
        let mut used = 0;
        for style in styles {
            assert_eq!(style.background, None, "{style:?}");
            if let Some(color) = style.foreground {
                used += 1;
                assert!(worst(color) > 2.1, "{color:?}: {}", worst(color));
            }
        }
        assert!(used > 5);
        // The others are worse somewhere: the bound is no empty one.
        for other in [Color::Yellow, Color::Blue, Color::Cyan] {
            assert!(worst(other) < 2.0, "{other:?}: {}", worst(other));
        }
    }
}
