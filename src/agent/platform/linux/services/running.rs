//! What services do where no manager tells it: control groups name the unit that a process belongs to, pid files its main process.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::agent::context::{Stop, VerbError};
use crate::agent::path::problem;
use crate::agent::platform::linux::processes::ProcessReader;
use crate::agent::platform::linux::root::Root;
use crate::agent::platform::linux::systemd::{Units, kind_of, unescape};
use crate::agent::platform::process::Process;
use crate::agent::platform::service::Service;

/// The largest pid file, and the largest list of control groups of a process.
const MAX_FILE: u64 = 64 * 1024;
/// A pid file may be written this much before its process began, in nanoseconds: clocks are not that exact.
const SLACK: i128 = 2_000_000_000;

/// The processes that run, by number and by the unit they belong to.
pub(super) struct Running {
    processes: HashMap<u32, Process>,
    units: BTreeMap<String, Vec<u32>>,
    /// The same of users' own managers, by the user's number and the unit.
    of_users: BTreeMap<(u32, String), Vec<u32>>,
}

impl Running {
    pub(super) fn look(stop: &Stop) -> Result<Self, VerbError> {
        let unreadable =
            |error: io::Error| if stop.asked() { VerbError::stopped() } else { problem(Path::new("/proc"), &error).into() };
        let all = ProcessReader::new().and_then(|mut reader| reader.all(stop)).map_err(unreadable)?;
        let mut units: BTreeMap<String, Vec<u32>> = BTreeMap::new();
        let mut of_users: BTreeMap<(u32, String), Vec<u32>> = BTreeMap::new();
        for process in &all {
            let groups = std::fs::File::open(format!("/proc/{}/cgroup", process.pid)).and_then(|file| {
                let mut text = Vec::new();
                file.take(MAX_FILE).read_to_end(&mut text)?;
                Ok(text)
            });
            let text = groups.ok().map(|text| String::from_utf8_lossy(&text).into_owned()).unwrap_or_default();
            if let Some(unit) = unit_of(&text) {
                units.entry(unit).or_default().push(process.pid);
            }
            if let Some(unit) = user_unit_of(&text) {
                of_users.entry(unit).or_default().push(process.pid);
            }
        }
        Ok(Self { processes: all.into_iter().map(|process| (process.pid, process)).collect(), units, of_users })
    }

    /// The units that processes belong to.
    pub(super) fn units(&self) -> impl Iterator<Item = &str> {
        self.units.keys().map(String::as_str)
    }

    /// The processes that belong to a unit.
    pub(super) fn of(&self, unit: &str) -> Vec<u32> {
        self.units.get(unit).cloned().unwrap_or_default()
    }

    /// The services that a user's own manager runs, with their main process.
    pub(super) fn of_user(&self, uid: u32) -> impl Iterator<Item = (&str, Option<u32>)> {
        let of_user = self.of_users.iter().filter(move |((user, _), _)| *user == uid);
        of_user.map(|((_, unit), pids)| (unit.as_str(), self.first(pids)))
    }

    /// Says whether a unit's service runs.
    pub(super) fn set_state(&self, service: &mut Service, root: &Root, units: &Units) {
        let name = service.alias_of.as_deref().unwrap_or(&service.name).to_owned();
        let unit = units.resolve(&name);
        let file = unit.and_then(|unit| unit.last("Service", "PIDFile")).map(|file| {
            let file = unit.map_or_else(|| file.to_owned(), |unit| unit.expand_as(&name, file));
            Path::new("/run").join(file)
        });
        let stem = name.strip_suffix(".service").unwrap_or(&name);
        let of_group = self.units.get(&name).and_then(|pids| self.first(pids));
        let pid = file.and_then(|file| self.of_file(root, &file)).or(of_group).or_else(|| {
            // Without a manager a daemon was started by hand or by a script; it is this one when it runs this program.
            let program = service.program.as_deref()?;
            let guesses = guesses(stem);
            let pid = guesses.iter().find_map(|file| self.of_file(root, file))?;
            let image = self.processes.get(&pid)?.image.as_ref()?;
            (image.path.file_name() == Path::new(program).file_name()).then_some(pid)
        });
        say(service, pid);
    }

    /// Says whether what a script starts runs; nothing when there is no telling.
    pub(super) fn set_script_state(&self, script: &mut Service, named: Option<&Path>, root: &Root) {
        let guesses = guesses(&script.name);
        let pid = named.into_iter().chain(guesses.iter().map(PathBuf::as_path)).find_map(|file| self.of_file(root, file));
        if named.is_some() || pid.is_some() {
            say(script, pid);
        }
    }

