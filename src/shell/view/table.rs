//! Tables as wide as the terminal: columns go by their priority, what was left out is said, cells are cut and counted.
//!
//! Widths are fixed from the first rows, then every row is written as it comes: a million rows take no more memory than
//! five hundred. A table that is whole by then is drawn by comfy-table; the lines of a longer one have the same places.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use comfy_table::{CellAlignment, ContentArrangement, TableStyle};
use jiff::tz::TimeZone;

use crate::grammar::{Alignment, Column, Unit};

use super::fields::Wanted;
use super::records::Records;
use super::rows::Shape;
use super::tree::{self, Lineage};
use super::{clean, theme, value, width};

/// How many rows the widths are taken from.
const SAMPLE: usize = 500;
/// How long rows wait for more before the widths are fixed.
const PATIENCE: Duration = Duration::from_millis(200);
/// Columns stand this far apart.
const GAP: usize = 2;
/// Words are not cut below this while another column could go instead.
const COMFORT: usize = 28;
/// The field that says what went wrong with a row's thing.
const ERROR: &str = "error";
/// Words are not cut below this at all.
const LEAST: usize = 8;

/// Rows as a table.
#[derive(Debug)]
pub(super) struct Table {
    columns: Vec<Column>,
    wanted: Wanted,
    /// The column that is moved in where rows come as a tree, and the rows above the next one.
    tree: Option<(usize, Lineage)>,
    /// `None`: as wide as it takes.
    width: Option<usize>,
    zone: TimeZone,
    color: bool,
    /// The analyst named the columns: they stand, whatever is in them.
    asked: bool,
    state: State,
    rows: u64,
    /// Rows that say what went wrong with them, in a field that is not shown.
    errors: u64,
    cut: u64,
    left_out: Vec<String>,
    /// Columns with nothing in them, which are not shown.
    empty: Vec<String>,
}

#[derive(Debug)]
enum State {
    Sampling { rows: Vec<Row<'static>>, kept: Vec<String>, since: Option<Instant> },
    Lines(Vec<Place>),
    Records(Box<Records>),
}

/// A row as it is shown.
#[derive(Debug, Default)]
struct Row<'r> {
    cells: Vec<Cow<'r, str>>,
    /// The `file:///` forms of cells that may be cut, and whose they are: on lines of their own, whole.
    below: Vec<(usize, String)>,
    /// Of a row in a tree: the column that is moved in, and how far.
    level: Option<(usize, usize)>,
}

/// Where a column stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    column: usize,
    width: usize,
    align: Alignment,
    /// Its cells are paths, whose end tells most.
    is_path: bool,
}

impl Place {
    /// A cell as it fits here; `None` when all of it does.
    fn cut(&self, cell: &str) -> Option<String> {
        if self.is_path { width::cut_path(cell, self.width) } else { width::cut(cell, self.width) }
    }
}

impl Table {
    /// `asked`: the analyst named the columns.
    pub(super) fn new(columns: Vec<Column>, asked: bool, width: Option<usize>, zone: TimeZone, color: bool) -> Self {
        // Each field's exact form is looked for beside it.
        let uris: Vec<String> = columns.iter().map(|column| format!("{}_uri", column.key)).collect();
        let keys = columns.iter().map(|column| column.key.as_str()).chain(uris.iter().map(String::as_str));
        let tree = columns.iter().enumerate().find_map(|(at, column)| Some((at, column.tree.as_ref()?)));
        let of_tree = tree.map(|(_, tree)| [&tree.id, &tree.parent, &tree.depth]);
        let wanted = Wanted::new(keys.chain([ERROR]).chain(of_tree.iter().flatten().map(|key| key.as_str())));
        let tree = tree.map(|(at, _)| (at, Lineage::default()));
        let state = State::Sampling { rows: Vec::new(), kept: Vec::new(), since: None };
        let (left_out, empty) = (Vec::new(), Vec::new());
        Self { columns, wanted, tree, width, zone, color, asked, state, rows: 0, errors: 0, cut: 0, left_out, empty }
    }

