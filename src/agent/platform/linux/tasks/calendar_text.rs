//! `OnCalendar=` as text: expressions of systemd.time(7), "Calendar Events", read as systemd 252 reads them.
//!
//! Pure.

use jiff::Timestamp;

use super::calendar::{Calendar, Part, SECOND, YEARS};

/// The most parts of one field, as systemd has it.
const MAX_PARTS: usize = 240;

const WEEKDAYS: [(&str, u8); 14] = [
    ("monday", 0),
    ("mon", 0),
    ("tuesday", 1),
    ("tue", 1),
    ("wednesday", 2),
    ("wed", 2),
    ("thursday", 3),
    ("thu", 3),
    ("friday", 4),
    ("fri", 4),
    ("saturday", 5),
    ("sat", 5),
    ("sunday", 6),
    ("sun", 6),
];

/// Reads an expression; `is_zone` says whether a word names a time zone.
#[must_use]
pub fn parse(text: &str, is_zone: &dyn Fn(&str) -> bool) -> Option<Calendar> {
    let mut calendar = Calendar::default();
    let mut text = text;
    if let Some((before, last)) = text.rsplit_once(' ') {
        if last.eq_ignore_ascii_case("utc") {
            (text, calendar.zone) = (before, Some("UTC".to_owned()));
        } else if last.starts_with(|first: char| first.is_ascii_alphabetic()) && is_zone(last) {
            (text, calendar.zone) = (before, Some(last.to_owned()));
        }
    }
    if text.is_empty() {
        return None;
    }
    if !calendar.shorthand(&text.to_ascii_lowercase()) {
        let mut reader = Reader { rest: text };
        calendar.weekdays = reader.weekdays()?;
        reader.date(&mut calendar)?;
        if calendar.seconds.is_empty() {
            reader.time(&mut calendar)?;
        }
        if !reader.rest.is_empty() {
            return None;
        }
    }
    for part in &mut calendar.years {
        for year in [Some(&mut part.start), part.stop.as_mut()].into_iter().flatten() {
            *year += if *year < 70 {
                2000
            } else if *year < 100 {
                1900
            } else {
                0
            };
        }
    }
    if calendar.weekdays == 0x7f {
        calendar.weekdays = 0;
    }
    calendar.from_end &= !calendar.days.is_empty();
    calendar.is_valid().then_some(calendar)
}

impl Calendar {
    fn shorthand(&mut self, name: &str) -> bool {
        let several = |months: &[i64]| months.iter().flat_map(|&month| only(month)).collect();
        match name {
            "minutely" | "hourly" | "daily" | "weekly" => {}
            "monthly" => self.days = only(1),
            "annually" | "yearly" | "anually" => (self.months, self.days) = (only(1), only(1)),
            "quarterly" => (self.months, self.days) = (several(&[1, 4, 7, 10]), only(1)),
            "biannually" | "bi-annually" | "semiannually" | "semi-annually" => {
                (self.months, self.days) = (several(&[1, 7]), only(1));
            }
            _ => return false,
        }
        self.seconds = only(0);
        if name != "minutely" {
            self.minutes = only(0);
            if name != "hourly" {
                self.hours = only(0);
            }
        }
        if name == "weekly" {
            self.weekdays = 1;
        }
        true
    }

    fn is_valid(&self) -> bool {
        valid(&self.years, *YEARS.start(), *YEARS.end(), false)
            && valid(&self.months, 1, 12, false)
            && valid(&self.days, 1, if self.from_end { 28 } else { 31 }, self.from_end)
            && valid(&self.hours, 0, 23, false)
            && valid(&self.minutes, 0, 59, false)
            && valid(&self.seconds, 0, 60 * SECOND - 1, false)
    }
}

fn only(value: i64) -> Vec<Part> {
    vec![Part { start: value, stop: None, repeat: 0 }]
}

