//! Waits for processes to end by their descriptors (pidfd): the kernel says so, and nobody asks again and again.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// How long between two looks where there are no such descriptors: before Linux 5.3, or when no file can be opened any more.
const PACE: Duration = Duration::from_millis(5);
/// One of so many ends as soon as the first of all, or soon after.
const AT_ONCE: usize = 256;

/// Returns once one of the processes has ended, or the time is over. None to wait for is an end too.
pub(super) fn wait_for_one(processes: impl IntoIterator<Item = u32>, until: Instant) {
    let mut held: Vec<OwnedFd> = Vec::new();
    for pid in processes.into_iter().take(AT_ONCE) {
        let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return };
        match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(process) => held.push(process),
            Err(Errno::SRCH) => return,
            Err(_) => return std::thread::sleep(PACE.min(left(until))),
        }
    }
    if !held.is_empty() {
        let mut watched: Vec<PollFd<'_>> = held.iter().map(|process| PollFd::new(process, PollFlags::IN)).collect();
        // Interrupted, whoever waits looks again.
        let _ = poll(&mut watched, Some(&timespec(left(until))));
    }
}

/// How long it is until then.
pub(super) fn left(until: Instant) -> Duration {
    until.saturating_duration_since(Instant::now())
}

/// A duration as the kernel takes it.
pub(super) fn timespec(time: Duration) -> Timespec {
    Timespec { tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX), tv_nsec: time.subsec_nanos().into() }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn the_first_to_end_ends_the_waiting() {
        let far = Instant::now() + Duration::from_mins(10);
        let start = || Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let (mut stays, mut ends) = (start(), start());
        drop(ends.stdin.take());
        wait_for_one([stays.id(), ends.id()], far);
        assert!(ends.try_wait().unwrap().is_some() && stays.try_wait().unwrap().is_none());
        // One that is gone, and nobody at all.
        wait_for_one([stays.id(), ends.id()], far);
        wait_for_one([], far);
        // The time is over.
        wait_for_one([stays.id()], Instant::now());
        drop(stays.stdin.take());
        stays.wait().unwrap();
    }
}
