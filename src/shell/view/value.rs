//! A field's raw value as a cell shows it: by its unit, and cleaned.

use std::borrow::Cow;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::value::RawValue;

use crate::grammar::Unit;

use super::{clean, fields};

/// The cleaned text of a value in a table or record.
pub(super) fn cell<'r>(raw: &'r str, unit: Unit, zone: &TimeZone) -> Cow<'r, str> {
    match unit {
        Unit::Time => time(fields::text(raw), zone),
        Unit::Millis => raw.parse().map_or_else(|_| plain(raw), |millis| Cow::Owned(duration(millis))),
        Unit::Plain | Unit::Bytes | Unit::Path => plain(raw),
    }
}

fn plain(raw: &str) -> Cow<'_, str> {
    if raw.starts_with('[')
        && let Some(list) = list(raw)
    {
        return Cow::Owned(list);
    }
    match fields::text(raw) {
        Cow::Borrowed(text) => clean::line(text),
        Cow::Owned(text) => Cow::Owned(clean::line(&text).into_owned()),
    }
}

/// A list of plain values, as people write one.
fn list(raw: &str) -> Option<String> {
    let items: Vec<Box<RawValue>> = serde_json::from_str(raw).ok()?;
    if items.iter().any(|item| item.get().starts_with(['{', '['])) {
        return None;
    }
    Some(items.iter().map(|item| plain(item.get())).collect::<Vec<_>>().join(", "))
}

/// A path's cell with its exact form beside it, when the row has one.
pub(super) fn with_uri<'r>(shown: Cow<'r, str>, uri: Option<&str>) -> Cow<'r, str> {
    match self::uri(uri) {
        Some(uri) => Cow::Owned(format!("{shown}  {uri}")),
        None => shown,
    }
}

/// The exact form of a path, from the raw value of its field.
pub(super) fn uri(raw: Option<&str>) -> Option<String> {
    let text = raw.filter(|raw| *raw != "null").map(fields::text)?;
    (!text.is_empty()).then(|| clean::line(&text).into_owned())
}

/// A time to the second, in the zone that tables use.
fn time<'r>(text: Cow<'r, str>, zone: &TimeZone) -> Cow<'r, str> {
    if *zone == TimeZone::UTC
        && let Some(short) = to_the_second(&text)
    {
        return match (text, short) {
            (Cow::Borrowed(text), None) => Cow::Borrowed(text),
            (Cow::Owned(text), None) => Cow::Owned(text),
            (_, Some(short)) => Cow::Owned(short),
        };
    }
    match text.parse::<Timestamp>() {
        Ok(time) if *zone == TimeZone::UTC => Cow::Owned(time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()),
        Ok(time) => Cow::Owned(time.to_zoned_datetime(zone.clone()).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()),
        Err(_) => Cow::Owned(clean::line(&text).into_owned()),
    }
}

/// The usual form `2026-01-31T12:00:00.123Z` without its fraction; `Some(None)` when it has none, `None` for other forms.
fn to_the_second(text: &str) -> Option<Option<String>> {
    const SHAPE: &[u8] = b"dddd-dd-ddTdd:dd:dd";
    let bytes = text.as_bytes();
    let fits = |(byte, shape): (&u8, &u8)| if *shape == b'd' { byte.is_ascii_digit() } else { byte == shape };
    if bytes.len() < SHAPE.len() + 1 || !bytes.iter().zip(SHAPE).all(fits) {
        return None;
    }
    match text.split_at_checked(SHAPE.len())? {
        (_, "Z") => Some(None),
        (seconds, rest) => {
            let digits = rest.strip_prefix('.')?.strip_suffix('Z')?;
            digits.bytes().all(|c| c.is_ascii_digit()).then(|| Some(format!("{seconds}Z")))
        }
    }
}

/// A duration for people: `0.25s`, `12.3s`, `4m05s`, `3h20m`, `2d04h`.
pub(crate) fn duration(millis: u64) -> String {
    let seconds = millis / 1000;
    match seconds {
        0..10 => format!("{}.{:02}s", seconds, millis % 1000 / 10),
        10..60 => format!("{}.{}s", seconds, millis % 1000 / 100),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_by_unit() {
        let check = |raw: &str, unit, shown: &str| assert_eq!(cell(raw, unit, &TimeZone::UTC), shown, "{raw}");
        check(r#""2026-01-31T12:00:00.123456789Z""#, Unit::Time, "2026-01-31T12:00:00Z");
        check(r#""2026-01-31T12:00:00Z""#, Unit::Time, "2026-01-31T12:00:00Z");
        check(r#""2026-01-31T12:00:00.5+01:00""#, Unit::Time, "2026-01-31T11:00:00Z");
        check(r#""2026-01-31T12:00:00.\u001b[2JZ""#, Unit::Time, "2026-01-31T12:00:00.\\x1b[2JZ");
        check("null", Unit::Time, "");
        check("250", Unit::Millis, "0.25s");
        check("null", Unit::Millis, "");
        check("123456", Unit::Millis, "2m03s");
        check(r#""a\u001bb\u202e""#, Unit::Plain, "a\\x1bb\\u{202e}");
        check("4096", Unit::Bytes, "4096");
        check("[]", Unit::Plain, "");
        check(r#"["a\u001b",1,null]"#, Unit::Plain, "a\\x1b, 1, ");
        check(r#"[{"a":1}]"#, Unit::Plain, r#"[{"a":1}]"#);
        check(r#"{"a":[1]}"#, Unit::Plain, r#"{"a":[1]}"#);
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        assert_eq!(cell(r#""2026-01-31T12:00:00.5Z""#, Unit::Time, &zone), "2026-01-31T14:00:00+02:00");
    }

    #[test]
    fn durations() {
        let check = |millis, shown| assert_eq!(duration(millis), shown);
        check(0, "0.00s");
        check(12_345, "12.3s");
        check(3_600_000, "1h00m");
        check(90_000_000, "1d01h");
    }
}
