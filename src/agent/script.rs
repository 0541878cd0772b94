//! A script below its supervisor, as the agent sees it: started, fed, watched, ended.
//!
//! Agent and supervisor speak over a socket that is the supervisor's standard input. The agent says an [`Order`] (a line of
//! JSON), the script's bytes, and [`GO`]; then at most [`ASKS_FOR_END`]. The supervisor answers with [`Report`]s, a line each.
//! The end of the socket says to either that the other is gone. Output comes by pipes that the script itself writes to.

use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::platform;
use crate::protocol::{CommandId, Problem, StreamName};

/// Said behind the script's bytes: it may start.
pub const GO: u8 = b'G';
/// Said while it runs: it is to end.
pub const ASKS_FOR_END: u8 = b'E';
/// What every process of a script has in its environment, unless it takes it out: the command's id.
pub const COMMAND_MARK: &str = "LRSH_COMMAND_ID";
/// The argument that makes the program a supervisor.
pub const SUPERVISE: &str = "supervise";

/// How much output is taken at once, in bytes.
const PIECE: usize = 64 * 1024;
/// A report is at most this long, in bytes.
const MAX_REPORT: usize = 1 << 20;

/// What a supervisor is to run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Order {
    /// The command it is for.
    pub command_id: String,
    /// The script's name in the library.
    pub name: String,
    /// The script's bytes that follow.
    pub size: u64,
    /// Of those bytes, lower-case hexadecimal.
    pub sha256: String,
    /// A folder of the command's own, which is made, and removed at the end.
    pub folder: PathBuf,
    /// What the script gets, exactly.
    pub arguments: Vec<String>,
    /// Where it starts.
    pub directory: PathBuf,
}

/// What a supervisor says.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Report {
    /// It runs.
    Started {
        /// Its process.
        pid: u32,
    },
    /// It was not started.
    Refused(Problem),
    /// It has ended, and with it everything it started.
    Ended(ScriptEnd),
}

/// How a script ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScriptEnd {
    /// Its exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// It was still running when its end was asked for.
    pub was_asked: bool,
    /// Other processes of its tree that had to be ended.
    pub also_ended: usize,
    /// Processes that hang in the kernel and cannot be ended.
    pub stuck: Vec<u32>,
    /// The processor time of its tree.
    pub cpu_ms: u64,
    /// From start to end.
    pub duration_ms: u64,
}

/// What came of a script.
#[derive(Debug)]
pub enum Came {
    /// Something it wrote.
    Output(StreamName, Vec<u8>),
    /// What its supervisor says.
    Report(Report),
    /// Nothing, for as long as was waited.
    Nothing,
    /// Everything: supervisor and output are at their end.
    End,
}

/// A script below its supervisor. Dropping it ends it with everything it started.
pub struct Supervised {
    supervisor: Child,
    folder: PathBuf,
    control: Option<UnixStream>,
    out: Option<ChildStdout>,
    err: Option<ChildStderr>,
    said: Vec<u8>,
}

/// Where the scripts of an agent are, each in a folder that is called by its command.
#[must_use]
pub fn folder_of_scripts(agent: &Path) -> PathBuf {
    agent.join("run")
}

/// Ends what an agent that died left running, and waits until it is gone.
pub fn end_remains(agent: &Path) {
    for entry in std::fs::read_dir(folder_of_scripts(agent)).into_iter().flatten().flatten() {
        platform::end_remains(&entry.path());
    }
}

