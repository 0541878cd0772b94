//! How a batch ends: the exit codes, the signals, and what each leaves in the log.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;

use super::{signal, until};
use crate::kit::shell::Home;

/// A shell beside the one that is tested: it keeps the session open, and looks at its log.
struct Beside {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Beside {
    fn new(home: &Home) -> Self {
        let mut command = home.command();
        let command = command.args(["--stream", "--keep-going"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.stderr(Stdio::null()).spawn().unwrap();
        let (input, output) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        let mut beside = Self { child, input, output };
        beside.ask("session");
        beside
    }

    /// The answer of one line, as one JSON value.
    fn ask(&mut self, line: &str) -> Value {
        writeln!(self.input.as_mut().unwrap(), "{line} -output json").unwrap();
        let mut text = String::new();
        loop {
            assert_ne!(self.output.read_line(&mut text).unwrap(), 0, "the shell beside ended: {text}");
            if let Ok(value) = serde_json::from_str(&text) {
                return value;
            }
        }
    }

    /// The row of the log whose line begins so, once the command has ended.
    fn ended(&mut self, line: &str) -> Value {
        loop {
            let log = self.ask("log");
            let row = log.as_array().unwrap().iter().find(|row| row["command_line"].as_str().unwrap().starts_with(line));
            let row = row.unwrap_or_else(|| panic!("{line} is not in {log}")).clone();
            if !matches!(row["status"].as_str(), Some("running" | "pending")) {
                return row;
            }
        }
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.wait();
    }
}

/// A file that takes very long to hash, and no room.
fn endless(home: &Home) -> String {
    let path = home.work().join("endless");
    std::fs::File::create(&path).unwrap().set_len(29 << 30).unwrap();
    path.display().to_string()
}

/// A folder whose listing is more than a pipe takes, so that the command still runs when the reader goes.
fn many(home: &Home) -> String {
    let folder = home.work().join("many");
    std::fs::create_dir(&folder).unwrap();
    for number in 0..20_000 {
        std::fs::write(folder.join(format!("file-{number}")), "").unwrap();
    }
    folder.display().to_string()
}

fn piped(command: &mut Command) -> Child {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn a_signal_cancels_on_the_device_and_ends_the_batch_with_its_code() {
    let home = Home::new();
    let file = endless(&home);
    let mut beside = Beside::new(&home);
    for (name, code) in [("INT", 130), ("TERM", 143), ("HUP", 129)] {
        let line = format!("fileinfo {file} -match {name}");
        let child = piped(home.command().args(["-c", &line, "-c", "dir /"]));
        home.until_running(&line);
        signal(child.id(), name);
        let output = child.wait_with_output().unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{name}: {err}");
        assert!(err.contains("cancelled; the device confirmed"), "{name}: {err}");
        assert!(!String::from_utf8(output.stdout).unwrap().contains("etc"), "the next line did not run");
        let row = beside.ended(&line);
        assert_eq!(row["status"], "cancelled", "{name}: {row}");
        assert!(row["cancelled_by"].is_string(), "{row}");
    }
}

#[test]
fn a_signal_between_two_lines_of_a_stream_ends_it() {
    let home = Home::new();
    let mut child = piped(home.command().arg("--stream"));
    // Held open: the end of the input is no part of this.
    let mut input = child.stdin.take().unwrap();
    writeln!(input, "devices -output jsonl").unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut first).unwrap();
    assert!(first.contains("linux"));
    signal(child.id(), "TERM");
    assert_eq!(child.wait().unwrap().code(), Some(143));
}

/// Waits until a process has a handler for SIGTERM: a signal before would end it as any process.
fn until_it_listens(pid: u32) {
    let listens = || {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap().trim();
        u64::from_str_radix(caught, 16).unwrap() & (1 << 14) != 0
    };
    until("a handler", listens);
}

#[test]
fn a_signal_before_the_end_of_the_input_runs_nothing_of_it() {
    let home = Home::new();
    for (name, code) in [("INT", 130), ("TERM", 143)] {
        let mut child = piped(&mut home.command());
        let mut input = child.stdin.take().unwrap();
        input.write_all(b"devices\n").unwrap();
        until_it_listens(child.id());
        signal(child.id(), name);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(output.stdout.is_empty(), "half a script ran");
        drop(input);
    }
}

#[test]
fn a_closed_standard_output_cancels_on_the_device_and_ends_silently() {
    let home = Home::new();
    let mut beside = Beside::new(&home);
    let line = format!("dir {} -output jsonl", many(&home));
    let mut child = piped(home.command().args(["-c", &line, "-c", "dir /"]));
    let mut first = [0; 100];
    let mut output = child.stdout.take().unwrap();
    output.read_exact(&mut first).unwrap();
    drop(output);
    let mut err = String::new();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(141), "{err}");
    assert!(!err.contains("error") && !err.contains("panic"), "{err}");
    assert_eq!(beside.ended(&line)["status"], "cancelled");
    assert_eq!(beside.ask("log").as_array().unwrap().len(), 2, "the next line did not run");
}

#[test]
fn a_closed_standard_output_is_noticed_before_anything_is_written() {
    let home = Home::new();
    let mut beside = Beside::new(&home);
    let line = format!("fileinfo {}", endless(&home));
    let mut child = piped(home.command().args(["-c", &line, "-c", "dir /"]));
    home.until_running(&line);
    drop(child.stdout.take());
    let mut err = String::new();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(141), "{err}");
    assert!(err.starts_with("attached to your session on ") && err.lines().count() == 1, "{err}");
    assert_eq!(beside.ended(&line)["status"], "cancelled");
    // An answer in a file needs no reader; one that nobody would see is not asked for.
    let mut child = piped(home.command().args(["-c", "dir / > kept", "-c", "dir /tmp", "-c", "dir /"]));
    drop(child.stdout.take());
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(141));
    assert!(std::fs::read_to_string(home.work().join("kept")).unwrap().contains("etc"));
    let log = beside.ask("log");
    let lines: Vec<&str> = log.as_array().unwrap().iter().map(|row| row["command_line"].as_str().unwrap()).collect();
    assert_eq!(lines, ["connect", line.as_str(), "dir / > kept"]);
}

