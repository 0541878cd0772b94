//! Rows on their way to a shape: matched, sorted, counted, in this order. Only a sort holds rows, and never more than
//! [`HELD`]; all else passes through.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use serde_json::value::RawValue;

use crate::grammar::{Sort, Unit};

use super::fields;
use super::options::{Pattern, ViewOptions};

/// How many rows a sort holds at most.
pub(super) const HELD: usize = 100_000;

/// A way to write rows.
pub(super) trait Shape: Send {
    /// The rows have these fields; may come again, and may never come.
    fn begin(&mut self, keys: &[String], out: &mut Vec<u8>);

    /// The next row: a JSON object.
    fn row(&mut self, row: &str, out: &mut Vec<u8>);

    /// Some time went by: what is held only to look better is written.
    fn idle(&mut self, _out: &mut Vec<u8>) {}

    /// No row follows.
    fn end(&mut self, out: &mut Vec<u8>);

    /// What a reader should know about how it was written; `whole`: nothing was left of the answer.
    fn notes(&self, _whole: bool) -> Vec<String> {
        Vec::new()
    }
}

/// What rows go through.
#[derive(Debug)]
pub(super) struct Rows {
    pattern: Option<Pattern>,
    order: Order,
    first: Option<usize>,
    passed: u64,
    unsorted: bool,
}

#[derive(Debug)]
enum Order {
    /// As they come.
    Arrival,
    /// All are held until the end.
    All { sort: By, held: Vec<Held> },
    /// Only the first N are held, the worst of them on top.
    First { sort: By, count: usize, best: BinaryHeap<Held> },
}

#[derive(Debug, Clone)]
struct By {
    key: String,
    descending: bool,
    time: bool,
}

#[derive(Debug)]
struct Held {
    key: Key,
    descending: bool,
    place: u64,
    row: Box<RawValue>,
}

/// A field's value, comparable: numbers before texts, what is missing behind all.
#[derive(Debug, Clone, PartialEq)]
enum Key {
    Number(i128),
    Fraction(f64),
    Text(String, String),
    Missing,
}

impl Rows {
    /// `sort` is the order that holds (the line's, or for tables the row's), with the unit of its field.
    pub(super) fn new(options: &ViewOptions, sort: Option<&Sort>, unit: Unit) -> Self {
        let by = sort.map(|sort| By { key: sort.key.clone(), descending: sort.descending, time: unit == Unit::Time });
        let order = match (by, options.first) {
            (None, _) => Order::Arrival,
            (Some(sort), Some(count)) if count <= HELD => Order::First { sort, count, best: BinaryHeap::new() },
            (Some(sort), _) => Order::All { sort, held: Vec::new() },
        };
        Self { pattern: options.pattern.clone(), order, first: options.first, passed: 0, unsorted: false }
    }

    /// Takes a row; hands on those that are due.
    pub(super) fn take(&mut self, row: &RawValue, mut pass: impl FnMut(&str)) {
        if self.is_enough() || self.pattern.as_ref().is_some_and(|pattern| !pattern.is_in(row.get())) {
            return;
        }
        let place = self.passed;
        match &mut self.order {
            Order::Arrival => pass(row.get()),
            Order::First { sort, count, best } => {
                best.push(Held::new(sort, place, row));
                if best.len() > *count {
                    best.pop();
                }
            }
            Order::All { sort, held } => {
                held.push(Held::new(sort, place, row));
                if held.len() > HELD {
                    let held = std::mem::take(held);
                    self.order = Order::Arrival;
                    self.unsorted = true;
                    self.passed = 0;
                    return held.into_iter().for_each(|held| self.pass(held.row.get(), &mut pass));
                }
            }
        }
        self.passed += 1;
    }

    /// No row follows: hands on what was held.
    pub(super) fn end(&mut self, mut pass: impl FnMut(&str)) {
        let held = match std::mem::replace(&mut self.order, Order::Arrival) {
            Order::Arrival => return,
            Order::All { mut held, .. } => {
                held.sort();
                held
            }
            Order::First { best, .. } => best.into_sorted_vec(),
        };
        self.passed = 0;
        held.into_iter().for_each(|held| self.pass(held.row.get(), &mut pass));
    }

    fn pass(&mut self, row: &str, pass: &mut impl FnMut(&str)) {
        if !self.is_enough() {
            pass(row);
            self.passed += 1;
        }
    }

    /// Whether every further row would be left out.
    pub(super) fn is_enough(&self) -> bool {
        matches!(self.order, Order::Arrival) && self.first.is_some_and(|first| self.passed >= first as u64)
    }

    /// What a reader should know.
    pub(super) fn note(&self) -> Option<String> {
        self.unsorted.then(|| format!("more than {HELD} rows: they are not sorted; -first N sorts any number"))
    }
}

impl Held {
    fn new(sort: &By, place: u64, row: &RawValue) -> Self {
        let key = Key::of(fields::find(row.get(), &sort.key), sort.time);
        Self { key, descending: sort.descending, place, row: row.to_owned() }
    }
}