fn valid(parts: &[Part], low: i64, high: i64, from_end: bool) -> bool {
    parts.iter().all(|part| {
        let inside = |value: i64| (low..=high).contains(&value);
        let fits = match part.stop {
            Some(stop) => inside(stop) && part.start.saturating_add(part.repeat) <= stop,
            None if from_end => part.start.saturating_sub(part.repeat) >= low,
            None => part.start.saturating_add(part.repeat) <= high,
        };
        inside(part.start) && fits
    })
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn take(&mut self, text: &str) -> bool {
        match self.rest.strip_prefix(text) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn at_end(&self) -> bool {
        self.rest.is_empty() || self.rest.starts_with(' ')
    }

    /// Days of the week in front; 0 when there are none.
    fn weekdays(&mut self) -> Option<u8> {
        let mut days = 0;
        let mut from: Option<u8> = None;
        let mut first = true;
        loop {
            let found = WEEKDAYS
                .iter()
                .find(|(name, _)| self.rest.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name)));
            let Some(&(name, day)) = found else { return first.then_some(days) };
            self.rest = self.rest.get(name.len()..)?;
            let start = from.take().unwrap_or(day);
            if start > day {
                return None;
            }
            let is_range = start != day;
            days |= (start..=day).fold(0, |days, day| days | 1 << day);
            if self.at_end() {
                self.rest = self.rest.trim_start_matches(' ');
                return Some(days);
            }
            if self.take("..") || self.take("-") {
                if is_range {
                    return None;
                }
                from = Some(day);
            } else {
                self.take(",");
            }
            if self.at_end() {
                self.rest = self.rest.trim_start_matches(' ');
                return from.is_none().then_some(days);
            }
            first = false;
        }
    }

    fn date(&mut self, calendar: &mut Calendar) -> Option<()> {
        if self.rest.is_empty() {
            return Some(());
        }
        if let Some(seconds) = self.rest.strip_prefix('@') {
            let at = Timestamp::from_second(seconds.parse().ok()?).ok()?;
            let at = jiff::tz::Offset::UTC.to_datetime(at);
            (calendar.years, calendar.months) = (only(at.year().into()), only(at.month().into()));
            (calendar.days, calendar.hours) = (only(at.day().into()), only(at.hour().into()));
            (calendar.minutes, calendar.seconds) = (only(at.minute().into()), only(i64::from(at.second()) * SECOND));
            calendar.zone = Some("UTC".to_owned());
            self.rest = "";
            return Some(());
        }
        let begun = self.rest;
        let one = self.parts(false)?;
        if self.rest.is_empty() || self.rest.starts_with(':') {
            // A time, not a date.
            self.rest = begun;
            return Some(());
        }
        calendar.from_end = self.separator()?;
        let two = self.parts(false)?;
        if self.at_end() {
            (calendar.months, calendar.days) = (one, two);
        } else {
            if calendar.from_end {
                return None;
            }
            calendar.from_end = self.separator()?;
            (calendar.years, calendar.months, calendar.days) = (one, two, self.parts(false)?);
        }
        if !self.at_end() {
            return None;
        }
        self.rest = self.rest.trim_start_matches(' ');
        Some(())
    }

    /// `-`, or `~` before a day that counts from the end of the month: whether it is that.
    fn separator(&mut self) -> Option<bool> {
        if self.take("~") { Some(true) } else { self.take("-").then_some(false) }
    }

    fn time(&mut self, calendar: &mut Calendar) -> Option<()> {
        (calendar.hours, calendar.minutes, calendar.seconds) = (only(0), only(0), only(0));
        if self.rest.is_empty() {
            return Some(());
        }
        calendar.hours = self.parts(false)?;
        if !self.take(":") {
            return None;
        }
        calendar.minutes = self.parts(false)?;
        if self.take(":") {
            calendar.seconds = self.parts(true)?;
        }
        Some(())
    }

    /// The parts of a field with commas between; none for `*`.
    fn parts(&mut self, micros: bool) -> Option<Vec<Part>> {
        if self.take("*") {
            return Some(if micros { vec![Part { start: 0, stop: None, repeat: SECOND }] } else { Vec::new() });
        }
        let mut parts = Vec::new();
        loop {
            let mut part = Part { start: self.number(micros)?, stop: None, repeat: 0 };
            let unit = if micros { SECOND } else { 1 };
            let mut is_range = false;
            if self.take("..") {
                (part.stop, part.repeat, is_range) = (Some(self.number(micros)?), unit, true);
            }
            if self.take("/") {
                part.repeat = self.number(micros).filter(|&repeat| repeat > 0)?;
            } else if micros && is_range && part.start + unit > part.stop? {
                return None;
            }
            // A range ends at the last value that its steps reach; one that reaches none is a single value.
            let reached = |stop: i64| if stop > part.start { stop - (stop - part.start) % part.repeat } else { stop };
            part.stop = part.stop.map(reached);
            if part.stop == Some(part.start) {
                (part.stop, part.repeat) = (None, 0);
            }
            if !(self.at_end() || self.rest.starts_with([',', '-', '~', ':'])) {
                return None;
            }
            parts.push(part);
            if parts.len() > MAX_PARTS {
                return None;
            }
            if !self.take(",") {
                return Some(parts);
            }
        }
    }

    fn number(&mut self, micros: bool) -> Option<i64> {
        let digits = |rest: &str| rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
        let (number, rest) = self.rest.split_at(digits(self.rest));
        let mut value: i64 = number.parse::<i32>().ok()?.into();
        self.rest = rest;
        if micros {
            value *= SECOND;
            let fraction = self.rest.strip_prefix('.').filter(|rest| !rest.starts_with('.'));
            if let Some(fraction) = fraction {
                let (fraction, rest) = fraction.split_at(digits(fraction));
                let six: String = fraction.chars().chain("000000".chars()).take(6).collect();
                value += six.parse::<i64>().ok()?;
                self.rest = rest;
            }
        }
        Some(value)
    }
}