    /// The process that a pid file names, unless that is an older file's number given to a newer process.
    fn of_file(&self, root: &Root, file: &Path) -> Option<u32> {
        let written = root.facts(file).ok()?.modified.ns();
        let text = root.read(file, MAX_FILE).ok()?;
        let pid = std::str::from_utf8(&text).ok()?.split_whitespace().next()?.parse().ok()?;
        let process = self.processes.get(&pid)?;
        (process.creation_time.ns() <= written + SLACK).then_some(pid)
    }

    /// The main process of a group: the one whose parent is not of it.
    fn first(&self, pids: &[u32]) -> Option<u32> {
        let outside = |pid: &&u32| self.processes.get(*pid).is_some_and(|process| !pids.contains(&process.parent_id));
        pids.iter().find(outside).or(pids.first()).copied()
    }
}

pub(super) fn say(service: &mut Service, pid: Option<u32>) {
    service.process_id = pid;
    service.state = Some(if pid.is_some() { "running" } else { "dead" }.to_owned());
    service.active = Some(if pid.is_some() { "active" } else { "inactive" }.to_owned());
}

fn guesses(name: &str) -> Vec<PathBuf> {
    let folder = Path::new("/run");
    vec![folder.join(format!("{name}.pid")), folder.join(name).join(format!("{name}.pid")), folder.join(name).join("pid")]
}

/// The system's unit in `/proc/PID/cgroup`, of systemd's own hierarchy or the unified one.
fn unit_of(text: &str) -> Option<String> {
    // `/user.slice/…/user@1000.service/app.slice/x.service` is a user's unit: the system's is the first service or scope.
    groups(text).find_map(|path| path.split('/').find_map(as_unit))
}

/// The user and the service of that user's own manager.
fn user_unit_of(text: &str) -> Option<(u32, String)> {
    groups(text).find_map(|path| {
        let mut parts = path.split('/');
        let uid = parts.find_map(|part| part.strip_prefix("user@")?.strip_suffix(".service")?.parse().ok())?;
        Some((uid, parts.find_map(as_unit).filter(|unit| unit.ends_with(".service"))?))
    })
}

fn groups(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':');
        let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        (controllers.is_empty() || controllers == "name=systemd").then_some(path)
    })
}

/// A part of a group's path that names a service or a scope.
fn as_unit(part: &str) -> Option<String> {
    let is_unit = matches!(part.rsplit_once('.'), Some((_, "service" | "scope")));
    // systemd marks names that the kernel would take for its own with `_`.
    let unit = part.strip_prefix('_').unwrap_or(part);
    (is_unit && kind_of(unit).is_some() && !unescape(unit, false).contains('/')).then(|| unit.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_groups_name_units() {
        let check = |text: &str, unit: Option<&str>| assert_eq!(unit_of(text).as_deref(), unit, "{text}");
        check("0::/system.slice/ssh.service\n", Some("ssh.service"));
        check("12:pids:/x.service\n1:name=systemd:/system.slice/cron.service/sub\n", Some("cron.service"));
        check("0::/user.slice/user-1.slice/user@1.service/app.slice/x.service\n", Some("user@1.service"));
        check("0::/user.slice/user-1.slice/session-3.scope\n", Some("session-3.scope"));
        check("0::/\n", None);
        check("garbage\n0:\n::\n", None);
        check("0::/a b.service\n", None);
    }

    #[test]
    fn control_groups_name_users_units() {
        let check = |text: &str, unit: Option<(u32, &str)>| {
            let found = user_unit_of(text);
            assert_eq!(found.as_ref().map(|(uid, unit)| (*uid, unit.as_str())), unit, "{text}");
        };
        check("0::/user.slice/user-1.slice/user@1.service/app.slice/x.service\n", Some((1, "x.service")));
        check("0::/user.slice/user-1.slice/user@1.service/app.slice/app-a.slice/x@y.service/sub\n", Some((1, "x@y.service")));
        check("0::/user.slice/user-1.slice/user@1.service/init.scope\n", None);
        check("0::/user.slice/user-1.slice/session-3.scope\n", None);
        check("0::/user@x.service/y.service\n0::/user@\n", None);
        check("0::/system.slice/ssh.service\n", None);
    }
}
