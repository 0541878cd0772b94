//! How the table of every command looks on a narrow, an ordinary and a wide terminal: rows recorded from machines (a file a
//! command, named as its line), held as snapshots. `INSTA_UPDATE=always cargo test look` writes them anew; read them first.

use jiff::tz::TimeZone;
use unicode_width::UnicodeWidthStr;

use super::RenderSpec;
use super::rows::{Rows, Shape};
use super::table::Table;
use crate::grammar::{OutputFormat, read, table};

fn recording(line: &str) -> Option<String> {
    let file = format!("{}/tests/recorded/look/{}.jsonl", env!("CARGO_MANIFEST_DIR"), line.replace(' ', "-"));
    std::fs::read_to_string(file).ok()
}

/// What a terminal of that width shows of a line's answer.
fn shown(line: &str, rows: &str, width: usize) -> String {
    let invocation = read(&format!("{line} -output table"), None).invocation.unwrap();
    let spec = RenderSpec::of(&invocation, TimeZone::UTC).unwrap();
    let mut shape = Table::new(spec.table_columns(), false, Some(width), TimeZone::UTC, false);
    let mut order = Rows::new(&spec.options, spec.sort.as_ref(), spec.sort_unit());
    let mut out = Vec::new();
    shape.begin(&[], &mut out);
    for row in rows.lines() {
        let row = serde_json::value::RawValue::from_string(row.to_owned()).unwrap();
        order.take(&row, |row| shape.row(row, &mut out));
    }
    order.end(|row| shape.row(row, &mut out));
    shape.end(&mut out);
    let mut text = String::from_utf8(out).unwrap();
    for note in shape.notes(true) {
        text.push_str(&format!("({note})\n"));
    }
    text
}

fn check(line: &str) {
    let rows = recording(line).unwrap_or_else(|| panic!("no rows of `{line}` are recorded in tests/recorded/look"));
    let mut all = String::new();
    for width in [80, 120, 200] {
        let text = shown(line, &rows, width);
        for shown in text.lines().filter(|shown| !shown.starts_with('(') && !shown.trim_start().starts_with("file:///")) {
            assert!(shown.width() <= width, "{line} at {width}: {shown}");
        }
        all.push_str(&format!("== {width} columns\n{text}\n"));
    }
    insta::with_settings!({ snapshot_path => "../../../tests/recorded/look", prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!(line.replace(' ', "-"), all);
    });
}

#[test]
fn every_table_reads_well_at_every_width() {
    for row in table().rows() {
        if row.output == Some(OutputFormat::Table) {
            check(&row.name);
        }
    }
    check("processes -tree");
    check("remediate list");
    check("fileinfo x");
}

#[test]
fn a_column_with_nothing_in_it_makes_room_for_others_and_is_named() {
    let draw = |asked: bool, width: Option<usize>, rows: &[&str]| {
        let column = |key: &str| super::spec::named(key);
        let columns = ["name", "pid", "where"].map(column).to_vec();
        let (mut table, mut out) = (Table::new(columns, asked, width, TimeZone::UTC, false), Vec::new());
        rows.iter().for_each(|row| table.row(row, &mut out));
        table.end(&mut out);
        (String::from_utf8(out).unwrap(), table.notes(true))
    };
    let rows = [r#"{"name":"a","pid":null,"where":"/x"}"#, r#"{"name":"b","where":"/y"}"#];
    let (text, notes) = draw(false, Some(80), &rows);
    assert_eq!((text.as_str(), notes), ("name  where\na     /x\nb     /y\n", vec!["nothing in: pid".to_owned()]));
    // What was asked for stands, as do the columns of a file and of rows that say nothing at all.
    let all = "name  pid  where\na          /x\nb          /y\n";
    assert_eq!(draw(true, Some(80), &rows), (all.to_owned(), Vec::new()));
    assert_eq!(draw(false, None, &rows), (all.to_owned(), Vec::new()));
    assert_eq!(draw(false, Some(80), &[r#"{"name":null}"#]).1, Vec::<String>::new());
}
