//! When a line of a crontab is due: its five fields as Debian's cron reads them (cron 3.0pl1), and that cron's clock.
//!
//! Pure. What a field accepts is what `crontab -n` accepts: behind what is understood, everything up to the next blank is passed
//! over (`1~5` is minute 1); a range that runs backwards is no error and never matches; a step needs a range. When the clocks
//! change, cron's clock goes on: lines with `*` in minute or hour follow the clock on the wall, others are made up for when an
//! hour is skipped and not repeated when one comes twice (cron(8), "Daylight Saving Time").

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::{Offset, TimeZone};

/// How far ahead a run is looked for: the rarest day, a 29th of February on one weekday, comes within 40 years.
const MAX_YEARS: i16 = 41;
/// Changes of the clock of more minutes than this are no daylight saving: cron starts anew.
const MAX_JUMP: i64 = 180;

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 8] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// When a line is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum When {
    /// When cron first starts after a boot.
    Reboot,
    /// When these fields match.
    At(Fields),
}

/// The five fields; bit `n` of each says that the value `n` matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fields {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Whether the day of the month, or of the week, begins with `*`: then both have to match, else one is enough.
    any_day: bool,
    /// Whether minute or hour begins with `*`: then the line follows the clock on the wall.
    wild: bool,
}

/// Reads the time at the start of a line; what follows it, and what the time was.
///
/// # Errors
/// What cron says is wrong with it: `bad minute`, `bad time specifier`, …
pub fn when(line: &[u8]) -> Result<(When, &[u8]), &'static str> {
    if let Some(rest) = line.strip_prefix(b"@") {
        let end = rest.iter().position(|byte| matches!(byte, b' ' | b'\t')).unwrap_or(rest.len());
        let (name, rest) = rest.split_at(end);
        return Ok((named(name).ok_or("bad time specifier")?, skip_blanks(rest)));
    }
    let star = |rest: &[u8]| rest.first() == Some(&b'*');
    let mut rest = line;
    let mut wild = star(rest);
    let minutes = list(&mut rest, 0, 59, &[]).ok_or("bad minute")?;
    wild |= star(rest);
    let hours = list(&mut rest, 0, 23, &[]).ok_or("bad hour")?;
    let mut any_day = star(rest);
    let days = list(&mut rest, 1, 31, &[]).ok_or("bad day-of-month")?;
    let months = list(&mut rest, 1, 12, &MONTHS).ok_or("bad month")?;
    any_day |= star(rest);
    let weekdays = list(&mut rest, 0, 7, &WEEKDAYS).ok_or("bad day-of-week")?;
    Ok((When::At(Fields { minutes, hours, days, months, weekdays: both_sundays(weekdays), any_day, wild }), rest))
}

/// cron's blanks are these two alone: a carriage return belongs to the word before it.
fn skip_blanks(rest: &[u8]) -> &[u8] {
    let start = rest.iter().position(|byte| !matches!(byte, b' ' | b'\t')).unwrap_or(rest.len());
    rest.get(start..).unwrap_or_default()
}

fn both_sundays(weekdays: u64) -> u64 {
    if weekdays & 0x81 == 0 { weekdays } else { weekdays | 0x81 }
}

fn named(name: &[u8]) -> Option<When> {
    let all = Fields {
        minutes: 1,
        hours: 1,
        days: bits(1, 31, 1),
        months: bits(1, 12, 1),
        weekdays: bits(0, 7, 1),
        any_day: true,
        wild: false,
    };
    let fields = match name {
        b"reboot" => return Some(When::Reboot),
        b"yearly" | b"annually" => Fields { days: 2, months: 2, ..all },
        b"monthly" => Fields { days: 2, ..all },
        b"weekly" => Fields { weekdays: 0x81, ..all },
        b"daily" | b"midnight" => all,
        b"hourly" => Fields { hours: bits(0, 23, 1), wild: true, ..all },
        _ => return None,
    };
    Some(When::At(fields))
}

