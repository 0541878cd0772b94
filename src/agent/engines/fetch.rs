//! Files on their way to the judges: opened, and their first bytes read, by threads that do nothing else.
//!
//! Most of a scan is waiting for a disk, and a disk that is asked for many small files at once answers several times as soon as
//! one that is asked for one after the other. Judges are as many as processors; these are more, and cost next to nothing.

use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Scope, ScopedJoinHandle};

use rustix::fs::Advice;

use super::crew::Target;
use super::reading::{advise, read_more};
use crate::agent::content::Content;
use crate::agent::context::{Meter, Stop};
use crate::agent::dispatch::Shared;
use crate::agent::platform::{Origin, Process, thread_cpu_since, thread_cpu_time};
use crate::protocol::Problem;

/// So many are fetched at once.
const FETCHERS: usize = 16;
/// So many that were fetched may wait for a judge.
const WAITING: usize = 48;
/// So much of each is read: all of most.
const FIRST: u64 = 64 * 1024;
/// So much of a larger one is asked of the disk, without waiting for it.
const AHEAD: u64 = 1024 * 1024;

/// A file that is open.
pub(super) struct Opened {
    /// Its content.
    pub(super) content: Content,
    /// Its path, links resolved where it has one.
    pub(super) path: PathBuf,
    /// Whether that path leads to it.
    pub(super) named: bool,
    /// Its first bytes, as many as were read already.
    pub(super) first: Vec<u8>,
}

/// What became of a target.
pub(super) enum Fetched {
    /// A file, open.
    File {
        /// The file.
        opened: Opened,
        /// The process that runs it, if one does.
        pid: Option<u32>,
        /// Whether it starts by itself.
        autostart: bool,
        /// Where it comes from, where that is known already.
        origin: Option<Origin>,
    },
    /// A file that could not be opened, and why.
    None {
        /// Where it is.
        path: PathBuf,
        /// The process that runs it, if one does.
        pid: Option<u32>,
        /// Why.
        problem: Problem,
    },
    /// A process, whose files are opened as it is judged.
    Process(Box<Process>),
}

/// Starts the threads that fetch; what they fetched.
pub(super) fn fetchers<'s>(
    scope: &'s Scope<'s, '_>,
    agent: &Arc<Shared>,
    stop: &Stop,
    meter: &Arc<Meter>,
    todo: Receiver<Target>,
) -> (Vec<ScopedJoinHandle<'s, ()>>, Receiver<Fetched>) {
    let (put, fetched) = sync_channel(WAITING);
    let todo = Arc::new(Mutex::new(todo));
    let start = |_| {
        let (agent, stop, meter) = (Arc::clone(agent), stop.clone(), Arc::clone(meter));
        let (todo, put) = (Arc::clone(&todo), put.clone());
        scope.spawn(move || work(&agent, &stop, &meter, &todo, &put))
    };
    ((0..FETCHERS).map(start).collect(), fetched)
}

fn work(agent: &Shared, stop: &Stop, meter: &Meter, todo: &Mutex<Receiver<Target>>, put: &SyncSender<Fetched>) {
    let begun = thread_cpu_time();
    while !stop.asked() {
        let next = todo.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(target) = next else { break };
        if put.send(fetch(agent, target)).is_err() {
            break;
        }
    }
    let micros = thread_cpu_since(begun).as_micros();
    meter.cpu_us.fetch_add(u64::try_from(micros).unwrap_or(u64::MAX), Ordering::Relaxed);
}

fn fetch(agent: &Shared, target: Target) -> Fetched {
    match target {
        Target::Process(process) => Fetched::Process(process),
        Target::File { path, pid, autostart, origin } => match open(agent, &path) {
            Ok(opened) => Fetched::File { opened, pid, autostart, origin },
            Err(problem) => Fetched::None { path, pid, problem },
        },
    }
}

fn open(agent: &Shared, path: &std::path::Path) -> Result<Opened, Problem> {
    let content = Content::open(&agent.root, path, false)?;
    let real = agent.root.path_of(content.file.as_fd());
    let (named, path) = (real.is_some(), real.unwrap_or_else(|| path.to_path_buf()));
    let mut first = Vec::new();
    if let Some(size) = content.size {
        if size > FIRST {
            advise(&content.file, FIRST, AHEAD.min(size - FIRST), Advice::WillNeed);
        }
        // What cannot be read is met again by whoever reads on.
        let _ = read_more(&content.file, 0, usize::try_from(size.min(FIRST)).unwrap_or(0), &mut first);
    }
    Ok(Opened { content, path, named, first })
}
