//! kill -9 at any moment, under load: the service's process, a shell, both. What was acknowledged is there afterwards.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lrsh::protocol::{Body, CommandId, Event, NewSession, Problem, SessionId, Status};
use lrsh::shell::Starter;
use lrsh::shell::client::{Client, CommandEvents, SessionEvents, Trace};
use lrsh::shell::view::{Screen, ScreenOptions};

use crate::kit::fleet::command;
use crate::kit::home::Home;
use crate::kit::need::rounds;
use crate::kit::talking::{Talking, until};

const LINES: [&str; 5] = ["dir /usr/bin", "findfile * /usr/share/doc", "processes", "fileinfo /bin/sh", "findfile * /etc"];

/// How any shell comes to the service of a home: it finds it, or starts it.
struct AnyShell {
    home: PathBuf,
    /// How long the slowest start took.
    slowest: Arc<Mutex<Duration>>,
}

impl Starter for AnyShell {
    fn ensure(&self) -> Result<PathBuf, Problem> {
        let begun = Instant::now();
        let mut program = Command::new(env!("CARGO_BIN_EXE_lrsh"));
        program.args(["paths", "--start", "socket"]).env("LRSH_HOME", &self.home).env("XDG_RUNTIME_DIR", &self.home);
        let output = program.output().unwrap();
        let mut slowest = self.slowest.lock().unwrap();
        *slowest = begun.elapsed().max(*slowest);
        if output.status.success() {
            Ok(PathBuf::from(String::from_utf8(output.stdout).unwrap().trim()))
        } else {
            Err(Problem::new("unreachable", String::from_utf8_lossy(&output.stderr)))
        }
    }
}

/// An event as it can be compared.
type Told = (u64, String);

fn told(event: &Event) -> Told {
    (event.n, format!("{} {:?}", event.t, event.body))
}

/// What was acknowledged to a reader, by command.
type Acknowledged = Arc<Mutex<HashMap<CommandId, Vec<Told>>>>;

/// Sends commands until it is told to stop and notes every event as it comes, over every break of the service.
async fn load(
    client: Client,
    session: SessionId,
    first: usize,
    is_over: Arc<AtomicBool>,
    acknowledged: Acknowledged,
) -> Vec<(CommandId, Status)> {
    let mut ended = Vec::new();
    for at in first.. {
        if is_over.load(Ordering::Relaxed) {
            break;
        }
        let command = command(LINES[at % LINES.len()]);
        let id = command.command_id;
        let mut events = CommandEvents::post(&client, &session, command).await.unwrap();
        while let Some(event) = events.next().await.unwrap() {
            acknowledged.lock().unwrap().entry(id).or_default().push(told(&event));
            if let Body::Completed(completed) = event.body {
                ended.push((id, completed.status));
            }
        }
    }
    ended
}

/// A small generator, so that a round can be repeated by its number.
fn random(round: u32, below: u64) -> u64 {
    let mut state = u64::from(round).wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x2545_f491_4f6c_dd1d);
    state ^= state >> 29;
    state = state.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (state ^ (state >> 32)) % below
}

fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

#[test]
fn whatever_is_killed_what_was_acknowledged_is_there() {
    let home = Home::new();
    let slowest: Arc<Mutex<Duration>> = Arc::default();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let screen = Screen::new(ScreenOptions::default());
    let mut posted = 0;
    let mut interrupted = 0;
    for round in 0..rounds() {
        // Each round is another shell.
        let starter = AnyShell { home: home.path().to_owned(), slowest: Arc::clone(&slowest) };
        let client = Client::new(Arc::new(starter), screen.clone(), Trace::new(home.path().join("log"), screen.clone()));
        let acknowledged: Acknowledged = Arc::default();
        let session = runtime.block_on(client.open_session(&NewSession { device: None, comment: None })).unwrap().session_id;
        // Attached, as every shell is.
        let mut events = runtime.block_on(SessionEvents::open(&client, &session)).unwrap();
        let attached = runtime.spawn(async move { while events.next().await.is_ok() {} });
        let mut lost = Talking::start(home.lrsh(&["--stream"]));
        lost.say("findfile nothing-at-all /usr/share/doc &");
        lost.say("findfile * /usr/share/doc -output jsonl");
        let _ = lost.hear();

        let is_over = Arc::new(AtomicBool::new(false));
        let load: Vec<_> = (0..4)
            .map(|at| {
                let (is_over, acknowledged) = (Arc::clone(&is_over), Arc::clone(&acknowledged));
                runtime.spawn(load(client.clone(), session.clone(), at, is_over, acknowledged))
            })
            .collect();
        std::thread::sleep(Duration::from_millis(random(round, 300)));
        let pid = lrsh::host::start::running(&home.home()).unwrap().unwrap().pid;
        let (service, shell) = (round % 3 != 1, round % 3 != 0);
        if shell {
            kill(lost.pid());
        }
        if service {
            kill(pid);
        }
        is_over.store(true, Ordering::Relaxed);
        let ended: Vec<(CommandId, Status)> = load.into_iter().flat_map(|task| runtime.block_on(task).unwrap()).collect();
        posted += ended.len();
        interrupted += ended.iter().filter(|(_, status)| *status == Status::Interrupted).count();
        if !service {
            assert!(ended.iter().all(|(_, status)| *status == Status::Completed), "a shell's end harms nobody: {ended:?}");
            assert_eq!(lrsh::host::start::running(&home.home()).unwrap().unwrap().pid, pid);
        }
        drop(lost);
        check(&runtime, &client, &session, &ended, &acknowledged);
        attached.abort();
    }
    let slowest = slowest.lock().unwrap();
    eprintln!("{posted} commands, {interrupted} interrupted, the slowest start {slowest:?}");
    assert!(*slowest < Duration::from_mins(1), "a start took {slowest:?}");
}

/// The log is complete, and every command's events begin with what was acknowledged and end with its end.
fn check(
    runtime: &tokio::runtime::Runtime,
    client: &Client,
    session: &SessionId,
    ended: &[(CommandId, Status)],
    acknowledged: &Acknowledged,
) {
    // What the other shell has left goes on in this session: every command comes to an end.
    let mut records = Vec::new();
    until("everything ends", || {
        records = runtime.block_on(client.commands(session)).unwrap();
        records.iter().all(|record| record.status.is_final())
    });
    let numbers: Vec<u64> = records.iter().map(|record| record.number).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
    for (id, status) in ended {
        let of: Vec<_> = records.iter().filter(|record| record.command_id == *id).collect();
        assert_eq!(of.len(), 1, "{id} is logged once");
        assert_eq!(of[0].status, *status);
        let first = acknowledged.lock().unwrap().get(id).cloned().unwrap_or_default();
        let again = runtime.block_on(async {
            let mut events = CommandEvents::after(client, session, *id, 0);
            let mut again = Vec::new();
            while let Some(event) = events.next().await.unwrap() {
                again.push(told(&event));
            }
            again
        });
        assert_eq!(again, first, "{}: what was read is what is kept", of[0].raw_command_line);
        if *status == Status::Interrupted {
            let code = &of[0].errors[0].code;
            let begun = first.iter().any(|(_, event)| event.contains("Started"));
            assert_eq!((code == "interrupted", of[0].started.is_some()), (begun, begun), "{:?}", of[0]);
        }
    }
    let last: Vec<_> = records.iter().rev().take(20).filter(|record| record.status == Status::Interrupted).collect();
    assert!(last.iter().all(|record| !record.errors.is_empty() && record.completed.is_some()), "{last:?}");
}
