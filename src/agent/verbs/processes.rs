//! `processes`: what runs, the largest first.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use serde::Serialize;

use crate::agent::context::{Context, VerbError, VerbResult};
use crate::agent::identity::ProcessIdentity;
use crate::agent::path::{lossy, uri};
use crate::agent::pattern::Pattern;
use crate::agent::platform::{Names, Process, ProcessStatus, Time};
use crate::protocol::{Problem, SeenItem};

/// Every field of a row, in order. The last are there only with `-tree`, and where the image's path needs its exact form.
const KEYS: &[&str] = &[
    "name",
    "pid",
    "parent_id",
    "user_name",
    "status",
    "creation_time",
    "memory_k",
    "cpu_cycles_k",
    "session_id",
    "memory_usage",
    "cpu_time_ms",
    "image_path",
    "command_line",
    "image_deleted",
    "threads",
    "depth",
    "image_path_uri",
];

/// How many are told as seen in one event.
const SEEN: usize = 512;

#[derive(Serialize)]
struct Row<'a> {
    name: &'a str,
    pid: u32,
    parent_id: u32,
    user_name: Cow<'a, str>,
    status: ProcessStatus,
    creation_time: Time,
    memory_k: u64,
    /// Only Windows counts them.
    cpu_cycles_k: Option<u64>,
    session_id: u32,
    memory_usage: MemoryUsage,
    cpu_time_ms: u64,
    image_path: Option<String>,
    command_line: Option<String>,
    image_deleted: Option<bool>,
    threads: u32,
    /// With `-tree`, how many of its ancestors stand above it.
    #[serde(skip_serializing_if = "Option::is_none")]
    depth: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    image_path_uri: Option<String>,
}

#[derive(Serialize)]
struct MemoryUsage {
    working_set: u64,
    private_bytes: u64,
}

pub(super) fn run(ctx: &mut Context) -> VerbResult {
    let mut processes = match ctx.param("pid") {
        Some(pid) => vec![one(ctx, pid)?],
        None => ctx.agent.platform.processes(&ctx.stop)?,
    };
    if let Some(name) = ctx.param("name") {
        let pattern = Pattern::new(name, true);
        processes.retain(|process| process.names().into_iter().any(|name| pattern.matches(name)));
    }
    if ctx.flag("deleted") {
        processes.retain(|process| process.image.as_ref().is_some_and(|image| image.deleted));
    }
    processes.sort_by_key(|process| (std::cmp::Reverse(process.working_set), process.pid));
    if ctx.flag("tree") {
        let shown = tree(processes);
        return tell(ctx, &shown);
    }
    let shown: Vec<_> = processes.into_iter().map(|process| (process, None)).collect();
    tell(ctx, &shown)
}

/// Children behind their parents, and how deep each stands; the order among them stays. Who has no parent here is a root.
fn tree(processes: Vec<Process>) -> Vec<(Process, Option<u32>)> {
    let here: HashSet<u32> = processes.iter().map(|process| process.pid).collect();
    let mut children: HashMap<u32, Vec<Process>> = HashMap::new();
    let mut waiting = Vec::new();
    for process in processes {
        if here.contains(&process.parent_id) && process.parent_id != process.pid {
            children.entry(process.parent_id).or_default().push(process);
        } else {
            waiting.push((process, 0));
        }
    }
    waiting.reverse();
    let mut shown = Vec::with_capacity(here.len());
    loop {
        while let Some((process, depth)) = waiting.pop() {
            let below = children.remove(&process.pid).unwrap_or_default();
            waiting.extend(below.into_iter().rev().map(|child| (child, depth + 1)));
            shown.push((process, Some(depth)));
        }
        // Numbers that were given anew while /proc was read may make a ring without a root: it begins anywhere.
        let Some(ring) = children.keys().min().copied() else { return shown };
        waiting.extend(children.remove(&ring).unwrap_or_default().into_iter().rev().map(|child| (child, 0)));
    }
}

fn one(ctx: &Context, pid: &str) -> Result<Process, VerbError> {
    let not_found = || Problem::new("not_found", format!("no process has the number {pid}")).about("pid");
    let number = pid.parse().map_err(|_| Problem::new("bad_value", format!("{pid} is no process number")).about("pid"))?;
    Ok(ctx.agent.platform.process(number)?.ok_or_else(not_found)?)
}

/// Tells processes in the order they are given.
fn tell(ctx: &mut Context, processes: &[(Process, Option<u32>)]) -> VerbResult {
    let names = ctx.agent.accounts.names(&ctx.agent.root);
    let boot_id = ctx.agent.hello.boot_id.clone();
    ctx.table(KEYS)?;
    // First what was seen, so that a view that has enough rows cannot cut it off.
    for some in processes.chunks(SEEN) {
        let items = some.iter().map(|(process, _)| seen(process, boot_id.as_deref())).collect();
        ctx.seen("process", items)?;
    }
    for (process, depth) in processes {
        ctx.row(&Row { depth: *depth, ..row(process, &names) })?;
    }
    Ok(())
}

fn seen(process: &Process, boot_id: Option<&str>) -> SeenItem {
    let identity =
        ProcessIdentity { pid: process.pid, start_ticks: process.start_ticks, boot_id: boot_id.map(ToOwned::to_owned) };
    SeenItem { key: process.pid.to_string(), identity: serde_json::json!(identity) }
}

fn row<'a>(process: &'a Process, names: &'a Names) -> Row<'a> {
    let image = process.image.as_ref();
    Row {
        name: &process.name,
        pid: process.pid,
        parent_id: process.parent_id,
        user_name: names.user(process.uid),
        status: process.status,
        creation_time: process.creation_time,
        memory_k: process.working_set / 1024,
        cpu_cycles_k: None,
        session_id: process.session_id,
        memory_usage: MemoryUsage { working_set: process.working_set, private_bytes: process.private_bytes },
        cpu_time_ms: process.cpu_time_ms,
        image_path: image.map(|image| lossy(&image.path)),
        command_line: process.command_line(),
        image_deleted: image.map(|image| image.deleted),
        threads: process.threads,
        depth: None,
        image_path_uri: image.and_then(|image| uri(&image.path)),
    }
}
