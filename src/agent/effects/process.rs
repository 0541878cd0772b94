//! `remediate process`: what it alone knows is kept, it is ended, and its image goes where nothing else needs it.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use serde_json::{Value, json};

use super::evidence::Keep;
use super::image::{Image, decide};
use super::told::planned;
use super::{Act, Acting, Change, seen};
use crate::agent::context::{Context, VerbError, VerbResult};
use crate::agent::dispatch::Shared;
use crate::agent::faults;
use crate::agent::identity::ProcessIdentity;
use crate::agent::journal::{Ended, Outcome, Step};
use crate::agent::path::lossy;
use crate::agent::platform::{Facts, HeldProcess, Process, ProcessStatus};
use crate::agent::protection;
use crate::protocol::Problem;

/// How long a process that was told to end is waited for: one that waits in the kernel ends only when that is over.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often the children of a tree are looked for anew, since they may have had more meanwhile.
const LOOKS: u32 = 64;

/// A process that is about to be ended, held.
struct Victim {
    process: Process,
    held: Arc<HeldProcess>,
    stopped: bool,
}

/// Ends a process, with `-tree` its children too.
///
/// # Errors
/// When it was not seen, is another than was seen, is protected, or cannot be ended.
pub fn remediate(ctx: &mut Context) -> VerbResult {
    let typed = ctx.required("id")?.to_owned();
    let pid: u32 = typed.parse().map_err(|_| Problem::new("bad_value", format!("{typed} is no process number")).about("id"))?;
    let agent = Arc::clone(&ctx.agent);
    let _one = agent.effects.one_at_a_time();
    let mut victims = vec![hold(ctx, pid)?];
    refuse_protected(ctx, &victims)?;
    if ctx.flag("tree")
        && let Err(error) = add_children(ctx, &mut victims)
    {
        go_on(&victims);
        return Err(error);
    }
    let done = end_all(ctx, &agent, &victims);
    // What was not ended goes on as before.
    go_on(&victims);
    done
}

fn end_all(ctx: &mut Context, agent: &Arc<Shared>, victims: &[Victim]) -> VerbResult {
    let mut changes = changes(ctx, agent, victims)?;
    if ctx.flag("plan") {
        return planned(ctx, &changes);
    }
    for change in changes.drain(..) {
        agent.effects.carry_out(ctx, change)?;
    }
    Ok(())
}

/// Holds the process that was seen.
fn hold(ctx: &Context, pid: u32) -> Result<Victim, VerbError> {
    let key = pid.to_string();
    let gone = || Problem::new("not_found", format!("no process has the number {pid} (any more)")).about("id");
    let held = match HeldProcess::open(pid) {
        Err(error) if Errno::from_io_error(&error) == Some(Errno::SRCH) => return Err(gone().into()),
        Err(error) => {
            return Err(Problem::new("io_error", format!("process {pid} cannot be held: {error}")).about("id").into());
        }
        Ok(held) => held,
    };
    // Read only now: what has this number is what is held, or that has ended already.
    let process = ctx.agent.platform.process(pid)?.ok_or_else(gone)?;
    let boot_id = ctx.agent.hello.boot_id.clone();
    let now = ProcessIdentity { pid, start_ticks: process.start_ticks, boot_id };
    let identity: ProcessIdentity = seen(ctx, "process", &key)?;
    if identity != now {
        let why = if identity.boot_id == now.boot_id {
            format!(
                "it started at tick {} of this boot, the one that was seen at tick {}",
                now.start_ticks, identity.start_ticks
            )
        } else {
            "the device was booted again since".to_owned()
        };
        let message =
            format!("process {pid} ({}) is not the one that was seen: {why}; look again, or give -auto", process.name);
        return Err(Problem::new("changed", message).about("id").into());
    }
    if matches!(process.status, ProcessStatus::Zombie | ProcessStatus::Dead) {
        let message = format!(
            "process {pid} ({}) has ended already; its parent {} has not asked for it yet",
            process.name, process.parent_id
        );
        return Err(Problem::new("ended", message).about("id").into());
    }
    Ok(Victim { process, held: Arc::new(held), stopped: false })
}

fn refuse_protected(ctx: &Context, victims: &[Victim]) -> Result<(), VerbError> {
    let all = ctx.agent.platform.processes(&ctx.stop)?;
    for victim in victims {
        if let Some(why) = protection::of_process(&victim.process, &ctx.command.shells, &all) {
            let message = format!("process {} ({}) is never ended: {why}", victim.process.pid, victim.process.name);
            return Err(Problem::new("protected", message).about("id").into());
        }
    }
    Ok(())
}

