//! Batch: lines from standard input, the command line or files, checked as a whole before the first one runs, in one
//! session, to the first failure.

use std::io::Read as _;
use std::path::PathBuf;

use futures_util::FutureExt as _;

use super::view::Origin;
use super::{Input, Shell, jobs, precheck};
use crate::error::{Exit, Failure, Outcome};
use crate::grammar::{NotText, ScriptLine, decode, decode_lines, read, script_lines, table};
use crate::host::signals::Asked;

/// Scripts are read up to this.
const MAX_SCRIPT: u64 = 64 << 20;

/// How standard input is called among files.
const STDIN: &str = "-";

/// A line and where it came from.
pub(super) struct Sourced {
    pub(super) line: ScriptLine,
    source: String,
}

impl Sourced {
    pub(super) fn origin(&self) -> Origin {
        Origin { source: self.source.clone(), number: self.line.number }
    }
}

/// How many lines ran, and how many of them went wrong; a job counts with the line that began it.
#[derive(Default)]
struct Tally {
    ran: usize,
    failed: usize,
}

impl Tally {
    fn count(&mut self, exit: Exit) {
        self.ran += 1;
        self.failed += usize::from(!exit.is_done());
    }

    /// Says it at the end of a batch that went on behind what failed: each error was told where it happened.
    fn say(&self, shell: &Shell) {
        if shell.keep_going && self.failed > 0 && self.ran > 1 && shell.leaving.is_none() {
            shell.screen.aside(&format!("{} of {} lines failed", self.failed, self.ran));
        }
    }
}

/// Runs a batch to its end.
pub(super) async fn run(shell: &mut Shell, input: Input) -> Outcome<Exit> {
    let mut tally = Tally::default();
    let exit = match input {
        Input::Stdin { stream: true } => stream(shell, &mut tally).await,
        input => match lines(shell, input).await? {
            Ok(lines) => all(shell, &lines, &mut tally).await,
            Err(exit) => Ok(exit),
        },
    };
    finish(shell, exit, tally).await
}

/// The lines of a batch, all of them; an exit code when a signal came before, or a script is no text.
async fn lines(shell: &mut Shell, input: Input) -> Outcome<Result<Vec<Sourced>, Exit>> {
    let mut lines = Vec::new();
    let mut refused = false;
    let sources = match input {
        Input::Stdin { .. } => vec![PathBuf::from(STDIN)],
        Input::Files(files) => files,
        Input::Lines(texts) => {
            let several = texts.len() > 1;
            for (at, text) in texts.iter().enumerate() {
                let name = if several { format!("-c {}", at + 1) } else { "-c".to_owned() };
                lines.extend(lines_of(&name, text));
            }
            return Ok(Ok(lines));
        }
    };
    for source in sources {
        let name = source.display().to_string();
        let Some(bytes) = whole(shell, source).await? else { return Ok(Err(Exit::Cancelled)) };
        match decode(&bytes) {
            Ok(text) => lines.extend(lines_of(&name, text)),
            Err(not_text) => {
                say_no_text(shell, &name, &not_text);
                refused = true;
            }
        }
    }
    Ok(if refused { Err(Exit::NotUnderstood) } else { Ok(lines) })
}

/// The bytes of a script. Read beside the loop, because whoever writes it may take long, or be ended by the same Ctrl+C:
/// then half a script must not run.
async fn whole(shell: &mut Shell, source: PathBuf) -> Outcome<Option<Vec<u8>>> {
    let reading = tokio::task::spawn_blocking(move || {
        let name = source.display().to_string();
        if name == STDIN {
            return read_all(&name, std::io::stdin().lock());
        }
        let opened = std::fs::File::open(&source).map_err(|error| no_script(&name, &error))?;
        read_all(&name, opened)
    });
    tokio::select! {
        biased;
        asked = shell.signalled() => {
            shell.asked(asked);
            Ok(None)
        }
        read = reading => {
            read.map_err(|error| Failure::internal(format!("the reading of the script was lost: {error}")))?.map(Some)
        }
    }
}

/// Why there is no script of that name; who typed a command there is told how one is run.
fn no_script(name: &str, error: &std::io::Error) -> Failure {
    let mut message = format!("{name} cannot be read: {error}");
    if error.kind() == std::io::ErrorKind::NotFound && table().find(name.split(' ').next().unwrap_or_default()).is_some() {
        message.push_str(&format!("\nto run a line: lrsh -c '{name}'"));
    }
    Failure::new(Exit::NotUnderstood, "script", message)
}

fn read_all(source: &str, input: impl std::io::Read) -> Outcome<Vec<u8>> {
    let mut bytes = Vec::new();
    input
        .take(MAX_SCRIPT + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::new(Exit::NotUnderstood, "script", format!("{source} cannot be read: {error}")))?;
    if bytes.len() as u64 > MAX_SCRIPT {
        let message = format!("{source} is longer than {} MiB", MAX_SCRIPT >> 20);
        return Err(Failure::new(Exit::NotUnderstood, "script", message));
    }
    Ok(bytes)
}

fn lines_of<'s>(source: &'s str, text: &str) -> impl Iterator<Item = Sourced> + use<'s> {
    script_lines(text).into_iter().map(|line| Sourced { line, source: source.to_owned() })
}

/// Says where bytes are no script, as it is said of a line that is not understood.
fn say_no_text(shell: &Shell, source: &str, not_text: &NotText) {
    let origin = Origin { source: source.to_owned(), number: not_text.line.number };
    shell.screen.diagnostics(&not_text.line.text, Some(&origin), std::slice::from_ref(&not_text.found));
}

