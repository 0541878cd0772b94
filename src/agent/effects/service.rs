//! `remediate service`: a unit or script is stopped, no longer starts by itself, and its image goes where nothing else needs it.
//!
//! What makes it start by itself are links; they go to quarantine one by one, so that they come back exactly as they were. What a
//! package's own links start is masked instead.

use std::ffi::CString;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};

use super::evidence::Keep;
use super::image::{Image, decide};
use super::told::planned;
use super::{Act, Acting, Change, seen};
use crate::agent::context::{Context, VerbError, VerbResult};
use crate::agent::dispatch::Shared;
use crate::agent::faults;
use crate::agent::identity::{FileIdentity, ServiceIdentity};
use crate::agent::journal::{Managed, Managing, Masked, Outcome, Place, Step};
use crate::agent::path::{key, lossy, of_key, problem};
use crate::agent::platform::services::is_managed;
use crate::agent::platform::{Service, services};
use crate::agent::quarantine::{Asked, plan};
use crate::agent::vital;
use crate::protocol::Problem;

/// Where an administrator's units are, and what is made while the system runs: links elsewhere are a package's.
const OWN: [&str; 2] = ["/etc/systemd/system", "/run/systemd/system"];

/// Stops a service for good.
///
/// # Errors
/// When it was not seen, is set up otherwise than was seen, or a step cannot be done.
pub fn remediate(ctx: &mut Context) -> VerbResult {
    let typed = ctx.required("id")?.to_owned();
    let agent = Arc::clone(&ctx.agent);
    let _one = agent.effects.one_at_a_time();
    let managed = is_managed(&agent.root);
    let found = agent.platform.services(&ctx.stop)?;
    let called = named(&found.all, &typed, managed)
        .ok_or_else(|| Problem::new("not_found", format!("there is no service {typed}; `services` lists them")).about("id"))?;
    let real = called.alias_of.as_ref().and_then(|real| found.all.iter().find(|service| service.name == *real));
    let service = real.unwrap_or(called);
    let identity: ServiceIdentity = seen(ctx, "service", &service.name)?;
    let now = ServiceIdentity::of(service);
    if identity != now {
        let message = format!(
            "{}: it is not set up as it was seen: {}; look again, or give -auto",
            service.name,
            identity.difference(&now)
        );
        return Err(Problem::new("changed", message).at(service.name.clone()).into());
    }
    if let Some(user) = &service.of_user {
        let file = service.file.as_deref().map(|file| format!(" and `remediate file {}`", lossy(file))).unwrap_or_default();
        let message = format!(
            "{}: it belongs to {user}'s own manager, which remediate does not ask; `remediate process`{file} end it",
            service.name
        );
        return Err(Problem::new("not_supported", message).at(service.name.clone()).into());
    }
    if let Some(why) = needed(&service.name) {
        return Err(Problem::new("protected", format!("{}: it is never stopped: {why}", service.name))
            .at(service.name.clone())
            .into());
    }
    let mut change = change(ctx, &agent, service, managed)?;
    if called.name != service.name {
        change.notes.insert(0, format!("{} is another name of it", called.name));
    }
    if ctx.flag("plan") { planned(ctx, &[change]) } else { agent.effects.carry_out(ctx, change) }
}

/// The service that a name means: `ssh` is `ssh.service` where systemd has one.
fn named<'a>(all: &'a [Service], typed: &str, managed: bool) -> Option<&'a Service> {
    let exact = all.iter().find(|service| service.name == typed);
    let unit = all.iter().find(|service| service.name.strip_suffix(".service") == Some(typed));
    if managed { unit.or(exact) } else { exact.or(unit) }
}

/// Units without which no machine is left.
fn needed(name: &str) -> Option<&'static str> {
    let known =
        ["init.scope", "-.slice", "-.mount", "system.slice", "dbus.service", "dbus.socket", "basic.target", "sysinit.target"];
    known.contains(&name).then_some("the system itself hangs on it")
}