impl Ord for Held {
    fn cmp(&self, other: &Self) -> Ordering {
        let missing = |held: &Self| held.key == Key::Missing;
        let by_key = if self.descending { other.key.compare(&self.key) } else { self.key.compare(&other.key) };
        missing(self).cmp(&missing(other)).then(by_key).then(self.place.cmp(&other.place))
    }
}

impl PartialOrd for Held {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Held {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Held {}

impl Key {
    fn of(raw: Option<&str>, time: bool) -> Self {
        let Some(raw) = raw.filter(|raw| *raw != "null") else { return Self::Missing };
        if let Ok(number) = raw.parse() {
            return Self::Number(number);
        }
        if let Ok(number) = raw.parse() {
            return Self::Fraction(number);
        }
        let text = fields::text(raw);
        if time && let Ok(at) = text.parse::<jiff::Timestamp>() {
            return Self::Number(at.as_nanosecond());
        }
        Self::Text(text.to_lowercase(), text.into_owned())
    }

    fn compare(&self, other: &Self) -> Ordering {
        #[allow(clippy::cast_precision_loss)] // Only where one of the two is a fraction anyway.
        let float = |number: i128| number as f64;
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => a.cmp(b),
            (Self::Fraction(a), Self::Fraction(b)) => a.total_cmp(b),
            (Self::Number(a), Self::Fraction(b)) => float(*a).total_cmp(b),
            (Self::Fraction(a), Self::Number(b)) => a.total_cmp(&float(*b)),
            (Self::Text(a, exact), Self::Text(b, other)) => a.cmp(b).then_with(|| exact.cmp(other)),
            (Self::Missing, Self::Missing) => Ordering::Equal,
            (Self::Number(_) | Self::Fraction(_), _) | (Self::Text(..), Self::Missing) => Ordering::Less,
            (Self::Text(..) | Self::Missing, _) => Ordering::Greater,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn run(options: &[(&str, &str)], rows: impl Iterator<Item = String>) -> (Vec<String>, Rows) {
        let typed: BTreeMap<String, String> = options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let options = ViewOptions::read(&typed, &[]).unwrap();
        let mut through = Rows::new(&options, options.sort.as_ref(), Unit::Plain);
        let mut out = Vec::new();
        for row in rows {
            through.take(&RawValue::from_string(row).unwrap(), |row| out.push(row.to_owned()));
        }
        through.end(|row| out.push(row.to_owned()));
        (out, through)
    }

    fn check(options: &[(&str, &str)], wanted: &[&str]) {
        let rows =
            [r#"{"n":10,"s":"b"}"#, r#"{"n":9.5,"s":"A"}"#, r#"{"n":null,"s":"a"}"#, r#"{"n":"x"}"#, r#"{"n":-1,"s":"C"}"#];
        let (out, _) = run(options, rows.iter().map(|&row| row.to_owned()));
        let names: Vec<&str> = out.iter().map(|row| fields::find(row, "n").unwrap()).collect();
        assert_eq!(names, wanted, "{options:?}");
    }

    #[test]
    fn match_sort_first_in_this_order() {
        check(&[], &["10", "9.5", "null", "\"x\"", "-1"]);
        check(&[("sort", "n")], &["-1", "9.5", "10", "\"x\"", "null"]);
        check(&[("sort", "-n")], &["\"x\"", "10", "9.5", "-1", "null"]);
        check(&[("sort", "s")], &["9.5", "null", "10", "-1", "\"x\""]);
        check(&[("sort", "n"), ("first", "2")], &["-1", "9.5"]);
        check(&[("sort", "-n"), ("first", "2")], &["\"x\"", "10"]);
        check(&[("match", "a")], &["9.5", "null"]);
        check(&[("match", "a"), ("sort", "-s"), ("first", "1")], &["null"]);
        check(&[("first", "2")], &["10", "9.5"]);
        check(&[("first", "0")], &[]);
        check(&[("first", "0"), ("sort", "n")], &[]);
    }

    #[test]
    fn a_sort_gives_up_beyond_its_bound_and_a_short_one_never() {
        let count = HELD as u64 + 5;
        let rows = || (0..count).map(move |n| format!("{{\"n\":{}}}", (n * 7919) % count));
        let (out, through) = run(&[("sort", "n")], rows());
        assert_eq!((out.len() as u64, out[1].as_str()), (count, r#"{"n":7919}"#));
        assert!(through.note().is_some());
        let (out, through) = run(&[("sort", "n"), ("first", "3")], rows());
        assert_eq!(out, [r#"{"n":0}"#, r#"{"n":1}"#, r#"{"n":2}"#]);
        assert!(through.note().is_none());
    }

    #[test]
    fn enough_is_said_only_where_no_sort_waits_for_more() {
        let mut rows = Rows::new(&ViewOptions { first: Some(1), ..ViewOptions::default() }, None, Unit::Plain);
        assert!(!rows.is_enough());
        rows.take(&RawValue::from_string("{}".into()).unwrap(), |_| {});
        assert!(rows.is_enough());
    }
}
