//! When a calendar event is next due: expressions of systemd.time(7), searched as systemd 252 does.
//!
//! Pure. Where the clock skips an hour, systemd passes over times in it; where an hour comes twice, over the second one.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::{AmbiguousOffset, TimeZone};

/// The years that systemd knows.
pub(super) const YEARS: std::ops::RangeInclusive<i64> = 1970..=2199;
/// How many steps systemd's own search takes before it gives up.
const MAX_STEPS: u32 = 1000;
pub(super) const SECOND: i64 = 1_000_000;

/// An expression, taken apart. A field without parts matches every value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Calendar {
    /// Bit 0 is Monday; none: every day.
    pub(super) weekdays: u8,
    pub(super) years: Vec<Part>,
    pub(super) months: Vec<Part>,
    pub(super) days: Vec<Part>,
    /// Whether days count from the end of the month.
    pub(super) from_end: bool,
    pub(super) hours: Vec<Part>,
    pub(super) minutes: Vec<Part>,
    /// In microseconds.
    pub(super) seconds: Vec<Part>,
    /// The time zone that it names.
    pub(super) zone: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) start: i64,
    pub(super) stop: Option<i64>,
    /// 0: none.
    pub(super) repeat: i64,
}

impl Calendar {
    /// The time zone that the expression names.
    #[must_use]
    pub fn zone(&self) -> Option<&str> {
        self.zone.as_deref()
    }

    /// When it is next due after a moment; `None` when that is never, or systemd would give up looking.
    #[must_use]
    pub fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let after = Timestamp::from_microsecond(after.as_microsecond()).ok()?;
        let from = Timestamp::from_microsecond(after.as_microsecond() + 1).ok()?;
        let local = zone.to_datetime(from);
        let mut at = Moment {
            year: local.year().into(),
            month: local.month().into(),
            day: local.day().into(),
            hour: local.hour().into(),
            minute: local.minute().into(),
            micros: i64::from(local.second()) * SECOND + i64::from(local.subsec_nanosecond()) / 1000,
        };
        for _ in 0..MAX_STEPS {
            at = at.normal(zone)?;
            if self.step(&mut at, zone)? {
                let found = at.datetime()?;
                return [false, true].into_iter().find_map(|later| {
                    let ambiguous = zone.to_ambiguous_timestamp(found);
                    let found = if later { ambiguous.later() } else { ambiguous.earlier() }.ok()?;
                    (found > after).then_some(found)
                });
            }
        }
        None
    }

    /// Brings a moment to the next that may match: `true` when it does. `None` when there is none.
    ///
    /// A step may lead beyond what a field can hold. As in systemd 252, the search then goes on with the field above it, and if that
    /// runs over too, from where the value really lies: `*-*-1/7` counts on from a day 36 of December and misses the 1st of January.
    fn step(&self, at: &mut Moment, zone: &TimeZone) -> Option<bool> {
        let first = Moment { year: at.year, month: 1, day: 1, hour: 0, minute: 0, micros: 0 };
        let year = next_value(&self.years, at.year)?;
        if year != at.year {
            *at = Moment { year, ..first };
        }
        if !YEARS.contains(&at.year) {
            return None;
        }
        let Some(month) = next_value(&self.months, at.month) else { return at.to(Moment { year: at.year + 1, ..first }) };
        if month != at.month {
            *at = Moment { year: at.year, month, ..first };
        }
        let midnight = Moment { hour: 0, minute: 0, micros: 0, ..*at };
        let Some(day) = self.next_day(at) else { return at.to(Moment { month: at.month + 1, day: 1, ..midnight }) };
        if day != at.day {
            *at = Moment { day, ..midnight };
        }
        if !at.exists(zone) {
            let next_month = Moment { month: at.month + 1, day: 1, ..midnight };
            let moved = at.normal(zone)?;
            return at.to(if moved.year == at.year { next_month } else { moved });
        }
        let tomorrow = Moment { day: at.day + 1, ..midnight };
        let weekday = at.date()?.weekday().to_monday_zero_offset();
        if self.weekdays != 0 && self.weekdays >> weekday & 1 == 0 {
            return at.to(tomorrow);
        }
        let Some(hour) = next_value(&self.hours, at.hour) else { return at.to(tomorrow) };
        if hour != at.hour {
            *at = Moment { hour, minute: 0, micros: 0, ..*at };
        }
        if !at.exists(zone) {
            let moved = at.normal(zone)?;
            return at.to(if at.hour > 23 && moved.month == at.month { tomorrow } else { moved });
        }
        let next_hour = Moment { hour: at.hour + 1, minute: 0, micros: 0, ..*at };
        let Some(minute) = next_value(&self.minutes, at.minute) else { return at.to(next_hour) };
        if minute != at.minute {
            *at = Moment { minute, micros: 0, ..*at };
        }
        if !at.exists(zone) {
            let moved = at.normal(zone)?;
            return at.to(if at.minute > 59 && moved.day == at.day { next_hour } else { moved });
        }
        let next_minute = Moment { minute: at.minute + 1, micros: 0, ..*at };
        let Some(micros) = next_value(&self.seconds, at.micros) else { return at.to(next_minute) };
        at.micros = micros;
        if !at.exists(zone) {
            let moved = at.normal(zone)?;
            return at.to(if at.micros >= 60 * SECOND && moved.hour == at.hour { next_minute } else { moved });
        }
        Some(true)
    }

    fn next_day(&self, at: &Moment) -> Option<i64> {
        let length = i64::from(Date::new(i16::try_from(at.year).ok()?, i8::try_from(at.month).ok()?, 1).ok()?.days_in_month());
        if !self.from_end {
            return next_value(&self.days, at.day);
        }
        let turned = self.days.iter().filter_map(|part| {
            let day = |from_end: i64| (from_end >= 1 && from_end <= length).then_some(length - from_end + 1);
            match part.stop {
                Some(stop) => Some(Part { start: day(stop)?, stop: day(part.start), repeat: part.repeat }),
                None => Some(Part { start: day(part.start)?, ..*part }),
            }
        });
        next_value_of(turned, at.day)
    }
}

