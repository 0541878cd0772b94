//! How the table of every command looks on a narrow, an ordinary and a wide terminal: rows recorded from machines (a file a
//! command, named as its line), held as snapshots. `INSTA_UPDATE=always cargo test look` writes them anew; read them first.

use jiff::tz::TimeZone;
use unicode_width::UnicodeWidthStr;

use super::RenderSpec;
use super::rows::{Rows, Shape};
use super::table::Table;
use crate::grammar::{OutputFormat, read, table};

/// Commands whose rows are not recorded: what they show is recorded with others, or they have no verb yet.
const NOT_RECORDED: [&str; 5] = ["history", "persistence", "scan", "scheduledtasks", "startupfolders"];

fn recording(line: &str) -> Option<String> {
    let file = format!("{}/tests/recorded/look/{}.jsonl", env!("CARGO_MANIFEST_DIR"), line.replace(' ', "-"));
    std::fs::read_to_string(file).ok()
}

/// What a terminal of that width shows of a line's answer.
fn shown(line: &str, rows: &str, width: usize) -> String {
    let invocation = read(&format!("{line} -output table"), None).invocation.unwrap();
    let spec = RenderSpec::of(&invocation, TimeZone::UTC).unwrap();
    let mut shape = Table::new(spec.table_columns(), Some(width), TimeZone::UTC, false);
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
    for note in shape.notes() {
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
        if row.output == Some(OutputFormat::Table) && !NOT_RECORDED.contains(&row.name.as_str()) {
            check(&row.name);
        }
    }
    check("remediate list");
    check("fileinfo x");
}
