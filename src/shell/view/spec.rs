//! How a command's answer is to be shown: what its row of the table says, and what the line says.

use jiff::tz::TimeZone;

use crate::grammar::{Column, Invocation, OutputFormat, Sort, Unit};
use crate::protocol::Problem;

use super::options::ViewOptions;

/// How an answer is to be shown.
#[derive(Debug, Clone)]
pub struct RenderSpec {
    /// Every field of a row, those a table shows marked.
    pub(super) columns: Vec<Column>,
    /// What the row says.
    pub(super) default: OutputFormat,
    /// What holds: the line's `-output`, or the default.
    pub(super) format: OutputFormat,
    pub(super) options: ViewOptions,
    /// The order that holds.
    pub(super) sort: Option<Sort>,
    pub(super) zone: TimeZone,
}

impl RenderSpec {
    /// What a line says. `zone` is the clock of tables.
    ///
    /// # Errors
    /// `bad_value` when a view option names a field that the command does not have.
    pub fn of(invocation: &Invocation, zone: TimeZone) -> Result<Self, Problem> {
        let (row, form) = (invocation.row, invocation.form);
        let columns = match form {
            Some(form) if !form.columns.is_empty() => &form.columns,
            _ => &row.columns,
        };
        let default = form.and_then(|form| form.output).or(row.output).unwrap_or(OutputFormat::Text);
        let format = invocation.output.unwrap_or(default);
        let options = ViewOptions::read(&invocation.view, columns)?;
        // The row's own order is for tables, and a tree has an order of its own.
        let own = form.and_then(|form| form.sort.as_ref()).or(row.sort.as_ref());
        let own = own.filter(|_| format == OutputFormat::Table && !invocation.flags.contains("tree"));
        let sort = options.sort.clone().or_else(|| own.cloned());
        Ok(Self { columns: columns.clone(), default, format, options, sort, zone })
    }

    /// A text that goes to the screen as it comes.
    #[must_use]
    pub fn text() -> Self {
        Self {
            columns: Vec::new(),
            default: OutputFormat::Text,
            format: OutputFormat::Text,
            options: ViewOptions::default(),
            sort: None,
            zone: TimeZone::UTC,
        }
    }

    /// Whether nothing but these fields of a row is shown, looked through or sorted by.
    #[must_use]
    pub fn is_within(&self, fields: &[&str]) -> bool {
        let within = |key: &str| fields.contains(&key);
        let shown = match (&self.options.columns, self.format) {
            (Some(columns), _) => columns.iter().all(|key| within(key)),
            (None, OutputFormat::Table) => self.table_columns().iter().all(|column| within(&column.key)),
            (None, _) => false,
        };
        shown && self.options.pattern.is_none() && self.sort.as_ref().is_none_or(|sort| within(&sort.key))
    }

    /// Whether the answer is written for programs: nothing but data may be in it.
    #[must_use]
    pub fn is_data(&self) -> bool {
        self.format.is_data()
    }

    /// The unit of the field that rows are sorted by.
    pub(super) fn sort_unit(&self) -> Unit {
        let column = self.sort.as_ref().and_then(|sort| self.columns.iter().find(|column| column.key == sort.key));
        column.map_or(Unit::Plain, |column| column.unit)
    }

    /// The columns of a table: those asked for, which then stay, or those shown; all where none is marked.
    pub(super) fn table_columns(&self) -> Vec<Column> {
        let mut columns: Vec<Column> = match &self.options.columns {
            None => {
                let shown: Vec<Column> = self.columns.iter().filter(|column| column.shown).cloned().collect();
                if shown.is_empty() { self.columns.clone() } else { shown }
            }
            Some(names) => {
                let asked = names.iter().map(|name| {
                    let known = self.columns.iter().find(|column| column.key == *name);
                    let mut column = known.cloned().unwrap_or_else(|| named(name));
                    column.priority = 0;
                    column
                });
                asked.collect()
            }
        };
        if self.sort.is_some() {
            // In another order nobody stands below his parent.
            columns.iter_mut().for_each(|column| column.tree = None);
        }
        columns
    }
}

/// A column of which only the name is known.
pub(super) fn named(key: &str) -> Column {
    Column {
        key: key.to_owned(),
        title: None,
        shown: true,
        priority: 0,
        align: crate::grammar::Alignment::Left,
        unit: Unit::Plain,
        fields: Vec::new(),
        tree: None,
    }
}