/// The smallest matching value from one on.
fn next_value(parts: &[Part], from: i64) -> Option<i64> {
    if parts.is_empty() { Some(from) } else { next_value_of(parts.iter().copied(), from) }
}

fn next_value_of(parts: impl Iterator<Item = Part>, from: i64) -> Option<i64> {
    let value = |part: Part| {
        if part.start >= from {
            return Some(part.start);
        }
        let steps = (from - part.start).checked_add(part.repeat - 1)?.checked_div(part.repeat)?;
        let value = steps.checked_mul(part.repeat)?.checked_add(part.start)?;
        part.stop.is_none_or(|stop| value <= stop).then_some(value)
    };
    parts.filter_map(value).min()
}

/// A moment on the clock; fields may run over until it is made normal.
#[derive(Debug, Clone, Copy)]
struct Moment {
    year: i64,
    month: i64,
    day: i64,
    hour: i64,
    minute: i64,
    micros: i64,
}

impl Moment {
    /// Goes on somewhere else: no match yet.
    #[allow(clippy::unnecessary_wraps)]
    fn to(&mut self, other: Self) -> Option<bool> {
        *self = other;
        Some(false)
    }

    fn date(&self) -> Option<Date> {
        Date::new(i16::try_from(self.year).ok()?, i8::try_from(self.month).ok()?, i8::try_from(self.day).ok()?).ok()
    }

    fn datetime(&self) -> Option<DateTime> {
        let small = |value: i64| i8::try_from(value).ok();
        let nanos = i32::try_from(self.micros % SECOND * 1000).ok()?;
        let (hour, minute, second) = (small(self.hour)?, small(self.minute)?, small(self.micros / SECOND)?);
        DateTime::new(self.date()?.year(), self.date()?.month(), self.date()?.day(), hour, minute, second, nanos).ok()
    }

    /// Whether the clock ever shows it.
    fn exists(&self, zone: &TimeZone) -> bool {
        let gap = |at| matches!(zone.to_ambiguous_timestamp(at).offset(), AmbiguousOffset::Gap { .. });
        self.datetime().is_some_and(|at| !gap(at))
    }

