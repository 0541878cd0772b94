//! The shape of the table: what `grammar/commands/<command>.toml` may say of a command.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::protocol::PlatformName;

/// A command: one file of the table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// The canonical name.
    pub name: String,
    /// Other names that read as this one.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// Where help lists it.
    pub category: Category,
    /// One line, without a full stop.
    pub summary: String,
    /// What `help <command>` says beyond the summary.
    #[serde(default)]
    pub help: String,
    /// Who may run it.
    pub role: Role,
    /// On which devices.
    pub platforms: Vec<PlatformName>,
    /// Who carries it out.
    pub runs_on: RunsOn,
    /// In order; `output` and the view options are added by the loader where `output` is set.
    #[serde(default, rename = "param")]
    pub params: Vec<Parameter>,
    /// The parameter that takes everything behind an unquoted `--`, raw.
    #[serde(default)]
    pub rest: Option<String>,
    /// Flags of the main form.
    #[serde(default, rename = "flag")]
    pub flags: Vec<Flag>,
    /// Sub-forms; the first that fits binds, else the row's own parameters do.
    #[serde(default, rename = "form")]
    pub forms: Vec<Form>,
    /// Sets of flags and parameters of which a line may carry only one.
    #[serde(default)]
    pub exclusive: Vec<Vec<String>>,
    /// What must have been looked at first, by entity type; `*` is any.
    #[serde(default, rename = "prerequisite")]
    pub prerequisites: BTreeMap<String, Prerequisite>,
    /// Whether it changes the device or the service.
    #[serde(default)]
    pub changes_state: bool,
    /// Whether `&` makes sense.
    #[serde(default)]
    pub background: bool,
    /// What it costs a device.
    #[serde(default)]
    pub weight: Weight,
    /// Seconds after which it is ended; the service's ordinary limit where absent.
    #[serde(default)]
    pub time_limit: Option<u64>,
    /// The largest file it takes, in bytes, by platform name; `*` is any other.
    #[serde(default)]
    pub size_limit: BTreeMap<String, u64>,
    /// How its answer is shown unless the line says otherwise; absent: it takes no `output` and shows text.
    #[serde(default)]
    pub output: Option<OutputFormat>,
    /// Every field of its rows, in order, those shown in a table marked.
    #[serde(default, rename = "column")]
    pub columns: Vec<Column>,
    /// The order of its rows in a table, where the device does not fix it.
    #[serde(default)]
    pub sort: Option<Sort>,
    /// Lines that show how it is used; a test reads each, and runs those marked.
    #[serde(default, rename = "example")]
    pub examples: Vec<Example>,
    /// What other shells call it: not understood, but told.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub known_as: Vec<String>,
    /// Other commands worth knowing.
    #[serde(default)]
    pub see_also: Vec<String>,
    /// `next`: the verb does not exist yet.
    #[serde(default)]
    pub since: Option<String>,
}

impl Row {
    /// Every name that it is called by, the canonical one first.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.name).chain(&self.aliases).map(String::as_str)
    }
}

/// Where help lists a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Category {
    /// Session and terminal.
    Session,
    /// Looking around.
    Looking,
    /// Files in and out.
    Files,
    /// Changing things.
    Doing,
}

/// What an analyst must be allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Looking, and fetching files.
    Basic,
    /// Changing the device; includes basic.
    Advanced,
    /// Adding to and deleting from the library.
    Library,
    /// Changing the service's settings.
    Settings,
}

impl Role {
    /// As it is written in the table and on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Basic => "basic",
            Self::Advanced => "advanced",
            Self::Library => "library",
            Self::Settings => "settings",
        }
    }

    /// Whether it is among the roles that an analyst holds; `advanced` includes `basic`.
    #[must_use]
    pub fn is_held(self, held: &[String]) -> bool {
        let has = |role: Self| held.iter().any(|name| name == role.as_str());
        has(self) || self == Self::Basic && has(Self::Advanced)
    }
}

/// Who carries a command out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunsOn {
    /// The shell alone: no number, not logged.
    Shell,
    /// The service.
    Service,
    /// The device.
    Device,
}

/// What a command costs a device, for the queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Weight {
    /// At most 32 at once on a device.
    #[default]
    Light,
    /// At most 4 at once on a device.
    Heavy,
}

/// How an answer is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OutputFormat {
    /// A table, or records where it does not fit.
    Table,
    /// JSON.
    Json,
    /// Comma-separated values.
    Csv,
    /// A JSON row a line.
    Jsonl,
    /// One field a line; a default only, no value of `-output`.
    Records,
    /// As it comes; a default only, no value of `-output`.
    Text,
}

impl OutputFormat {
    /// Whether it is written for programs: nothing but data may be in it.
    #[must_use]
    pub fn is_data(self) -> bool {
        matches!(self, Self::Json | Self::Jsonl | Self::Csv)
    }
}

/// A parameter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameter {
    /// Its canonical name, without the dash.
    pub name: String,
    /// What values it admits.
    pub kind: Kind,
    /// Whether a line without it is an error.
    #[serde(default)]
    pub required: bool,
    /// The only values it takes, in any case.
    #[serde(default)]
    pub choices: Vec<String>,
    /// What it is without being given, for help.
    #[serde(default)]
    pub default: Option<String>,
    /// Never bound by position, not offered.
    #[serde(default)]
    pub hidden: bool,
    /// Never bound by position.
    #[serde(default)]
    pub named_only: bool,
    /// Whether `""` is a value of it; where absent, of every kind but a path: an empty path names nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub empty: Option<bool>,
    /// Its kind where another parameter (`param`) has the value on the left: `{type.process = "pid"}`.
    #[serde(default)]
    pub kind_by: BTreeMap<String, BTreeMap<String, Kind>>,
    /// One line for help and menus.
    pub summary: String,
}

