//! A unit as its files describe it.

use std::path::PathBuf;

use super::file::Assignment;
use super::name::{UnitKind, instance_of};
use crate::agent::platform::linux::facts::Time;

/// A unit.
#[derive(Debug)]
pub struct Unit {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: UnitKind,
    /// The file or link that counts.
    pub path: PathBuf,
    /// What that is.
    pub loaded: Loaded,
    /// Files of that name that it shadows.
    pub shadowed: Vec<PathBuf>,
    /// The drop-in files that change it, in the order in which they do.
    pub drop_ins: Vec<DropIn>,
    /// What its file and drop-ins say, in order. Empty for aliases and masked units.
    pub assignments: Vec<Assignment>,
    /// As `systemctl list-unit-files` says it: enabled, disabled, static, masked, alias, linked, indirect, generated, transient, bad, …
    pub state: &'static str,
    /// Of a template: its instances that something pulls in.
    pub instances: Vec<String>,
    /// When the file last changed.
    pub modified: Option<Time>,
    /// The SHA-256 of the file, in hexadecimal.
    pub sha256: Option<String>,
    /// What is wrong with it.
    pub error: Option<String>,
    /// The instance of another template that a link by this name stands for.
    pub(super) stands_for: Option<String>,
}

/// A file that changes a unit.
#[derive(Debug, Clone)]
pub struct DropIn {
    /// Where it is.
    pub path: PathBuf,
    /// The SHA-256 of it, in hexadecimal; `None` when it cannot be read.
    pub sha256: Option<String>,
}

/// What stands behind a unit's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loaded {
    /// A file in one of the folders.
    File,
    /// A link to a file elsewhere, which may be called anything: systemd loads it by the link's name.
    Linked(PathBuf),
    /// Another name of that unit.
    Alias(String),
    /// A link to nothing, or an empty file: it can never be started.
    Masked,
    /// Not to be read.
    Broken,
}

impl Unit {
    /// A unit of which nothing is known yet but where it is.
    pub(super) fn new(name: &str, kind: UnitKind, path: PathBuf) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            path,
            loaded: Loaded::File,
            shadowed: Vec::new(),
            drop_ins: Vec::new(),
            assignments: Vec::new(),
            state: "bad",
            instances: Vec::new(),
            modified: None,
            sha256: None,
            error: None,
            stands_for: None,
        }
    }

    /// The assignments of a key, in order; an empty one takes back those before it.
    #[must_use]
    pub fn values(&self, section: &str, key: &str) -> Vec<&Assignment> {
        let mut values = Vec::new();
        for assignment in self.assignments.iter().filter(|one| one.section == section && one.key == key) {
            if assignment.value.is_empty() {
                values.clear();
            } else {
                values.push(assignment);
            }
        }
        values
    }

    /// The last value of a key; `None` when it has none or was taken back.
    #[must_use]
    pub fn last(&self, section: &str, key: &str) -> Option<&str> {
        self.values(section, key).last().map(|assignment| assignment.value.as_str())
    }

    /// The words of all values of a key.
    #[must_use]
    pub fn words(&self, section: &str, key: &str) -> Vec<String> {
        self.values(section, key).iter().flat_map(|one| super::command::words(&one.value)).collect()
    }

    /// A value with its `%`-specifiers replaced, as far as the unit's name tells them.
    #[must_use]
    pub fn expand(&self, value: &str) -> String {
        self.expand_as(&self.name, value)
    }

    /// The same for an instance of this template.
    #[must_use]
    pub fn expand_as(&self, name: &str, value: &str) -> String {
        super::name::expand(value, name)
    }
}

/// The instance that a template's `DefaultInstance=` names.
pub(super) fn default_instance(unit: &Unit) -> Option<String> {
    instance_of(&unit.name, unit.last("Install", "DefaultInstance")?)
}
