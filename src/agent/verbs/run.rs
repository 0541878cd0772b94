//! `run`: a library file as a script or program, its parameters exactly as they were typed, its output as it comes.
//!
//! The object at the end: `script_name`, `exit_code` (128 and the signal's number when a signal ended it), `signal`, `started`,
//! `ended`, `duration_ms`, `also_ended` (processes beside its own that had to be ended with it). What the script's exit code
//! says is the script's affair: the command has completed whatever it is.

use std::io;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use crate::agent::context::{Context, VerbError, VerbResult};
use crate::agent::path::{key, problem};
use crate::agent::script::{Came, Order, Report, ScriptEnd, Supervised, folder_of};
use crate::grammar::split_arguments;
use crate::protocol::link::DeliveredFile;
use crate::protocol::signature::{Checking, Signed};
use crate::protocol::text::Pieces;
use crate::protocol::{Problem, StreamName, check_library_name};

/// How soon the word to stop is noticed.
const PACE: Duration = Duration::from_millis(50);

#[derive(Serialize)]
struct Ended<'a> {
    script_name: &'a str,
    exit_code: Option<i32>,
    signal: Option<i32>,
    started: Timestamp,
    ended: Timestamp,
    duration_ms: u64,
    also_ended: usize,
}

pub(super) fn run(ctx: &mut Context) -> VerbResult {
    if let Some(root) = ctx.agent.root.folder() {
        let message = format!("run: only a running system runs anything, and this device is the tree below {}", root.display());
        return Err(VerbError::failed("not_on_platform", message));
    }
    let Some(file) = ctx.command.library_file.clone() else {
        return Err(VerbError::failed("internal", "run: the service sent no library file"));
    };
    check_library_name(&file.name)?;
    let order = order(ctx, &file)?;
    let failed = |error: io::Error| {
        VerbError::failed("io_error", format!("{}: its supervisor cannot be started or is gone: {error}", file.name))
    };
    ctx.stop.check()?;
    let mut script = Supervised::start(&ctx.agent.program, &order).map_err(failed)?;
    deliver(ctx, &file, &mut script)?;
    ctx.stop.check()?;
    script.go().map_err(failed)?;
    watch(ctx, &file.name, &mut script)
}

fn order(ctx: &Context, file: &DeliveredFile) -> Result<Order, VerbError> {
    let parameters = ctx.param("parameters").unwrap_or_default();
    let arguments = split_arguments(parameters).map_err(|at| {
        Problem::new("bad_value", format!("the quote at byte {at} of the parameters is never closed")).about("parameters")
    })?;
    let directory = ctx.path("");
    let facts = ctx.agent.root.facts(&directory).map_err(|error| problem(&directory, &error))?;
    if !facts.is_folder() {
        let shown = key(&directory);
        return Err(Problem::new("not_a_folder", format!("{shown}: it is not a folder; cd into one")).at(shown).into());
    }
    Ok(Order {
        command_id: ctx.command.command_id.to_string(),
        name: file.name.clone(),
        size: file.size,
        sha256: file.sha256.clone(),
        folder: folder_of(&ctx.agent.folder, ctx.command.command_id),
        arguments,
        directory,
    })
}

/// Passes the file's bytes on to the supervisor, which keeps and checks them.
fn deliver(ctx: &mut Context, file: &DeliveredFile, script: &mut Supervised) -> VerbResult {
    let Some(mut delivery) = ctx.delivery.take() else {
        return Err(VerbError::failed("internal", "run: the service sent no content"));
    };
    // The service has checked it; who could change what it sends could not make a signature.
    let signed = ctx.command.signing_keys.as_ref().map(|keys| Signed::by(&file.name, file.signature.as_deref(), keys));
    let signed = signed.transpose()?;
    let mut checking = signed.as_ref().map(Signed::check).transpose()?;
    let mut left = file.size;
    while let Some(bytes) = delivery.blocking_recv() {
        ctx.stop.check()?;
        let bytes = bytes?;
        if let Some(checking) = &mut checking {
            checking.take(&bytes);
        }
        left = left.checked_sub(bytes.len() as u64).ok_or_else(|| wrong_size(&file.name))?;
        script.say(&bytes).map_err(|error| problem(Path::new(&file.name), &error))?;
    }
    if left > 0 {
        return Err(wrong_size(&file.name).into());
    }
    Ok(checking.map_or(Ok(()), Checking::end)?)
}

fn wrong_size(name: &str) -> Problem {
    Problem::new("hash_differs", format!("{name}: it did not come whole, and was not run; try again")).about(name)
}

/// Tells what the script says until all of it has ended.
fn watch(ctx: &mut Context, name: &str, script: &mut Supervised) -> VerbResult {
    let mut text = [Pieces::default(), Pieces::default()];
    let started = Timestamp::now();
    let (mut asked, mut end, mut refused) = (false, None, None);
    loop {
        if ctx.stop.asked() && !asked {
            asked = true;
            script.ask_for_end();
        }
        let came = script.next(PACE).map_err(|error| VerbError::failed("io_error", format!("{name}: {error}")))?;
        match came {
            Came::Output(stream, bytes) => {
                let [out, err] = &mut text;
                let held = if stream == StreamName::Stdout { out } else { err };
                let piece = held.take(&bytes);
                if !piece.is_empty() {
                    ctx.text(stream, &piece)?;
                }
            }
            Came::Report(Report::Started { .. }) | Came::Nothing => {}
            Came::Report(Report::Refused(problem)) => refused = Some(problem),
            Came::Report(Report::Ended(told)) => end = Some(told),
            Came::End => break,
        }
    }
    for (stream, held) in [StreamName::Stdout, StreamName::Stderr].into_iter().zip(&mut text) {
        let piece = held.end();
        if !piece.is_empty() {
            ctx.text(stream, &piece)?;
        }
    }
    if let Some(problem) = refused {
        return Err(problem.into());
    }
    let Some(end) = end else {
        let message =
            format!("{name}: the process that watches over it was ended from outside; what it had started is ended too");
        return Err(VerbError::failed("supervisor_ended", message));
    };
    tell_end(ctx, name, started, &end)
}

fn tell_end(ctx: &mut Context, name: &str, started: Timestamp, end: &ScriptEnd) -> VerbResult {
    ctx.meter.cpu_us.fetch_add(end.cpu_ms.saturating_mul(1000), std::sync::atomic::Ordering::Relaxed);
    ctx.object(&Ended {
        script_name: name,
        exit_code: end.code.or(end.signal.map(|signal| 128 + signal)),
        signal: end.signal,
        started,
        ended: Timestamp::now(),
        duration_ms: end.duration_ms,
        also_ended: end.also_ended,
    })?;
    let stuck: Vec<String> = end.stuck.iter().map(|pid| format!("process {pid} hangs in the kernel and did not end")).collect();
    if !end.was_asked {
        for stuck in stuck {
            ctx.problem(Problem::new("stuck", stuck));
        }
        return Ok(());
    }
    let mut done = vec![format!("{name} was ended after {} ms", end.duration_ms)];
    match end.also_ended {
        0 => {}
        1 => done.push("1 process that it had started was ended".into()),
        count => done.push(format!("{count} processes that it had started were ended")),
    }
    Err(VerbError::Stopped { done, not_done: stuck })
}
