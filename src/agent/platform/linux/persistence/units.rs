//! Units that start by themselves, and files that change what a unit runs.

use std::path::Path;

use super::Search;
use super::behind::Named;
use super::generated::is_generated;
use super::lines::preload_variables;
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
    for user in search.homes {
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
    if matches!(unit.loaded, Loaded::Alias(_) | Loaded::Masked) {
        return Ok(());
    }
    let runs_something = matches!(unit.kind, UnitKind::Service | UnitKind::Socket | UnitKind::Path);
    // These run nothing of their own; where no package shipped them, what they mount or pull in is worth a look.
    let may_hide = matches!(unit.kind, UnitKind::Mount | UnitKind::Automount | UnitKind::Swap | UnitKind::Target);
    if runs_something || (may_hide && !is_generated(&unit.path)) {
        unit_file(search, unit, starts_itself, user, runs_something)?;
    }
    for drop_in in &unit.drop_ins {
        // One for all units of a kind is told once.
        let key = (drop_in.path.clone(), user.map(ToOwned::to_owned));
        if let Some(told) = search.drop_ins.get(&key).and_then(|&at| search.found.get_mut(at)) {
            told.enabled = Some(told.enabled == Some(true) || starts_itself);
            continue;
        }
        let mut entry: Persistent = search.entry("services", TECHNIQUE, &drop_in.path);
        if is_generated(&drop_in.path) {
            search.generated(&mut entry);
        }
        entry.runs = runs(unit, &drop_in.path);
        entry.user = user.map(ToOwned::to_owned);
        entry.enabled = Some(starts_itself);
        let named = named(search, unit, &drop_in.path);
        search.judge(&mut entry, named)?;
        search.drop_ins.insert(key, search.found.len());
        search.found.push(entry);
    }
    Ok(())
}

fn unit_file(
    search: &mut Search<'_>,
    unit: &Unit,
    starts_itself: bool,
    user: Option<&str>,
    runs_something: bool,
) -> VerbResult {
    let mut entry = search.entry("services", TECHNIQUE, &unit.path);
    if is_generated(&unit.path) {
        search.generated(&mut entry);
    }
    if entry.shipped != Some(false) && !(starts_itself && runs_something) {
        return Ok(());
    }
    entry.runs = runs(unit, &unit.path);
    entry.user = user.map(ToOwned::to_owned).or_else(|| unit.last("Service", "User").map(ToOwned::to_owned));
    entry.enabled = Some(starts_itself);
    entry.error = unit.error.clone().or(entry.error);
    let named = named(search, unit, &unit.path);
    search.judge(&mut entry, named)?;
    search.found.push(entry);
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

/// What the assignments of one of a unit's files run or load: of its own file the programs that it starts, then the others by their
/// keys; of a drop-in all by their keys.
fn runs(unit: &Unit, file: &Path) -> Option<String> {
    let is_drop_in = unit.drop_ins.iter().any(|drop_in| drop_in.path == file);
    let all: Vec<&Assignment> = unit.assignments.iter().filter(|one| one.source.path.as_path() == file).collect();
    let is_start = |one: &Assignment| one.key == "ExecStart" && unit.kind == UnitKind::Service && !is_drop_in;
    let starts = all.iter().filter(|one| is_start(one) && !one.value.is_empty()).map(|one| unit.expand(&one.value));
    let others = all.iter().filter(|one| !is_start(one) && matters(unit.kind, one, is_drop_in));
    let told: Vec<String> = starts.chain(others.map(|one| format!("{}={}", one.key, one.value))).collect();
    (!told.is_empty()).then(|| told.join("; ").chars().take(MAX_TOLD).collect())
}

/// Whether an assignment says what is run, loaded or waited for.
fn matters(kind: UnitKind, one: &Assignment, is_drop_in: bool) -> bool {
    let key = one.key.as_str();
    let by_section = match one.section.as_str() {
        "Socket" => key.starts_with("Listen"),
        "Path" => key.starts_with("Path") || key.starts_with("Directory"),
        "Mount" | "Automount" | "Swap" => matches!(key, "What" | "Where" | "Type" | "Options"),
        "Unit" => kind == UnitKind::Target && matches!(key, "Wants" | "Requires" | "Upholds" | "BindsTo"),
        _ => false,
    };
    let loads = match key {
        "Environment" | "PassEnvironment" => is_drop_in || !preload_variables(&one.value).is_empty(),
        // Where packages keep them it is usual, and told by itself.
        "EnvironmentFile" => is_drop_in || !one.value.trim_start_matches('-').starts_with("/etc/"),
        _ => key.starts_with("Exec") && key != "ExecSearchPath",
    };
    !one.value.is_empty() && (by_section || loads)
}
