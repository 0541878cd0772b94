//! An answer that is one object: as rows for tables, CSV and JSON lines, and with the view options at work on its entries.
//!
//! Three layouts are known: entries (an object of objects: `fileinfo` keyed by path), lists (an object of lists of objects,
//! perhaps within one key: `persistence`), and a single thing (`session`).

use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};

use super::rows::Rows;

/// How an object is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    Entries,
    Lists,
    Single,
}

/// The field that names the list an entry stood in.
const CATEGORY: &str = "category";

fn layout(object: &Map<String, Value>) -> Layout {
    let is_list = |value: &Value| value.as_array().is_some_and(|items| items.iter().all(Value::is_object));
    if object.is_empty() {
        Layout::Single
    } else if object.values().all(Value::is_object) {
        Layout::Entries
    } else if object.values().all(is_list) {
        Layout::Lists
    } else {
        Layout::Single
    }
}

/// The object that holds the entries, and the key it stands under where it is wrapped.
fn unwrap(object: &Map<String, Value>) -> (Option<&str>, &Map<String, Value>) {
    let mut entries = object.iter();
    if let (Some((key, Value::Object(inner))), None) = (entries.next(), entries.next())
        && layout(inner) == Layout::Lists
    {
        return (Some(key), inner);
    }
    (None, object)
}

/// The rows that an object stands for.
pub(super) fn rows(object: &Map<String, Value>) -> Vec<Map<String, Value>> {
    addressed(unwrap(object).1).into_iter().map(|(_, row)| row).collect()
}

/// The rows with the key that each stood under. Of lists that key is the category: what an entry itself calls so says less.
fn addressed(object: &Map<String, Value>) -> Vec<(String, Map<String, Value>)> {
    let mut entries = entries(object);
    if layout(object) == Layout::Lists {
        for (key, entry) in &mut entries {
            let rest = std::mem::take(entry).into_iter().filter(|(name, _)| name != CATEGORY);
            *entry = std::iter::once((CATEGORY.to_owned(), Value::String(key.clone()))).chain(rest).collect();
        }
    }
    entries
}

/// The entries as the object has them, each with the key that it stands under.
fn entries(object: &Map<String, Value>) -> Vec<(String, Map<String, Value>)> {
    let one = |key: &String, entry: &Value| entry.as_object().map(|entry| (key.clone(), entry.clone()));
    match layout(object) {
        Layout::Single => vec![(String::new(), object.clone())],
        Layout::Entries => object.iter().filter_map(|(key, entry)| one(key, entry)).collect(),
        Layout::Lists => {
            let lists = object.iter().filter_map(|(key, list)| Some((key, list.as_array()?)));
            lists.flat_map(|(key, list)| list.iter().filter_map(move |entry| one(key, entry))).collect()
        }
    }
}

/// The object with only the entries that the view options let through, in their order and with the fields asked for.
pub(super) fn choose(object: &Map<String, Value>, through: &mut Rows, columns: Option<&[String]>) -> Map<String, Value> {
    let (wrapped, inner) = unwrap(object);
    let chosen = if layout(inner) == Layout::Single {
        choose_fields(inner, through, columns)
    } else {
        choose_entries(inner, through, columns)
    };
    match wrapped {
        Some(key) => Map::from_iter([(key.to_owned(), Value::Object(chosen))]),
        None => chosen,
    }
}

/// Of a single thing the fields are the entries.
fn choose_fields(object: &Map<String, Value>, through: &mut Rows, columns: Option<&[String]>) -> Map<String, Value> {
    let asked = |key: &String| columns.is_none_or(|columns| columns.contains(key));
    let fields = object.iter().filter(|(key, _)| asked(key));
    let fields: Vec<_> = fields.map(|(key, value)| (key.clone(), Map::from_iter([(key.clone(), value.clone())]))).collect();
    pass(&fields, through).into_iter().filter_map(|place| fields.get(place)).flat_map(|(_, field)| field.clone()).collect()
}

