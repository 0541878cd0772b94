//! systemd's timers: the system's, those that every user's manager has, and those that users have added.

use super::{Due, Found, Search, calendar_text};
use crate::agent::context::VerbResult;
use crate::agent::platform::linux::homes::homes;
use crate::agent::platform::linux::services::{Asking, Starts, TimerState, USER_TARGETS, timer_states};
use crate::agent::platform::linux::systemd::{Loaded, Scope, Unit, UnitKind, Units, command_line, is_template, kind_of};
use crate::agent::platform::service::StartType;
use crate::agent::platform::task::Task;

/// What a timer counts from, in the order of systemd.timer(5).
const COUNTS: [&str; 5] = ["OnActiveSec", "OnBootSec", "OnStartupSec", "OnUnitActiveSec", "OnUnitInactiveSec"];

pub(super) fn timers(search: &mut Search<'_>) -> VerbResult {
    let (root, stop) = (search.root, search.stop);
    let system = Units::load(root, &Scope::System, stop)?;
    let starts = Starts::of(&system, root);
    let (states, doubt) = timer_states(root, stop)?;
    search.doubt = doubt;
    for unit in timers_of(&system) {
        stop.check()?;
        let names = unit.instances.iter().cloned().chain([unit.name.clone()]);
        for name in names {
            let starts_itself = starts.start_type(&name, unit) == StartType::Auto && !is_template(&name);
            let mut found = of_unit(search, &name, unit, &[&system]);
            found.task.enabled = starts_itself && unit.loaded != Loaded::Masked;
            found.task.id.clone_from(&name);
            if let Some(states) = &states {
                set_state(&mut found, states.get(&name));
            }
            search.found.push(found);
        }
    }
    users(search)
}

fn users(search: &mut Search<'_>) -> VerbResult {
    let (root, stop) = (search.root, search.stop);
    let shared = Units::load(root, &Scope::User, stop)?;
    let pulled = |units: &Units, name: &str| {
        USER_TARGETS.iter().any(|target| units.pulled_by(target).iter().any(|pull| pull.unit == name))
    };
    for unit in timers_of(&shared) {
        let mut found = of_unit(search, &unit.name, unit, &[&shared]);
        found.task.enabled = pulled(&shared, &unit.name) && unit.loaded != Loaded::Masked;
        found.task.id = format!("user:{}", unit.name);
        found.task.user = None;
        search.found.push(found);
    }
    let mut asking = Asking::new(root, stop);
    for user in homes(root) {
        stop.check()?;
        let states = asking.timers(&user)?;
        let own = Units::load(root, &Scope::Home(user.home.clone()), stop)?;
        let mut names: Vec<&str> = timers_of(&own).map(|unit| unit.name.as_str()).collect();
        let added = USER_TARGETS.iter().flat_map(|target| own.pulled_by(target)).map(|pull| pull.unit.as_str());
        names.extend(added.filter(|name| kind_of(name) == Some(UnitKind::Timer) && own.get(name).is_none()));
        for name in names {
            let Some(unit) = own.resolve(name).or_else(|| shared.resolve(name)) else { continue };
            let mut found = of_unit(search, name, unit, &[&own, &shared]);
            found.task.enabled = (pulled(&own, name) || pulled(&shared, name)) && unit.loaded != Loaded::Masked;
            found.task.id = format!("user:{}:{name}", user.name);
            found.task.user = Some(user.name.clone());
            at_home(&mut found.task, &user.home.to_string_lossy());
            if let Some(states) = &states {
                set_state(&mut found, states.get(name));
            }
            search.found.push(found);
        }
    }
    let doubts: Vec<String> = search.doubt.take().into_iter().chain(asking.doubt()).collect();
    search.doubt = (!doubts.is_empty()).then(|| doubts.join("; "));
    Ok(())
}

fn timers_of(units: &Units) -> impl Iterator<Item = &Unit> {
    units.iter().filter(|unit| unit.kind == UnitKind::Timer && !matches!(unit.loaded, Loaded::Alias(_)))
}

/// A timer by its files; what it starts is looked for in the units given, in order.
fn of_unit(search: &Search<'_>, name: &str, unit: &Unit, units: &[&Units]) -> Found {
    let mut task = Task {
        kind: "timer",
        description: unit.last("Unit", "Description").map(|text| unit.expand_as(name, text)),
        file: Some(unit.path.clone()),
        modified: unit.modified,
        sha256: unit.sha256.clone(),
        error: unit.error.clone(),
        ..Task::default()
    };
    let mut due = Vec::new();
    let mut schedule = Vec::new();
    for assignment in unit.values("Timer", "OnCalendar") {
        task.line.get_or_insert(assignment.source.line);
        schedule.push(assignment.value.clone());
        match calendar_text::parse(&assignment.value, &|zone| search.clock.named(zone).is_some()) {
            Some(calendar) => {
                let zone = calendar.zone().and_then(|name| search.clock.named(name));
                due.push(Due::Calendar(calendar, zone.unwrap_or_else(|| search.clock.zone.clone())));
            }
            None => {
                let line = assignment.source.line;
                task.error.get_or_insert_with(|| format!("line {line}: {} is no calendar event", assignment.value));
            }
        }
    }
    for key in COUNTS {
        for assignment in unit.values("Timer", key) {
            task.line.get_or_insert(assignment.source.line);
            schedule.push(format!("{key}={}", assignment.value));
        }
    }
    // The lines are those of the unit's own file only where no other file changes it.
    if !unit.drop_ins.is_empty() {
        task.line = None;
    }
    task.schedule = (!schedule.is_empty()).then(|| schedule.join("; "));
    let stem = name.strip_suffix("timer").unwrap_or(name);
    let target = unit.last("Timer", "Unit").map_or_else(|| format!("{stem}service"), |target| unit.expand_as(name, target));
    describe(&mut task, &target, units);
    Found { task, due }
}

fn describe(task: &mut Task, target: &str, units: &[&Units]) {
    task.command = Some(target.to_owned());
    let Some(unit) = units.iter().find_map(|units| units.resolve(target)) else { return };
    let value = |key: &str| unit.last("Service", key).map(|value| unit.expand_as(target, value));
    task.user = Some(value("User").unwrap_or_else(|| "root".to_owned()));
    let lines: Vec<String> =
        unit.values("Service", "ExecStart").iter().map(|line| unit.expand_as(target, &line.value)).collect();
    task.programs = lines
        .iter()
        .filter_map(|line| command_line(line))
        .map(|line| (line.program.clone(), Some(line.arguments_text()).filter(|text| !text.is_empty())))
        .collect();
    if !lines.is_empty() {
        task.command = Some(lines.join("; "));
    }
}

/// Puts a user's home where `%h` stands for it.
fn at_home(task: &mut Task, home: &str) {
    let put = |text: &mut String| *text = text.replace("%h", home);
    task.command.as_mut().map(put);
    for (program, arguments) in &mut task.programs {
        put(program);
        arguments.as_mut().map(put);
    }
}

/// What the manager says goes before what the files say.
fn set_state(found: &mut Found, state: Option<&TimerState>) {
    found.task.enabled = state.is_some_and(|state| state.active);
    found.task.next_run = state.and_then(|state| state.next);
    found.task.last_run = state.and_then(|state| state.last);
    if found.task.next_run.is_none() {
        found.due.clear();
    }
}