#[test]
fn a_batch_that_nobody_reads_ends_at_a_signal_all_the_same() {
    let home = Home::new();
    let mut beside = Beside::new(&home);
    let line = format!("dir {} -output jsonl", many(&home));
    let mut child = piped(home.command().args(["-c", &line]));
    // It stands still once the pipe is full.
    let pipe = child.stdout.as_ref().unwrap();
    until("a full pipe", || rustix::io::ioctl_fionread(pipe).unwrap() > 60_000);
    signal(child.id(), "TERM");
    // The output stays open, unread, while its end is waited for.
    assert_eq!(child.wait().unwrap().code(), Some(143));
    assert_ne!(beside.ended(&line)["status"], "running");
}

#[test]
fn a_time_limit_is_124() {
    let home = Home::new();
    std::fs::create_dir(home.path().join("service")).unwrap();
    std::fs::write(home.path().join("service/service.toml"), "[limits]\ncommand_seconds = 1\n").unwrap();
    let ran = home.line(&format!("fileinfo {}", endless(&home))).code(124);
    assert!(ran.err().contains("ended by its time limit"), "{}", ran.err());
}

#[test]
fn what_the_service_refuses_is_3_and_can_be_undone() {
    let home = Home::new();
    home.line("settings live_response off").code(0);
    let ran = home.line("processes").code(3);
    assert!(ran.err().contains("live response is switched off"), "{}", ran.err());
    assert_eq!(home.line("settings -output json").code(0).json()[0]["value"], "off");
    home.line("settings live_response on").code(0);
    home.line("processes -first 1").code(0);
}