/// Adds all that hang below. Each is made to stand still first, so that it has no more children while they are looked for.
fn add_children(ctx: &Context, victims: &mut Vec<Victim>) -> Result<(), VerbError> {
    let still = !ctx.flag("plan");
    for _ in 0..LOOKS {
        if still {
            for victim in victims.iter_mut().filter(|victim| !victim.stopped) {
                victim.stopped = victim.process.status != ProcessStatus::Stopped && victim.held.stop().is_ok();
            }
        }
        let all = ctx.agent.platform.processes(&ctx.stop)?;
        let known: Vec<u32> = victims.iter().map(|victim| victim.process.pid).collect();
        let fresh: Vec<&Process> = all
            .iter()
            .filter(|process| known.contains(&process.parent_id) && !known.contains(&process.pid))
            .filter(|process| !matches!(process.status, ProcessStatus::Zombie | ProcessStatus::Dead))
            .collect();
        if fresh.is_empty() {
            return refuse_protected(ctx, victims);
        }
        for process in fresh {
            let Ok(held) = HeldProcess::open(process.pid) else { continue };
            // Whose number was given anew meanwhile is no child.
            let same = ctx.agent.platform.process(process.pid)?.is_some_and(|now| now.start_ticks == process.start_ticks);
            if same {
                victims.push(Victim { process: process.clone(), held: Arc::new(held), stopped: false });
            }
        }
        refuse_protected(ctx, victims)?;
    }
    Err(VerbError::failed("busy", "its children have children faster than they can be held; nothing was ended"))
}

fn go_on(victims: &[Victim]) {
    for victim in victims.iter().filter(|victim| victim.stopped) {
        // Those that were ended are no longer there to go on.
        let _ = victim.held.go_on();
    }
}

/// One change a process. The image that several run goes with the last of them.
fn changes(ctx: &Context, agent: &Arc<Shared>, victims: &[Victim]) -> Result<Vec<Change>, VerbError> {
    let ending: Vec<u32> = victims.iter().map(|victim| victim.process.pid).collect();
    let image_of = |pid: u32| Facts::of_path(Path::new(&format!("/proc/{pid}/exe"))).ok();
    let mut last: HashMap<(u64, u64), u32> = HashMap::new();
    for pid in &ending {
        if let Some(image) = image_of(*pid) {
            last.insert((image.dev, image.inode), *pid);
        }
    }
    let mut left = agent.effects.quarantine.cap.saturating_sub(agent.effects.used()?);
    let mut changes: Vec<Change> = Vec::new();
    let mut gone = Vec::new();
    for (below, victim) in victims.iter().enumerate() {
        let process = &victim.process;
        let traces = match agent.platform.traces(process.pid) {
            Ok(traces) => traces,
            Err(_) if victim.held.ended(Duration::ZERO).unwrap_or(false) => {
                // Of its children some may always be at their end.
                if below > 0 {
                    gone.push(process.pid.to_string());
                    continue;
                }
                return Err(Problem::new("ended", format!("process {} has ended by itself", process.pid)).about("id").into());
            }
            Err(_) if ctx.flag("force") => Vec::new(),
            Err(error) => {
                let message =
                    format!("evidence of process {} cannot be kept: {error}; -force ends it all the same", process.pid);
                return Err(VerbError::failed("no_evidence", message));
            }
        };
        let size: u64 = traces.iter().map(crate::agent::platform::Trace::size).sum();
        let keep = Keep::new(traces, ctx.flag("force"), left);
        left = left.saturating_sub(size);
        let end = End {
            process: process.clone(),
            held: Arc::clone(&victim.held),
            boot_id: agent.hello.boot_id.clone(),
            stopped: victim.stopped,
        };
        let mut acts: Vec<Box<dyn Act>> = vec![Box::new(keep), Box::new(end)];
        let mut notes = Vec::new();
        let script = script(agent, process);
        if let Some(facts) = image_of(process.pid) {
            match last.get(&(facts.dev, facts.inode)) {
                Some(pid) if *pid != process.pid => {
                    notes.push(format!("its image is that of process {pid} too, which ends as well: see there"));
                }
                _ => match image(ctx, agent, process, &facts, &ending)? {
                    Image::Stays(why) => notes.push(why),
                    Image::Goes(_) if script.is_some() && is_interpreter(process) && !ctx.flag("image") => {
                        notes.push("its image stays: it is an interpreter (-image removes it all the same)".to_owned());
                    }
                    Image::Goes(take) => acts.push(take),
                },
            }
        }
        notes.extend(script);
        let (target, before) = (process.pid.to_string(), before(agent, process));
        changes.push(Change { entity: "process", target, undoes: None, before, acts, notes });
    }
    if let (Some(first), false) = (changes.first_mut(), gone.is_empty()) {
        first.notes.push(format!("below it had ended by themselves: {}", gone.join(", ")));
    }
    Ok(changes)
}

