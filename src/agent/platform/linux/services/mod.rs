//! Services: systemd's units and System V's scripts from their files, and what they do from systemd itself, or, where it does not
//! run, from control groups and pid files.

mod boot;
mod bus;
mod control;
mod message;
mod running;
mod sysv;
mod users;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use super::root::Root;
use super::systemd::{Loaded, Scope, Unit, UnitKind, Units, command_line, kind_of, template_of};
use crate::agent::context::{Stop, VerbError};
use crate::agent::platform::Told;
use crate::agent::platform::service::{Service, StartType};
use crate::protocol::Problem;
use bus::Bus;
use running::Running;

pub(super) use boot::Starts;
pub use bus::{TimerState, UnitState};
pub use control::{active_state, is_managed, reload, script, start, stop};
pub use message::parse_units;
pub use sysv::parse_header;
pub(super) use sysv::{scripts, strays};
pub(super) use users::{Asking, USER_TARGETS};

/// What pulls other units in, in a unit's own file.
const NEEDS: [&str; 5] = ["Requires", "Requisite", "BindsTo", "Wants", "Upholds"];

/// All services, those that run programs first.
///
/// # Errors
/// Only when told to stop: what cannot be read is said with the service it is about.
pub fn services(root: &Root, stop: &Stop) -> Result<Told<Service>, VerbError> {
    let units = Units::load(root, &Scope::System, stop)?;
    let starts = Starts::of(&units, root);
    let (manager, doubt) = manager(root, stop)?;
    let live = root.is_live().then(|| Running::look(stop)).transpose()?;
    let mut found = BTreeMap::new();
    for unit in units.iter() {
        stop.check()?;
        let service = of_unit(&unit.name, unit, &units, &starts);
        found.insert((unit.kind, unit.name.clone()), service);
    }
    for state in manager.iter().flat_map(HashMap::values) {
        let Some(kind) = kind_of(&state.name) else { continue };
        let service = found.entry((kind, state.name.clone())).or_insert_with(|| of_state(state, kind, &units, &starts));
        set_state(service, state);
    }
    if manager.is_none()
        && let Some(live) = &live
    {
        for name in live.units() {
            let Some(kind) = kind_of(name) else { continue };
            // An instance, or what the processes' control group says ran here, has no file of its own.
            found.entry((kind, name.to_owned())).or_insert_with(|| match units.resolve(name) {
                Some(unit) => of_unit(name, unit, &units, &starts),
                None => Service { name: name.to_owned(), kind: kind.as_str().to_owned(), ..Service::default() },
            });
        }
        for (_, service) in found.iter_mut().filter(|((kind, _), _)| *kind == UnitKind::Service) {
            live.set_state(service, root, &units);
        }
    }
    let mut all: Vec<Service> = found.into_values().collect();
    let scripts = sysv::scripts(root, stop)?.into_iter().map(|(mut script, pid_file)| {
        if let Some(live) = &live {
            live.set_script_state(&mut script, pid_file.as_deref(), root);
        }
        script
    });
    // Behind the units that run programs and before those that do not.
    let at = all.iter().position(|service| !service.name.ends_with(".service")).unwrap_or(all.len());
    all.splice(at..at, scripts.collect::<Vec<_>>());
    let (of_users, silent) = users::services(root, live.as_ref(), stop)?;
    all.extend(of_users);
    let doubts = doubt.into_iter().chain(silent).map(|why| Problem::new("no_manager", why)).collect();
    Ok(Told { all, doubts })
}

/// The links that have a service start by itself: those that pull a unit in, its other names, a script's starts in runlevels.
///
/// # Errors
/// Only when told to stop.
pub fn links(root: &Root, name: &str, stop: &Stop) -> Result<Vec<PathBuf>, VerbError> {
    if kind_of(name).is_none() {
        return Ok(sysv::start_links(root, name));
    }
    let units = Units::load(root, &Scope::System, stop)?;
    let mut links: Vec<PathBuf> = units.links_to(name).map(|pull| pull.link.clone()).collect();
    let aliases = units.iter().filter(|unit| matches!(&unit.loaded, Loaded::Alias(target) if target == name));
    for alias in aliases {
        links.push(alias.path.clone());
        links.extend(units.links_to(&alias.name).map(|pull| pull.link.clone()));
    }
    links.sort();
    links.dedup();
    Ok(links)
}

/// What has a unit start by itself though no link does.
#[derive(Debug, Default)]
pub struct Pulling {
    /// Units that the boot starts, and whose own files name it.
    pub by: Vec<String>,
    /// Files of its name that count only while the one that counts is there.
    pub shadowed: Vec<PathBuf>,
}

/// What has a unit start by itself though no link does.
///
/// # Errors
/// Only when told to stop.
pub fn pulling(root: &Root, name: &str, stop: &Stop) -> Result<Pulling, VerbError> {
    let units = Units::load(root, &Scope::System, stop)?;
    let starts = Starts::of(&units, root);
    let is_named = |unit: &Unit| {
        let words = NEEDS.iter().flat_map(|key| unit.words("Unit", key));
        let named = |word: String| units.resolve(&word).map_or(word == name, |unit| unit.name == name || word == name);
        words.map(|word| unit.expand(&word)).any(named)
    };
    let by = units.iter().filter(|unit| starts.boots(&unit.name) && unit.name != name && is_named(unit));
    let by = by.map(|unit| unit.name.clone()).collect();
    let own = units.iter().find(|unit| unit.name == name);
    Ok(Pulling { by, shadowed: own.map(|unit| unit.shadowed.clone()).unwrap_or_default() })
}

