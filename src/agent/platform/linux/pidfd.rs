//! A process held by a descriptor, which never comes to mean another that gets its number.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal, test_kill_process};

/// A process that is held.
#[derive(Debug)]
pub struct HeldProcess {
    pid: Pid,
    fd: OwnedFd,
}

impl HeldProcess {
    /// Holds the process of that number. Whose it is must be compared afterwards.
    ///
    /// # Errors
    /// As pidfd_open says; `ESRCH` when there is none.
    pub fn open(pid: u32) -> io::Result<Self> {
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::NotFound)?;
        Ok(Self { pid, fd: pidfd_open(pid, PidfdFlags::empty())? })
    }

    /// Whether the agent has the right to end it, as far as can be told without trying: nothing is sent.
    #[must_use]
    pub fn may_be_ended(&self) -> bool {
        test_kill_process(self.pid) != Err(rustix::io::Errno::PERM)
    }

    /// Ends it.
    ///
    /// # Errors
    /// As pidfd_send_signal says; `ESRCH` when it has ended.
    pub fn kill(&self) -> io::Result<()> {
        Ok(pidfd_send_signal(&self.fd, Signal::KILL)?)
    }

    /// Has it stand still.
    ///
    /// # Errors
    /// As pidfd_send_signal says.
    pub fn stop(&self) -> io::Result<()> {
        Ok(pidfd_send_signal(&self.fd, Signal::STOP)?)
    }

    /// Has it go on.
    ///
    /// # Errors
    /// As pidfd_send_signal says.
    pub fn go_on(&self) -> io::Result<()> {
        Ok(pidfd_send_signal(&self.fd, Signal::CONT)?)
    }

    /// Waits for its end; whether it came.
    ///
    /// # Errors
    /// As poll says.
    pub fn ended(&self, patience: Duration) -> io::Result<bool> {
        let deadline = Instant::now() + patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let left =
                Timespec { tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX), tv_nsec: left.subsec_nanos().into() };
            match poll(&mut [PollFd::new(&self.fd, PollFlags::IN)], Some(&left)) {
                Ok(count) => return Ok(count > 0),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}