/// The change that stops a service for good.
///
/// # Errors
/// When there is nothing to do, or it cannot be planned.
pub fn change(ctx: &Context, agent: &Arc<Shared>, service: &Service, managed: bool) -> Result<Change, VerbError> {
    let mut acts: Vec<Box<dyn Act>> = Vec::new();
    let mut notes = Vec::new();
    let script = service.kind == "sysv";
    let pids = if agent.root.is_live() { processes_of(ctx, service)? } else { Vec::new() };
    let active = match (managed && !script, script) {
        (true, _) => services::active_state(&service.name).is_ok_and(|state| !matches!(state.as_str(), "inactive" | "failed")),
        (false, true) => service.state.as_deref() == Some("running"),
        (false, false) => false,
    };
    if active {
        keep_evidence(ctx, agent, &pids, &mut acts)?;
        acts.push(Box::new(Manage::new(service, script, Managing::Stop, true)));
    } else if !managed && !script && !pids.is_empty() {
        notes
            .push(format!("no systemd runs here, so that its processes go on: {}; `remediate process` ends them", join(&pids)));
    }
    let image_act = image(ctx, agent, service, &pids, &mut notes)?;
    let (own, mask) = starting(ctx, agent, service, managed, &mut notes)?;
    for link in &own {
        let held = agent.root.hold(link).map_err(|error| problem(link, &error))?;
        let seen = FileIdentity::new(&held.facts, None);
        let asked = Asked { used: agent.effects.used()?, hash: false, only_plan: ctx.flag("plan") };
        acts.push(Box::new(Disable(plan(&agent.effects.quarantine, &agent.root, held, &seen, asked)?)));
    }
    acts.extend(mask.map(|path| Box::new(Mask { path }) as Box<dyn Act>));
    if managed && acts.iter().any(|act| matches!(act.step(), Step::Disable(_) | Step::Mask(_))) {
        acts.push(Box::new(Manage::new(service, script, Managing::Reload, active)));
    }
    acts.extend(image_act);
    if let Some(what) = vital::of_unit(&service.name) {
        notes.insert(0, format!("warning: without it {what}"));
    }
    let by: Vec<&str> = service.triggered_by.iter().map(String::as_str).collect();
    if !by.is_empty() {
        notes.push(format!("{} may start it again, and stays", by.join(", ")));
    }
    if acts.is_empty() {
        let why = if notes.is_empty() { String::new() } else { format!("; {}", notes.join("; ")) };
        let message = format!("{}: there is nothing to do: it does not run and does not start by itself{why}", service.name);
        return Err(Problem::new("nothing_to_do", message).at(service.name.clone()).into());
    }
    let before = before(service, active, &own);
    Ok(Change { entity: "service", target: service.name.clone(), undoes: None, before, acts, notes })
}

/// What goes so that a service no longer starts by itself: an administrator's links and, where others start it all the same, its
/// file; or the path of the mask that hides it, where a package's file must stay.
fn starting(
    ctx: &Context,
    agent: &Shared,
    service: &Service,
    managed: bool,
    notes: &mut Vec<String>,
) -> Result<(Vec<PathBuf>, Option<PathBuf>), VerbError> {
    let script = service.kind == "sysv";
    let mut names = vec![service.name.clone()];
    if !service.instances.is_empty() {
        let instances = service.instances.join(", ");
        if managed {
            notes.push(format!("it is a template; its instances are services of their own: {instances}"));
        } else {
            notes.push(format!("with its instances: {instances}"));
            names.extend(service.instances.iter().cloned());
        }
    }
    let mut links = Vec::new();
    for name in &names {
        links.extend(services::links(&agent.root, name, &ctx.stop)?);
    }
    let is_own = |path: &Path| OWN.iter().any(|folder| path.starts_with(folder));
    let (mut own, packaged): (Vec<PathBuf>, Vec<PathBuf>) = links.into_iter().partition(|link| script || is_own(link));
    if script {
        return Ok((own, None));
    }
    let pulling = services::pulling(&agent.root, &service.name, &ctx.stop)?;
    let mut by: Vec<String> = packaged.iter().map(|link| lossy(link)).collect();
    by.extend(pulling.by);
    let mask = Path::new(OWN[0]).join(&service.name);
    if agent.root.read_link(&mask).is_ok_and(|target| target == Path::new("/dev/null")) {
        // It is masked already, whatever leads to it.
        return Ok((Vec::new(), None));
    }
    if by.is_empty() {
        return Ok((own, None));
    }
    if agent.root.link_facts(&mask).is_err() {
        return Ok((own, Some(mask)));
    }
    // Where the mask would be stands its own file: without it nothing can be started.
    if pulling.shadowed.is_empty() {
        notes.push(format!("{} would start it again, so that its file goes too", by.join(", ")));
        own.push(mask);
        own.dedup();
    } else {
        notes.push(format!("{} still start it, and it cannot be masked since {} is there", by.join(", "), lossy(&mask)));
    }
    Ok((own, None))
}

