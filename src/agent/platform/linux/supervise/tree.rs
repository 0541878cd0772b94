//! The processes below one: found by who started whom, ended until none is left.
//!
//! The one above is their subreaper: what any of them leaves behind becomes its child, also what has a session of its own, so
//! that nothing gets out of the tree by letting go.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, WaitStatus};

use crate::agent::platform::linux::ending::wait_for_one;

/// The tree below this process.
#[derive(Debug)]
pub(super) struct Tree {
    /// The child whose end matters.
    main: Pid,
    /// How it ended.
    pub(super) ended: Option<WaitStatus>,
}

impl Tree {
    pub(super) fn new(main: Pid) -> Self {
        Self { main, ended: None }
    }

    /// Takes note of every child that has ended.
    pub(super) fn reap(&mut self) {
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            if pid == self.main {
                self.ended = Some(status);
            }
        }
    }

    /// The processes that have not ended.
    pub(super) fn alive(&mut self) -> BTreeSet<u32> {
        self.reap();
        below(std::process::id())
    }

    /// Waits until none is left, for so long at most; those that are.
    pub(super) fn wait(&mut self, patience: Duration) -> BTreeSet<u32> {
        let until = Instant::now() + patience;
        loop {
            let alive = self.alive();
            if alive.is_empty() || Instant::now() >= until {
                return alive;
            }
            wait_for_one(alive, until);
        }
    }

    /// Sends a signal to every one; to which.
    pub(super) fn signal(&mut self, signal: Signal) -> BTreeSet<u32> {
        let alive = self.alive();
        alive.iter().for_each(|&pid| send(pid, signal));
        alive
    }

    /// Kills until none is left, for so long at most; those that are (they hang in the kernel).
    pub(super) fn kill(&mut self, patience: Duration, also: impl Fn()) -> BTreeSet<u32> {
        let until = Instant::now() + patience;
        loop {
            also();
            let killed = self.signal(Signal::KILL);
            if killed.is_empty() || Instant::now() >= until {
                return killed;
            }
            // One that was started meanwhile has a parent among these, whose end is heard.
            wait_for_one(killed, until);
        }
    }
}

/// Sends a signal to a process that was just seen.
pub(super) fn send(pid: u32, signal: Signal) {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return };
    // One that has ended meanwhile needs none.
    let _ = match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
        Ok(process) => rustix::process::pidfd_send_signal(process, signal),
        // Before Linux 5.3 there is only the number.
        Err(Errno::NOSYS) => rustix::process::kill_process(pid, signal),
        Err(error) => Err(error),
    };
}

/// Every living process that this one, or one below it, has started or inherited.
fn below(top: u32) -> BTreeSet<u32> {
    let mut children: HashMap<u32, Vec<(u32, u8)>> = HashMap::new();
    for pid in all() {
        if let Some((state, parent)) = stat(pid) {
            children.entry(parent).or_default().push((pid, state));
        }
    }
    let mut found = BTreeSet::new();
    let mut next = vec![top];
    while let Some(parent) = next.pop() {
        for (pid, state) in children.remove(&parent).unwrap_or_default() {
            next.push(pid);
            if !matches!(state, b'Z' | b'X') {
                found.insert(pid);
            }
        }
    }
    found
}

/// Every process.
pub(super) fn all() -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// State and parent of a process.
fn stat(pid: u32) -> Option<(u8, u32)> {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    // The name before them may hold anything but ends at the last parenthesis.
    let behind = stat.get(stat.iter().rposition(|&byte| byte == b')')? + 1..)?;
    let mut fields = std::str::from_utf8(behind).ok()?.split_ascii_whitespace();
    let state = *fields.next()?.as_bytes().first()?;
    Some((state, fields.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn the_processes_below_one_are_those_it_started() {
        let mut shell = Command::new("sh");
        shell.args(["-c", "sleep 60 & sleep 60 & read x; kill $(jobs -p)"]);
        let mut child = shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        while below(child.id()).len() < 2 {
            std::thread::yield_now();
        }
        assert!(below(std::process::id()).is_superset(&below(child.id())));
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(below(child.id()).is_empty());
    }
}