#[test]
fn what_cannot_be_reached_is_4() {
    let home = Home::new();
    std::fs::create_dir(home.path().join("service")).unwrap();
    std::fs::write(home.path().join("service/service.toml"), "neither = [").unwrap();
    let ran = home.line("processes").code(4);
    assert!(ran.err().contains("service.toml"), "{}", ran.err());
    // What needs no service works all the same.
    home.line("help processes").code(0);
}

#[test]
fn what_the_death_of_the_service_interrupts_is_4() {
    let home = Home::new();
    let line = format!("fileinfo {}", endless(&home));
    let child = piped(home.command().args(["-c", &line, "-c", "devices"]));
    home.until_running(&line);
    for pid in home.processes() {
        let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        if words.split(|&byte| byte == 0).nth(1) == Some(b"embedded") {
            signal(pid, "KILL");
        }
    }
    let output = child.wait_with_output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(4), "{err}");
    assert!(err.contains("fileinfo: the service's process ended: run it again\n"), "{err}");
    assert!(err.contains("-c 1:1 ended with 4: 1 line behind it was not run"), "{err}");
    // The next shell finds everything as it should be.
    home.line("processes -first 1").code(0);
}

#[test]
fn a_home_that_cannot_be_is_told_in_a_sentence() {
    let home = Home::new();
    let ran = home.batch("").env("LRSH_HOME", "relative").args(&["-c", "help"]).run().code(2);
    assert!(ran.err().contains("LRSH_HOME") && ran.err().lines().count() == 1, "{}", ran.err());
}

#[test]
fn the_device_that_is_named_is_the_one_that_is_asked() {
    let home = Home::new();
    let name = home.line("devices -output json").json()[0]["name"].as_str().unwrap().to_owned();
    home.batch("session\n").args(&["--device", &name]).run().code(0);
    let ran = home.batch("session\n").args(&["--device", "no-such-device"]).run().code(4);
    assert!(ran.err().contains("no-such-device") && ran.err().contains(&name), "{}", ran.err());
}

#[test]
fn exit_in_a_batch_is_the_end_of_its_input() {
    let home = Home::new();
    let check = |lines: &str, code: i32| home.batch(lines).args(&["--keep-going"]).run().code(code);
    check("dir /nope\nexit\n", 1);
    check("devices\nexit\ndir /nope\n", 0);
    let ran = check("dir /nope &\nexit\n", 1);
    assert!(
        ran.err().contains("[2]   (Failed)   dir /nope &") || ran.err().contains("/nope: there is no such"),
        "{}",
        ran.err()
    );
    // Jobs are waited for, and what they write is whole.
    check("findfile hostname /etc -output jsonl > found &\nexit\n", 0);
    let found = std::fs::read_to_string(home.work().join("found")).unwrap();
    assert!(found.contains("/etc/hostname"), "{found}");
    let ran = home.batch("devices\nquit\n").args(&["--stream"]).run().code(0);
    assert!(ran.out().contains("linux"), "{}", ran.out());
}

#[test]
fn what_the_shell_would_not_do_is_refused() {
    let home = Home::new();
    for line in ["cls > a", "connect > a", "exit > a", "trace on > a", "session &", "help &", "log&", "exit &", "connect&"] {
        let ran = home.line(line).code(2);
        assert!(ran.err().contains("has no answer") || ran.err().contains("in no background"), "{line}: {}", ran.err());
    }
    home.batch("session > session.txt\nlog > log.txt\nhelp > help.txt\n").run().code(0);
    for (name, holds) in [("log.txt", "connect"), ("help.txt", "processes"), ("session.txt", "CLR")] {
        assert!(std::fs::read_to_string(home.work().join(name)).unwrap().contains(holds), "{name}");
    }
    assert!(!home.work().join("a").exists());
}