fn join(pids: &[u32]) -> String {
    pids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The processes that belong to a unit, by their control group; of a script its main process.
fn processes_of(ctx: &Context, service: &Service) -> Result<Vec<u32>, VerbError> {
    let mut pids = services::processes_of(&service.name, &ctx.stop)?;
    pids.extend(service.process_id.filter(|pid| !pids.contains(pid)));
    Ok(pids)
}

fn keep_evidence(ctx: &Context, agent: &Arc<Shared>, pids: &[u32], acts: &mut Vec<Box<dyn Act>>) -> Result<(), VerbError> {
    let mut left = agent.effects.quarantine.cap.saturating_sub(agent.effects.used()?);
    for pid in pids {
        // Who has ended meanwhile leaves nothing behind.
        let Ok(traces) = agent.platform.traces(*pid) else { continue };
        let size: u64 = traces.iter().map(crate::agent::platform::Trace::size).sum();
        acts.push(Box::new(Keep::new(traces, ctx.flag("force"), left)));
        left = left.saturating_sub(size);
    }
    Ok(())
}

fn image(
    ctx: &Context,
    agent: &Shared,
    service: &Service,
    pids: &[u32],
    notes: &mut Vec<String>,
) -> Result<Option<Box<dyn Act>>, VerbError> {
    let program = service.program.as_deref().map(|program| program.trim_start_matches(['@', '-', ':', '+', '!', '|']));
    let Some(program) = program.filter(|program| program.starts_with('/')) else { return Ok(None) };
    match agent.root.hold(Path::new(program)) {
        Err(error) => notes.push(format!("image {program} stays: {}", problem(Path::new(program), &error).message)),
        Ok(held) => match decide(ctx, held, pids)? {
            Image::Goes(take) => return Ok(Some(take)),
            Image::Stays(why) => notes.push(why),
        },
    }
    Ok(None)
}

fn before(service: &Service, active: bool, links: &[PathBuf]) -> Value {
    json!({
        "service_name": service.name, "active": active, "current_state": service.state, "enabled": service.enabled,
        "start_type": service.start, "unit_file": service.file.as_deref().map(lossy), "binary_path": service.command,
        "process_id": service.process_id, "links": links.iter().map(|link| key(link)).collect::<Vec<_>>(),
    })
}

/// A link that has a service start goes to quarantine.
pub struct Disable(pub crate::agent::quarantine::Take);

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
    step: Managed,
}

impl Manage {
    fn new(service: &Service, script: bool, what: Managing, was_active: bool) -> Self {
        Self { step: Managed { unit: service.name.clone(), script, what, was_active } }
    }

    /// What reverses a step: files are read anew, and it is started if it ran.
    #[must_use]
    pub fn reverse(step: &Managed) -> Self {
        Self { step: Managed { what: Managing::Start, ..step.clone() } }
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
            (Managing::Stop, true) => services::script(&step.unit, "stop"),
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
pub fn look_managed(step: &Managed) -> Outcome {
    let runs = if step.script { None } else { services::active_state(&step.unit).ok() };
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

/// A link to /dev/null that hides a packaged unit.
struct Mask {
    path: PathBuf,
}

fn place(root: &crate::agent::platform::Root, path: &Path) -> std::io::Result<(std::os::fd::OwnedFd, CString)> {
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
pub fn look_masked(root: &crate::agent::platform::Root, step: &Masked, made: bool) -> Outcome {
    let there = root.read_link(&of_key(&step.path)).is_ok_and(|target| target == Path::new("/dev/null"));
    if there == made { Outcome::done(Value::Null) } else { Outcome::not_done(format!("{}: it is as before", step.path)) }
}