fn choose_entries(object: &Map<String, Value>, through: &mut Rows, columns: Option<&[String]>) -> Map<String, Value> {
    let lists = layout(object) == Layout::Lists;
    let (rows, entries) = (addressed(object), entries(object));
    let mut chosen = Map::new();
    for place in pass(&rows, through) {
        let (Some((key, row)), Some((_, entry))) = (rows.get(place), entries.get(place)) else { continue };
        let entry = match columns {
            Some(columns) => columns.iter().map(|column| (column.clone(), within(row, column))).collect(),
            None => entry.clone(),
        };
        if lists {
            let list = chosen.entry(key.clone()).or_insert_with(|| Value::Array(Vec::new()));
            if let Value::Array(items) = list {
                items.push(Value::Object(entry));
            }
        } else {
            chosen.insert(key.clone(), Value::Object(entry));
        }
    }
    chosen
}

fn within(entry: &Map<String, Value>, key: &str) -> Value {
    if let Some(value) = entry.get(key) {
        return value.clone();
    }
    let deeper = key.split_once('.').and_then(|(head, rest)| Some(within(entry.get(head)?.as_object()?, rest)));
    deeper.unwrap_or(Value::Null)
}

/// Sends entries through the view options: the places of those that are let through, in their order.
fn pass(entries: &[(String, Map<String, Value>)], through: &mut Rows) -> Vec<usize> {
    let mut kept = Vec::new();
    let mut keep = |row: &str| kept.extend(place_of(row));
    for (place, (_, entry)) in entries.iter().enumerate() {
        if let Ok(row) = with_place(entry, place) {
            through.take(&row, &mut keep);
        }
    }
    through.end(&mut keep);
    kept
}

/// The place travels as the name of the row's last field, which is no value: `-match` looks at values alone.
fn with_place(entry: &Map<String, Value>, place: usize) -> serde_json::Result<Box<RawValue>> {
    let mut entry = entry.clone();
    entry.insert(format!("\0{place}"), Value::Null);
    to_raw_value(&entry)
}

fn place_of(row: &str) -> Option<usize> {
    let (_, place) = row.rsplit_once(r#""\u0000"#)?;
    place.split_once('"')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::view::options::{Pattern, ViewOptions};

    #[test]
    fn a_match_never_looks_at_the_place_of_an_entry() {
        let object = serde_json::json!({"/a": {"name": "x"}, "/b": {"name": "y"}, "/c": {"name": "z1"}});
        let options = ViewOptions { pattern: Some(Pattern::new("1")), ..ViewOptions::default() };
        let mut rows = Rows::new(&options, None, crate::grammar::Unit::Plain);
        let chosen = choose(object.as_object().unwrap(), &mut rows, None);
        assert_eq!(Value::Object(chosen), serde_json::json!({"/c": {"name": "z1"}}));
    }

    #[test]
    fn the_category_of_a_row_is_its_list_and_an_entry_keeps_its_own() {
        let startup = serde_json::json!({"filePath": "x.lnk", "category": ".lnk file"});
        let object = serde_json::json!({"autoruns": {"startup_folders": [startup], "udev": [{"runs": "y"}]}});
        let categories = |rows: Vec<Map<String, Value>>| -> Vec<Value> {
            rows.into_iter().map(|row| row.get(CATEGORY).cloned().unwrap_or_default()).collect()
        };
        assert_eq!(categories(rows(object.as_object().unwrap())), ["startup_folders", "udev"]);
        let options = ViewOptions { pattern: Some(Pattern::new("startup_folders")), ..ViewOptions::default() };
        let mut through = Rows::new(&options, None, crate::grammar::Unit::Plain);
        let chosen = choose(object.as_object().unwrap(), &mut through, None);
        assert_eq!(Value::Object(chosen), serde_json::json!({"autoruns": {"startup_folders": [startup]}}));
    }
}