fn bits(from: u32, to: u32, step: u32) -> u64 {
    (from..=to).step_by(step.max(1) as usize).fold(0, |bits, value| bits | 1 << value)
}

/// A field: ranges with commas between, and what is passed over behind them.
fn list(rest: &mut &[u8], low: u32, high: u32, names: &[&str]) -> Option<u64> {
    let mut values = 0;
    loop {
        values |= range(rest, low, high, names)?;
        match rest.strip_prefix(b",") {
            Some(more) => *rest = more,
            None => break,
        }
    }
    let end = rest.iter().position(|byte| matches!(byte, b' ' | b'\t')).unwrap_or(rest.len());
    *rest = skip_blanks(rest.get(end..)?);
    Some(values)
}

fn range(rest: &mut &[u8], low: u32, high: u32, names: &[&str]) -> Option<u64> {
    let (from, to) = if let Some(behind) = rest.strip_prefix(b"*") {
        *rest = behind;
        (low, high)
    } else {
        let from = number(rest, low, names)?;
        match rest.strip_prefix(b"-") {
            Some(behind) => {
                *rest = behind;
                (from, number(rest, low, names)?)
            }
            None if rest.starts_with(b"/") => return None,
            None => (from, from),
        }
    };
    let step = match rest.strip_prefix(b"/") {
        Some(behind) => {
            *rest = behind;
            number(rest, 0, &[]).filter(|&step| step > 0)?
        }
        None => 1,
    };
    let inside = low..=high;
    (inside.contains(&from) && inside.contains(&to)).then(|| bits(from, to, step))
}

fn number(rest: &mut &[u8], low: u32, names: &[&str]) -> Option<u32> {
    let end = rest.iter().position(|byte| !byte.is_ascii_alphanumeric()).unwrap_or(rest.len());
    let (word, behind) = rest.split_at(end);
    *rest = behind;
    let word = std::str::from_utf8(word).ok()?;
    if let Some(place) = names.iter().position(|name| name.eq_ignore_ascii_case(word)) {
        return Some(low + u32::try_from(place).ok()?);
    }
    if word.bytes().all(|byte| byte.is_ascii_digit()) { word.parse().ok() } else { None }
}

impl Fields {
    /// Whether a moment on cron's clock matches.
    #[must_use]
    pub fn matches(&self, at: DateTime) -> bool {
        has(self.minutes, at.minute()) && has(self.hours, at.hour()) && self.matches_day(at.date())
    }

    /// Whether the line follows the clock on the wall.
    #[must_use]
    pub fn is_wild(&self) -> bool {
        self.wild
    }

    fn matches_day(&self, date: Date) -> bool {
        let day = has(self.days, date.day());
        let weekday = has(self.weekdays, date.weekday().to_sunday_zero_offset());
        has(self.months, date.month()) && if self.any_day { day && weekday } else { day || weekday }
    }

