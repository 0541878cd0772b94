//! The agent's verbs by themselves, without service and shell, for figures to hold against the tools' own.
//!
//! `cargo bench --bench verbs -- [--rounds N] [--cancel MS] COMMAND [name=value | -flag]…`, e.g. `-- dir path=/tmp/million`,
//! `-- --rounds 15 processes`. Prints each round's time and rows, and the median; with `--cancel` the time from the word to
//! stop, said after so many milliseconds, to the end. At the end the most memory that all of it took.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, missing_docs)]

use std::time::{Duration, Instant};

use lrsh::agent::platform::Root;
use lrsh::agent::{Agent, AgentOptions};
use lrsh::protocol::link::{AgentLink, DeviceCommand, FileRequest, StopReason};
use lrsh::protocol::{AgentEvent, Body, SessionId};

fn main() {
    let mut words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let mut option = |name: &str| {
        let given = words.first().is_some_and(|word| word == name);
        given.then(|| words.drain(..2).nth(1).unwrap().parse::<u64>().unwrap())
    };
    let rounds = option("--rounds").unwrap_or(5);
    let cancel = option("--cancel").map(Duration::from_millis);
    if words.is_empty() {
        println!("usage: verbs [--rounds N] [--cancel MS] COMMAND [name=value | -flag]…");
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let agent = Agent::new(
        AgentOptions {
            root: Root::live(),
            writable: true,
            folder: folder.path().into(),
            program: env!("CARGO_BIN_EXE_lrsh").into(),
        },
        runtime.handle().clone(),
    );
    let mut times = Vec::new();
    for _ in 0..rounds {
        let command = DeviceCommand {
            params: words[1..].iter().filter_map(|word| word.split_once('=')).map(|(k, v)| (k.into(), v.into())).collect(),
            flags: words[1..].iter().filter_map(|word| word.strip_prefix('-')).map(Into::into).collect(),
            ..DeviceCommand::new(SessionId::new(), &words[0], Duration::from_hours(1))
        };
        let (begun, id) = (Instant::now() + cancel.unwrap_or_default(), command.command_id);
        let mut running = agent.start(command, None);
        if let Some(after) = cancel {
            std::thread::sleep(after);
            agent.stop(id, StopReason::Cancel { by: "bench".into() });
        }
        // The bytes of a file are taken and let go: those of a getfile at once, those of a package when it is made.
        let take = || {
            let asked = agent.read_file(id, FileRequest { offset: 0, if_match: None });
            runtime.spawn(async move {
                let mut chunks = asked.await.unwrap().unwrap().chunks;
                while chunks.recv().await.is_some() {}
            });
        };
        if words[0] == "getfile" {
            take();
        }
        let (mut rows, mut bytes) = (0, 0);
        let completed = runtime.block_on(async {
            loop {
                match running.events.recv().await {
                    Some(AgentEvent::Pass { json, rows: count }) => {
                        rows += u64::from(count);
                        bytes += json.len();
                        if words[0] == "collect" && json.windows(6).any(|part| part == br#""etag""#) {
                            take();
                        }
                    }
                    Some(AgentEvent::Read(body)) => {
                        if let Body::Completed(completed) = *body {
                            break completed;
                        }
                    }
                    None => panic!("no end"),
                }
            }
        });
        let time = begun.elapsed();
        times.push(time);
        println!("{time:?}: {} {rows} rows, {bytes} bytes, {:?}", completed.status, completed.cost);
    }
    times.sort_unstable();
    println!("median {:?}", times[times.len() / 2]);
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    println!("{}", status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default());
}
