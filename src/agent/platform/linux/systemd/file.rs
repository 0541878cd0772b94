//! A unit's file as text: sections, keys and values, after systemd.syntax(7). What is wrong in it is said and skipped, as systemd
//! does; nothing that a file holds makes reading it fail.

use std::path::PathBuf;
use std::sync::Arc;

/// The largest unit file that is read: systemd's own limit.
pub(super) const MAX_FILE: u64 = 4 * 1024 * 1024;
/// The longest line, continuations included: systemd's own limit.
const MAX_LINE: usize = 1024 * 1024;

/// Where an assignment stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The file.
    pub path: Arc<PathBuf>,
    /// The line in it, from 1.
    pub line: u32,
}

/// A `Key=value` of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The section it stands in.
    pub section: String,
    /// The key.
    pub key: String,
    /// The value, without the blanks around it, continued lines joined by a blank.
    pub value: String,
    /// Where it stands.
    pub source: Source,
}

/// Reads a unit's file: its assignments in order, and the first thing that is wrong with it.
#[must_use]
pub fn parse(text: &[u8], path: &Arc<PathBuf>) -> (Vec<Assignment>, Option<String>) {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let mut assignments = Vec::new();
    let mut wrong: Option<String> = None;
    let mut section: Option<String> = None;
    let mut pending: Option<(u32, Vec<u8>)> = None;
    let mut complain = |line: u32, what: &str| {
        wrong.get_or_insert_with(|| format!("line {line}: {what}"));
    };
    for (number, line) in (1..).zip(text.split(|&byte| byte == b'\n')) {
        let bare = line.trim_ascii();
        // Comments and blank lines: the former also amid a continued line.
        if matches!(bare.first(), Some(b'#' | b';')) || (bare.is_empty() && pending.is_none()) {
            continue;
        }
        let (start, mut whole) = pending.take().unwrap_or_else(|| (number, Vec::new()));
        let line = if whole.is_empty() { line.trim_ascii_start() } else { line };
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if whole.len() + line.len() > MAX_LINE {
            complain(start, "longer than systemd reads");
            continue;
        }
        if let Some(begun) = line.strip_suffix(b"\\") {
            whole.extend_from_slice(begun);
            whole.push(b' ');
            pending = Some((start, whole));
            continue;
        }
        whole.extend_from_slice(line);
        finish(start, &whole, &mut section, path, &mut assignments, &mut complain);
    }
    if let Some((start, whole)) = pending {
        finish(start, &whole, &mut section, path, &mut assignments, &mut complain);
    }
    (assignments, wrong)
}

fn finish(
    number: u32,
    line: &[u8],
    section: &mut Option<String>,
    path: &Arc<PathBuf>,
    assignments: &mut Vec<Assignment>,
    complain: &mut impl FnMut(u32, &str),
) {
    let line = line.trim_ascii();
    if line.is_empty() {
        return;
    }
    if line.contains(&0) {
        return complain(number, "a zero byte: this is no text");
    }
    let text = String::from_utf8_lossy(line);
    if matches!(text, std::borrow::Cow::Owned(_)) {
        complain(number, "not UTF-8");
    }
    if let Some(rest) = text.strip_prefix('[') {
        match rest.strip_suffix(']') {
            Some(name) => *section = Some(name.to_owned()),
            None => complain(number, "a section without its closing bracket"),
        }
        return;
    }
    let Some((key, value)) = text.split_once('=') else { return complain(number, "neither a section nor an assignment") };
    let Some(section) = section else { return complain(number, "an assignment before the first section") };
    assignments.push(Assignment {
        section: section.clone(),
        key: key.trim().to_owned(),
        value: value.trim().to_owned(),
        source: Source { path: Arc::clone(path), line: number },
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &[u8], expected: &[(&str, &str, &str, u32)], wrong: Option<&str>) {
        let (found, error) = parse(text, &Arc::default());
        let found: Vec<_> =
            found.iter().map(|a| (a.section.as_str(), a.key.as_str(), a.value.as_str(), a.source.line)).collect();
        assert_eq!((found.as_slice(), error.as_deref()), (expected, wrong), "{:?}", String::from_utf8_lossy(text));
    }

    #[test]
    fn files_are_read_as_systemd_reads_them() {
        check(b"", &[], None);
        check(b"[A]\nk=v", &[("A", "k", "v", 2)], None);
        check(b"\xef\xbb\xbf# c\n; c\n\n [A] \r\n k = v = w \r\n", &[("A", "k", "v = w", 5)], None);
        check(b"[A]\nk=a\\\n# amid\n  b \\\nc\nl=\n", &[("A", "k", "a   b  c", 2), ("A", "l", "", 6)], None);
        check(b"[A]\nk=a\\", &[("A", "k", "a", 2)], None);
    }

    #[test]
    fn what_is_wrong_is_said_and_skipped() {
        check(b"k=v\n[A]\nl=w", &[("A", "l", "w", 3)], Some("line 1: an assignment before the first section"));
        check(b"[A\n[B]\nx\nl=w", &[("B", "l", "w", 4)], Some("line 1: a section without its closing bracket"));
        check(b"[B]\nx\0=y\nl=w", &[("B", "l", "w", 3)], Some("line 2: a zero byte: this is no text"));
        check(b"[B]\nx=\xff", &[("B", "x", "\u{fffd}", 2)], Some("line 2: not UTF-8"));
        let long = [b"[B]\nx=".to_vec(), vec![b'y'; MAX_LINE + 1], b"\nl=w".to_vec()].concat();
        check(&long, &[("B", "l", "w", 3)], Some("line 2: longer than systemd reads"));
    }
}