    /// When it is next due after a moment; `None` when that is never, or not within 40 years.
    #[must_use]
    pub fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        // A range that runs backwards leaves a field without a value.
        if [self.minutes, self.hours, self.months, self.days | self.weekdays].contains(&0) {
            return None;
        }
        let minute = after.as_second().div_euclid(60) * 60 + 60;
        let mut from = Timestamp::from_second(minute).ok()?;
        let last = zone.to_offset(after).to_datetime(after).year().saturating_add(MAX_YEARS);
        let mut offset = zone.to_offset(from);
        let mut waits = self.waits(from, zone);
        let mut changes = zone.following(Timestamp::from_second(minute - 1).ok()?);
        // A change at `from` itself has to be seen as a change.
        if let Some(change) = zone.preceding(Timestamp::from_second(minute + 1).ok()?).next()
            && change.timestamp() == from
        {
            offset = zone.to_offset(Timestamp::from_second(minute - 1).ok()?);
        }
        loop {
            let change = changes.next();
            let until = change.as_ref().map(jiff::tz::TimeZoneTransition::timestamp);
            let local = offset.to_datetime(from);
            let local = waits.map_or(local, |waits| local.max(waits));
            if let Some(found) = self.within(local, offset, until, last) {
                return Some(found);
            }
            let (change, at) = (change?, until?);
            let (before, after) = (offset.to_datetime(at), change.offset().to_datetime(at));
            if before.year() > last {
                return None;
            }
            if self.made_up(before, after) {
                return Some(at);
            }
            waits = self.waits_after(before, after);
            (from, offset) = (at, change.offset());
        }
    }

    /// Whether a change of the clock skips a moment that is made up for at once.
    fn made_up(&self, before: DateTime, after: DateTime) -> bool {
        let jump = minutes_between(before, after);
        if jump <= 0 || jump >= MAX_JUMP || (self.wild && jump > 4) {
            return false;
        }
        let mut skipped = before;
        while skipped <= after {
            if self.matches(skipped) {
                return true;
            }
            match skipped.checked_add(jiff::Span::new().minutes(1)) {
                Ok(next) => skipped = next,
                Err(_) => return false,
            }
        }
        false
    }

    /// Until when on the clock a line that is not wild waits after the clock was set back.
    fn waits_after(&self, before: DateTime, after: DateTime) -> Option<DateTime> {
        let back = minutes_between(after, before);
        (!self.wild && (1..=MAX_JUMP).contains(&back)).then_some(before)
    }

    /// The same for a moment: after the last change before it.
    fn waits(&self, at: Timestamp, zone: &TimeZone) -> Option<DateTime> {
        let change = zone.preceding(at).next()?;
        let when = change.timestamp();
        let earlier = zone.to_offset(Timestamp::from_second(when.as_second() - 1).ok()?);
        self.waits_after(earlier.to_datetime(when), change.offset().to_datetime(when))
    }

    /// The first match from a moment on the clock on, while the clock keeps its offset.
    fn within(&self, from: DateTime, offset: Offset, until: Option<Timestamp>, last: i16) -> Option<Timestamp> {
        let mut date = from.date();
        let mut first = true;
        while date.year() <= last {
            if has(self.months, date.month()) {
                let (hour, minute) = if first { (from.hour(), from.minute()) } else { (0, 0) };
                let found = self.matches_day(date).then(|| self.time(hour, minute)).flatten();
                if let Some((hour, minute)) = found {
                    let found = offset.to_timestamp(date.at(hour, minute, 0, 0)).ok()?;
                    return until.is_none_or(|until| found < until).then_some(found);
                }
                date = date.tomorrow().ok()?;
            } else {
                date = date.last_of_month().tomorrow().ok()?;
            }
            first = false;
            let begun = offset.to_timestamp(date.at(0, 0, 0, 0)).ok()?;
            if until.is_some_and(|until| begun >= until) {
                return None;
            }
        }
        None
    }

    /// The first hour and minute from these on.
    fn time(&self, hour: i8, minute: i8) -> Option<(i8, i8)> {
        let next = |bits: u64, from: i8| (from..60).find(|&value| has(bits, value));
        let at = next(self.hours, hour)?;
        if at > hour {
            return Some((at, next(self.minutes, 0)?));
        }
        if let Some(minute) = next(self.minutes, minute) {
            return Some((at, minute));
        }
        Some((next(self.hours, hour + 1)?, next(self.minutes, 0)?))
    }
}

fn has(bits: u64, value: i8) -> bool {
    u32::try_from(value).ok().and_then(|value| bits.checked_shr(value)).is_some_and(|bits| bits & 1 == 1)
}

