//! `remediate process`: what it alone knows is kept, it is ended, and its image goes where nothing else needs it.

use std::ffi::OsStr;
use std::io;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use serde_json::{Value, json};

use super::evidence::{Keep, Room};
use super::image::{Image, TakeAfter, decide, interpreted};
use super::told::planned;
use super::tree::{Tree, Victim};
use super::{Act, Acting, Begun, Change, seen};
use crate::agent::context::{Context, VerbError, VerbResult};
use crate::agent::dispatch::Shared;
use crate::agent::faults;
use crate::agent::identity::ProcessIdentity;
use crate::agent::journal::{Ended, Outcome, Step};
use crate::agent::path::lossy;
use crate::agent::platform::{Facts, HeldProcess, Process, folder_of};
use crate::protocol::Problem;

/// How long a process that was told to end is waited for: one that waits in the kernel ends only when that is over.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often it is looked while a tree ends whether somebody has had children after all.
const LOOKS: u32 = 256;

/// Ends a process, with `-tree` its children too: none is ended before all that is to be kept of all is kept, and each before
/// its parent. The end of a parent would let children run again that stand still: the kernel sends SIGHUP and SIGCONT to a
/// group that has nobody outside of it any more (setpgid(2)).
///
/// # Errors
/// When it was not seen, is another than was seen, is protected, or cannot be ended.
pub fn remediate(ctx: &mut Context) -> VerbResult {
    let typed = ctx.required("id")?.to_owned();
    let pid: u32 = typed.parse().map_err(|_| Problem::new("bad_value", format!("{typed} is no process number")).about("id"))?;
    let agent = Arc::clone(&ctx.agent);
    let _one = agent.effects.one_at_a_time();
    let (process, held) = hold(ctx, pid)?;
    let mut tree = Tree::of(ctx, process, held)?;
    if ctx.flag("tree") {
        tree.gather(ctx)?;
    }
    let changes = changes(ctx, &agent, &tree, 0..tree.victims.len())?;
    if ctx.flag("plan") {
        let changes: Vec<Change> = changes.into_iter().rev().map(|(_, change)| change).collect();
        return planned(ctx, &changes);
    }
    end_all(ctx, &agent, &mut tree, changes)
}

/// Ends all, the deepest first. Before a parent is ended it is looked whether it has had more children.
fn end_all(ctx: &mut Context, agent: &Arc<Shared>, tree: &mut Tree, changes: Vec<(usize, Change)>) -> VerbResult {
    let mut waiting = begin_all(ctx, agent, changes)?;
    let mut sum = Sum::default();
    let (mut looks, mut looked) = (0, None);
    while let Some((depth, begun)) = waiting.pop() {
        if ctx.flag("tree") && looked != Some(depth) && looks < LOOKS && !ctx.stop.asked() {
            (looks, looked) = (looks + 1, Some(depth));
            let fresh = tree.gather(ctx).and_then(|fresh| changes_of_more(ctx, agent, tree, fresh));
            match fresh.and_then(|fresh| begin_all(ctx, agent, fresh)) {
                Ok(fresh) if fresh.is_empty() => {}
                Ok(fresh) => {
                    waiting.push((depth, begun));
                    waiting.extend(fresh);
                    waiting.sort_by_key(|(depth, _)| *depth);
                    looked = None;
                    continue;
                }
                Err(error) => sum.add(Err(error)),
            }
        }
        sum.add(agent.effects.finish(ctx, begun));
    }
    sum.end(ctx)
}

/// Writes all changes down and keeps what is to be kept. When that cannot be done for one, all are given up.
fn begin_all(ctx: &mut Context, agent: &Shared, changes: Vec<(usize, Change)>) -> Result<Vec<(usize, Begun)>, VerbError> {
    let mut all: Vec<(usize, Begun)> = Vec::new();
    let mut failed = None;
    for (depth, change) in changes {
        let begun = agent.effects.begin(ctx, change, None).and_then(|mut begun| {
            let is_kept = agent.effects.prepare(ctx, &mut begun)?;
            Ok((begun, is_kept))
        });
        match begun {
            Ok((begun, is_kept)) => {
                all.push((depth, begun));
                if !is_kept {
                    failed = Some("what is to be kept of it or of another could not be kept");
                }
            }
            Err(VerbError::Stopped { .. }) => failed = Some(super::STOPPED),
            Err(VerbError::Failed(problem)) => {
                let _ = give_up(ctx, agent, all, &problem.message);
                return Err(problem.into());
            }
        }
        if failed.is_some() {
            break;
        }
    }
    match failed {
        None => {
            all.sort_by_key(|(depth, _)| *depth);
            Ok(all)
        }
        Some(why) => Err(give_up(ctx, agent, all, why).err().unwrap_or_else(VerbError::stopped)),
    }
}

