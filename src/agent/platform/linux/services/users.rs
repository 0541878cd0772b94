//! Users' own managers (`systemd --user`): the units that users have added to their homes, and what runs for those who are logged in.
//!
//! Such a unit is called `user:NAME:UNIT`, as its timer is among the tasks. Its state is the manager's where that answers on its
//! private socket, else it is told by control groups. What every user's manager has is only told where it runs.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::boot::Starts;
use super::bus::{self, Bus, TimerState, UnitState};
use super::running::{Running, say};
use super::{of_unit, set_state};
use crate::agent::context::{Stop, VerbError};
use crate::agent::platform::linux::homes::{User, homes};
use crate::agent::platform::linux::root::Root;
use crate::agent::platform::linux::systemd::{Scope, UnitKind, Units, kind_of};
use crate::agent::platform::service::{Service, StartType};

/// What starts when a user's manager does.
pub(in crate::agent::platform::linux) const USER_TARGETS: [&str; 5] =
    ["timers.target", "default.target", "basic.target", "graphical-session.target", "paths.target"];
/// How long all users' managers together may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks the managers of users who are logged in, one after the other, all within one time.
pub(in crate::agent::platform::linux) struct Asking<'a> {
    root: &'a Root,
    stop: &'a Stop,
    until: Instant,
    /// The users whose manager is there and does not answer.
    silent: Vec<String>,
}

impl<'a> Asking<'a> {
    pub(in crate::agent::platform::linux) fn new(root: &'a Root, stop: &'a Stop) -> Self {
        Self { root, stop, until: Instant::now() + PATIENCE, silent: Vec::new() }
    }

    fn units(&mut self, user: &User) -> Result<Option<HashMap<String, UnitState>>, VerbError> {
        self.ask(user, bus::units)
    }

    /// The timers that a user's manager has, by name.
    pub(in crate::agent::platform::linux) fn timers(
        &mut self,
        user: &User,
    ) -> Result<Option<HashMap<String, TimerState>>, VerbError> {
        self.ask(user, bus::timers)
    }

    fn ask<T>(&mut self, user: &User, question: fn(Bus, &Stop) -> std::io::Result<T>) -> Result<Option<T>, VerbError> {
        let socket = PathBuf::from(format!("/run/user/{}/systemd/private", user.uid));
        if !self.root.is_live() || self.root.facts(&socket).is_err() {
            return Ok(None);
        }
        match Bus::connect_to_user(&socket, self.until).and_then(|bus| question(bus, self.stop)) {
            Ok(told) => return Ok(Some(told)),
            Err(_) if self.stop.asked() => return Err(VerbError::stopped()),
            // Left behind by one that has ended.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {}
            Err(_) => self.silent.push(user.name.clone()),
        }
        Ok(None)
    }

    /// Who did not answer, as a sentence.
    pub(in crate::agent::platform::linux) fn doubt(self) -> Option<String> {
        let told = "do not tell their state: it is told from files and processes";
        (!self.silent.is_empty()).then(|| format!("the managers of {} {told}", self.silent.join(", ")))
    }
}

/// The units of users, and whose manager does not tell their state.
pub(super) fn services(root: &Root, live: Option<&Running>, stop: &Stop) -> Result<(Vec<Service>, Option<String>), VerbError> {
    let shared = Units::load(root, &Scope::User, stop)?;
    let mut asking = Asking::new(root, stop);
    let mut all = Vec::new();
    for user in homes(root) {
        stop.check()?;
        let own = Units::load(root, &Scope::Home(user.home.clone()), stop)?;
        let of_user = OfUser { user: &user, own: &own, shared: &shared };
        let mut found = of_user.by_files();
        match (asking.units(&user)?, live) {
            (Some(states), _) => of_user.add_states(&mut found, &states),
            (None, Some(live)) => of_user.add_processes(&mut found, live),
            (None, None) => {}
        }
        all.extend(found.into_values());
    }
    Ok((all, asking.doubt()))
}

type Found = BTreeMap<(UnitKind, String), Service>;

/// One user's units.
struct OfUser<'a> {
    user: &'a User,
    own: &'a Units,
    /// Those that every user's manager has.
    shared: &'a Units,
}

impl OfUser<'_> {
    /// What the user has added, and what of the shared ones the user has start.
    fn by_files(&self) -> Found {
        let added = USER_TARGETS.iter().flat_map(|target| self.own.pulled_by(target)).map(|pull| pull.unit.clone());
        let names = self.own.iter().map(|unit| unit.name.clone()).chain(added);
        names.filter_map(|name| Some(((kind_of(&name)?, name.clone()), self.unit(&name)))).collect()
    }

    fn unit(&self, name: &str) -> Service {
        let starts = Starts::default();
        let of =
            |units: &Units| units.get(name).or_else(|| units.resolve(name)).map(|unit| of_unit(name, unit, units, &starts));
        let mut service = of(self.own)
            .or_else(|| of(self.shared))
            .unwrap_or_else(|| Service { kind: kind_of(name).map_or("", UnitKind::as_str).to_owned(), ..Service::default() });
        let pulled =
            |units: &Units| USER_TARGETS.iter().any(|target| units.pulled_by(target).iter().any(|pull| pull.unit == name));
        if service.start == StartType::Manual && (pulled(self.own) || pulled(self.shared)) {
            service.start = StartType::Auto;
        }
        service.name = format!("user:{}:{name}", self.user.name);
        service.user = Some(self.user.name.clone());
        service.of_user = Some(self.user.name.clone());
        let home = self.user.home.to_string_lossy();
        for text in [&mut service.command, &mut service.program, &mut service.arguments].into_iter().flatten() {
            *text = text.replace("%h", &home);
        }
        service
    }

    fn add_states(&self, found: &mut Found, states: &HashMap<String, UnitState>) {
        for ((_, name), service) in found.iter_mut() {
            match states.get(name) {
                Some(state) => set_state(service, state),
                None => say(service, None),
            }
        }
        for state in states.values().filter(|state| state.active != "inactive") {
            let Some(kind) = kind_of(&state.name).filter(|kind| RUN.contains(kind)) else { continue };
            let service = found.entry((kind, state.name.clone())).or_insert_with(|| self.unit(&state.name));
            set_state(service, state);
        }
    }

    fn add_processes(&self, found: &mut Found, live: &Running) {
        for ((_, name), service) in found.iter_mut().filter(|((kind, _), _)| *kind == UnitKind::Service) {
            let pid = live.of_user(self.user.uid).find(|(unit, _)| unit == name).and_then(|(_, pid)| pid);
            say(service, pid);
        }
        for (unit, pid) in live.of_user(self.user.uid) {
            let service = found.entry((UnitKind::Service, unit.to_owned())).or_insert_with(|| self.unit(unit));
            say(service, pid);
        }
    }
}

/// The kinds that run something, or wait to: slices, devices and mounts of each user say nothing.
const RUN: [UnitKind; 4] = [UnitKind::Service, UnitKind::Socket, UnitKind::Timer, UnitKind::Path];
