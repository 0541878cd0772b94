//! The whole way, from the typed line to the device and back, each against a tool in the same run.
//!
//! `cargo bench --bench way -- prompt|processes|batch|dir FOLDER|log|findfile FOLDER|cancel FOLDER|killed|library FOLDER
//! [--rounds N]`; `prompt` needs a terminal's worth of pty, `dir`, `findfile` and `cancel` a folder with many files, `library` one
//! with room for a gigabyte. Prints each median, and the peak memory of shell and service where it matters.
//!
//! A tree of a million files: `for d in $(seq 1000); do mkdir -p T/$d; (cd T/$d; seq -f f%g 1000 | xargs touch); done`.

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
        ["findfile", folder] => findfile(home, folder, rounds),
        ["cancel", folder] => cancel(home, folder, rounds),
        ["killed"] => killed(home, rounds),
        ["library", folder] => library(home, Path::new(folder), rounds.min(3)),
        _ => println!(
            "usage: way prompt|processes|batch|dir FOLDER|log|findfile FOLDER|cancel FOLDER|killed|library FOLDER [--rounds N]"
        ),
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

/// A search of a large tree through the whole way, against `find` and, where it is there, `fdfind -uu`: for what is nowhere, and
/// for a name of which there are many.
fn findfile(home: &Path, folder: &str, rounds: usize) {
    let _held = Held::new(home);
    for name in ["no-such-name", "*1"] {
        let line = format!("findfile {name} \"{folder}\" -output jsonl -columns path");
        let ours = || timed(lrsh_command(home).args(["-c", &line]));
        let find = || timed(Command::new("find").args([folder, "-name", name]));
        let fd = || timed(Command::new("fdfind").args(["-uu", "-g", name, folder]));
        let has_fd = Command::new("fdfind").arg("--version").stdout(Stdio::null()).status().is_ok();
        let (mut first, mut second, mut third) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rounds {
            first.push(ours());
            second.push(find());
            if has_fd {
                third.push(fd());
            }
        }
        let ours = told(&format!("findfile {name}"), first);
        let mut theirs = told(&format!("find -name {name}"), second);
        if has_fd {
            theirs = theirs.min(told(&format!("fdfind -uu -g {name}"), third));
        }
        println!(
            "ratio {:.2}; peak memory of the service {} KiB",
            ours.as_secs_f64() / theirs.as_secs_f64(),
            service_peak(home)
        );
    }
}

/// From Ctrl+C to the end of the work itself: of a search of a large tree, and of the hash of a file of 4 GB. The end of the
/// work is when the service uses no more processor time, the end of the shell when it has told the receipt.
fn cancel(home: &Path, folder: &str, rounds: usize) {
    let _held = Held::new(home);
    let large = home.join("large");
    std::fs::File::create(&large).unwrap().set_len(4 << 30).unwrap();
    let lines = [format!("findfile no-such-name \"{folder}\""), format!("fileinfo \"{}\"", large.display())];
    for line in lines {
        let (mut shells, mut works) = (Vec::new(), Vec::new());
        for round in 0..rounds {
            let mut child = lrsh_command(home).args(["-c", &line]).spawn().unwrap();
            let status = PathBuf::from(format!("/proc/{}/status", child.id()));
            // At different moments of the work, but within it.
            let busy = processor_time(home) + 3 + round as u64 % 5;
            while processor_time(home) < busy && status.exists() {
                std::thread::sleep(Duration::from_millis(1));
            }
            let begun = Instant::now();
            let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
            let code = child.wait().unwrap().code();
            shells.push(begun.elapsed());
            assert_eq!(code, Some(130), "{line}: it ended before it was cancelled; take a larger tree");
            works.push(last_tick(home, begun));
        }
        let line = line.split(' ').next().unwrap();
        let worst = *works.iter().max().unwrap();
        told(&format!("{line}: Ctrl+C to the end of the shell"), shells);
        told(&format!("{line}: Ctrl+C to the last processor time of the service"), works);
        println!("the worst of the latter {worst:?}");
    }
}