fn image(ctx: &Context, agent: &Shared, process: &Process, facts: &Facts, ending: &[u32]) -> Result<Image, VerbError> {
    let Some(image) = &process.image else { return Ok(Image::Stays("its image is not known".to_owned())) };
    let shown = lossy(&image.path);
    if image.deleted {
        return Ok(Image::Stays(format!("image {shown} is on no disk any more; its bytes are in the evidence")));
    }
    match agent.root.hold(&image.path) {
        Ok(held) if (held.facts.dev, held.facts.inode) == (facts.dev, facts.inode) => decide(ctx, held, ending),
        Ok(_) => Ok(Image::Stays(format!("image {shown} stays: another file has its name now"))),
        Err(error) => Ok(Image::Stays(format!("image {shown} stays: {error}"))),
    }
}

/// Whether a process runs a program that is known to run scripts: not every one belongs to a package, and all else that it runs
/// would go with it.
fn is_interpreter(process: &Process) -> bool {
    const NAMES: [&str; 19] = [
        "python", "perl", "ruby", "node", "nodejs", "php", "lua", "tclsh", "java", "pwsh", "sh", "bash", "dash", "zsh", "ksh",
        "fish", "busybox", "Rscript", "pypy",
    ];
    let name = process.image.as_ref().and_then(|image| image.path.file_name()?.to_str());
    // `python3.11`, `perl5.36`, `lua5.4`: the version does not count.
    name.map(|name| name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.')).is_some_and(|name| NAMES.contains(&name))
}

/// The script that an interpreter runs.
fn script(agent: &Shared, process: &Process) -> Option<String> {
    let arguments = process.arguments.split(|&byte| byte == 0).skip(1).filter(|argument| !argument.is_empty());
    let first = arguments.take(8).find(|argument| argument.first() != Some(&b'-'))?;
    let cwd = std::fs::read_link(format!("/proc/{}/cwd", process.pid)).ok()?;
    let path = cwd.join(std::str::from_utf8(first).ok()?);
    let facts = agent.root.facts(&path).ok()?;
    let own = process.image.as_ref().is_some_and(|image| image.path == path);
    (facts.is_file() && !own).then(|| {
        let path = crate::agent::path::key(&path);
        format!("it ran {path}, which stays: `remediate file {}` removes it", crate::grammar::quoted(&path))
    })
}

fn before(agent: &Shared, process: &Process) -> Value {
    let names = agent.accounts.names(&agent.root);
    json!({
        "pid": process.pid, "name": process.name, "parent_id": process.parent_id, "user_name": names.user(process.uid),
        "creation_time": process.creation_time, "command_line": process.command_line(),
        "image_path": process.image.as_ref().map(|image| lossy(&image.path)),
        "image_deleted": process.image.as_ref().map(|image| image.deleted),
    })
}

/// A process is ended.
struct End {
    process: Process,
    held: Arc<HeldProcess>,
    boot_id: Option<String>,
    stopped: bool,
}

impl Act for End {
    fn step(&self) -> Step {
        Step::End(Ended {
            pid: self.process.pid,
            start_ticks: self.process.start_ticks,
            boot_id: self.boot_id.clone(),
            stopped: self.stopped,
        })
    }

    fn run(&mut self, _on: &Acting<'_>) -> Outcome {
        let pid = self.process.pid;
        match self.held.kill() {
            Ok(()) => {}
            Err(error) if Errno::from_io_error(&error) == Some(Errno::SRCH) => {
                return Outcome { reason: Some(format!("process {pid} had ended by itself")), ..Outcome::done(Value::Null) };
            }
            Err(error) => return Outcome::not_done(format!("process {pid} cannot be ended: {}", refusal(&error))),
        }
        faults::point("process.after_kill");
        match self.held.ended(PATIENCE) {
            Ok(true) => Outcome::done(Value::Null),
            Ok(false) => {
                Outcome::not_done(format!("process {pid} was told to end, but is still there: it waits in the kernel"))
            }
            Err(error) => Outcome::not_done(format!("process {pid} was told to end, but its end cannot be told: {error}")),
        }
    }
}

fn refusal(error: &io::Error) -> String {
    match Errno::from_io_error(error) {
        Some(Errno::PERM) => "the agent has no permission for it".to_owned(),
        _ => error.to_string(),
    }
}

/// What became of a process that was being ended when the agent died. One that was made to stand still goes on.
#[must_use]
pub fn look(agent_boot: Option<&str>, process: Option<&Process>, step: &Ended) -> Outcome {
    let alive = process.is_some_and(|process| {
        process.start_ticks == step.start_ticks
            && step.boot_id.as_deref() == agent_boot
            && !matches!(process.status, ProcessStatus::Zombie | ProcessStatus::Dead)
    });
    if !alive {
        return Outcome::done(Value::Null);
    }
    if step.stopped
        && let Ok(held) = HeldProcess::open(step.pid)
    {
        let _ = held.go_on();
    }
    Outcome::not_done(format!("process {} still runs", step.pid))
}