/// A flag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flag {
    /// Its canonical name, without the dash.
    pub name: String,
    /// One line for help and menus.
    pub summary: String,
}

/// A sub-form of a command: `remediate list`, `undo 3`, `library add FILE`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Form {
    /// When it binds: `value:NAME` (the first parameter has this value, by position or by name), `flag:NAME`, `number`
    /// (the first value is a number), `values:N` (at least so many values, `output` and view options aside), `param:NAME` (the
    /// row's parameter of that name has a value).
    pub when: String,
    /// Its parameters, behind the first of the row where `when` is a value.
    #[serde(default, rename = "param")]
    pub params: Vec<Parameter>,
    /// Its flags.
    #[serde(default, rename = "flag")]
    pub flags: Vec<Flag>,
    /// Its role, where it is not the row's.
    #[serde(default)]
    pub role: Option<Role>,
    /// Its time limit, where it is not the row's.
    #[serde(default)]
    pub time_limit: Option<u64>,
    /// Its default output, where it is not the row's.
    #[serde(default)]
    pub output: Option<OutputFormat>,
    /// Its fields, where they are not the row's.
    #[serde(default, rename = "column")]
    pub columns: Vec<Column>,
    /// Its order, where it is not the row's.
    #[serde(default)]
    pub sort: Option<Sort>,
    /// Whether it changes something, where the row says otherwise.
    #[serde(default)]
    pub changes_state: Option<bool>,
    /// One line for help.
    pub summary: String,
}

/// What values a parameter admits: see the design, section 4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A path on the device.
    Path,
    /// A name or pattern.
    Name,
    /// 1 to 4194304.
    Pid,
    /// A whole number from 0.
    Count,
    /// A command's name.
    Command,
    /// A command's number, UUID, or a unique start of it.
    CommandId,
    /// A device's id or name, or a unique start of either.
    Device,
    /// A path on the analyst's machine.
    LocalPath,
    /// Anything.
    Text,
    /// `[+-]N[k|M|G]`.
    Size,
    /// `[+-]N(s|m|h|d)`, or a time.
    Age,
    /// `N(s|m|h|d)`.
    Duration,
    /// 64 hexadecimal digits.
    Sha256,
    /// `[-]field`.
    Sort,
    /// `a,b`.
    Fields,
    /// IP addresses, with a prefix length or without, separated by commas.
    Addresses,
    /// One of the parameter's `choices`.
    Choice,
}

/// What must have been looked at before a command acts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prerequisite {
    /// The command that looks, canonical.
    pub command: String,
    /// The parameter of that command that takes this command's entity; absent: it is run without.
    #[serde(default)]
    pub param: Option<String>,
    /// Whether the act is refused without it (`getfile`'s is not).
    #[serde(default)]
    pub required: bool,
}

/// A field of a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// The field's key; `a.b` for one within an object.
    pub key: String,
    /// Its heading in a table; the key where absent.
    #[serde(default)]
    pub title: Option<String>,
    /// Whether a table shows it.
    #[serde(default)]
    pub shown: bool,
    /// Which columns go first when the terminal is narrow: the highest number goes first, 0 never goes.
    #[serde(default)]
    pub priority: u8,
    /// Where the text stands in its column.
    #[serde(default)]
    pub align: Alignment,
    /// What its values are.
    #[serde(default)]
    pub unit: Unit,
    /// The fields within it, where its values are objects; `*` stands for any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
    /// How rows stand below each other, where they come as a tree: this column's text is then moved in by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tree: Option<Tree>,
}

/// The fields that say how rows stand below each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tree {
    /// What the row is known by.
    pub id: String,
    /// The same of its parent.
    pub parent: String,
    /// How many ancestors stand above it; absent where rows come as a list.
    pub depth: String,
}

impl Column {
    /// Whether a name is this field's, or that of one within it: `a.b`.
    #[must_use]
    pub fn holds(&self, name: &str) -> bool {
        match name.strip_prefix(self.key.as_str()) {
            Some("") => true,
            Some(rest) => rest.strip_prefix('.').is_some_and(|within| self.has(within)),
            None => false,
        }
    }

    /// Whether its objects have a field; what is within that is known to nobody.
    fn has(&self, within: &str) -> bool {
        let first = within.split('.').next().unwrap_or(within);
        !first.is_empty() && self.fields.iter().any(|field| field == "*" || field == first)
    }
}

/// Where a text stands in its column.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Alignment {
    /// Words.
    #[default]
    Left,
    /// Numbers.
    Right,
}

/// What a field's values are, for tables.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// Shown as they are.
    #[default]
    Plain,
    /// A size in bytes.
    Bytes,
    /// A time, RFC 3339.
    Time,
    /// A duration in milliseconds.
    Millis,
    /// A path on the device: shown with its `file:///` form beside it where it is not plain.
    Path,
}

/// The order of a table's rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sort {
    /// The field.
    pub key: String,
    /// Largest first.
    #[serde(default)]
    pub descending: bool,
}

/// A line that shows how a command is used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Example {
    /// The line.
    pub line: String,
    /// What it does.
    pub summary: String,
    /// Whether a test runs it on a Linux device.
    #[serde(default)]
    pub run: bool,
}