fn minutes_between(from: DateTime, to: DateTime) -> i64 {
    from.duration_until(to).as_mins()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(line: &str, after: &str, zone: &str) -> Option<String> {
        let (when, _) = when(line.as_bytes()).unwrap();
        let When::At(fields) = when else { return None };
        let zone = TimeZone::get(zone).unwrap();
        let after = after.parse::<DateTime>().unwrap();
        let after = zone.to_timestamp(after).unwrap();
        fields.next(after, &zone).map(|found| zone.to_datetime(found).to_string())
    }

    #[test]
    fn fields_are_what_cron_takes_them_for() {
        let check = |line: &str, after: &str, expected: Option<&str>| {
            assert_eq!(next(line, after, "UTC").as_deref(), expected, "{line}");
        };
        check("*/7 * * * * x", "2026-01-01T00:56:00", Some("2026-01-01T01:00:00"));
        check("5-10/3,40 0 * * * x", "2026-01-01T00:05:30", Some("2026-01-01T00:08:00"));
        check("0 0 13 * fri x", "2026-01-01T00:00:00", Some("2026-01-02T00:00:00"));
        check("0 0 */2 * fri x", "2026-01-01T00:00:00", Some("2026-01-09T00:00:00"));
        check("0 0 * * 7 x", "2026-01-01T00:00:00", Some("2026-01-04T00:00:00"));
        check("0 0 * JAN,Mar mon-wed x", "2026-01-29T00:00:00", Some("2026-03-02T00:00:00"));
        check("1~5 0 * * * x", "2026-01-01T00:00:00", Some("2026-01-01T00:01:00"));
        check("0 0 31 2 * x", "2026-01-01T00:00:00", None);
        check("0 0 29 2 * x", "2096-03-01T00:00:00", Some("2104-02-29T00:00:00"));
        check("5-1 * * * * x", "2026-01-01T00:00:00", None);
        check("@weekly x", "2026-01-01T00:00:00", Some("2026-01-04T00:00:00"));
        check("@yearly x", "2026-01-01T00:00:00", Some("2027-01-01T00:00:00"));
        check("@reboot x", "2026-01-01T00:00:00", None);
    }

    #[test]
    fn what_cron_refuses_is_refused_with_its_words() {
        let check = |line: &str, expected: &str| assert_eq!(when(line.as_bytes()), Err(expected), "{line}");
        check("60 * * * * x", "bad minute");
        check("5/15 * * * * x", "bad minute");
        check("1,,2 * * * * x", "bad minute");
        check("*/0 * * * * x", "bad minute");
        check("", "bad minute");
        check("* 24 * * * x", "bad hour");
        check("* * 0 * * x", "bad day-of-month");
        check("* * * monday * x", "bad month");
        check("* * * *", "bad day-of-week");
        check("* * * * 8 x", "bad day-of-week");
        check("@every x", "bad time specifier");
        check("99999999999999999999 * * * * x", "bad minute");
    }

    #[test]
    fn an_hour_that_is_skipped_is_made_up_for_and_one_that_comes_twice_is_not_repeated() {
        let check = |line: &str, after: &str, expected: &str| {
            assert_eq!(next(line, after, "Europe/Berlin").unwrap(), expected, "{line}");
        };
        check("30 2 * * * x", "2026-03-28T12:00:00", "2026-03-29T03:00:00");
        check("30 2 * * * x", "2026-03-29T03:00:00", "2026-03-30T02:30:00");
        check("*/20 2 * * * x", "2026-03-28T12:00:00", "2026-03-30T02:00:00");
        check("0 * * * * x", "2026-03-29T01:00:00", "2026-03-29T03:00:00");
        // 02:30 comes first in summer time; half an hour later on the wall it is 02:00 again.
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let first: Timestamp = "2026-10-25T00:30:00Z".parse().unwrap();
        let run = |line: &str, after: Timestamp| match when(line.as_bytes()).unwrap().0 {
            When::At(fields) => fields.next(after, &zone).unwrap().to_string(),
            When::Reboot => unreachable!(),
        };
        assert_eq!(run("30 2 * * * x", "2026-10-24T12:00:00Z".parse().unwrap()), first.to_string());
        assert_eq!(run("30 2 * * * x", first), "2026-10-26T01:30:00Z");
        assert_eq!(run("30 * * * * x", first), "2026-10-25T01:30:00Z");
        assert_eq!(run("30 2,3 * * * x", first), "2026-10-25T02:30:00Z");
    }
}
