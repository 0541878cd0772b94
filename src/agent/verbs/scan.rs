//! `scan`: the engines of `analyze` over very many files. Quick: what runs, what starts by itself, temporary and home folders.
//!
//! Only what is not clean is a row. With `-remediate` what is malicious goes to quarantine, each as `remediate file` does it.

mod places;

use std::collections::HashSet;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::Serialize;

use crate::agent::context::{Context, VerbError, VerbResult};
use crate::agent::effects;
use crate::agent::engines::{Bounds, Crew, Finding, Judged, Judgement, Rules, Target, Verdict};
use crate::agent::path::{key, lossy, uri};
use crate::protocol::{Problem, ProgressUnit, SeenItem, StreamName};
use places::{Place, quick, tree};

/// Every field of a row, in order.
const KEYS: &[&str] =
    &["path", "verdict", "engine", "rule", "score", "pid", "sha256", "effect_id", "error", "evidence", "path_uri"];
/// How long to wait for judgements before more is fetched and progress told.
const PATIENCE: Duration = Duration::from_millis(20);
/// So much that is unknown waits until the end.
const MAX_LATE: usize = 10_000;

#[derive(Serialize)]
struct Row<'a> {
    path: String,
    verdict: Verdict,
    /// The engine and rule of the weightiest finding.
    engine: Option<&'static str>,
    rule: Option<&'a str>,
    score: u32,
    pid: Option<u32>,
    sha256: Option<&'a str>,
    effect_id: Option<u64>,
    /// What was not looked at, or not done, and why.
    error: Option<String>,
    evidence: &'a [Finding],
    #[serde(skip_serializing_if = "Option::is_none")]
    path_uri: Option<String>,
}

/// How far it is.
#[derive(Default)]
struct Tally {
    files: u64,
    processes: u64,
    malicious: u64,
    suspicious: u64,
    unknown: u64,
    removed: u64,
    /// What has no content: FIFOs, sockets, devices.
    others: u64,
}

pub(super) fn run(ctx: &mut Context) -> VerbResult {
    let rules = Rules::of(ctx)?;
    for (engine, why) in &rules.failed {
        ctx.problem(Problem::new("engine", format!("{engine}: {why}")));
    }
    let path = ctx.param("path").map(|typed| ctx.path(typed));
    ctx.table(KEYS)?;
    let mut tally = Tally::default();
    let (done, untold) = std::thread::scope(|scope| {
        let (agent, stop, meter) = (Arc::clone(&ctx.agent), ctx.stop.clone(), Arc::clone(&ctx.meter));
        let mut crew = Crew::start(scope, &agent, &rules, Bounds::SCAN, &stop, &meter);
        let mut scan = Scan { ctx, crew: &mut crew, tally: &mut tally, known: HashSet::new(), late: Vec::new() };
        let done = match (&path, scan.ctx.flag("full")) {
            (Some(path), _) => tree(&mut scan, path, true),
            (None, false) => quick(&mut scan),
            (None, true) => places::full(&mut scan),
        };
        let done = done.and_then(|()| scan.finish());
        let untold = scan.late.len();
        let gone = Arc::clone(&crew.gone);
        crew.end();
        for (engine, why) in gone.lock().unwrap_or_else(std::sync::PoisonError::into_inner).drain() {
            ctx.problem(Problem::new("engine", format!("{engine}: {why}")));
        }
        (done, untold)
    });
    rules.tell_given_up(ctx);
    match done {
        Ok(()) => ctx.text(StreamName::Stderr, format!("{}\n", tally.told()).as_bytes()),
        Err(VerbError::Stopped { .. }) => {
            let mut not_done = vec!["the rest was not looked at".to_owned()];
            if untold > 0 {
                not_done.push(format!("{untold} that are unknown were not told"));
            }
            Err(VerbError::Stopped { done: vec![tally.told()], not_done })
        }
        failed => failed,
    }
}

