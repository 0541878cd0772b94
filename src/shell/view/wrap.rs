//! Lines that are longer than a terminal is wide, broken between words, the further lines set in.
//!
//! A word that is longer than a line by itself (a path, a hash) is left whole: the terminal breaks it, and what is copied from
//! there is the word as it was.

use super::width;

/// Where lines are broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wrap {
    /// The columns of the terminal; `None`: lines are as long as they are.
    pub(super) columns: Option<usize>,
    /// The columns that something before the text takes on its first line.
    pub(super) taken: usize,
    /// How far the further lines are set in.
    pub(super) hang: usize,
}

impl Wrap {
    /// Writes a text without line feeds.
    pub(super) fn line(self, text: &str, out: &mut String) {
        let Some(columns) = self.columns.filter(|columns| self.taken + width::of(text) > *columns) else {
            return out.push_str(text);
        };
        // Where nothing is left beside a deep indent, the rest stands at the edge.
        let hang = if self.hang * 2 > columns { 0 } else { self.hang };
        let mut at = self.taken;
        // Behind nothing there is nothing to part it from.
        let mut can_break = self.taken > 0;
        for (gap, word) in words(text) {
            let wide = width::of(word);
            let room = columns.saturating_sub(at + gap);
            // A word that fits on no line begins here: the terminal breaks it wherever it begins.
            if wide > room && can_break && wide <= columns - hang {
                out.push('\n');
                width::blanks(hang, out);
                at = hang;
            } else {
                width::blanks(gap, out);
                at += gap;
            }
            out.push_str(word);
            at += wide;
            if at > columns {
                // As far as the terminal has come on its last line of it.
                at = (at - 1) % columns + 1;
            }
            can_break = true;
        }
    }

    /// Writes a text of several lines, each set in as far as it was, and its further lines a little more.
    pub(super) fn lines(self, text: &str) -> String {
        if self.columns.is_none() {
            return text.to_owned();
        }
        let mut out = String::with_capacity(text.len() + 16);
        for (n, line) in text.split('\n').enumerate() {
            if n > 0 {
                out.push('\n');
            }
            let indent = line.len() - line.trim_start_matches(' ').len();
            let taken = if n == 0 { self.taken } else { 0 };
            Self { taken, hang: indent + self.hang, ..self }.line(line, &mut out);
        }
        out
    }
}

/// The words of a text, each with the blanks before it. Only a blank parts words: a no-break space does not.
fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut gap = 0;
    text.split(' ').enumerate().filter_map(move |(n, word)| {
        gap += usize::from(n > 0);
        if word.is_empty() { None } else { Some((std::mem::take(&mut gap), word)) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(columns: usize, taken: usize, hang: usize, text: &str, wanted: &str) {
        let mut out = String::new();
        Wrap { columns: Some(columns), taken, hang }.line(text, &mut out);
        assert_eq!(out, wanted, "{columns} {taken} {hang}");
        // What was broken once is not broken again.
        let again = Wrap { columns: Some(columns), taken, hang: 0 }.lines(&out);
        assert_eq!(again, wanted, "{columns} {taken} {hang}");
    }

    #[test]
    fn words_are_not_broken() {
        check(20, 7, 2, "the disk is full", "the disk is\n  full");
        check(20, 0, 2, "exactly twenty chars", "exactly twenty chars");
        check(20, 0, 2, "exactly twenty chars and more", "exactly twenty chars\n  and more");
        check(10, 0, 4, "a  b   wide gap", "a  b\n    wide\n    gap");
        check(12, 0, 2, "文件名 文件名 文件名", "文件名\n  文件名\n  文件名");
        check(10, 0, 8, "too deep an indent", "too deep\nan indent");
        check(10, 0, 2, "", "");
    }

    #[test]
    fn a_word_longer_than_a_line_stays_whole() {
        let path = "/a/path/that/is/longer/than/a/line";
        // The terminal breaks the path, and stands in the midst of a line behind it.
        check(20, 7, 2, &format!("{path}: no such file there"), &format!("{path}: no such file\n  there"));
        check(20, 7, 2, &format!("see {path} and there"), &format!("see {path} and there"));
        // One that fits on a line by itself is not begun before it.
        check(20, 6, 2, " /just/as/long/asi: no", "\n  /just/as/long/asi:\n  no");
        check(20, 0, 2, path, path);
    }

    #[test]
    fn each_line_keeps_its_indent() {
        let text = "one two three\n  done: four five six";
        let wrap = Wrap { columns: Some(12), taken: 0, hang: 2 };
        assert_eq!(wrap.lines(text), "one two\n  three\n  done: four\n    five six");
        assert_eq!(Wrap { columns: None, ..wrap }.lines(text), text);
    }
}