    /// The same with no field run over, moved behind an hour that the clock skips.
    fn normal(self, zone: &TimeZone) -> Option<Self> {
        let (mut year, mut month) = (self.year, self.month);
        if month > 12 {
            (year, month) = (year + 1, 1);
        }
        let minute = self.minute + self.micros / (60 * SECOND);
        let hour = self.hour + minute / 60;
        let days = self.day - 1 + hour / 24;
        let (mut hour, mut minute, mut micros) = (hour % 24, minute % 60, self.micros % (60 * SECOND));
        let date = Self { year, month, day: 1, ..self }.date()?;
        let mut date = date.checked_add(jiff::Span::new().try_days(days).ok()?).ok()?;
        let whole = Self { year: date.year().into(), month: date.month().into(), day: date.day().into(), hour, minute, micros };
        let at = whole.datetime()?;
        if let AmbiguousOffset::Gap { before, .. } = zone.to_ambiguous_timestamp(at).offset() {
            let moved = zone.to_datetime(before.to_timestamp(at).ok()?);
            date = moved.date();
            (hour, minute) = (moved.hour().into(), moved.minute().into());
            micros = i64::from(moved.second()) * SECOND + i64::from(moved.subsec_nanosecond()) / 1000;
        }
        Some(Self { year: date.year().into(), month: date.month().into(), day: date.day().into(), hour, minute, micros })
    }
}

#[cfg(test)]
mod tests {
    use super::super::calendar_text::parse;
    use super::*;

    fn next(text: &str, after: &str, zone: &str) -> Option<String> {
        let calendar = parse(text, &|zone| TimeZone::get(zone).is_ok())?;
        let zone = TimeZone::get(calendar.zone().unwrap_or(zone)).unwrap();
        let after = after.parse::<DateTime>().unwrap();
        let after = zone.to_timestamp(after).unwrap();
        Some(calendar.next(after, &zone).map_or("never".to_owned(), |found| zone.to_datetime(found).to_string()))
    }

    #[test]
    fn expressions_are_what_systemd_takes_them_for() {
        let check = |text: &str, after: &str, expected: &str| {
            assert_eq!(next(text, after, "UTC").as_deref(), Some(expected), "{text}");
        };
        check("daily", "2026-01-01T00:00:00", "2026-01-02T00:00:00");
        check("weekly", "2026-01-01T00:00:00", "2026-01-05T00:00:00");
        check("quarterly", "2026-01-01T00:00:00", "2026-04-01T00:00:00");
        check("Mon..Fri 22:30", "2026-01-02T23:00:00", "2026-01-05T22:30:00");
        check("*-*-* 6,18:00", "2026-01-01T07:00:00", "2026-01-01T18:00:00");
        check("*:0/15", "2026-01-01T07:01:00", "2026-01-01T07:15:00");
        check("*-02~03", "2026-01-01T00:00:00", "2026-02-26T00:00:00");
        check("Mon *-05~07/1", "2026-01-01T00:00:00", "2026-05-25T00:00:00");
        check("12-10-15 1:2:3", "2010-01-01T00:00:00", "2012-10-15T01:02:03");
        check("*:*:0.5/0.25", "2026-01-01T00:00:00.6", "2026-01-01T00:00:00.75");
        check("@1767225600", "2025-01-01T00:00:00", "2026-01-01T00:00:00");
        check("2003-03-05", "2026-01-01T00:00:00", "never");
    }

    #[test]
    fn what_systemd_refuses_is_refused() {
        for text in [
            "",
            "x",
            "Mon..",
            "Fri..Mon",
            "*-13-01",
            "25:00",
            "1:60",
            "1:2:61",
            "*-*-* */2:00",
            "00:05..03",
            "*:0/0",
            "1-2-3-4",
            "daily x",
            "Mon,,Tue",
        ] {
            assert_eq!(next(text, "2026-01-01T00:00:00", "UTC"), None, "{text}");
        }
    }

    #[test]
    fn hours_that_the_clock_skips_are_passed_over() {
        let check = |text: &str, after: &str, expected: &str| {
            assert_eq!(next(text, after, "Europe/Berlin").as_deref(), Some(expected), "{text}");
        };
        check("02:30", "2026-03-28T12:00:00", "2026-03-30T02:30:00");
        check("*:0/30", "2026-03-29T01:45:00", "2026-03-29T03:00:00");
        check("02:30", "2026-10-24T12:00:00", "2026-10-25T02:30:00");
    }
}
