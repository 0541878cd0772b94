//! The steps that a service's change is made of: it is stopped or started, its links go, a packaged unit is masked.

use std::ffi::CString;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::service::join;
use super::{Act, Acting};
use crate::agent::context::Stop;
use crate::agent::dispatch::Shared;
use crate::agent::faults;
use crate::agent::journal::{Managed, Managing, Masked, Outcome, Place, Step};
use crate::agent::path::{key, of_key, problem};
use crate::agent::platform::services::is_managed;
use crate::agent::platform::{HeldProcess, Root, Service, services};
use crate::agent::quarantine::Take;
use crate::protocol::Problem;

/// How long what a script has stopped may take to end: many only send the signal.
const PATIENCE: Duration = Duration::from_secs(10);

/// Processes by their numbers, held.
pub type HeldProcesses = Vec<(u32, Arc<HeldProcess>)>;

/// A link that has a service start goes to quarantine.
pub struct Disable(pub Take);

impl Act for Disable {
    fn step(&self) -> Step {
        Step::Disable(self.0.quarantined().clone())
    }

    fn run(&mut self, on: &Acting<'_>) -> Outcome {
        let outcome = self.0.run(on);
        faults::point("service.after_disable");
        outcome
    }
}

/// A service is stopped, started, or its manager told to read its files anew.
pub struct Manage {
    /// What is done.
    pub step: Managed,
    /// The processes that end with it.
    pub ending: HeldProcesses,
}

impl Manage {
    /// What is done to a service, and nothing ends with it.
    #[must_use]
    pub fn new(service: &Service, script: bool, what: Managing, was_active: bool) -> Self {
        Self { step: Managed { unit: service.name.clone(), script, what, was_active }, ending: Vec::new() }
    }

    /// What reverses a step: files are read anew, and it is started if it ran.
    #[must_use]
    pub fn reverse(step: &Managed) -> Self {
        Self { step: Managed { what: Managing::Start, ..step.clone() }, ending: Vec::new() }
    }

    /// Fails where something still runs though its script has stopped it: scripts do as they like, and say that all is well.
    fn check_ended(&self, on: &Acting<'_>) -> std::io::Result<()> {
        let until = Instant::now() + PATIENCE;
        let goes_on = |held: &HeldProcess| !held.ended(until.saturating_duration_since(Instant::now())).unwrap_or(false);
        let mut pids: Vec<u32> = self.ending.iter().filter(|(_, held)| goes_on(held)).map(|(pid, _)| *pid).collect();
        // It may have started it anew.
        let again = script_state(on.root, &self.step.unit).and_then(|service| service.process_id);
        pids.extend(again.filter(|pid| !pids.contains(pid)));
        let Some(first) = pids.first() else { return Ok(()) };
        let all = join(&pids);
        let why =
            format!("its script says that it has stopped, but {all} still runs: `remediate process {first} -auto` ends it");
        Err(std::io::Error::other(why))
    }
}

impl Act for Manage {
    fn step(&self) -> Step {
        Step::Manage(self.step.clone())
    }

    fn run(&mut self, on: &Acting<'_>) -> Outcome {
        let step = &self.step;
        let done = match (step.what, step.script) {
            (Managing::Stop, false) => services::stop(&step.unit),
            (Managing::Stop, true) => services::script(&step.unit, "stop").and_then(|()| self.check_ended(on)),
            (Managing::Reload, _) => services::reload(),
            (Managing::Start, true) => services::script(&step.unit, "start"),
            (Managing::Start, false) if !is_managed(on.root) => Ok(()),
            (Managing::Start, false) => services::reload().and_then(|()| services::start(&step.unit)),
        };
        faults::point("service.after_manage");
        match done {
            Ok(()) => Outcome::done(Value::Null),
            Err(error) => Outcome::not_done(format!("{}: {error}", step.unit)),
        }
    }
}