fn give_up(ctx: &mut Context, agent: &Shared, all: Vec<(usize, Begun)>, why: &str) -> VerbResult {
    let mut sum = Sum::default();
    // The one that could not be kept says why.
    for (_, begun) in all.into_iter().rev() {
        sum.add(agent.effects.give_up(ctx, begun, why));
    }
    sum.end(ctx)
}

/// What became of several changes.
#[derive(Default)]
struct Sum {
    stopped: bool,
    done: Vec<String>,
    not_done: Vec<String>,
    failed: Vec<Problem>,
}

impl Sum {
    fn add(&mut self, result: VerbResult) {
        match result {
            Ok(()) => {}
            Err(VerbError::Failed(problem)) => self.failed.push(problem),
            Err(VerbError::Stopped { done, not_done }) => {
                self.stopped = true;
                self.done.extend(done);
                self.not_done.extend(not_done);
            }
        }
    }

    fn end(self, ctx: &mut Context) -> VerbResult {
        let mut failed = self.failed.into_iter();
        if self.stopped {
            failed.for_each(|problem| ctx.problem(problem));
            return Err(VerbError::Stopped { done: self.done, not_done: self.not_done });
        }
        let Some(first) = failed.next() else { return Ok(()) };
        failed.for_each(|problem| ctx.problem(problem));
        Err(first.into())
    }
}

/// Holds the process that was seen.
fn hold(ctx: &Context, pid: u32) -> Result<(Process, HeldProcess), VerbError> {
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
    if process.status.is_over() {
        let message = format!(
            "process {pid} ({}) has ended already; its parent {} has not asked for it yet",
            process.name, process.parent_id
        );
        return Err(Problem::new("ended", message).about("id").into());
    }
    Ok((process, held))
}