impl Tally {
    fn told(&self) -> String {
        let count = |count: u64, one: &str, many: &str| format!("{count} {}", if count == 1 { one } else { many });
        let mut told = count(self.files, "file", "files");
        if self.processes > 0 {
            told.push_str(&format!(" and {}", count(self.processes, "process", "processes")));
        }
        told.push_str(&format!(
            " looked at: {} malicious, {} suspicious, {} unknown",
            self.malicious, self.suspicious, self.unknown
        ));
        if self.others > 0 {
            told.push_str(&format!(
                "; {} passed over",
                count(self.others, "FIFO, socket or device", "FIFOs, sockets and devices")
            ));
        }
        if self.removed > 0 {
            told.push_str(&format!("; {} in quarantine", self.removed));
        }
        told
    }
}

/// A scan at work.
struct Scan<'c, 's> {
    ctx: &'c mut Context,
    crew: &'c mut Crew<'s>,
    tally: &'c mut Tally,
    /// Files that were given to the judges: file system and number.
    known: HashSet<(u64, u64)>,
    /// What is unknown is told behind what was found.
    late: Vec<Judged>,
}

impl Scan<'_, '_> {
    /// Gives a target to the judges; rows are told while there is no room.
    fn give(&mut self, target: Target) -> VerbResult {
        let mut target = target;
        while let Some(back) = self.crew.give(target) {
            target = back;
            self.take(PATIENCE)?;
        }
        // What is judged already need not wait.
        self.take(Duration::ZERO).map(|_| ())
    }

    /// Tells what was judged; whether there was anything.
    fn take(&mut self, patience: Duration) -> Result<bool, VerbError> {
        let looked = self.tally.files + self.tally.processes;
        let bytes = self.crew.done.load(Ordering::Relaxed);
        let text = format!("{} found, {} MB", self.ctx.rows_told(), bytes / 1_000_000);
        self.ctx.progress(looked, None, ProgressUnit::Files, &text)?;
        let mut judged = self.crew.take(patience)?;
        let any = judged.is_some();
        while let Some(one) = judged {
            self.tell(one)?;
            judged = self.crew.take(Duration::ZERO)?;
        }
        if !any && patience > Duration::ZERO {
            self.ctx.flush()?;
        }
        Ok(any)
    }

    /// Waits for all that was given.
    fn finish(&mut self) -> VerbResult {
        while self.crew.open() > 0 {
            self.take(PATIENCE)?;
        }
        for judged in std::mem::take(&mut self.late) {
            self.row(judged)?;
        }
        Ok(())
    }

    /// Counts what was judged, and tells what is not clean.
    fn tell(&mut self, judged: Judged) -> VerbResult {
        let Judged { path, pid, is_process, judgement } = judged;
        let judgement = match judgement {
            Ok(judgement) => judgement,
            // What went away meanwhile is not there, and what is no file by now has no content.
            Err(problem) if matches!(problem.code.as_str(), "not_found" | "not_a_file") => return Ok(()),
            Err(problem) => Judgement { cut: vec![problem.message], ..Judgement::default() },
        };
        if is_process {
            self.tally.processes += 1;
        } else {
            self.tally.files += 1;
        }
        let verdict = judgement.verdict();
        let judged = Judged { path, pid, is_process, judgement: Ok(judgement) };
        match verdict {
            Verdict::Clean => return Ok(()),
            Verdict::Malicious => self.tally.malicious += 1,
            Verdict::Suspicious => self.tally.suspicious += 1,
            Verdict::Unknown => {
                self.tally.unknown += 1;
                if self.late.len() < MAX_LATE {
                    self.late.push(judged);
                    return Ok(());
                }
            }
        }
        self.row(judged)
    }

