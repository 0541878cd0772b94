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

/// A path in so many columns: its end, which tells most of it, and as much of its start as is left, with `…` between them;
/// `None` when all of it fits.
#[must_use]
pub fn cut_path(path: &str, width: usize) -> Option<String> {
    if of(path) <= width {
        return None;
    }
    let room = width.saturating_sub(1);
    let end = end_of(path, room - room / 3);
    let start = path.get(..path.len() - end.len()).and_then(|start| cut(start, width - of(end)));
    Some(format!("{}{end}", start.unwrap_or_default()))
}

/// The longest end of a text that fits, with `…` as its first character; `None` when all of it fits.
#[must_use]
pub fn cut_start(text: &str, width: usize) -> Option<String> {
    (of(text) > width).then(|| format!("…{}", end_of(text, width.saturating_sub(1))))
}

/// The longest end of a text that fits.
fn end_of(text: &str, width: usize) -> &str {
    let mut left = width;
    let fits = |(_, c): &(usize, char)| {
        let wide = c.width().unwrap_or(0);
        let fits = wide <= left;
        left = left.saturating_sub(wide);
        fits
    };
    let start = text.char_indices().rev().take_while(fits).last();
    start.and_then(|(at, _)| text.get(at..)).unwrap_or_default()
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

    #[test]
    fn of_a_path_the_end_stays() {
        let check = |path: &str, width, shown: Option<&str>| {
            assert_eq!(cut_path(path, width).as_deref(), shown, "{path} {width}");
            assert!(shown.is_none_or(|shown| of(shown) <= width), "{path} {width}");
        };
        check("/etc/passwd", 11, None);
        check("/etc/X11/Xsession.d/20dbus_xdg-runtime", 26, Some("/etc/X11…0dbus_xdg-runtime"));
        check("/etc/cron.d/e2scrub_all#a5b743e9", 20, Some("/etc/c…_all#a5b743e9"));
        check("/文件文件文件文件文件", 10, Some("/文…件文件"));
        check("/abcdef", 2, Some("…f"));
        check("/abcdef", 1, Some("…"));
        check("/abcdef", 0, Some(""));
    }
}