/// What became of a step that was being done when the agent died.
#[must_use]
pub fn look_managed(root: &Root, step: &Managed) -> Outcome {
    let runs = if step.script {
        script_state(root, &step.unit).and_then(|service| service.active)
    } else {
        services::active_state(&step.unit).ok()
    };
    let idle = runs.as_deref().is_some_and(|state| matches!(state, "inactive" | "failed"));
    let active = runs.as_deref() == Some("active");
    match step.what {
        Managing::Reload => match services::reload() {
            Ok(()) => Outcome::done(Value::Null),
            Err(error) => Outcome::not_done(format!("systemd has not read its files anew: {error}")),
        },
        Managing::Stop if idle => Outcome::done(Value::Null),
        Managing::Start if active || !step.was_active => Outcome::done(Value::Null),
        Managing::Stop => Outcome::not_done(format!("{} still runs, or its state cannot be told", step.unit)),
        Managing::Start => Outcome::not_done(format!("{} does not run", step.unit)),
    }
}

/// A script of System V's init as it is now.
fn script_state(root: &Root, name: &str) -> Option<Service> {
    let all = services::services(root, &Stop::default()).ok()?.all;
    all.into_iter().find(|service| service.kind == "sysv" && service.name == name)
}

/// A link to /dev/null that hides a packaged unit.
pub struct Mask {
    /// Its path.
    pub path: PathBuf,
}

fn place(root: &Root, path: &Path) -> std::io::Result<(std::os::fd::OwnedFd, CString)> {
    let folder = root.open_real_folder(path.parent().unwrap_or(Path::new("/")))?;
    Ok((folder, CString::new(path.file_name().unwrap_or_default().as_bytes())?))
}

impl Act for Mask {
    fn step(&self) -> Step {
        Step::Mask(Masked { path: key(&self.path) })
    }

    fn run(&mut self, on: &Acting<'_>) -> Outcome {
        let made = place(on.root, &self.path).and_then(|(folder, name)| {
            let disk = &on.effects.quarantine.disk;
            disk.link_to(Path::new("/dev/null"), Place { folder: folder.as_fd(), name: &name })?;
            disk.sync_folder(folder.as_fd())
        });
        faults::point("service.after_mask");
        match made {
            Ok(()) => Outcome::done(json!({ "mask": key(&self.path) })),
            Err(error) => Outcome::not_done(problem(&self.path, &error).message),
        }
    }
}

/// A mask is taken away again.
pub struct Unmask {
    path: PathBuf,
}

impl Unmask {
    /// Of a mask; `None` when it is gone already.
    ///
    /// # Errors
    /// When something else is there by now: `conflict`.
    pub fn plan(agent: &Shared, step: &Masked) -> Result<Option<Self>, Problem> {
        let path = of_key(&step.path);
        match (agent.root.read_link(&path), agent.root.link_facts(&path)) {
            (Ok(target), _) if target == Path::new("/dev/null") => Ok(Some(Self { path })),
            (_, Err(error)) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            _ => Err(Problem::new("conflict", format!("{}: something else is there now", step.path)).at(step.path.clone())),
        }
    }
}

impl Act for Unmask {
    fn step(&self) -> Step {
        Step::Unmask(Masked { path: key(&self.path) })
    }

    fn run(&mut self, on: &Acting<'_>) -> Outcome {
        let disk = &on.effects.quarantine.disk;
        let removed = place(on.root, &self.path).and_then(|(folder, name)| {
            disk.remove(Place { folder: folder.as_fd(), name: &name })?;
            disk.sync_folder(folder.as_fd())
        });
        match removed {
            Ok(()) => Outcome::done(Value::Null),
            Err(error) => Outcome::not_done(problem(&self.path, &error).message),
        }
    }
}

/// What became of a mask that was being made or taken away when the agent died.
#[must_use]
pub fn look_masked(root: &Root, step: &Masked, made: bool) -> Outcome {
    let there = root.read_link(&of_key(&step.path)).is_ok_and(|target| target == Path::new("/dev/null"));
    if there == made { Outcome::done(Value::Null) } else { Outcome::not_done(format!("{}: it is as before", step.path)) }
}
