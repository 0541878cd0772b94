//! `collect`: part after part into one package, each within its own time and on its own thread; what one of them cannot do, or
//! does not end, is written down and the others go on.

mod gatherer;
mod package;
mod place;
mod recent;

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::Serialize;
use tokio::runtime::Handle;

pub use gatherer::{Ended, Gathered, Gatherer, Over, Rows, is_secret, live, none};
pub use package::{Package, PartStatus, PartSummary};
pub use place::{Place, package_name, tidy};
pub use recent::recent_files;

use crate::agent::context::{Context, Stop, VerbError};
use crate::agent::faults;
use crate::agent::path::problem;
use crate::agent::platform::{thread_cpu_since, thread_cpu_time};
use crate::protocol::link::StopReason;
use crate::protocol::{Problem, ProgressUnit};
use gatherer::Piece;

/// All of it ends by then.
const LIMIT: Duration = Duration::from_mins(10);
/// A part that was asked to stop is given so long to hand over what it has.
const GRACE: Duration = Duration::from_secs(2);
/// How often it is looked whether the command is to stop.
const LOOK: Duration = Duration::from_millis(100);
/// Pieces that may wait for the disk.
const WAITING: usize = 8;
/// A package does not grow beyond what can be fetched: what is behind that is said.
const MAX_PACKAGE: u64 = 2 * 1024 * 1024 * 1024;

/// A part of a package.
#[derive(Clone, Copy)]
pub struct Part {
    /// Its name: that of its folder too.
    pub name: &'static str,
    /// How long it may take.
    pub limit: Duration,
    /// What gathers it.
    pub gather: fn(&mut Gatherer) -> Gathered,
}

/// `summary.json`.
#[derive(Serialize)]
struct Summary<'a> {
    format: u32,
    device: &'a str,
    device_id: &'a str,
    platform: &'a str,
    root: Option<&'a str>,
    agent_version: &'a str,
    analyst: &'a str,
    session_id: String,
    command_id: String,
    started: Timestamp,
    completed: Timestamp,
    duration_ms: u64,
    parts: &'a [PartSummary],
}

/// What came of it all.
pub struct Collected {
    /// What came of each part.
    pub parts: Vec<PartSummary>,
    /// The package, at its beginning.
    pub file: std::fs::File,
}

impl Collected {
    /// The parts that have failed.
    pub fn failed(&self) -> impl Iterator<Item = &'static str> {
        let failed = |part: &&PartSummary| matches!(part.status, PartStatus::Failed | PartStatus::TimedOut);
        self.parts.iter().filter(failed).map(|part| part.name)
    }
}

/// Gathers every part into a package.
///
/// # Errors
/// When the package cannot be written, or the command is to stop.
pub fn collect(ctx: &mut Context, parts: &[Part], place: &Place) -> Result<Collected, VerbError> {
    let (started, begun) = (Timestamp::now(), Instant::now());
    let failed = |error: &std::io::Error| VerbError::from(problem(place.path(), error));
    let mut package = Package::new(place.file().map_err(|error| failed(&error))?);
    let mut done = Vec::new();
    let stopped = |number: usize| VerbError::Stopped {
        done: vec![format!("{number} of {} parts, which are dropped", parts.len())],
        not_done: vec!["the package".to_owned()],
    };
    for (number, part) in parts.iter().enumerate() {
        let told = ctx.progress(number as u64, Some(parts.len() as u64), ProgressUnit::Entries, part.name);
        told.map_err(|error| if matches!(error, VerbError::Stopped { .. }) { stopped(number) } else { error })?;
        let limit = part.limit.min(LIMIT.saturating_sub(begun.elapsed()));
        done.push(gather(ctx, *part, limit, &mut package).map_err(|error| match error {
            Broken::Disk(error) => failed(&error),
            Broken::Stopped => stopped(number),
        })?);
    }
    let hello = &ctx.agent.hello;
    let summary = Summary {
        format: 1,
        device: &hello.name,
        device_id: &hello.device_id,
        platform: hello.platform.as_str(),
        root: hello.root.as_deref(),
        agent_version: &hello.version,
        analyst: &ctx.command.analyst,
        session_id: ctx.command.session_id.to_string(),
        command_id: ctx.command.command_id.to_string(),
        started,
        completed: Timestamp::now(),
        duration_ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
        parts: &done,
    };
    let file = package.finish(&summary).map_err(|error| failed(&error))?;
    Ok(Collected { parts: done, file })
}

/// Why there is no package.
enum Broken {
    Disk(std::io::Error),
    Stopped,
}

impl From<std::io::Error> for Broken {
    fn from(error: std::io::Error) -> Self {
        Self::Disk(error)
    }
}

