//! The whole way, from the typed line to the device and back, each against a tool in the same run.
//!
//! `cargo bench --bench way -- prompt|processes|batch|dir FOLDER|log [--rounds N]`; `prompt` needs a terminal's worth of
//! pty, `dir` a folder with many files. Prints each median, and the peak memory of shell and service where it matters.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, missing_docs)]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

#[allow(dead_code)]
#[path = "../kit/pty.rs"]
mod pty;

const LRSH: &str = env!("CARGO_BIN_EXE_lrsh");

fn main() {
    let mut words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let mut rounds = 15;
    if let Some(at) = words.iter().position(|word| word == "--rounds") {
        rounds = words.drain(at..at + 2).nth(1).unwrap().parse().unwrap();
    }
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["prompt"] => prompt(home, rounds),
        ["processes"] => processes(home, rounds),
        ["batch"] => batch(home, rounds),
        ["dir", folder] => dir(home, folder, rounds),
        ["log"] => log(home, rounds),
        _ => println!("usage: way prompt|processes|batch|dir FOLDER|log [--rounds N]"),
    }
}

/// From the start of the program to its first prompt, on a home that has been used before: with the service gone, and running.
fn prompt(home: &Path, rounds: usize) {
    lrsh(home, &["-c", "connect"]);
    let start = || {
        let begun = Instant::now();
        let mut shell = pty::Pty::shell(home);
        shell.prompt();
        let time = begun.elapsed();
        shell.keys("\x04");
        shell.end();
        time
    };
    let (mut gone, mut running) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        wait_for_the_end(home);
        gone.push(start());
        let _held = Held::new(home);
        running.push(start());
    }
    told("start to prompt, no service running", gone);
    told("start to prompt, service running", running);
    told("bash -i to prompt", (0..rounds).map(|_| timed(Command::new("bash").args(["--norc", "-ic", "exit"]))).collect());
}

/// One look at all processes from outside, its parts, and `ps aux`.
fn processes(home: &Path, rounds: usize) {
    let _held = Held::new(home);
    let part = |args: &[&str]| (0..rounds).map(|_| timed(lrsh_command(home).args(args))).collect::<Vec<_>>();
    told("start alone (lrsh explain)", part(&["explain", "processes"]));
    told("start, connect, close", part(&["-c", "connect"]));
    let ours = told("start, connect, command, close", part(&["-c", "processes -output json"]));
    let theirs = told("ps aux", (0..rounds).map(|_| timed(Command::new("ps").arg("aux"))).collect());
    println!("ratio {:.2}", ours.as_secs_f64() / theirs.as_secs_f64());
}

/// A thousand small commands in one batch.
fn batch(home: &Path, rounds: usize) {
    let script = home.join("thousand.lrsh");
    std::fs::write(&script, "fileinfo /etc/hostname\n".repeat(1000)).unwrap();
    let _held = Held::new(home);
    let mut peak = 0;
    let times = (0..rounds).map(|_| {
        let begun = Instant::now();
        peak = peak.max(peak_of(lrsh_command(home).arg(&script)));
        begun.elapsed() / 1000
    });
    told("fileinfo in a batch of 1,000, each", times.collect());
    println!("peak memory: shell {} KiB, service {} KiB", peak, service_peak(home));
}

/// A large folder, streamed as rows and as a table, and `ls -lU`.
fn dir(home: &Path, folder: &str, rounds: usize) {
    let _held = Held::new(home);
    for format in ["jsonl", "table", "json", "csv"] {
        let line = format!("dir \"{folder}\" -output {format}");
        let mut peak = 0;
        let times = (0..rounds).map(|_| {
            let begun = Instant::now();
            peak = peak.max(peak_of(lrsh_command(home).args(["-c", &line])));
            begun.elapsed()
        });
        told(&format!("dir -output {format}"), times.collect());
        println!("peak memory: shell {} KiB, service {} KiB", peak, service_peak(home));
    }
    told("ls -lU", (0..rounds).map(|_| timed(Command::new("ls").args(["-lU", folder]))).collect());
}

/// The log of 10,000 commands.
fn log(home: &Path, rounds: usize) {
    let script = home.join("many.lrsh");
    std::fs::write(&script, "cd /\n".repeat(10_000)).unwrap();
    let held = Held::new(home);
    lrsh(home, &[script.to_str().unwrap()]);
    let line = ["-c", "connect", "-c", "log"];
    told("connect, log of 10,000 commands", (0..rounds).map(|_| timed(lrsh_command(home).args(line))).collect());
    told("connect", (0..rounds).map(|_| timed(lrsh_command(home).args(["-c", "connect"]))).collect());
    drop(held);
}

/// A shell that keeps session and service while others come and go.
struct Held(std::process::Child);

impl Held {
    fn new(home: &Path) -> Self {
        let mut child = lrsh_command(home).arg("--stream").stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        std::io::Write::write_all(child.stdin.as_mut().unwrap(), b"connect\n").unwrap();
        let mut first = [0];
        std::io::Read::read_exact(child.stderr.as_mut().unwrap(), &mut first).unwrap();
        let mut rest = child.stderr.take().unwrap();
        std::thread::spawn(move || std::io::copy(&mut rest, &mut std::io::sink()));
        Self(child)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

fn lrsh_command(home: &Path) -> Command {
    let mut command = Command::new(LRSH);
    command.env("LRSH_HOME", home).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn lrsh(home: &Path, args: &[&str]) {
    assert!(lrsh_command(home).args(args).status().unwrap().success(), "{args:?} failed");
}

fn timed(command: &mut Command) -> Duration {
    let begun = Instant::now();
    assert!(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success());
    begun.elapsed()
}

fn told(what: &str, mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    let median = times[times.len() / 2];
    println!("{what}: median {median:?}, best {:?}", times[0]);
    median
}

/// Runs a program to its end and tells the most memory it held, in KiB, looked at every few milliseconds.
fn peak_of(command: &mut Command) -> u64 {
    let mut child = command.spawn().unwrap();
    let status = PathBuf::from(format!("/proc/{}/status", child.id()));
    let mut peak = 0;
    loop {
        peak = peak.max(high_water(&status));
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success());
            return peak;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn service_peak(home: &Path) -> u64 {
    let lock = std::fs::read_to_string(home.join("service/lock")).unwrap();
    let pid = serde_json::from_str::<serde_json::Value>(&lock).unwrap()["pid"].clone();
    high_water(Path::new(&format!("/proc/{pid}/status")))
}

fn high_water(status: &Path) -> u64 {
    let status = std::fs::read_to_string(status).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()).map_or(0, |kib| kib.parse().unwrap())
}

/// Waits until the service of a home has ended by itself.
fn wait_for_the_end(home: &Path) {
    let lock = std::fs::File::open(home.join("service/lock")).unwrap();
    lock.lock().unwrap();
}