#[test]
fn rows_carry_the_names_of_their_columns() {
    let home = Home::new();
    let ran = home.batch("session -output json\nsessions -output jsonl\nlog -output jsonl\n").run().code(0);
    let values = serde_json::Deserializer::from_str(&ran.out()).into_iter().collect::<Result<Vec<Value>, _>>().unwrap();
    assert_eq!(values.len(), 3);
    for value in values {
        assert!(value["duration"].is_u64() && value.get("duration_ms").is_none(), "{value}");
    }
    let ran = home.batch("cat /etc/hostname &\njobs -output jsonl -columns number,elapsed -sort -elapsed\n").run().code(0);
    assert!(ran.out().contains("\"elapsed\":"), "{}", ran.out());
}

#[test]
fn a_quoted_uri_is_a_name() {
    let home = Home::new();
    std::fs::write(home.work().join("a b"), "content\n").unwrap();
    let uri = format!("file://{}/a%20b", home.work().display());
    assert_eq!(home.line(&format!("cat {uri}")).code(0).out(), "content\n");
    for line in [format!("cat \"{uri}\""), format!("cat -path '{uri}'"), format!("remediate file \"{uri}\" -auto")] {
        home.line(&line).code(1);
    }
    assert!(home.work().join("a b").exists());
    let below = home.work().join("file:").join("x");
    std::fs::create_dir_all(below.parent().unwrap()).unwrap();
    std::fs::write(&below, "named\n").unwrap();
    let ran = home.batch(&format!("cd {}\ncat \"file:///x\"\n", home.work().display())).run().code(0);
    assert_eq!(ran.out(), "named\n");
}

#[test]
fn what_is_told_without_a_service_is_harmless_and_its_loss_is_told() {
    let home = Home::new();
    let told = |args: &[&std::ffi::OsStr], out: Stdio| {
        let ran = home.command().args(args).stdin(Stdio::null()).stdout(out).stderr(Stdio::piped()).spawn().unwrap();
        ran.wait_with_output().unwrap()
    };
    let line = std::ffi::OsStr::new("dir \"\u{202e}\u{9b}\u{7f}\u{200b}\"");
    let ran = told(&["explain".as_ref(), line], Stdio::piped());
    let text = String::from_utf8(ran.stdout).unwrap();
    assert!(text.contains(r"\u202e\u009b\u007f\u200b"), "{text}");
    let read: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(read["params"]["path"], "\u{202e}\u{9b}\u{7f}\u{200b}");

    let line = <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"dir \xff");
    let ran = told(&["explain".as_ref(), "--".as_ref(), line], Stdio::piped());
    let read: Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!((ran.status.code(), &read["error"]["span"]), (Some(2), &serde_json::json!([4, 5])), "{read}");

    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let ran = told(&["explain".as_ref(), "dir".as_ref()], full.into());
    assert_eq!(ran.status.code(), Some(1), "{ran:?}");
    assert!(String::from_utf8_lossy(&ran.stderr).contains("cannot be written"), "{ran:?}");

    std::fs::write(home.work().join("s\x1bx"), "foo\ncls > a\n").unwrap();
    let ran = told(&["check".as_ref(), "s\x1bx".as_ref()], Stdio::piped());
    let text = String::from_utf8(ran.stdout).unwrap();
    assert!(text.starts_with("s\\x1bx:1:1: unknown_command: "), "{text}");
    assert!(text.contains("s\\x1bx:2:5: unsupported_syntax: "), "{text}");

    let folder = std::fs::File::open(home.work()).unwrap();
    let ran = home.command().arg("--stream").stdin(folder).output().unwrap();
    assert_eq!(ran.status.code(), Some(2), "{ran:?}");
}

#[test]
fn a_fetched_file_goes_into_no_device() {
    let home = Home::new();
    let ran = home.line("getfile /etc/hostname -to /dev/null").code(1);
    assert!(ran.err().contains("/dev/null is no plain file"), "{}", ran.err());
}