fn gather(ctx: &Context, part: Part, limit: Duration, package: &mut Package) -> Result<PartSummary, Broken> {
    let (started, begun, before) = (Timestamp::now(), Instant::now(), package.count());
    let (pieces, heard) = sync_channel(WAITING);
    let stop = Stop::default();
    let mut gatherer = Gatherer {
        agent: Arc::clone(&ctx.agent),
        stop: stop.clone(),
        meter: Arc::clone(&ctx.meter),
        command: ctx.command.clone(),
        runtime: Handle::current(),
        pieces,
        problems: 0,
    };
    std::thread::spawn(move || {
        let cpu = thread_cpu_time();
        let gathered = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            faults::point("collect.part");
            (part.gather)(&mut gatherer)
        }));
        let end = match gathered {
            Ok(Ok(()) | Err(Ended::Over)) => Ok(()),
            Ok(Err(Ended::Failed(problem))) => Err(problem),
            Err(_) => Err(Problem::new("internal", "it failed inside the agent; its log says more")),
        };
        gatherer.meter.spent(thread_cpu_since(cpu));
        // Whoever waited may have given up.
        let _ = gatherer.hand(Piece::End(end));
    });
    let (mut rows, mut errors, mut timed_out, mut whole) = (0, Vec::new(), false, true);
    let end = loop {
        if ctx.stop.asked() {
            stop.ask(StopReason::Expired);
            return Err(Broken::Stopped);
        }
        let spent = begun.elapsed();
        if spent >= limit {
            timed_out = true;
            stop.ask(StopReason::Expired);
            if spent >= limit + GRACE {
                break Ok(());
            }
        }
        match heard.recv_timeout(LOOK) {
            Ok(Piece::Begin { name, source, modified }) => package.begin(&format!("{}/{name}", part.name), source, modified)?,
            Ok(Piece::Bytes(_)) if package.size() > MAX_PACKAGE => whole = false,
            Ok(Piece::Bytes(bytes)) => package.add(&bytes)?,
            Ok(Piece::Rows(more)) => rows += more,
            Ok(Piece::Problem(problem)) => errors.push(problem),
            Ok(Piece::End(end)) => break end,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break Err(Problem::new("internal", "its thread ended without a word")),
        }
    };
    package.end();
    if timed_out {
        let message = format!("its time of {} seconds was over; what came by then is there", limit.as_secs());
        errors.insert(0, Problem::new("time_limit", message));
    }
    if !whole {
        errors.push(Problem::new("limit", format!("the package was full at {} MB; the rest is left out", MAX_PACKAGE >> 20)));
    }
    let files = package.since(before).to_vec();
    let status = match &end {
        _ if timed_out => PartStatus::TimedOut,
        Err(problem) if matches!(problem.code.as_str(), "not_on_platform" | "not_installed") => PartStatus::Unavailable,
        Err(_) if rows > 0 || files.iter().any(|file| file.size > 0) => PartStatus::Partial,
        Err(_) => PartStatus::Failed,
        Ok(()) if errors.is_empty() => PartStatus::Complete,
        Ok(()) => PartStatus::Partial,
    };
    if let Err(problem) = end {
        errors.insert(0, problem);
    }
    Ok(PartSummary {
        name: part.name,
        status,
        started,
        duration_ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
        size: files.iter().map(|file| file.size).sum(),
        rows,
        files,
        errors,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::io::Read;

    use tokio::sync::mpsc;

    use super::*;
    use crate::agent::platform::Root;
    use crate::agent::{Agent, AgentOptions};
    use crate::protocol::SessionId;
    use crate::protocol::link::DeviceCommand;

    fn command() -> DeviceCommand {
        DeviceCommand::new(SessionId::new(), "collect", Duration::from_mins(1))
    }

    fn some(name: &'static str, limit: Duration, gather: fn(&mut Gatherer) -> Gathered) -> Part {
        Part { name, limit, gather }
    }

    /// Begins a list, and never comes back.
    fn hangs(to: &mut Gatherer) -> Gathered {
        to.rows("begun", |rows| rows.row(&1).map_err(Into::into))?;
        std::thread::park();
        loop {
            std::thread::park();
        }
    }

    #[test]
    fn one_part_never_holds_up_the_others() {
        let folder = tempfile::tempdir().unwrap();
        let tree = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let options = AgentOptions {
            root: Root::at(tree.path()).unwrap(),
            writable: false,
            folder: folder.path().join("agent"),
            program: "/proc/self/exe".into(),
        };
        let agent = Agent::new(options, runtime.handle().clone());
        let (events, mut heard) = mpsc::channel(64);
        let (_desk, requests) = mpsc::channel(1);
        let minute = Duration::from_mins(1);
        let parts = [
            some("panics", minute, |_| panic!("on purpose")),
            some("hangs", Duration::from_millis(100), hangs),
            some("fails", minute, |_| Err(Problem::new("io_error", "no").into())),
            some("missing", minute, |_| Err(Problem::new("not_on_platform", "none here").into())),
            some("partly", minute, |to| {
                to.rows("list", |rows| Ok(rows.row(&"a")?))?;
                Ok(to.problem(Problem::new("io_error", "some of it"))?)
            }),
            some("well", minute, |to| to.bytes("file", b"content".to_vec()).map_err(Into::into)),
        ];
        let shared = agent.shared();
        std::thread::scope(|scope| {
            let inside = runtime.handle().clone();
            let collecting = scope.spawn(move || {
                let _inside = inside.enter();
                let mut ctx = Context::new(command(), shared, Stop::default(), events, None, requests);
                let mut place = Place::of(&ctx, "collect-x.zip", None).unwrap();
                let collected = collect(&mut ctx, &parts, &place).unwrap();
                place.keep().unwrap();
                assert!(place.path().is_file());
                let failed: Vec<&str> = collected.failed().collect();
                assert_eq!(failed, ["panics", "hangs", "fails"]);
                let status: HashMap<&str, PartStatus> = collected.parts.iter().map(|part| (part.name, part.status)).collect();
                assert_eq!(status["hangs"], PartStatus::TimedOut);
                assert_eq!((status["missing"], status["partly"]), (PartStatus::Unavailable, PartStatus::Partial));
                assert_eq!(status["well"], PartStatus::Complete);
                let mut archive = zip::ZipArchive::new(collected.file).unwrap();
                let mut begun = String::new();
                archive.by_name("hangs/begun.jsonl").unwrap().read_to_string(&mut begun).unwrap();
                assert_eq!(begun, "1\n", "what came before it hung is there");
            });
            while heard.blocking_recv().is_some() {}
            collecting.join().unwrap();
        });
        let left: Vec<_> = std::fs::read_dir(folder.path().join("agent/packages")).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
    }
}