/// When, behind `begun`, the service last used processor time, to ten milliseconds: looked at until it used none for 300.
fn last_tick(home: &Path, begun: Instant) -> Duration {
    let (mut ticks, mut last, mut changed) = (processor_time(home), Duration::ZERO, Instant::now());
    while changed.elapsed() < Duration::from_millis(300) {
        std::thread::sleep(Duration::from_millis(2));
        let now = processor_time(home);
        if now > ticks + 1 {
            (ticks, last, changed) = (now, begun.elapsed(), Instant::now());
        }
    }
    last
}

/// The processor time of the service, in hundredths of a second.
fn processor_time(home: &Path) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", service_of(home))).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// From kill -9 of the agent's process to the end of what a script has started, in a session of its own.
fn killed(home: &Path, rounds: usize) {
    let (script, pid) = (home.join("family.sh"), home.join("pid"));
    let text = "(setsid sh -c 'trap \"\" TERM HUP; echo $$ > PID.new; mv PID.new PID; exec sleep 1000' >/dev/null 2>&1 &)\nsleep 1001\n";
    std::fs::write(&script, text.replace("PID", &pid.display().to_string())).unwrap();
    lrsh(home, &["-c", &format!("library add {}", script.display())]);
    let times = (0..rounds).map(|_| {
        let mut shell = lrsh_command(home).args(["-c", "run family.sh"]).spawn().unwrap();
        while !pid.exists() {
            std::thread::sleep(Duration::from_millis(2));
        }
        let child = PathBuf::from(format!("/proc/{}", std::fs::read_to_string(&pid).unwrap().trim()));
        std::fs::remove_file(&pid).unwrap();
        let begun = Instant::now();
        Command::new("kill").args(["-9", &service_of(home)]).status().unwrap();
        while child.exists() {
            std::thread::sleep(Duration::from_millis(1));
        }
        let time = begun.elapsed();
        shell.wait().unwrap();
        time
    });
    let times: Vec<Duration> = times.collect();
    let worst = *times.iter().max().unwrap();
    told("kill -9 to the end of a script's daemon", times);
    println!("the worst {worst:?}");
}

/// The largest library file in and out again, against `cp`, with the peak memory of both processes.
fn library(home: &Path, folder: &Path, rounds: usize) {
    let _held = Held::new(home);
    let folder = tempfile::tempdir_in(folder).unwrap();
    let file = folder.path().join("tool");
    let mut seed = 7_u64;
    let mut content = Vec::with_capacity(250 << 20);
    while content.len() < 250 << 20 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        content.extend_from_slice(&seed.to_le_bytes());
    }
    std::fs::write(&file, &content).unwrap();
    let out = folder.path().join("out");
    let lines =
        [format!("library add \"{}\" -overwrite", file.display()), format!("library show tool > \"{}\"", out.display())];
    for line in lines {
        let mut peak = 0;
        let times = (0..rounds).map(|_| {
            let begun = Instant::now();
            peak = peak.max(peak_of(lrsh_command(home).args(["-c", &line])));
            begun.elapsed()
        });
        told(line.get(..12).unwrap(), times.collect());
        println!("peak memory: shell {peak} KiB, service {} KiB", service_peak(home));
    }
    assert!(std::fs::read(&out).unwrap() == content, "what came out is not what went in");
    let copy = |_| timed(Command::new("cp").arg(&file).arg(&out));
    told("cp", (0..rounds).map(copy).collect());
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
    high_water(Path::new(&format!("/proc/{}/status", service_of(home))))
}

/// The process of the service.
fn service_of(home: &Path) -> String {
    let lock = std::fs::read_to_string(home.join("service/lock")).unwrap();
    serde_json::from_str::<serde_json::Value>(&lock).unwrap()["pid"].to_string()
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
