//! Which units start by themselves: what `default.target` pulls in, and what waits for something that it pulls in. A tree without
//! that target is judged by those that it usually stands for.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;

use super::NEEDS;
use crate::agent::platform::linux::listing::MAX_NAMES;
use crate::agent::platform::linux::root::Root;
use crate::agent::platform::linux::systemd::{Loaded, Unit, UnitKind, Units, template_of};
use crate::agent::platform::service::StartType;

/// The most units that are followed.
const MAX_UNITS: usize = 200_000;
/// What a boot reaches on nearly every device: where a tree has no `default.target`, it is asked what these would start, with or
/// without files of their own.
const INSTEAD: [&str; 7] = [
    "graphical.target",
    "multi-user.target",
    "basic.target",
    "sysinit.target",
    "sockets.target",
    "timers.target",
    "paths.target",
];
/// The largest description of a D-Bus service that is read.
const MAX_FILE: u64 = 64 * 1024;
const BUS_SERVICES: [&str; 4] = [
    "/etc/dbus-1/system-services",
    "/run/dbus-1/system-services",
    "/usr/local/share/dbus-1/system-services",
    "/usr/share/dbus-1/system-services",
];

/// What starts by itself.
#[derive(Debug, Default)]
pub(in crate::agent::platform::linux) struct Starts {
    /// Units that the boot pulls in, aliases resolved.
    boot: HashSet<String>,
    /// What starts a unit → whether that is itself started.
    triggers: BTreeMap<String, BTreeSet<(String, bool)>>,
}

impl Starts {
    pub(in crate::agent::platform::linux) fn of(units: &Units, root: &Root) -> Self {
        let mut starts = Self { boot: pulled_in(units), ..Self::default() };
        for unit in units.iter() {
            let (section, key) = match unit.kind {
                UnitKind::Socket => ("Socket", "Service"),
                UnitKind::Timer => ("Timer", "Unit"),
                UnitKind::Path => ("Path", "Unit"),
                _ => continue,
            };
            if !matches!(unit.loaded, Loaded::File | Loaded::Linked(_)) {
                continue;
            }
            let stem = unit.name.strip_suffix(unit.kind.as_str()).unwrap_or(&unit.name);
            let template = key == "Service"
                && unit.last("Socket", "Accept").is_some_and(|value| matches!(value, "yes" | "true" | "1" | "on"));
            let own = if template { format!("{}@.service", stem.trim_end_matches('.')) } else { format!("{stem}service") };
            let target = unit.last(section, key).map_or(own, |target| unit.expand(target));
            starts.add(units, &target, &unit.name, starts.boot.contains(&unit.name));
        }
        for (name, unit) in bus_names(root) {
            starts.add(units, &unit, &format!("dbus:{name}"), true);
        }
        starts
    }

    fn add(&mut self, units: &Units, target: &str, by: &str, active: bool) {
        let target = units.resolve(target).map_or(target, |unit| unit.name.as_str());
        self.triggers.entry(target.to_owned()).or_default().insert((by.to_owned(), active));
    }

    /// Whether a unit that is not masked starts by itself.
    pub(in crate::agent::platform::linux) fn start_type(&self, name: &str, unit: &Unit) -> StartType {
        let pulled = |name: &str| self.boot.contains(name);
        if pulled(name) || pulled(&unit.name) || (name == unit.name && unit.instances.iter().any(|one| pulled(one))) {
            StartType::Auto
        } else if self.triggers.get(&unit.name).is_some_and(|all| all.iter().any(|(_, active)| *active)) {
            StartType::Triggered
        } else {
            StartType::Manual
        }
    }

    /// Whether the boot pulls a unit in.
    pub(super) fn boots(&self, name: &str) -> bool {
        self.boot.contains(name)
    }

    /// What starts a unit, whether or not that is itself started.
    pub(super) fn triggers(&self, name: &str) -> Vec<String> {
        self.triggers.get(name).into_iter().flatten().map(|(by, _)| by.clone()).collect()
    }
}

fn pulled_in(units: &Units) -> HashSet<String> {
    let mut aliases: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for unit in units.iter() {
        if let Loaded::Alias(target) = &unit.loaded {
            aliases.entry(target).or_default().push(&unit.name);
        }
    }
    let mut reached = HashSet::new();
    let mut next = vec!["default.target".to_owned()];
    if units.resolve("default.target").is_none_or(|target| target.loaded == Loaded::Broken) {
        next.extend(INSTEAD.map(ToOwned::to_owned));
        next.extend(INSTEAD.into_iter().flat_map(|target| units.pulled_by(target)).map(|pull| pull.unit.clone()));
    }
    while let Some(name) = next.pop() {
        let Some(unit) = units.resolve(&name) else { continue };
        // An instance counts by its own name, an alias by its target's.
        let name = if template_of(&name).as_ref() == Some(&unit.name) { name } else { unit.name.clone() };
        if unit.loaded == Loaded::Masked || reached.len() >= MAX_UNITS || !reached.insert(name.clone()) {
            continue;
        }
        for key in NEEDS {
            next.extend(unit.words("Unit", key).iter().map(|word| unit.expand_as(&name, word)));
        }
        let other_names = aliases.get(unit.name.as_str()).into_iter().flatten().copied();
        for folder in [name.as_str(), unit.name.as_str()].into_iter().chain(other_names) {
            next.extend(units.pulled_by(folder).iter().map(|pull| pull.unit.clone()));
        }
        let default = |key: &str| !unit.last("Unit", key).is_some_and(|value| matches!(value, "no" | "false" | "0" | "off"));
        if default("DefaultDependencies") && unit.kind == UnitKind::Service {
            next.extend(["sysinit.target", "basic.target"].map(ToOwned::to_owned));
        }
    }
    reached
}

/// D-Bus names that start a unit when somebody calls them.
fn bus_names(root: &Root) -> Vec<(String, String)> {
    let mut names = Vec::new();
    for folder in BUS_SERVICES {
        for file in root.names(Path::new(folder), MAX_NAMES).unwrap_or_default() {
            let Ok(bytes) = root.read(&Path::new(folder).join(&file), MAX_FILE) else { continue };
            let text = String::from_utf8_lossy(&bytes);
            let value = |key: &str| {
                text.lines().find_map(|line| line.trim().strip_prefix(key)?.trim_start().strip_prefix('=')).map(str::trim)
            };
            if let (Some(name), Some(unit)) = (value("Name"), value("SystemdService")) {
                names.push((name.to_owned(), unit.to_owned()));
            }
        }
    }
    names
}
