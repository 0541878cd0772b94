//! `remediate service`: a unit or script is stopped, no longer starts by itself, and its image goes where nothing else needs it.
//!
//! What makes it start by itself are links; they go to quarantine one by one, so that they come back exactly as they were. What a
//! package's own links start is masked instead.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};

use super::evidence::{Keep, Room};
use super::image::{Image, TakeAfter, decide, interpreted};
use super::manage::{Disable, HeldProcesses, Manage, Mask};
use super::process::script as script_of;
use super::told::planned;
use super::{Act, Change, seen};
use crate::agent::context::{Context, VerbError, VerbResult};
use crate::agent::dispatch::Shared;
use crate::agent::identity::{FileIdentity, ServiceIdentity};
use crate::agent::journal::{Managed, Managing, Step};
use crate::agent::path::{key, lossy, problem};
use crate::agent::platform::services::is_managed;
use crate::agent::platform::{Facts, HeldProcess, Service, folder_of, services, systemd};
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
    // Only what is stopped ends.
    let ending: HeldProcesses = if active { hold(&pids) } else { Vec::new() };
    let stop = active.then(|| {
        let step = Managed { unit: service.name.clone(), script, what: Managing::Stop, was_active: true };
        Box::new(Manage { step, ending: ending.clone() }) as Box<dyn Act>
    });
    if active {
        keep_evidence(ctx, agent, &pids, &mut acts, &mut notes)?;
    } else if !managed && !script && !pids.is_empty() {
        notes
            .push(format!("no systemd runs here, so that its processes go on: {}; `remediate process` ends them", join(&pids)));
    } else if script && service.state.is_none() {
        notes.push("whether it runs cannot be told, so that it is not stopped: it names no pid file".to_owned());
    }
    if let (true, true, Some(file)) = (script, active, &service.file) {
        let names = agent.accounts.names(&agent.root);
        let user = names.user(rustix::process::geteuid().as_raw());
        notes.push(format!("`{} stop`, the suspect's own script, is run for it as {user}", lossy(file)));
    }
    let image_act = image(ctx, agent, service, &ending, &mut notes)?;
    // What a script is told may come to nothing, so that first its links go.
    let (first, last) = if script { (None, stop) } else { (stop, None) };
    acts.extend(first);
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
    acts.extend(last);
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

/// Numbers in a sentence.
pub(super) fn join(pids: &[u32]) -> String {
    pids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The processes that belong to a unit, by their control group; of a script its main process.
fn processes_of(ctx: &Context, service: &Service) -> Result<Vec<u32>, VerbError> {
    let mut pids = services::processes_of(&service.name, &ctx.stop)?;
    pids.extend(service.process_id.filter(|pid| !pids.contains(pid)));
    Ok(pids)
}

/// Those that are still there.
fn hold(pids: &[u32]) -> HeldProcesses {
    pids.iter().filter_map(|pid| Some((*pid, Arc::new(HeldProcess::open(*pid).ok()?)))).collect()
}

fn keep_evidence(
    ctx: &Context,
    agent: &Arc<Shared>,
    pids: &[u32],
    acts: &mut Vec<Box<dyn Act>>,
    notes: &mut Vec<String>,
) -> Result<(), VerbError> {
    let mut room = Room::now(&agent.effects)?;
    for pid in pids {
        // Who has ended meanwhile leaves nothing behind.
        let Ok(traces) = agent.platform.traces(*pid) else { continue };
        let (keep, left_out) = Keep::new(traces, &mut room, ctx.flag("force"));
        acts.push(Box::new(keep));
        notes.extend(left_out.map(|why| format!("of process {pid} {why}")));
    }
    if !ctx.flag("force") {
        room.check()?;
    }
    Ok(())
}

fn image(
    ctx: &Context,
    agent: &Shared,
    service: &Service,
    ending: &HeldProcesses,
    notes: &mut Vec<String>,
) -> Result<Option<Box<dyn Act>>, VerbError> {
    let main = service.process_id.filter(|_| agent.root.is_live());
    let main = main.map(|pid| agent.platform.process(pid)).transpose()?.flatten();
    let program = service.program.as_deref().map(|program| program.trim_start_matches(['@', '-', ':', '+', '!', '|']));
    // A script of System V's init starts who knows what: its daemon is what runs.
    let running = main.as_ref().and_then(|main| main.image.as_ref()).filter(|image| !image.deleted);
    let path = program.map(Path::new).or(running.map(|image| image.path.as_path()));
    let Some(path) = path.filter(|path| path.is_absolute()) else { return Ok(None) };
    let said = main.as_ref().filter(|_| running.is_some()).and_then(|main| script_of(agent, main)).or_else(|| {
        let line = systemd::command_line(&format!("{} {}", lossy(path), service.arguments.as_deref().unwrap_or_default()))?;
        let mut arguments = vec![line.program.as_bytes()];
        arguments.extend(line.arguments.iter().map(String::as_bytes));
        interpreted(&agent.root, path, &arguments, &[PathBuf::from("/")])
    });
    let act = match agent.root.hold(path) {
        Err(error) => {
            notes.push(format!("image {} stays: {}", lossy(path), problem(path, &error).message));
            None
        }
        Ok(held) => {
            let (dev, inode) = (held.facts.dev, held.facts.inode);
            let runs_it = |pid: u32| {
                let image = Facts::of_path(Path::new(&format!("{}/exe", folder_of(pid))));
                image.is_ok_and(|image| (image.dev, image.inode) == (dev, inode))
            };
            let pids: Vec<u32> = ending.iter().map(|(pid, _)| *pid).collect();
            match decide(ctx, held, &pids)? {
                Image::Goes(take) => {
                    let users = ending.iter().filter(|(pid, _)| runs_it(*pid)).cloned().collect();
                    Some(Box::new(TakeAfter { take, users }) as Box<dyn Act>)
                }
                Image::Stays(why) => {
                    notes.push(why);
                    None
                }
            }
        }
    };
    notes.extend(said);
    Ok(act)
}

fn before(service: &Service, active: bool, links: &[PathBuf]) -> Value {
    json!({
        "service_name": service.name, "active": active, "current_state": service.state, "enabled": service.enabled,
        "start_type": service.start, "unit_file": service.file.as_deref().map(lossy), "binary_path": service.command,
        "process_id": service.process_id, "links": links.iter().map(|link| key(link)).collect::<Vec<_>>(),
    })
}
