//! Numbers of processes are given anew: who has one now is not who was seen.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::refused;
use crate::kit::device::Device;
use crate::kit::need::{need, rounds, skip};

/// Says to a test that it runs where numbers are its own.
const INSIDE: &str = "LRSH_INSIDE_OWN_NUMBERS";
const TEST: &str = "remediate::reuse::who_was_given_the_number_since_lives";

fn sleeper() -> Child {
    Command::new("/bin/sleep").arg("1000").stdin(Stdio::null()).spawn().unwrap()
}

/// A process with that number, once nobody else has it.
fn with_number(pid: u32) -> Option<Child> {
    for _ in 0..1000 {
        std::fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string()).ok()?;
        let mut child = sleeper();
        if child.id() == pid {
            return Some(child);
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    None
}

#[test]
fn who_was_given_the_number_since_lives() {
    if std::env::var_os(INSIDE).is_none() {
        if !need(&["unshare"]) {
            return;
        }
        let out = Command::new("unshare")
            .args(["-mpf", "--mount-proc", "--propagation", "private"])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", TEST, "--nocapture"])
            .env(INSIDE, "1")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        if !out.status.success() && !said.contains("running 1 test") {
            skip(&format!("this machine forbids unshare: {said}"));
            return;
        }
        assert!(out.status.success() && said.contains("1 passed"), "{said}");
        return;
    }
    let mut device = Device::live();
    for _ in 0..rounds() {
        let mut seen = sleeper();
        let pid = seen.id();
        device.seen = device.run("processes", &[("pid", &pid.to_string())], &[]).seen();
        assert_eq!(device.seen.len(), 1);
        // The kernel's ticks must have gone on: two that start within one cannot be told from each other.
        let started = ticks(pid);
        seen.kill().unwrap();
        seen.wait().unwrap();
        let mut innocent = loop {
            let Some(mut other) = with_number(pid) else {
                skip("numbers cannot be chosen here");
                return;
            };
            if ticks(pid) != started {
                break other;
            }
            other.kill().unwrap();
            other.wait().unwrap();
        };
        for flags in [&[][..], &["tree"], &["force", "image"], &["plan"]] {
            let params = [("type", "process"), ("id", &*pid.to_string())];
            let why = refused(&device.run("remediate", &params, flags));
            assert!(why.code == "changed" && why.message.contains("it started at tick"), "{why:?}");
        }
        assert!(innocent.try_wait().unwrap().is_none());
        let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        assert!(status.contains(") S ") || status.contains(") R "), "it is not even made to stand still: {status}");
        innocent.kill().unwrap();
        innocent.wait().unwrap();
    }
}

/// When a process started, in ticks since the boot: field 22 of proc_pid_stat(5).
fn ticks(pid: u32) -> String {
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).unwrap();
    stat.rsplit(')').next().unwrap().split_whitespace().nth(19).unwrap().to_owned()
}
