//! `analyze`: a verdict on a file or a process, with the evidence of every engine. The rule is written down in
//! [`engines`](crate::agent::engines).

use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;

use crate::agent::content::Content;
use crate::agent::context::{Context, VerbError, VerbResult};
use crate::agent::engines::{Bounds, Finding, Judge, Judgement, KnownParts, MALICIOUS, Rules, SUSPICIOUS, Verdict};
use crate::agent::identity::ProcessIdentity;
use crate::agent::path::{key, lossy, uri};
use crate::agent::platform::{thread_cpu_since, thread_cpu_time};
use crate::protocol::{Problem, ProgressUnit, SeenItem};

/// How often progress is told.
const PACE: Duration = Duration::from_millis(50);

/// The answer.
#[derive(Serialize)]
struct Answer<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    id: &'a str,
    path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_uri: Option<String>,
    verdict: Verdict,
    score: u32,
    /// How the score makes the verdict.
    rule: String,
    evidence: &'a [Finding],
    engines: Vec<EngineState>,
    /// What was not looked at, and why.
    not_looked_at: &'a [String],
    size: Option<u64>,
    sha256: Option<&'a str>,
}

/// What an engine did.
#[derive(Serialize)]
struct EngineState {
    engine: &'static str,
    /// `looked`, `error`, or `absent` where there is nothing to look with.
    state: &'static str,
    /// Why, where it did not look or not to the end.
    error: Option<String>,
}

pub(super) fn run(ctx: &mut Context) -> VerbResult {
    let rules = Rules::of(ctx)?;
    let done = match ctx.required("type")? {
        "process" => process(ctx, &rules),
        _ => file(ctx, &rules),
    };
    rules.tell_given_up(ctx);
    done
}

fn file(ctx: &mut Context, rules: &Rules) -> VerbResult {
    let id = ctx.required("id")?.to_owned();
    let path = ctx.file_path(&id)?;
    let content = Content::open(&ctx.agent.root, &path, false)?;
    let real = ctx.agent.root.path_of(content.file.as_fd());
    let (named, real) = (real.is_some(), real.unwrap_or_else(|| path.clone()));
    let total = content.size;
    let (judgement, engines) = beside(ctx, rules, &path, total, |judge| judge.file(&content, &[], &real, named, None, false))?;
    if let Some(identity) = &judgement.identity {
        let identity = serde_json::json!(identity);
        let mut seen = vec![SeenItem { key: key(&real), identity: identity.clone() }];
        let is_link = ctx.agent.root.link_facts(&path).is_ok_and(|facts| facts.is_link());
        if real != path && !is_link {
            seen.push(SeenItem { key: key(&path), identity });
        }
        ctx.seen("file", seen)?;
    }
    tell(ctx, "file", &id, Some(&real), total, &judgement, engines)
}

fn process(ctx: &mut Context, rules: &Rules) -> VerbResult {
    let id = ctx.required("id")?.to_owned();
    let gone = || Problem::new("not_found", format!("no process has the number {id} (any more)")).about("id");
    let pid: u32 = id.parse().map_err(|_| Problem::new("bad_value", format!("{id} is no process number")).about("id"))?;
    let process = ctx.agent.platform.process(pid)?.ok_or_else(gone)?;
    let image = process.image.as_ref().map(|image| image.path.clone());
    let agent = Arc::clone(&ctx.agent);
    let shown = image.clone().unwrap_or_else(|| Path::new("/proc").join(&id));
    let (judgement, engines) =
        beside(ctx, rules, &shown, None, |judge| judge.process(&agent, &process, &mut KnownParts::default()))?;
    let boot_id = ctx.agent.hello.boot_id.clone();
    let identity = ProcessIdentity { pid, start_ticks: process.start_ticks, boot_id };
    ctx.seen("process", vec![SeenItem { key: pid.to_string(), identity: serde_json::json!(identity) }])?;
    let size = judgement.identity.as_ref().map(|identity| identity.size);
    tell(ctx, "process", &id, image.as_deref(), size, &judgement, engines)
}

/// Judges on a thread of its own, while this one tells how far it is and hears the word to stop.
fn beside(
    ctx: &mut Context,
    rules: &Rules,
    path: &Path,
    total: Option<u64>,
    work: impl FnOnce(&mut Judge) -> Result<Judgement, VerbError> + Send,
) -> Result<(Judgement, Vec<EngineState>), VerbError> {
    let done = Arc::new(AtomicU64::new(0));
    let mut judge = Judge::new(&ctx.agent, rules, Bounds::ANALYZE, &ctx.stop, &ctx.meter, Arc::clone(&done));
    let shown = lossy(path);
    let meter = Arc::clone(&ctx.meter);
    std::thread::scope(|scope| {
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        let working = scope.spawn(move || {
            let begun = thread_cpu_time();
            let judged = work(&mut judge);
            let micros = thread_cpu_since(begun).as_micros();
            meter.cpu_us.fetch_add(u64::try_from(micros).unwrap_or(u64::MAX), Ordering::Relaxed);
            // The other side waits for it, or has been asked to stop.
            let _ = sender.send(());
            judged.map(|mut judgement| {
                let states = states(rules, &judge, &judgement);
                // Rules that could not be looked with would have said more.
                judgement.errors.extend(rules.failed.iter().cloned());
                (judgement, states)
            })
        });
        while receiver.recv_timeout(PACE) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            let bytes = done.load(Ordering::Relaxed);
            ctx.progress(bytes, total.filter(|&total| bytes <= total), ProgressUnit::Bytes, &shown)?;
        }
        working.join().map_err(|_| VerbError::failed("internal", "the judge failed inside the agent"))?
    })
}

/// What each engine did.
fn states(rules: &Rules, judge: &Judge, judgement: &Judgement) -> Vec<EngineState> {
    let mut states: Vec<EngineState> = Vec::new();
    for (engine, _) in judge.engines() {
        let errors: Vec<&str> =
            judgement.errors.iter().filter(|(failed, _)| *failed == engine).map(|(_, why)| why.as_str()).collect();
        let error = (!errors.is_empty()).then(|| errors.join("; "));
        states.push(EngineState { engine, state: if error.is_some() { "error" } else { "looked" }, error });
    }
    for (engine, why) in &rules.failed {
        states.push(EngineState { engine, state: "error", error: Some(why.clone()) });
    }
    let missing = [
        ("hashes", "the library has no list of hashes (*.sha256, *.sha1, *.md5, *.hashes)"),
        ("yara", "the library has no YARA rules (*.yar, *.yara)"),
        ("clamav", "the device has no clamd that answers, and no clamscan with signatures"),
    ];
    for (engine, why) in missing {
        if !states.iter().any(|state| state.engine == engine) {
            states.push(EngineState { engine, state: "absent", error: Some(why.to_owned()) });
        }
    }
    states
}

fn tell(
    ctx: &mut Context,
    kind: &str,
    id: &str,
    path: Option<&Path>,
    size: Option<u64>,
    judgement: &Judgement,
    engines: Vec<EngineState>,
) -> VerbResult {
    ctx.object(&Answer {
        kind,
        id,
        path: path.map(lossy),
        path_uri: path.and_then(uri),
        verdict: judgement.verdict(),
        score: judgement.score(),
        rule: format!("{MALICIOUS} and more is malicious, {SUSPICIOUS} and more suspicious"),
        evidence: &judgement.findings,
        engines,
        not_looked_at: &judgement.cut,
        size,
        sha256: judgement.sha256.as_deref(),
    })
}