    fn read<'r>(&mut self, row: &'r str) -> Row<'r> {
        let mut found = self.wanted.find(row);
        let level = self.tree.as_mut().and_then(|(column, lineage)| {
            let of_tree: Vec<_> = found.drain(found.len().saturating_sub(3)..).collect();
            let [Some(id), Some(parent), Some(depth)] = of_tree[..] else { return None };
            Some((*column, lineage.level(id, parent, depth.parse().ok()?)))
        });
        let error = found.pop().flatten();
        self.errors += u64::from(error.is_some_and(|error| error != "null" && error != "\"\""));
        let (values, uris) = found.split_at(self.columns.len().min(found.len()));
        let mut below = Vec::new();
        let cells = self.columns.iter().zip(values).zip(uris).enumerate().map(|(at, ((column, raw), uri))| {
            let mut shown = value::cell(raw.unwrap_or("null"), column.unit, &self.zone);
            if level.is_some_and(|(column, _)| column == at) {
                shown = tree::name(shown);
            }
            if column.unit != Unit::Path {
                return shown;
            }
            // Where cells are cut, that form may not be: it stands below.
            if self.width.is_some() {
                below.extend(value::uri(*uri).map(|uri| (at, uri)));
                return shown;
            }
            value::with_uri(shown, *uri)
        });
        Row { cells: cells.collect(), below, level }
    }

    fn title(&self, column: usize) -> &str {
        self.columns.get(column).map_or("", |column| column.title.as_deref().unwrap_or(&column.key))
    }

    /// Fixes the widths and writes what was held.
    fn settle(&mut self, whole: bool, out: &mut Vec<u8>) {
        let State::Sampling { rows, kept, .. } = &mut self.state else { return };
        let (rows, kept) = (std::mem::take(rows), std::mem::take(kept));
        if rows.is_empty() && whole {
            return;
        }
        let empty = if whole && !self.asked { self.empty(&rows) } else { Vec::new() };
        self.empty = empty.iter().map(|column| self.title(*column).to_owned()).collect();
        let Some(places) = self.places(&rows, &empty) else {
            let keys = self.columns.iter().map(|column| column.key.clone()).collect();
            let mut records = Records::new(self.columns.clone(), Some(keys), self.width, self.zone.clone(), self.color);
            kept.iter().for_each(|row| records.row(row, out));
            self.state = State::Records(Box::new(records));
            return;
        };
        let shown = |column: usize| places.iter().any(|place| place.column == column);
        let left_out = (0..self.columns.len()).filter(|column| !shown(*column) && !empty.contains(column));
        self.left_out = left_out.map(|column| self.title(column).to_owned()).collect();
        let is_plain = rows.iter().all(|row| row.below.is_empty() && row.level.is_none_or(|(_, level)| level == 0));
        if whole && is_plain {
            self.draw(&places, &rows, out);
        } else {
            let titles = (0..self.columns.len()).map(|column| clean::line(self.title(column))).collect();
            let mut heading = String::new();
            line(&places, &Row { cells: titles, ..Row::default() }, self.width.is_some(), false, &mut heading);
            out.extend_from_slice(theme::paint(theme::heading(), &heading, self.color).as_bytes());
            out.push(b'\n');
            for row in &rows {
                self.cut += write_line(&places, row, self.width.is_some(), self.color, out);
            }
        }
        self.state = State::Lines(places);
    }

    /// Draws a table that is whole.
    fn draw(&mut self, places: &[Place], rows: &[Row<'_>], out: &mut Vec<u8>) {
        let mut table = comfy_table::Table::new();
        table.load_style(TableStyle::new()).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(places.iter().map(|place| clean::line(self.title(place.column)).into_owned()));
        for row in rows {
            let cells = places.iter().map(|place| {
                let cell = row.cells.get(place.column).map_or("", |cell| cell.as_ref());
                place.cut(cell).filter(|_| self.width.is_some()).map_or_else(
                    || cell.to_owned(),
                    |cut| {
                        self.cut += 1;
                        cut
                    },
                )
            });
            table.add_row(cells.collect::<Vec<_>>());
        }
        let last = places.len().saturating_sub(1);
        for (n, place) in places.iter().enumerate() {
            if let Some(column) = table.column_mut(n) {
                let gap = u16::try_from(if n == last { 0 } else { GAP }).unwrap_or_default();
                column.set_padding((0, gap));
                column.set_cell_alignment(match place.align {
                    Alignment::Left => CellAlignment::Left,
                    Alignment::Right => CellAlignment::Right,
                });
            }
        }
        for (n, line) in table.lines().enumerate() {
            let line = line.trim_end();
            let line = if n == 0 { theme::paint(theme::heading(), line, self.color) } else { line.to_owned() };
            out.extend_from_slice(line.as_bytes());
            out.push(b'\n');
        }
    }

    /// The columns that hold nothing. On a terminal only: in a file a table has the columns that it always has.
    fn empty(&self, rows: &[Row<'_>]) -> Vec<usize> {
        let is_empty = |at: &usize| rows.iter().all(|row| row.cells.get(*at).is_none_or(|cell| cell.is_empty()));
        let all = if self.width.is_some() { self.columns.len() } else { 0 };
        let empty: Vec<usize> = (0..all).filter(is_empty).collect();
        // Rows that say nothing are rows all the same.
        if empty.len() < all { empty } else { Vec::new() }
    }

    /// Where the columns stand, without those that are empty; `None` when they do not fit even so.
    fn places(&self, rows: &[Row<'_>], empty: &[usize]) -> Option<Vec<Place>> {
        let mut places: Vec<(Place, usize, usize)> = Vec::with_capacity(self.columns.len());
        for (at, column) in self.columns.iter().enumerate().filter(|(at, _)| !empty.contains(at)) {
            let title = width::of(&clean::line(self.title(at)));
            let cells = rows.iter().filter_map(|row| Some(row.guide(at, None, false).1 + width::of(row.cells.get(at)?)));
            let natural = cells.max().unwrap_or(0).max(title);
            // Numbers and times are worth nothing when cut.
            let firm = column.align == Alignment::Right || matches!(column.unit, Unit::Time | Unit::Bytes | Unit::Millis);
            let least = |bound: usize| if firm { natural } else { natural.min(bound.max(title)) };
            let place = Place { column: at, width: natural, align: column.align, is_path: column.unit == Unit::Path };
            places.push((place, least(COMFORT), least(LEAST)));
        }
        let Some(width) = self.width else {
            return Some(places.into_iter().map(|(place, ..)| place).collect());
        };
        let sum = |places: &[(Place, usize, usize)], of: fn(&(Place, usize, usize)) -> usize| {
            places.iter().map(of).sum::<usize>() + GAP * places.len().saturating_sub(1)
        };
        while sum(&places, |place| place.1) > width {
            let priority = |place: &Place| self.columns.get(place.column).map_or(0, |column| column.priority);
            let goes = (0..places.len()).filter(|at| places.get(*at).is_some_and(|(place, ..)| priority(place) > 0));
            let Some(goes) = goes.max_by_key(|at| places.get(*at).map(|(place, ..)| priority(place))) else { break };
            places.remove(goes);
        }
        let (mut left, comfort) = match width.checked_sub(sum(&places, |place| place.1)) {
            Some(left) => (left, true),
            None => (width.checked_sub(sum(&places, |place| place.2))?, false),
        };
        let mut settled: Vec<Place> = Vec::with_capacity(places.len());
        for (place, comfortable, least) in &places {
            settled.push(Place { width: if comfort { *comfortable } else { *least }, ..*place });
        }
        // What is left goes to those that are cut, a column each in turn.
        while left > 0 {
            let before = left;
            for (place, (natural, ..)) in settled.iter_mut().zip(&places) {
                if left > 0 && place.width < natural.width {
                    place.width += 1;
                    left -= 1;
                }
            }
            if left == before {
                break;
            }
        }
        Some(settled)
    }
}

impl Shape for Table {
    fn begin(&mut self, _keys: &[String], _out: &mut Vec<u8>) {}

    fn row(&mut self, row: &str, out: &mut Vec<u8>) {
        self.rows += 1;
        match &mut self.state {
            State::Records(records) => return records.row(row, out),
            State::Lines(places) => {
                let places = std::mem::take(places);
                let read = self.read(row);
                self.cut += write_line(&places, &read, self.width.is_some(), self.color, out);
                self.state = State::Lines(places);
                return;
            }
            State::Sampling { .. } => {}
        }
        let Row { cells, below, level } = self.read(row);
        let cells = cells.into_iter().map(|cell| Cow::Owned(cell.into_owned())).collect();
        let State::Sampling { rows, kept, since } = &mut self.state else { return };
        since.get_or_insert_with(Instant::now);
        rows.push(Row { cells, below, level });
        if self.width.is_some() {
            // Needed only where the table may turn out to be too wide.
            kept.push(row.to_owned());
        }
        if rows.len() >= SAMPLE {
            self.settle(false, out);
        }
    }

    fn idle(&mut self, out: &mut Vec<u8>) {
        if let State::Sampling { since: Some(since), .. } = &self.state
            && since.elapsed() >= PATIENCE
        {
            self.settle(false, out);
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        self.settle(true, out);
    }

    fn notes(&self, whole: bool) -> Vec<String> {
        let mut notes = Vec::new();
        if self.rows == 0 && whole {
            // A screen that shows nothing could as well be one that shows nothing yet.
            notes.push("no rows".to_owned());
        }
        if !self.empty.is_empty() {
            notes.push(format!("nothing in: {}", self.empty.join(", ")));
        }
        if !self.left_out.is_empty() {
            notes.push(format!("left out for want of width: {}", self.left_out.join(", ")));
        }
        if self.errors > 0 && !self.columns.iter().any(|column| column.key == ERROR) {
            let rows = if self.errors == 1 { "1 row says".to_owned() } else { format!("{} rows say", self.errors) };
            let first = self.columns.first().map_or("", |column| column.key.as_str());
            notes.push(format!("{rows} what went wrong: -columns {first},{ERROR} shows it"));
        }
        match self.cut {
            0 => {}
            1 => notes.push("1 cell was cut".to_owned()),
            n => notes.push(format!("{n} cells were cut")),
        }
        notes
    }
}

impl Row<'_> {
    /// What is drawn before a cell for the tree that its row stands in, and how wide it is.
    fn guide(&self, column: usize, width: Option<usize>, color: bool) -> (String, usize) {
        let Some((_, level)) = self.level.filter(|(moved, level)| *moved == column && *level > 0) else {
            return (String::new(), 0);
        };
        let guide = tree::guide(level, self.cells.get(column).map_or(0, |cell| width::of(cell)), width, color);
        let wide = width::of(&guide);
        (theme::paint(theme::aside(), &guide, color), wide)
    }
}

fn write_line(places: &[Place], row: &Row<'_>, bounded: bool, color: bool, out: &mut Vec<u8>) -> u64 {
    let mut text = String::with_capacity(128);
    let cut = line(places, row, bounded, color, &mut text);
    text.push('\n');
    for (_, uri) in row.below.iter().filter(|(column, _)| places.iter().any(|place| place.column == *column)) {
        text.push_str("  ");
        text.push_str(uri);
        text.push('\n');
    }
    out.extend_from_slice(text.as_bytes());
    cut
}

/// Writes a line of cells to their places; how many were cut.
fn line(places: &[Place], row: &Row<'_>, bounded: bool, color: bool, out: &mut String) -> u64 {
    let mut cut_cells = 0;
    let mut places = places.iter();
    let mut place = places.next();
    for (column, cell) in row.cells.iter().enumerate() {
        let Some(here) = place.filter(|place| place.column == column) else { continue };
        place = places.next();
        let last = place.is_none();
        let (guide, moved) = row.guide(column, bounded.then_some(here.width), color);
        let here = Place { width: here.width.saturating_sub(moved), ..*here };
        let mut shown = Cow::Borrowed(cell.as_ref());
        let mut wide = width::of(cell);
        if wide > here.width && bounded {
            shown = here.cut(cell).map_or(shown, Cow::Owned);
            wide = width::of(&shown);
            cut_cells += 1;
        }
        let pad = here.width.saturating_sub(wide);
        if here.align == Alignment::Right {
            width::blanks(pad, out);
        }
        out.push_str(&guide);
        out.push_str(&shown);
        if !last {
            width::blanks(if here.align == Alignment::Left { pad + GAP } else { GAP }, out);
        }
    }
    out.truncate(out.trim_end().len());
    cut_cells
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(rows: &[&str], width: Option<usize>) -> String {
        let column = |toml: &str| toml::from_str(toml).unwrap();
        let columns = vec![column("key = \"path\"\nunit = \"path\""), column("key = \"size\"\nalign = \"right\"")];
        let (mut table, mut out) = (Table::new(columns, false, width, TimeZone::UTC, false), Vec::new());
        rows.iter().for_each(|row| table.row(row, &mut out));
        table.end(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn children_stand_in_from_their_parents_and_no_name_looks_like_it() {
        let tree = "key = \"name\"\ntree = { id = \"pid\", parent = \"parent_id\", depth = \"depth\" }";
        let columns = || ["key = \"pid\"", tree, "key = \"user\""].map(|toml| toml::from_str(toml).unwrap()).to_vec();
        let rows = [
            r#"{"name":"init","pid":1,"parent_id":0,"user":"root","depth":0}"#,
            r#"{"name":"sshd","pid":20,"parent_id":1,"user":"root","depth":1}"#,
            r#"{"name":"  init","pid":21,"parent_id":20,"user":"eve","depth":2}"#,
            r#"{"name":"cron","pid":3,"parent_id":1,"user":"root","depth":1}"#,
        ];
        let draw = |rows: &[&str], width, color| {
            let (mut table, mut out) = (Table::new(columns(), false, width, TimeZone::UTC, color), Vec::new());
            rows.iter().for_each(|row| table.row(row, &mut out));
            table.end(&mut out);
            String::from_utf8(out).unwrap()
        };
        let check = |rows: &[&str], width, expected: &str| assert_eq!(draw(rows, width, false), expected);
        let wide = "\
pid  name             user
1    init             root
20     sshd           root
21       \\u{20} init  eve
3      cron           root
";
        check(&rows, None, wide);
        check(&rows, Some(80), wide);
        // Who stands alone stands at the top.
        check(&rows[2..3], Some(80), "pid  name         user\n21   \\u{20} init  eve\n");
        // Where rows come as a list, nothing is moved and nothing is shown otherwise.
        check(&[r#"{"name":" x","pid":1,"parent_id":0,"user":"root"}"#], None, "pid  name  user\n1     x    root\n");
        let colored = draw(&rows, Some(80), true);
        assert!(colored.contains("\u{1b}[2m│ │ \u{1b}[0m\\u{20} init  eve"), "{colored:?}");
        // Deep down and on a narrow terminal the name stays.
        let deep = |depth: usize| {
            format!(
                r#"{{"name":"d{depth}","pid":{depth},"parent_id":{},"user":"root","depth":{depth}}}"#,
                depth.wrapping_sub(1)
            )
        };
        let rows: Vec<String> = (0..40).map(deep).collect();
        let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
        let narrow = draw(&rows, Some(30), false);
        assert!(narrow.lines().all(|line| width::of(line) <= 30) && narrow.contains("39   …39 d39"), "{narrow}");
    }

    #[test]
    fn columns_stand_below_each_other_whatever_the_names_are() {
        let plain = r#"{"path":"/a","size":1}"#;
        let odd = r#"{"path":"/tmp/odd\u001b","path_uri":"file:///tmp/odd%1B","size":22}"#;
        for width in [None, Some(80)] {
            let text = shown(&[plain, odd, plain], width);
            let rows = text.lines().filter(|line| !line.starts_with("  file:"));
            let widths: Vec<usize> = rows.map(str::len).collect();
            assert!(widths.len() == 4 && widths.iter().all(|wide| *wide == widths[0]), "{text}");
            assert!(text.contains("file:///tmp/odd%1B"), "{text}");
        }
    }
}