impl Supervised {
    /// Starts a supervisor for a script: `program` is this program's own file.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(program: &Path, order: &Order) -> io::Result<Self> {
        let (ours, its) = UnixStream::pair()?;
        let mut command = Command::new(program);
        command.arg0("lrsh").arg(SUPERVISE).current_dir("/").stdin(Stdio::from(std::os::fd::OwnedFd::from(its)));
        let mut supervisor = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        // The command holds a copy of the supervisor's end: without this its death would not be heard.
        drop(command);
        let (out, err) = (supervisor.stdout.take(), supervisor.stderr.take());
        let mut script = Self { supervisor, folder: order.folder.clone(), control: Some(ours), out, err, said: Vec::new() };
        let mut line = serde_json::to_vec(order)?;
        line.push(b'\n');
        script.say(&line)?;
        Ok(script)
    }

    /// Says the script's next bytes.
    ///
    /// # Errors
    /// When the supervisor is gone.
    pub fn say(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.control.as_mut().map_or(Err(io::ErrorKind::BrokenPipe.into()), |control| control.write_all(bytes))
    }

    /// Lets it start.
    ///
    /// # Errors
    /// When the supervisor is gone.
    pub fn go(&mut self) -> io::Result<()> {
        self.say(&[GO])
    }

    /// Asks for its end, and that of everything it started.
    pub fn ask_for_end(&mut self) {
        // A supervisor that is gone has ended it.
        let _ = self.say(&[ASKS_FOR_END]);
    }

    /// Waits until something comes, for so long at most.
    ///
    /// # Errors
    /// When a pipe cannot be read.
    pub fn next(&mut self, patience: Duration) -> io::Result<Came> {
        if let Some(report) = self.report()? {
            return Ok(Came::Report(report));
        }
        let (out, err, control) = self.ready(patience);
        if out && let Some(pipe) = &self.out {
            match read(pipe.as_fd(), PIECE)? {
                Some(bytes) if bytes.is_empty() => self.out = None,
                Some(bytes) => return Ok(Came::Output(StreamName::Stdout, bytes)),
                None => {}
            }
        }
        if err && let Some(pipe) = &self.err {
            match read(pipe.as_fd(), PIECE)? {
                Some(bytes) if bytes.is_empty() => self.err = None,
                Some(bytes) => return Ok(Came::Output(StreamName::Stderr, bytes)),
                None => {}
            }
        }
        if control && let Some(socket) = &self.control {
            match read(socket.as_fd(), PIECE) {
                Ok(Some(bytes)) if bytes.is_empty() => self.control = None,
                Ok(Some(bytes)) => self.said.extend(bytes),
                Ok(None) => {}
                // It went with something of ours unread.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => self.control = None,
                Err(error) => return Err(error),
            }
            return Ok(self.report()?.map_or(Came::Nothing, Came::Report));
        }
        // Without a supervisor everything of the script has ended, or is not to be waited for: what it wrote is there.
        let drained = !out && !err;
        Ok(if self.control.is_none() && drained { Came::End } else { Came::Nothing })
    }

    /// Which of output, errors and supervisor have something to say, or are at their end.
    fn ready(&self, patience: Duration) -> (bool, bool, bool) {
        let fds =
            [self.out.as_ref().map(AsFd::as_fd), self.err.as_ref().map(AsFd::as_fd), self.control.as_ref().map(AsFd::as_fd)];
        let mut watched: Vec<PollFd<'_>> =
            fds.iter().flatten().map(|&fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
        // What is there after the supervisor's end was there before it: nothing more is waited for.
        let patience = if self.control.is_some() { patience } else { Duration::ZERO };
        let patience = Timespec {
            tv_sec: i64::try_from(patience.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(patience.subsec_nanos()),
        };
        // Interrupted, it is asked again.
        let _ = rustix::event::poll(&mut watched, Some(&patience));
        let mut ready = watched.iter().map(|fd| !fd.revents().is_empty());
        let [out, err, control] = fds.map(|fd| fd.is_some() && ready.next().unwrap_or(false));
        (out, err, control)
    }

    /// The next whole report that has come.
    fn report(&mut self) -> io::Result<Option<Report>> {
        let Some(end) = self.said.iter().position(|&byte| byte == b'\n') else {
            return if self.said.len() > MAX_REPORT { Err(io::ErrorKind::InvalidData.into()) } else { Ok(None) };
        };
        let rest = self.said.split_off(end + 1);
        let line = std::mem::replace(&mut self.said, rest);
        Ok(Some(serde_json::from_slice(&line)?))
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        // Its standard input ends: it kills what is left, and ends.
        self.control = None;
        if let Err(error) = self.supervisor.wait() {
            tracing::error!(%error, "a supervisor cannot be waited for");
        }
        // It has removed this, unless somebody has killed it.
        if self.folder.exists() {
            platform::end_remains(&self.folder);
        }
    }
}

/// The folder of a command's script.
#[must_use]
pub fn folder_of(agent: &Path, command: CommandId) -> PathBuf {
    folder_of_scripts(agent).join(command.to_string())
}

/// Reads what is there; nothing at the end, `None` where it has to be asked again.
fn read(from: BorrowedFd<'_>, most: usize) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::with_capacity(most);
    match rustix::io::read(from, rustix::buffer::spare_capacity(&mut bytes)) {
        Ok(_) => Ok(Some(bytes)),
        Err(Errno::INTR | Errno::AGAIN) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
