//! The table: the rows of `grammar/commands/`, embedded in the program and indexed by name.

use std::collections::HashMap;

use indexmap::IndexMap;
use std::sync::LazyLock;

use include_dir::{Dir, include_dir};

use super::row::{Form, Kind, Parameter, Role, Row};

static FILES: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/grammar/commands");
static TABLE: LazyLock<Table> = LazyLock::new(Table::load);

/// Every command there is.
pub fn table() -> &'static Table {
    &TABLE
}

/// The command table.
#[derive(Debug)]
pub struct Table {
    rows: Vec<Row>,
    names: HashMap<String, usize>,
    problems: Vec<String>,
}

impl Table {
    /// The rows, sorted by name.
    #[must_use]
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The command that other shells call so.
    #[must_use]
    pub fn known_as(&self, name: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.known_as.iter().any(|known| known.eq_ignore_ascii_case(name)))
    }

    /// The row with that name or alias, in any case.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Row> {
        let at = match self.names.get(name) {
            Some(at) => *at,
            None => *self.names.get(&name.to_ascii_lowercase())?,
        };
        self.rows.get(at)
    }

    /// Every name and alias.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.keys().map(String::as_str)
    }

    /// What is wrong with the table itself; empty in a program that was tested.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        self.problems.iter().cloned().chain(super::check::problems(self)).collect()
    }

    fn load() -> Self {
        let mut rows = Vec::new();
        let mut problems = Vec::new();
        for file in FILES.files() {
            let path = file.path().display().to_string();
            match file.contents_utf8().map(toml::from_str::<Row>) {
                Some(Ok(row)) => rows.push(completed(row)),
                Some(Err(error)) => problems.push(format!("{path}: {error}")),
                None => problems.push(format!("{path}: not UTF-8")),
            }
        }
        rows.sort_by(|one, other| one.name.cmp(&other.name));
        let mut names = HashMap::new();
        for (at, row) in rows.iter().enumerate() {
            for name in std::iter::once(&row.name).chain(&row.aliases) {
                if names.insert(name.clone(), at).is_some() {
                    problems.push(format!("{name} names two commands"));
                }
            }
        }
        Self { rows, names, problems }
    }
}

/// Adds what every row with an output has: the parameter `output`, last, and the view options behind it.
fn completed(mut row: Row) -> Row {
    // Where a value of the first parameter chose the form, the parameter is there.
    let first = row.params.first().cloned().map(|first| Parameter { required: true, ..first });
    for form in &mut row.forms {
        if form.when.starts_with("value:") {
            form.params.splice(0..0, first.clone());
        }
        if form.output.or(row.output).is_some() {
            form.params.extend(view_parameters());
        }
    }
    if row.output.is_some() {
        row.params.extend(view_parameters());
    }
    row
}

fn view_parameters() -> [Parameter; 5] {
    let option = |name: &str, kind, choices: &[&str], named_only, summary: &str| Parameter {
        name: name.to_owned(),
        kind,
        required: false,
        choices: choices.iter().map(|&choice| choice.to_owned()).collect(),
        default: None,
        hidden: false,
        named_only,
        empty: None,
        kind_by: std::collections::BTreeMap::default(),
        summary: summary.to_owned(),
    };
    [
        option("output", Kind::Choice, &["table", "json", "csv", "jsonl"], false, "How the answer is written"),
        option("match", Kind::Text, &[], true, "Only rows with a field that contains this; * and ? match"),
        option("columns", Kind::Fields, &[], true, "These fields, in this order"),
        option("sort", Kind::Sort, &[], true, "By this field; -field for largest first"),
        option("first", Kind::Count, &[], true, "Only so many rows"),
    ]
}

/// Whether a parameter works in the view and is not sent to the device.
pub(super) fn is_view_option(name: &str) -> bool {
    matches!(name, "match" | "columns" | "sort" | "first")
}

/// Whether a parameter is one that every command with an output has.
pub(super) fn is_shared(name: &str) -> bool {
    name.eq_ignore_ascii_case("output") || is_view_option(&name.to_ascii_lowercase())
}

impl Row {
    /// Whether a bound line of this row changes something on the device.
    #[must_use]
    pub fn changes(&self, params: &IndexMap<String, String>, flags: &[String]) -> bool {
        let first = params.values().next();
        let form = self.forms.iter().find(|form| match form.when.split_once(':') {
            Some(("value", when)) => first.is_some_and(|value| value == when),
            Some(("flag", when)) => flags.iter().any(|flag| flag == when),
            _ => false,
        });
        form.and_then(|form| form.changes_state).unwrap_or(self.changes_state)
    }

    /// The form's parameters, or the row's own.
    #[must_use]
    pub fn params_of(&self, form: Option<&'static Form>) -> &[Parameter]
    where
        Self: 'static,
    {
        form.map_or(self.params.as_slice(), |form| form.params.as_slice())
    }

    /// The roles under which some form of this command may be run.
    pub fn roles(&self) -> impl Iterator<Item = Role> + '_ {
        std::iter::once(self.role).chain(self.forms.iter().filter_map(|form| form.role))
    }
}
