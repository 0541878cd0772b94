//! Units that start by themselves, and files that change what a unit runs.

use std::path::Path;

use super::Search;
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
    // What a generator writes at each boot belongs to what it was made from.
    if unit.state == "generated" {
        entry.shipped = None;
    }
    if starts_itself || entry.shipped == Some(false) {
        entry.runs = runs(unit, file);
        entry.user = user.map(ToOwned::to_owned).or_else(|| unit.last("Service", "User").map(ToOwned::to_owned));
        entry.enabled = Some(starts_itself);
        entry.error.clone_from(&unit.error);
        if entry.shipped == Some(true) && runs_foreign(search, unit) {
            entry.shipped = Some(false);
            entry.error.get_or_insert_with(|| "the program that it runs belongs to no package".to_owned());
        }
        search.found.push(entry);
    }
    for drop_in in &unit.drop_ins {
        let mut entry: Persistent = search.entry("services", TECHNIQUE, &drop_in.path);
        entry.runs = runs(unit, &drop_in.path);
        entry.user = user.map(ToOwned::to_owned);
        entry.enabled = Some(starts_itself);
        search.found.push(entry);
    }
    Ok(())
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

/// Whether the program of a shipped unit is there and belongs to no package.
fn runs_foreign(search: &Search<'_>, unit: &Unit) -> bool {
    let index = search.packages.index(search.root);
    let mut programs =
        unit.values("Service", "ExecStart").into_iter().filter_map(|line| command_line(&unit.expand(&line.value)));
    !index.is_empty()
        && programs.any(|line| {
            let program = Path::new(&line.program);
            let folders = ["/usr/bin", "/usr/sbin", "/bin", "/sbin"].iter().any(|folder| program.starts_with(folder));
            // What alternatives and packages' own scripts put there is theirs though no list has it.
            let is_plain = search.root.link_facts(program).is_ok_and(|facts| facts.is_file());
            program.is_absolute() && is_plain && !folders && index.owner(search.root, program).is_none()
        })
}
