//! Units that start by themselves, and files that change what a unit runs.

use std::path::Path;

use super::Search;
use super::behind::Named;
use super::generated::is_generated;
use crate::agent::context::VerbResult;
use crate::agent::platform::linux::services::Starts;
use crate::agent::platform::linux::systemd::{Assignment, Loaded, Scope, Unit, UnitKind, Units, command_line};
use crate::agent::platform::service::StartType;
use crate::agent::platform::startup_item::Persistent;

const TECHNIQUE: &str = "T1543.002";
/// The most that is told of what a unit runs.
const MAX_TOLD: usize = 2_000;

pub(super) fn units(search: &mut Search<'_>) -> VerbResult {
    let system = Units::load(search.root, &Scope::System, search.stop)?;
    let starts = Starts::of(&system, search.root);
    for unit in system.iter() {
        let starts_itself = starts.start_type(&unit.name, unit) != StartType::Manual;
        add(search, unit, starts_itself, None)?;
    }
    let shared = Units::load(search.root, &Scope::User, search.stop)?;
    for unit in shared.iter() {
        let starts_itself = unit.state.starts_with("enabled") || unit.state == "static";
        add(search, unit, starts_itself, None)?;
    }
    for user in search.homes.clone() {
        let own = Units::load(search.root, &Scope::Home(user.home.clone()), search.stop)?;
        for unit in own.iter() {
            add(search, unit, unit.state.starts_with("enabled"), Some(&user.name))?;
        }
    }
    Ok(())
}

/// Adds a unit that starts by itself, or that no package shipped as it is; and its drop-ins in any case.
fn add(search: &mut Search<'_>, unit: &Unit, starts_itself: bool, user: Option<&str>) -> VerbResult {
    search.stop.check()?;
    let runs_something = matches!(unit.kind, UnitKind::Service | UnitKind::Socket | UnitKind::Path);
    if !runs_something || matches!(unit.loaded, Loaded::Alias(_) | Loaded::Masked) {
        return Ok(());
    }
    let file = match &unit.loaded {
        Loaded::Linked(target) => target.as_path(),
        _ => unit.path.as_path(),
    };
    let mut entry = search.entry("services", TECHNIQUE, file);
    if is_generated(file) {
        search.generated(&mut entry);
    }
    if starts_itself || entry.shipped == Some(false) {
        entry.runs = runs(unit, file);
        entry.user = user.map(ToOwned::to_owned).or_else(|| unit.last("Service", "User").map(ToOwned::to_owned));
        entry.enabled = Some(starts_itself);
        entry.error = unit.error.clone().or(entry.error);
        let named = named(search, unit, &unit.path);
        search.judge(&mut entry, named)?;
        search.found.push(entry);
    }
    for drop_in in &unit.drop_ins {
        let mut entry: Persistent = search.entry("services", TECHNIQUE, &drop_in.path);
        if is_generated(&drop_in.path) {
            search.generated(&mut entry);
        }
        entry.runs = runs(unit, &drop_in.path);
        entry.user = user.map(ToOwned::to_owned);
        entry.enabled = Some(starts_itself);
        let named = named(search, unit, &drop_in.path);
        search.judge(&mut entry, named)?;
        search.found.push(entry);
    }
    Ok(())
}

/// The files that one of a unit's files has it run: lines that others take back are not run.
fn named(search: &Search<'_>, unit: &Unit, file: &Path) -> Vec<Named> {
    let mut keys: Vec<(&str, &str)> = unit.assignments.iter().map(|one| (one.section.as_str(), one.key.as_str())).collect();
    keys.retain(|(section, key)| *section == unit.kind.section() && key.starts_with("Exec") && *key != "ExecSearchPath");
    keys.sort_unstable();
    keys.dedup();
    let lines = keys.into_iter().flat_map(|(section, key)| unit.values(section, key));
    let of_file = lines.filter(|line| line.source.path.as_path() == file);
    of_file.filter_map(|line| command_line(&unit.expand(&line.value))).flat_map(|line| search.named_by(&line)).collect()
}

/// What the assignments of one of a unit's files run or load.
fn runs(unit: &Unit, file: &Path) -> Option<String> {
    let of_file = |one: &&Assignment| one.source.path.as_path() == file || unit.drop_ins.is_empty();
    let matters = |one: &&Assignment| {
        !one.value.is_empty()
            && (one.key.starts_with("Exec") || one.key.starts_with("Environment") || one.key.starts_with("Path"))
            || (one.section == "Socket" && one.key.starts_with("Listen"))
    };
    let first = unit.assignments.iter().filter(of_file).find(|one| one.key == "ExecStart" && !one.value.is_empty());
    let others = || unit.assignments.iter().filter(of_file).filter(matters).map(|one| format!("{}={}", one.key, one.value));
    let is_drop_in = unit.drop_ins.iter().any(|drop_in| drop_in.path == file);
    let told = match first.filter(|_| !is_drop_in) {
        Some(first) => unit.expand(&first.value),
        None => others().collect::<Vec<_>>().join("; "),
    };
    (!told.is_empty()).then(|| told.chars().take(MAX_TOLD).collect())
}
