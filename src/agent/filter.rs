//! What a file must be for `findfile` to tell it: its type, size, age and content.

use jiff::{SignedDuration, Timestamp};
use rustix::fs::FileType;

use super::context::{Context, VerbError};
use super::platform::Facts;
use crate::protocol::Problem;

/// At least, at most, or exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bound {
    AtLeast,
    AtMost,
    Exactly,
}

/// What a file must be. Nothing asked: any.
#[derive(Debug, Default)]
pub struct Filter {
    kind: Option<FileType>,
    size: Option<(Bound, u64)>,
    modified: Option<(Bound, Timestamp)>,
    sha256: Option<String>,
}

impl Filter {
    /// Reads `type`, `size`, `modified` and `sha256`.
    ///
    /// # Errors
    /// When a value is not what its parameter takes.
    pub fn of(ctx: &Context) -> Result<Self, VerbError> {
        let bad =
            |name: &str, value: &str, wanted: &str| Problem::new("bad_value", format!("-{name} {value}: {wanted}")).about(name);
        let mut filter = Self::default();
        if let Some(kind) = ctx.param("type") {
            filter.kind = Some(match kind {
                "f" => FileType::RegularFile,
                "d" => FileType::Directory,
                "l" => FileType::Symlink,
                _ => return Err(bad("type", kind, "f, d or l").into()),
            });
        }
        if let Some(value) = ctx.param("size") {
            filter.size = Some(size(value).ok_or_else(|| bad("size", value, "a size is [+-]N[k|M|G]"))?);
        }
        if let Some(value) = ctx.param("modified") {
            let age = age(value, Timestamp::now())
                .ok_or_else(|| bad("modified", value, "an age is [+-]N(s|m|h|d) or an RFC 3339 time"))?;
            filter.modified = Some(age);
        }
        if let Some(value) = ctx.param("sha256") {
            if value.len() != 64 || !value.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return Err(bad("sha256", value, "a SHA-256 is 64 hexadecimal digits").into());
            }
            filter.sha256 = Some(value.to_ascii_lowercase());
        }
        Ok(filter)
    }

    /// Whether what the folder itself tells of an entry rules it out.
    #[must_use]
    pub fn excludes(&self, kind: FileType) -> bool {
        let wanted = if self.sha256.is_some() { self.kind.or(Some(FileType::RegularFile)) } else { self.kind };
        kind != FileType::Unknown && wanted.is_some_and(|wanted| wanted != kind)
    }

    /// Whether a file's facts are what is asked for; all but its content.
    #[must_use]
    pub fn admits(&self, facts: &Facts) -> bool {
        let fits = |bound, value: i128, wanted: i128| match bound {
            Bound::AtLeast => value >= wanted,
            Bound::AtMost => value <= wanted,
            Bound::Exactly => value == wanted,
        };
        !self.excludes(facts.kind)
            && self.size.is_none_or(|(bound, size)| fits(bound, facts.size.into(), size.into()))
            && self.modified.is_none_or(|(bound, time)| fits(bound, facts.modified.ns(), time.as_nanosecond()))
    }

    /// Whether more than name and type is asked for.
    #[must_use]
    pub fn needs_facts(&self) -> bool {
        self.size.is_some() || self.modified.is_some() || self.sha256.is_some()
    }

    /// The SHA-256 that its content must have.
    #[must_use]
    pub fn sha256(&self) -> Option<&str> {
        self.sha256.as_deref()
    }
}

/// `[+-]N[k|M|G]`.
fn size(text: &str) -> Option<(Bound, u64)> {
    let (bound, text) = signed(text, Bound::Exactly);
    let (number, factor) = match text.char_indices().last()? {
        (at, 'k' | 'K') => (text.get(..at)?, 1 << 10),
        (at, 'm' | 'M') => (text.get(..at)?, 1 << 20),
        (at, 'g' | 'G') => (text.get(..at)?, 1 << 30),
        _ => (text, 1),
    };
    Some((bound, number.parse::<u64>().ok()?.checked_mul(factor)?))
}

/// `[+-]N(s|m|h|d)`: how long ago, at least or (by default) at most; or a time, from which on.
fn age(text: &str, now: Timestamp) -> Option<(Bound, Timestamp)> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some((Bound::AtLeast, time));
    }
    let (bound, text) = signed(text, Bound::AtMost);
    let (at, unit) = text.char_indices().last()?;
    let factor = match unit.to_ascii_lowercase() {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return None,
    };
    let seconds = text.get(..at)?.parse::<u32>().ok().map(|count| i64::from(count).saturating_mul(factor))?;
    let time = now.checked_sub(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MIN);
    // To be at most so old is to be changed since then.
    Some((if bound == Bound::AtLeast { Bound::AtMost } else { Bound::AtLeast }, time))
}

fn signed(text: &str, without: Bound) -> (Bound, &str) {
    match (text.strip_prefix('+'), text.strip_prefix('-')) {
        (Some(rest), _) => (Bound::AtLeast, rest),
        (_, Some(rest)) => (Bound::AtMost, rest),
        _ => (without, text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_ages_are_read() {
        assert_eq!(size("10"), Some((Bound::Exactly, 10)));
        assert_eq!(size("+2k"), Some((Bound::AtLeast, 2048)));
        assert_eq!(size("-3G"), Some((Bound::AtMost, 3 << 30)));
        for bad in ["", "k", "+", "1T", "--1", "1.5k", "99999999999999999999", "18446744073709551615G", "é"] {
            assert_eq!(size(bad), None, "{bad}");
        }
        let now: Timestamp = "2026-01-10T00:00:00Z".parse().unwrap();
        let day = |text: &str| text.parse::<Timestamp>().unwrap();
        assert_eq!(age("-2d", now), Some((Bound::AtLeast, day("2026-01-08T00:00:00Z"))));
        assert_eq!(age("2d", now), Some((Bound::AtLeast, day("2026-01-08T00:00:00Z"))));
        assert_eq!(age("+90s", now), Some((Bound::AtMost, day("2026-01-09T23:58:30Z"))));
        assert_eq!(age("2025-12-01T00:00:00Z", now), Some((Bound::AtLeast, day("2025-12-01T00:00:00Z"))));
        assert_eq!(age("4294967295d", now), Some((Bound::AtLeast, Timestamp::MIN)));
        for bad in ["", "d", "2", "2w", "-", "2.5d"] {
            assert_eq!(age(bad, now), None, "{bad}");
        }
    }
}
