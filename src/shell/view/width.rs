//! How wide a text stands on a terminal, and how it is cut and filled to a width.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// The columns that a cleaned text takes.
#[must_use]
pub fn of(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.width() }
}

/// The longest start of a text that fits, with `…` as its last character; `None` when all of it fits.
#[must_use]
pub fn cut(text: &str, width: usize) -> Option<String> {
    if of(text) <= width {
        return None;
    }
    let mut out = String::with_capacity(width + 3);
    let mut used = 0;
    for c in text.chars() {
        let wide = c.width().unwrap_or(0);
        if used + wide + 1 > width {
            break;
        }
        used += wide;
        out.push(c);
    }
    if width > 0 {
        out.push('…');
    }
    Some(out)
}

/// Writes a number of blanks.
pub fn blanks(count: usize, out: &mut String) {
    out.extend(std::iter::repeat_n(' ', count));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_by_columns() {
        let check = |text: &str, width, shown: Option<&str>| assert_eq!(cut(text, width).as_deref(), shown, "{text} {width}");
        check("abc", 3, None);
        check("abcd", 3, Some("ab…"));
        check("文件名", 6, None);
        check("文件名", 5, Some("文件…"));
        check("文件名", 4, Some("文…"));
        check("abc", 1, Some("…"));
        check("abc", 0, Some(""));
    }
}
