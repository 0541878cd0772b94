//! `connections` held against `ss -tunap`, turn by turn, while four processes hold many connected TCP sockets.
//!
//! `cargo bench --bench sockets [-- --sockets N] [--rounds N]` (50,000 sockets, 9 rounds). Prints each round's two times and the medians;
//! the limit is twice the time of `ss`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, missing_docs)]

use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lrsh::agent::platform::Root;
use lrsh::agent::{Agent, AgentOptions};
use lrsh::protocol::link::{AgentLink, DeviceCommand};
use lrsh::protocol::{AgentEvent, Body, SessionId};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The processes that hold them.
const HOLDERS: usize = 4;
/// Says to this program that it is one of them.
const HOLD: &str = "hold";
/// Connections of one listener: an address has no more ports to connect from.
const A_LISTENER: usize = 5_000;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    if let [first, number] = words.as_slice()
        && first == HOLD
    {
        return hold(number.parse().unwrap());
    }
    let option = |name: &str, default: usize| {
        let at = words.iter().position(|word| word == name);
        at.map_or(default, |at| words[at + 1].parse().unwrap())
    };
    let (sockets, rounds) = (option("--sockets", 50_000), option("--rounds", 9));
    let mut holders: Vec<Child> = (0..HOLDERS).map(|_| holder(sockets / HOLDERS)).collect();
    for holder in &mut holders {
        let mut line = String::new();
        BufReader::new(holder.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let options = AgentOptions {
        root: Root::live(),
        writable: true,
        folder: folder.path().into(),
        program: env!("CARGO_BIN_EXE_lrsh").into(),
    };
    let agent = Agent::new(options, runtime.handle().clone());
    let (mut of_ss, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let begun = Instant::now();
        let out = Command::new("ss").arg("-tunap").output().unwrap();
        let ss = begun.elapsed();
        let lines = out.stdout.split(|&byte| byte == b'\n').count() - 2;
        let begun = Instant::now();
        let rows = rows(&runtime, &agent);
        let own = begun.elapsed();
        println!("ss {ss:?} ({lines} lines), connections {own:?} ({rows} rows)");
        of_ss.push(ss);
        ours.push(own);
    }
    for holder in &mut holders {
        drop(holder.stdin.take());
        holder.wait().unwrap();
    }
    let (ss, own) = (median(of_ss), median(ours));
    println!("median ss {ss:?}, connections {own:?}: {:.2} times; the limit is 2", own.as_secs_f64() / ss.as_secs_f64());
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// Runs the verb to its end; how many rows it told.
fn rows(runtime: &tokio::runtime::Runtime, agent: &Agent) -> u64 {
    let command = DeviceCommand::new(SessionId::new(), "connections", Duration::from_mins(10));
    let mut running = agent.start(command, None);
    let mut rows = 0;
    runtime.block_on(async {
        loop {
            match running.events.recv().await {
                Some(AgentEvent::Pass { rows: count, .. }) => rows += u64::from(count),
                Some(AgentEvent::Read(body)) => {
                    if let Body::Completed(_) = *body {
                        return rows;
                    }
                }
                None => panic!("no end"),
            }
        }
    })
}

fn holder(sockets: usize) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([HOLD, &sockets.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
}

/// Connects to itself until it holds so many sockets, and waits for the end of its input.
fn hold(sockets: usize) {
    let limit = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: limit, maximum: limit }).unwrap();
    let mut held = Vec::new();
    let mut listeners = Vec::new();
    let mut left = sockets;
    while left > 1 {
        // Each on an address of its own, so that all find a port.
        let own = std::process::id().to_be_bytes();
        let address = Ipv4Addr::new(127, own[2].max(1), own[3], u8::try_from(listeners.len() + 1).unwrap());
        let listener = TcpListener::bind((address, 0)).unwrap();
        for _ in 0..A_LISTENER.min(left / 2) {
            held.push(TcpStream::connect(listener.local_addr().unwrap()).unwrap());
            held.push(listener.accept().unwrap().0);
            left -= 2;
        }
        listeners.push(listener);
    }
    println!("ready");
    let _ = std::io::stdin().read(&mut [0]);
}
