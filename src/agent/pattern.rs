//! Name patterns: `*` any text, `?` one character, `[a-z]` and `[!a-z]` one of a set. Nothing escapes: a backslash is a
//! character like any other, as everywhere on the line.
//!
//! They match bytes, for a hostile name need not be UTF-8: where it is not, each broken byte counts as one character that
//! only `*` and `?` (and a set's negation) match.

/// A pattern that was read once and is matched often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    parts: Vec<Part>,
    any_case: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Anything,
    One,
    Character(char),
    Set { not: bool, ranges: Vec<(char, char)> },
}

/// Whether a text has a character that makes it a pattern.
#[must_use]
pub fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

impl Pattern {
    /// Reads a pattern. Every text is one: a `[` without its `]` is a character.
    #[must_use]
    pub fn new(text: &str, any_case: bool) -> Self {
        let mut parts = Vec::new();
        let mut rest = text.chars();
        while let Some(c) = rest.next() {
            let part = match c {
                '*' if parts.last() == Some(&Part::Anything) => continue,
                '*' => Part::Anything,
                '?' => Part::One,
                '[' => match set(rest.clone(), any_case) {
                    Some((part, behind)) => {
                        rest = behind;
                        part
                    }
                    None => Part::Character('['),
                },
                c => Part::Character(if any_case { folded(c) } else { c }),
            };
            parts.push(part);
        }
        Self { parts, any_case }
    }

    /// The same pattern with any text allowed in front of it.
    #[must_use]
    pub fn anywhere_before(mut self) -> Self {
        if self.parts.first() != Some(&Part::Anything) {
            self.parts.insert(0, Part::Anything);
        }
        self
    }

    /// Whether it matches the whole of these bytes. Takes at most pattern × text steps, whatever the pattern.
    #[must_use]
    pub fn matches(&self, text: &[u8]) -> bool {
        let (mut part, mut at) = (0, 0);
        // The last `*` and where the text behind it was tried last: an earlier one never needs to give up more.
        let mut back: Option<(usize, usize)> = None;
        loop {
            match self.parts.get(part) {
                Some(Part::Anything) => {
                    part += 1;
                    if part == self.parts.len() {
                        return true;
                    }
                    back = Some((part, at));
                    continue;
                }
                Some(wanted) => {
                    if let Some((c, length)) = first(text.get(at..).unwrap_or_default())
                        && self.fits(wanted, c)
                    {
                        part += 1;
                        at += length;
                        continue;
                    }
                }
                None if at == text.len() => return true,
                None => {}
            }
            let Some((behind, tried)) = back else { return false };
            let Some((_, length)) = first(text.get(tried..).unwrap_or_default()) else { return false };
            back = Some((behind, tried + length));
            (part, at) = (behind, tried + length);
        }
    }

    fn fits(&self, part: &Part, c: Option<char>) -> bool {
        let c = c.map(|c| if self.any_case { folded(c) } else { c });
        match part {
            Part::Anything | Part::One => true,
            Part::Character(wanted) => c == Some(*wanted),
            Part::Set { not, ranges } => {
                let inside = c.is_some_and(|c| ranges.iter().any(|&(from, to)| from <= c && c <= to));
                inside != *not
            }
        }
    }
}

/// Reads what stands behind a `[`, up to its `]`; a `]` right at the start is a member.
fn set(mut rest: std::str::Chars<'_>, any_case: bool) -> Option<(Part, std::str::Chars<'_>)> {
    let mut ranges = Vec::new();
    let fold = |c| if any_case { folded(c) } else { c };
    let mut c = rest.next()?;
    let not = matches!(c, '!' | '^');
    if not {
        c = rest.next()?;
    }
    loop {
        let mut behind = rest.clone();
        match (behind.next(), behind.next()) {
            (Some('-'), Some(to)) if to != ']' => {
                ranges.push((fold(c), fold(to)));
                rest = behind;
            }
            _ => ranges.push((fold(c), fold(c))),
        }
        c = rest.next()?;
        if c == ']' {
            return Some((Part::Set { not, ranges }, rest));
        }
    }
}

/// Whether two names are the same but for their case.
#[must_use]
pub fn same_in_any_case(one: &[u8], other: &[u8]) -> bool {
    if one.is_ascii() && other.is_ascii() {
        return one.eq_ignore_ascii_case(other);
    }
    match (std::str::from_utf8(one), std::str::from_utf8(other)) {
        (Ok(one), Ok(other)) => one.chars().map(folded).eq(other.chars().map(folded)),
        _ => one == other,
    }
}

/// One case for comparing: the lower one where it is a single character.
fn folded(c: char) -> char {
    if c.is_ascii() {
        return c.to_ascii_lowercase();
    }
    let mut lower = c.to_lowercase();
    match (lower.next(), lower.next()) {
        (Some(one), None) => one,
        _ => c,
    }
}

/// The first character of bytes and its length: `None` for a byte that is no UTF-8.
fn first(bytes: &[u8]) -> Option<(Option<char>, usize)> {
    let lead = *bytes.first()?;
    if lead.is_ascii() {
        return Some((Some(char::from(lead)), 1));
    }
    let length = match lead {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => return Some((None, 1)),
    };
    let c = bytes.get(..length).and_then(|bytes| std::str::from_utf8(bytes).ok()).and_then(|text| text.chars().next());
    Some(c.map_or((None, 1), |c| (Some(c), length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, any_case: bool, yes: &[&[u8]], no: &[&[u8]]) {
        let read = Pattern::new(pattern, any_case);
        for text in yes {
            assert!(read.matches(text), "{pattern} ought to match {text:?}");
        }
        for text in no {
            assert!(!read.matches(text), "{pattern} ought not to match {text:?}");
        }
    }

    #[test]
    fn patterns_match_as_written() {
        check("", false, &[b""], &[b"a"]);
        check("*", false, &[b"", b"a", b"\xff\xfe"], &[]);
        check("*.conf", false, &[b".conf", b"a.conf", b"a.conf.conf"], &[b"a.conf~", b"A.CONF"]);
        check("a*b*c", false, &[b"abc", b"aXbYc", b"abcbc"], &[b"ab", b"acb"]);
        check("?", false, &[b"a", "é".as_bytes(), b"\xff"], &[b"", b"ab"]);
        check("[a-c]x", false, &[b"ax", b"cx"], &[b"dx", b"x", b"[x"]);
        check("[!a-c]x", false, &[b"dx", b"\xffx"], &[b"ax", b"x"]);
        check("[]]", false, &[b"]"], &[b"["]);
        check("[a-]", false, &[b"a", b"-"], &[b"b"]);
        check("[ab", false, &[b"[ab"], &[b"a"]);
        check(r"a\*", false, &[br"a\", br"a\b"], &[b"a*"]);
        check("*\u{fffd}*", false, &["\u{fffd}".as_bytes()], &[b"\xff"]);
        check("{a,b}", false, &[b"{a,b}"], &[b"a"]);
    }

    #[test]
    fn any_case_goes_beyond_ascii() {
        check("*.CONF", true, &[b"a.conf", b"A.Conf"], &[b"a.con"]);
        check("É[À-Ö]", true, &["éà".as_bytes()], &["éz".as_bytes()]);
    }

    #[test]
    fn a_hostile_pattern_ends_soon() {
        let text = vec![b'a'; 100_000];
        assert!(!Pattern::new("*a*a*a*a*a*a*a*a*a*a*a*b", false).matches(&text));
    }
}
