//! The view options of a line: `-match`, `-columns`, `-sort`, `-first`, as they were typed and as they are meant.

use std::collections::BTreeMap;

use crate::grammar::{Column, Sort};
use crate::protocol::Problem;

use super::fields;

/// What a line says of its answer's rows.
#[derive(Debug, Clone, Default)]
pub(super) struct ViewOptions {
    /// Only rows with a field that contains this.
    pub(super) pattern: Option<Pattern>,
    /// These fields, in this order.
    pub(super) columns: Option<Vec<String>>,
    /// In this order.
    pub(super) sort: Option<Sort>,
    /// Only so many.
    pub(super) first: Option<usize>,
}

impl ViewOptions {
    /// Reads them. `columns` are all fields that a row of the command has; empty: any.
    pub(super) fn read(typed: &BTreeMap<String, String>, columns: &[Column]) -> Result<Self, Problem> {
        let value = |name: &str| typed.get(name).map(String::as_str);
        let columns_wanted = match value("columns") {
            None => None,
            Some(list) => Some(list.split(',').map(|field| known(field.trim(), columns)).collect::<Result<Vec<_>, _>>()?),
        };
        let sort = match value("sort") {
            None => None,
            Some(field) => {
                let key = known(field.strip_prefix('-').unwrap_or(field), columns)?;
                Some(Sort { key, descending: field.starts_with('-') })
            }
        };
        let first = match value("first") {
            None => None,
            Some(count) => {
                let count = count.parse().map_err(|_| bad(format!("{count} is not a whole number"), "first"))?;
                Some(count)
            }
        };
        Ok(Self { pattern: value("match").map(Pattern::new), columns: columns_wanted, sort, first })
    }

    /// Whether they change anything about which rows come, or in which order.
    pub(super) fn choose_rows(&self) -> bool {
        self.pattern.is_some() || self.sort.is_some() || self.first.is_some()
    }
}

/// A field's key, when a row may have it.
fn known(field: &str, columns: &[Column]) -> Result<String, Problem> {
    if !field.is_empty() && (columns.is_empty() || columns.iter().any(|column| column.holds(field))) {
        return Ok(field.to_owned());
    }
    let names: Vec<&str> = columns.iter().map(|column| column.key.as_str()).collect();
    Err(bad(format!("there is no field {field}; there are {}", names.join(", ")), field))
}

fn bad(message: String, about: &str) -> Problem {
    Problem::new("bad_value", message).about(about)
}

/// What `-match` looks for: a text within a field, in any case; `*` is any text, `?` any character.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    lower: String,
    wild: bool,
}

impl Pattern {
    pub(super) fn new(typed: &str) -> Self {
        let lower = typed.to_lowercase();
        Self { wild: lower.contains(['*', '?']), lower }
    }

    /// Whether any field of a row has it.
    pub(super) fn is_in(&self, row: &str) -> bool {
        fields::any(row, &mut |text| self.matches(text))
    }

    pub(super) fn matches(&self, text: &str) -> bool {
        if !self.wild {
            return contains(text, &self.lower);
        }
        let pattern: Vec<char> = std::iter::once('*').chain(self.lower.chars()).chain(std::iter::once('*')).collect();
        let text: Vec<char> = text.to_lowercase().chars().collect();
        wild_match(&pattern, &text)
    }
}

fn contains(text: &str, lower: &str) -> bool {
    if text.is_ascii() && lower.is_ascii() {
        let (text, lower) = (text.as_bytes(), lower.as_bytes());
        return lower.is_empty() || text.windows(lower.len()).any(|part| part.eq_ignore_ascii_case(lower));
    }
    text.to_lowercase().contains(lower)
}

/// Matches the whole text; goes back to the last `*` only, so hostile patterns cost at most one product of lengths.
fn wild_match(pattern: &[char], text: &[char]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == '?' || text.get(t) == Some(c) => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    p = at + 1;
                    t = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern.get(p..).is_some_and(|rest| rest.iter().all(|c| *c == '*'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_within_a_field_in_any_case() {
        let check = |pattern: &str, text: &str, fits| assert_eq!(Pattern::new(pattern).matches(text), fits, "{pattern} {text}");
        check("ssh", "/usr/sbin/sshd", true);
        check("SSH", "sshd", true);
        check("ssh?", "sshd", true);
        check("ssh?", "ssh", false);
        check("s*d", "sshd-x", true);
        check("s*z", "sshd", false);
        check("", "anything", true);
        check("größe", "GRÖSSE", false);
        check("GRÖ", "größe", true);
        check("*a*a*a*a*a*a*b", &"a".repeat(5000), false);
    }

    #[test]
    fn unknown_fields_are_bad_values() {
        let column = |key: &str| toml::from_str::<Column>(&format!("key = \"{key}\"")).unwrap();
        let columns = [column("name"), Column { fields: vec!["*".to_owned()], ..column("task") }];
        let read = |key: &str, value: &str| ViewOptions::read(&BTreeMap::from([(key.to_owned(), value.to_owned())]), &columns);
        assert_eq!(read("columns", "name, task.exec").unwrap().columns.unwrap(), ["name", "task.exec"]);
        let sort = read("sort", "-name").unwrap().sort.unwrap();
        assert_eq!((sort.key.as_str(), sort.descending), ("name", true));
        assert_eq!(read("first", "12").unwrap().first, Some(12));
        for (key, value) in [
            ("columns", "name,nothing"),
            ("columns", ""),
            ("sort", "taskx"),
            ("sort", "name.x"),
            ("sort", "--name"),
            ("first", "x"),
        ] {
            assert_eq!(read(key, value).unwrap_err().code, "bad_value", "{key} {value}");
        }
    }
}