/// One change a process, with how deep it hangs, in the order of the tree. The image that several run goes with the one that
/// ends last.
fn changes(ctx: &Context, agent: &Arc<Shared>, tree: &Tree, fresh: Range<usize>) -> Result<Vec<(usize, Change)>, VerbError> {
    let images = Images::of(tree);
    let mut room = Room::now(&agent.effects)?;
    let mut changes: Vec<(usize, Change)> = Vec::new();
    let mut gone = Vec::new();
    for (at, victim) in tree.victims.iter().enumerate().skip(fresh.start).take(fresh.len()) {
        let process = &victim.process;
        let traces = match agent.platform.traces(process.pid) {
            Ok(traces) => traces,
            Err(_) if victim.is_over() => {
                // Of its children some may always be at their end.
                if victim.depth > 0 {
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
        let (keep, left_out) = Keep::new(traces, &mut room, ctx.flag("force"));
        let end = End { process: process.clone(), held: Arc::clone(&victim.held), boot_id: agent.hello.boot_id.clone() };
        let mut acts: Vec<Box<dyn Act>> = vec![Box::new(keep), Box::new(end)];
        let mut notes: Vec<String> = left_out.into_iter().collect();
        match images.of_victim(ctx, agent, tree, at)? {
            Some(Image::Goes(take)) => acts.push(Box::new(TakeAfter { take, users: images.users(tree, at) })),
            Some(Image::Stays(why)) => notes.push(why),
            None => {}
        }
        notes.extend(script(agent, process));
        let (target, before) = (process.pid.to_string(), before(agent, process));
        changes.push((victim.depth, Change { entity: "process", target, undoes: None, before, acts, notes }));
    }
    if !ctx.flag("force") {
        room.check()?;
    }
    if let (Some((_, first)), false) = (changes.first_mut(), gone.is_empty()) {
        first.notes.push(format!("below it had ended by themselves: {}", gone.join(", ")));
    }
    Ok(changes)
}

/// Those that came while the others were being ended.
fn changes_of_more(
    ctx: &Context,
    agent: &Arc<Shared>,
    tree: &Tree,
    fresh: Range<usize>,
) -> Result<Vec<(usize, Change)>, VerbError> {
    if fresh.is_empty() { Ok(Vec::new()) } else { changes(ctx, agent, tree, fresh) }
}

/// The images of a tree's processes.
struct Images {
    all: Vec<Option<Facts>>,
    /// The numbers of all that end.
    ending: Vec<u32>,
}

impl Images {
    fn of(tree: &Tree) -> Self {
        let living = |victim: &Victim| !victim.is_over();
        let facts = |victim: &Victim| {
            let path = format!("{}/exe", folder_of(victim.process.pid));
            living(victim).then(|| Facts::of_path(Path::new(&path)).ok()).flatten()
        };
        let ending = tree.victims.iter().filter(|victim| living(victim)).map(|victim| victim.process.pid);
        Self { ending: ending.collect(), all: tree.victims.iter().map(facts).collect() }
    }

    /// The victims that run the same image as one of them.
    fn same(&self, at: usize) -> impl Iterator<Item = usize> {
        let number = |at: usize| self.all.get(at).and_then(|facts| facts.as_ref()).map(|facts| (facts.dev, facts.inode));
        (0..self.all.len()).filter(move |other| number(at).is_some() && number(*other) == number(at))
    }

    /// Those of them, held.
    fn users(&self, tree: &Tree, at: usize) -> Vec<(u32, Arc<HeldProcess>)> {
        let victims = self.same(at).filter_map(|at| tree.victims.get(at));
        victims.map(|victim| (victim.process.pid, Arc::clone(&victim.held))).collect()
    }

    /// What becomes of the image of a victim; `None` where it has none. It goes with the one that ends last.
    fn of_victim(&self, ctx: &Context, agent: &Shared, tree: &Tree, at: usize) -> Result<Option<Image>, VerbError> {
        let victim = |at: usize| tree.victims.get(at);
        let last = self.same(at).filter_map(|at| Some((victim(at)?.depth, at))).min().map(|(_, at)| at);
        let (Some(last), Some(Some(facts))) = (last, self.all.get(at)) else { return Ok(None) };
        let Some(process) = victim(last).map(|victim| &victim.process) else { return Ok(None) };
        if last == at {
            return image(ctx, agent, process, facts, &self.ending).map(Some);
        }
        Ok(Some(Image::Stays(format!(
            "its image is that of process {0} too, which ends after it: where it went, `undo process {0}` brings it back",
            process.pid
        ))))
    }
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

/// What an interpreter ran; its name may be looked for where it is now, and where it was started.
pub fn script(agent: &Shared, process: &Process) -> Option<String> {
    let image = process.image.as_ref()?;
    let arguments: Vec<&[u8]> = process.arguments.split(|&byte| byte == 0).collect();
    let folder = std::fs::read_link(format!("{}/cwd", folder_of(process.pid))).ok();
    let started = agent.platform.environment(process.pid).and_then(|all| {
        let value = all.split(|&byte| byte == 0).find_map(|one| one.strip_prefix(b"PWD="))?;
        Some(Path::new(OsStr::from_bytes(value)).to_owned())
    });
    let folders: Vec<_> = folder.into_iter().chain(started).collect();
    interpreted(&agent.root, &image.path, &arguments, &folders)
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
}

impl Act for End {
    fn step(&self) -> Step {
        Step::End(Ended { pid: self.process.pid, start_ticks: self.process.start_ticks, boot_id: self.boot_id.clone() })
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

/// What became of a process that was being ended when the agent died.
#[must_use]
pub fn look(agent_boot: Option<&str>, process: Option<&Process>, step: &Ended) -> Outcome {
    let alive = process.is_some_and(|process| {
        process.start_ticks == step.start_ticks && step.boot_id.as_deref() == agent_boot && !process.status.is_over()
    });
    if alive { Outcome::not_done(format!("process {} still runs", step.pid)) } else { Outcome::done(Value::Null) }
}