/// The processes of a unit, by their control groups.
///
/// # Errors
/// When /proc cannot be read, or the command was asked to stop.
pub fn processes_of(name: &str, stop: &Stop) -> Result<Vec<u32>, VerbError> {
    Ok(Running::look(stop)?.of(name))
}

type States = HashMap<String, UnitState>;

/// What systemd says, where it runs; and why it does not, where it should.
type Asked<T> = Result<(Option<T>, Option<String>), VerbError>;

fn manager(root: &Root, stop: &Stop) -> Asked<States> {
    ask(root, stop, bus::units, "systemd does not tell its units' state", "it is guessed from processes")
}

/// The timers that a running systemd has, by name.
pub(super) fn timer_states(root: &Root, stop: &Stop) -> Asked<HashMap<String, TimerState>> {
    ask(root, stop, bus::timers, "systemd does not tell its timers' state", "it is told from their files")
}

fn ask<T>(root: &Root, stop: &Stop, question: fn(Bus, &Stop) -> std::io::Result<T>, silent: &str, instead: &str) -> Asked<T> {
    // As sd_booted(3) decides it.
    let booted = root.is_live() && root.link_facts(Path::new("/run/systemd/system")).is_ok_and(|facts| facts.is_folder());
    if !booted {
        return Ok((None, None));
    }
    match Bus::connect().and_then(|bus| question(bus, stop)) {
        Ok(told) => Ok((Some(told), None)),
        Err(_) if stop.asked() => Err(VerbError::stopped()),
        // The folder is also made where systemd is only installed: nobody listens there.
        Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused) => {
            Ok((None, None))
        }
        Err(error) => Ok((None, Some(format!("{silent} ({error}): {instead}")))),
    }
}

/// A unit as its files describe it; `name` is an instance's where the unit is its template.
fn of_unit(name: &str, unit: &Unit, units: &Units, starts: &Starts) -> Service {
    let real = match &unit.loaded {
        Loaded::Alias(target) => units.resolve(target),
        _ => Some(unit),
    };
    let mut service = Service {
        name: name.to_owned(),
        kind: unit.kind.as_str().to_owned(),
        file: Some(unit.path.clone()),
        enabled: Some(unit.state.to_owned()),
        modified: unit.modified,
        sha256: unit.sha256.clone(),
        error: unit.error.clone(),
        ..Service::default()
    };
    if let Loaded::Alias(target) = &unit.loaded {
        service.alias_of = Some(target.clone());
    }
    let Some(real) = real else { return service };
    let masked = real.loaded == Loaded::Masked;
    service.description = real.last("Unit", "Description").map(|text| real.expand_as(name, text));
    service.drop_ins = real.drop_ins.iter().map(|one| (one.path.clone(), one.sha256.clone())).collect();
    service.instances.clone_from(&real.instances);
    service.sha256 = service.sha256.or_else(|| real.sha256.clone());
    service.start = if masked { StartType::Disabled } else { starts.start_type(name, real) };
    service.triggered_by = starts.triggers(&real.name);
    service.dependencies = dependencies(real, units, name);
    if real.kind == UnitKind::Service && !masked {
        describe_program(&mut service, real, name);
    }
    service
}

fn describe_program(service: &mut Service, unit: &Unit, name: &str) {
    let lines: Vec<String> = unit.values("Service", "ExecStart").iter().map(|line| unit.expand_as(name, &line.value)).collect();
    let kind = unit.last("Service", "Type");
    let kind = kind.unwrap_or(match (lines.is_empty(), unit.last("Service", "BusName")) {
        (false, Some(_)) => "dbus",
        (false, None) => "simple",
        (true, _) => "oneshot",
    });
    kind.clone_into(&mut service.kind);
    let dynamic = unit.last("Service", "DynamicUser").is_some_and(|value| matches!(value, "yes" | "true" | "1" | "on"));
    service.user = Some(match unit.last("Service", "User") {
        Some(user) => unit.expand_as(name, user),
        None if dynamic => name.split(['@', '.']).next().unwrap_or(name).to_owned(),
        None => "root".to_owned(),
    });
    let first = lines.first().and_then(|line| command_line(line));
    service.program = first.as_ref().map(|line| line.program.clone());
    service.arguments = first.map(|line| line.arguments_text()).filter(|text| !text.is_empty());
    service.command = (!lines.is_empty()).then(|| lines.join("; "));
}

fn dependencies(unit: &Unit, units: &Units, name: &str) -> Vec<String> {
    let mut needs = BTreeSet::new();
    for key in NEEDS {
        needs.extend(unit.words("Unit", key).iter().map(|word| unit.expand_as(name, word)));
    }
    let folders = [Some(name.to_owned()), Some(unit.name.clone()), template_of(name)];
    for folder in folders.iter().flatten() {
        needs.extend(units.pulled_by(folder).iter().map(|pull| pull.unit.clone()));
    }
    needs.into_iter().collect()
}

/// A unit that the manager knows: an instance of a template, or one without a file.
fn of_state(state: &UnitState, kind: UnitKind, units: &Units, starts: &Starts) -> Service {
    match units.resolve(&state.name) {
        Some(unit) => of_unit(&state.name, unit, units, starts),
        None => Service { name: state.name.clone(), kind: kind.as_str().to_owned(), ..Service::default() },
    }
}

fn set_state(service: &mut Service, state: &UnitState) {
    service.state = Some(state.sub.clone());
    service.active = Some(state.active.clone());
    service.load = Some(state.load.clone());
    service.process_id = state.main_pid;
    if service.description.is_none() && !state.description.is_empty() {
        service.description = Some(state.description.clone());
    }
}