/// Checks every line, then runs them.
async fn all(shell: &mut Shell, lines: &[Sourced], tally: &mut Tally) -> Outcome<Exit> {
    let mut exit = precheck::check(shell, lines).await?;
    if !exit.is_done() {
        return Ok(exit);
    }
    for (at, sourced) in lines.iter().enumerate() {
        let (now, _) = shell.line_or_signal(&sourced.line.text, Some(&sourced.origin())).await;
        exit = exit.or(now);
        if !read(&sourced.line.text, None).is_empty() {
            tally.count(now);
        }
        let behind = lines.get(at + 1..).unwrap_or_default();
        if goes_no_further(shell, now) {
            say_unfinished(shell, now, sourced, behind);
            break;
        }
        if !now.is_done() && lines.len() > 1 {
            shell.screen.aside(&format!("{} ended with {}", sourced.origin(), now.code()));
        }
    }
    Ok(exit)
}

/// Says where a batch stopped, and that there was more: nothing is dropped silently.
fn say_unfinished(shell: &Shell, exit: Exit, at: &Sourced, behind: &[Sourced]) {
    let left = behind.iter().filter(|sourced| !read(&sourced.line.text, None).is_empty()).count();
    if left == 0 || exit.is_done() || exit == Exit::BrokenPipe {
        return;
    }
    let lines = if left == 1 { "1 line behind it was".to_owned() } else { format!("{left} lines behind it were") };
    let advice = if shell.leaving.is_none() { "; --keep-going goes on behind a line that failed" } else { "" };
    shell.screen.aside(&format!("{} ended with {}: {lines} not run{advice}", at.origin(), exit.code()));
}

/// Runs lines as they come.
async fn stream(shell: &mut Shell, tally: &mut Tally) -> Outcome<Exit> {
    let (to, mut lines) = tokio::sync::mpsc::channel::<std::io::Result<Result<String, Box<NotText>>>>(1);
    // A thread, because reading a terminal or pipe cannot be given up; it ends with the process.
    std::thread::spawn(move || {
        let mut input = std::io::stdin().lock();
        let mut number = 0;
        loop {
            number += 1;
            let mut bytes = Vec::new();
            let mut line = std::io::Read::take(&mut input, MAX_SCRIPT);
            let next = match std::io::BufRead::read_until(&mut line, b'\n', &mut bytes) {
                Ok(0) => return,
                Ok(_) if number == 1 => Ok(decode(&bytes)),
                Ok(_) => Ok(decode_lines(&bytes, number)),
                Err(error) => Err(error),
            };
            let is_last = next.is_err();
            let next = next.map(|text| text.map(|text| text.trim_end_matches(['\n', '\r']).to_owned()));
            if to.blocking_send(next).is_err() || is_last {
                return;
            }
        }
    });
    let (mut exit, mut number) = (Exit::Done, 0);
    loop {
        let next = tokio::select! {
            // Before the end of the input, which may come with the signal.
            biased;
            asked = shell.signalled() => {
                shell.asked(asked);
                break;
            }
            next = lines.recv() => next,
        };
        let Some(text) = next else { break };
        number += 1;
        let is_blank = matches!(&text, Ok(Ok(text)) if read(text, None).is_empty());
        let now = match text {
            Ok(Ok(text)) => shell.line_or_signal(&text, Some(&Origin { source: STDIN.to_owned(), number })).await.0,
            Ok(Err(not_text)) => {
                say_no_text(shell, STDIN, &not_text);
                Exit::NotUnderstood
            }
            Err(error) => {
                shell.screen.error(&no_script(STDIN, &error).problem);
                Exit::NotUnderstood
            }
        };
        exit = exit.or(now);
        if !is_blank {
            tally.count(now);
        }
        if goes_no_further(shell, now) {
            break;
        }
    }
    Ok(exit)
}

fn goes_no_further(shell: &mut Shell, exit: Exit) -> bool {
    // A signal that came while no job was looked at.
    if let Some(asked) = shell.signalled().now_or_never() {
        shell.asked(asked);
    }
    shell.finished
        || shell.leaving.is_some()
        || exit == Exit::BrokenPipe
        || exit == Exit::Cancelled
        || (!exit.is_done() && !shell.keep_going)
}

/// Shows what runs in the background, in order, and leaves the session.
async fn finish(shell: &mut Shell, exit: Outcome<Exit>, mut tally: Tally) -> Outcome<Exit> {
    let mut exit = exit?;
    loop {
        if shell.leaving.is_some() || exit == Exit::BrokenPipe {
            break;
        }
        let Some(job) = shell.jobs.first() else {
            // Of a pattern with many files more jobs come as the first ones end.
            if shell.jobs.sent().await {
                continue;
            }
            break;
        };
        shell.screen.message(&jobs::line_of(&job, &jobs::state_of(&job)));
        match shell.look(&job).await {
            Ok(now) => {
                exit = exit.or(now);
                tally.failed += usize::from(!now.is_done());
            }
            Err(failure) => {
                tally.failed += 1;
                if failure.exit != Exit::BrokenPipe {
                    shell.screen.error(&failure.problem);
                }
                exit = exit.or(failure.exit);
            }
        }
        shell.jobs.remove(&job);
    }
    if shell.leaving.is_none() && exit != Exit::BrokenPipe {
        exit = exit.or(shell.jobs.answered().await);
        tally.say(shell);
    } else {
        let loud = exit != Exit::BrokenPipe;
        shell.jobs.end(&shell.screen, |_| loud).await;
    }
    shell.leave().await;
    Ok(shell.leaving.unwrap_or(exit))
}

impl Shell {
    /// The next signal of a batch.
    async fn signalled(&mut self) -> Asked {
        match &mut self.sight.signals {
            Some(signals) => signals.next().await,
            None => std::future::pending().await,
        }
    }
}