    fn row(&mut self, judged: Judged) -> VerbResult {
        let Judged { path, pid, is_process, judgement: Ok(judgement) } = judged else { return Ok(()) };
        let verdict = judgement.verdict();
        let mut errors: Vec<String> = judgement.cut.clone();
        errors.extend(judgement.errors.iter().map(|(engine, why)| format!("{engine}: {why}")));
        let mut sha256 = judgement.sha256.clone();
        let mut effect_id = None;
        if !is_process && verdict >= Verdict::Suspicious {
            sha256 = self.see(&path, &judgement)?.or(sha256);
        }
        if verdict == Verdict::Malicious && self.ctx.flag("remediate") {
            match self.remove(&path, is_process, &judgement, sha256.as_deref()) {
                Ok(id) => {
                    effect_id = id;
                    self.tally.removed += 1;
                }
                Err(VerbError::Failed(problem)) => errors.push(format!("it stays: {}", problem.message)),
                Err(stopped) => return Err(stopped),
            }
        }
        let first = judgement.findings.first();
        self.ctx.row(&Row {
            path: lossy(&path),
            verdict,
            engine: first.map(|finding| finding.engine),
            rule: first.map(|finding| finding.rule.as_str()),
            score: judgement.score(),
            pid,
            sha256: sha256.as_deref(),
            effect_id,
            error: (!errors.is_empty()).then(|| errors.join("; ")),
            evidence: &judgement.findings,
            path_uri: uri(&path),
        })
    }

    /// Hashes what is told, and notes that the session has seen it, so that `remediate file` can follow.
    fn see(&mut self, path: &Path, judgement: &Judgement) -> Result<Option<String>, VerbError> {
        let Some(mut identity) = judgement.identity.clone() else { return Ok(None) };
        if identity.sha256.is_none() {
            identity.sha256 = places::hash(self.ctx, path, &identity)?;
        }
        let sha256 = identity.sha256.clone();
        self.ctx.seen("file", vec![SeenItem { key: key(path), identity: serde_json::json!(identity) }])?;
        Ok(sha256)
    }

    /// What is malicious goes to quarantine; the number of the effect.
    fn remove(
        &mut self,
        path: &Path,
        is_process: bool,
        judgement: &Judgement,
        sha256: Option<&str>,
    ) -> Result<Option<u64>, VerbError> {
        if is_process {
            let message = "it lies in memory alone; `remediate process` ends the process and keeps it";
            return Err(VerbError::failed("not_a_file", message));
        }
        let Some(mut identity) = judgement.identity.clone() else {
            return Err(VerbError::failed("changed", "it changed while it was looked at"));
        };
        identity.sha256 = sha256.map(ToOwned::to_owned);
        effects::remove_file(self.ctx, path, &identity)?;
        let entries = self.ctx.agent.effects.entries()?;
        let command = self.ctx.command.command_id;
        Ok(entries.iter().rev().find(|entry| entry.intent.command_id == command).map(|entry| entry.intent.id))
    }

    /// Gives a file to the judges, once.
    fn file(&mut self, place: Place) -> VerbResult {
        let Ok(facts) = self.ctx.agent.root.facts(&place.path) else { return Ok(()) };
        if !facts.is_file() || places::is_own(self.ctx, place.path.as_os_str().as_bytes()) {
            return Ok(());
        }
        if !self.known.insert((facts.dev, facts.inode)) {
            return Ok(());
        }
        let Place { path, pid, autostart, origin } = place;
        self.give(Target::File { path, pid, autostart, origin })
    }

    /// Gives every process to the judges, and the files that they run.
    fn processes(&mut self) -> VerbResult {
        if !self.ctx.agent.root.is_live() {
            return Ok(());
        }
        let processes = self.ctx.agent.platform.processes(&self.ctx.stop)?;
        for process in processes {
            let Some(image) = process.image.clone() else { continue };
            if !image.deleted {
                let path: PathBuf = image.path;
                self.file(Place { path, pid: Some(process.pid), autostart: false, origin: None })?;
            }
            self.give(Target::Process(Box::new(process)))?;
        }
        Ok(())
    }
}
