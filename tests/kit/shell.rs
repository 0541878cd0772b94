//! The real program as a batch, with a home of its own: `Shell::new().line("dir /").run().code(0)`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// A guard against hanging, nothing else.
const PATIENCE: Duration = Duration::from_mins(2);

/// Where the program is, in a booted root: see `kit::systemd`.
pub const PROGRAM: &str = "LRSH_TEST_PROGRAM";

fn program() -> PathBuf {
    std::env::var_os(PROGRAM).map_or_else(|| env!("CARGO_BIN_EXE_lrsh").into(), PathBuf::from)
}

/// A home, in which every shell of a test runs. At its end nothing of it may be running.
pub struct Home {
    folder: tempfile::TempDir,
}

impl Home {
    /// An empty one.
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    /// Its folder: also the working folder of its shells, below `work`.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Where its shells stand.
    pub fn work(&self) -> PathBuf {
        let work = self.folder.path().join("work");
        std::fs::create_dir_all(&work).unwrap();
        work
    }

    /// The program with this home and nothing else of the environment that could change what it prints.
    pub fn command(&self) -> Command {
        let mut command = Command::new(program());
        command.env("LRSH_HOME", self.path()).env("TERM", "dumb").current_dir(self.work());
        for name in ["NO_COLOR", "CLICOLOR_FORCE", "LRSH_FAULT"] {
            command.env_remove(name);
        }
        command
    }

    /// Lines of a batch.
    pub fn batch(&self, lines: &str) -> Batch {
        Batch { command: self.command(), input: lines.as_bytes().to_vec() }
    }

    /// Runs one line.
    pub fn line(&self, line: &str) -> Ran {
        let mut batch = self.batch("");
        batch.command.arg("-c").arg(line);
        batch.run()
    }

    /// Waits until a command whose line begins so runs in the session that is open.
    pub fn until_running(&self, line: &str) {
        let begun = Instant::now();
        loop {
            let jobs = self.line("jobs -output jsonl").code(0).jsonl();
            let is_it = |job: &Value| job["command_line"].as_str().is_some_and(|text| text.starts_with(line));
            if jobs.iter().any(|job| is_it(job) && job["status"] == "running") {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{line} does not run: {jobs:?}");
        }
    }

    /// The processes that have this home in their environment.
    pub fn processes(&self) -> Vec<u32> {
        let mark = [b"LRSH_HOME=", self.path().as_os_str().as_encoded_bytes()].concat();
        let pids = std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
        pids.filter(|pid| {
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|&byte| byte == 0).any(|variable| variable == mark)
        })
        .collect()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        // The background process ends by itself: there is nothing to wait upon but its end.
        let begun = Instant::now();
        while !self.processes().is_empty() {
            assert!(begun.elapsed() < PATIENCE, "processes {:?} of this home do not end", self.processes());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// A batch that is about to run.
pub struct Batch {
    command: Command,
    /// What comes on its standard input.
    pub input: Vec<u8>,
}

impl Batch {
    /// Arguments of the program.
    pub fn args(mut self, args: &[&str]) -> Self {
        self.command.args(args);
        self
    }

    /// A variable of its environment.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Runs it to its end.
    pub fn run(mut self) -> Ran {
        let mut child = self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = self.input;
        // A program that reads nothing breaks the pipe; that is for the test to judge by what it says.
        let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        Ran { code: output.status.code(), stdout: output.stdout, stderr: output.stderr }
    }
}

/// What a program did.
pub struct Ran {
    /// Its exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: Vec<u8>,
}

impl Ran {
    /// Holds it to an exit code.
    #[track_caller]
    pub fn code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout: {}\nstderr: {}", self.out(), self.err());
        self
    }

    /// Standard output as text.
    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard error as text.
    pub fn err(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}", self.out()))
    }

    /// Standard output as JSON lines.
    #[track_caller]
    pub fn jsonl(&self) -> Vec<Value> {
        self.out().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}
