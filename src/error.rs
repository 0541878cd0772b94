//! What can go wrong in the shell, and the exit code that each kind of it ends with: the one place that maps the two.

use crate::protocol::{Completed, Problem, Status};

/// How the program ends. The codes are part of the contract with scripts (design, section 5).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Exit {
    /// Everything was done.
    #[default]
    Done = 0,
    /// A command failed on the device.
    Failed = 1,
    /// A line was not understood.
    NotUnderstood = 2,
    /// The service refused: a role, a policy, a limit, a device that another analyst holds.
    Refused = 3,
    /// The service or the device cannot be reached, or a command was interrupted.
    Unreachable = 4,
    /// The program itself is at fault.
    Internal = 5,
    /// A time limit ended a command.
    TimeLimit = 124,
    /// SIGHUP.
    HungUp = 129,
    /// Cancelled, by Ctrl+C or otherwise.
    Cancelled = 130,
    /// Nobody reads standard output any more.
    BrokenPipe = 141,
    /// SIGTERM.
    Terminated = 143,
}

impl Exit {
    /// The code for the operating system.
    #[must_use]
    pub fn code(self) -> u8 {
        self as u8
    }

    /// Whether nothing went wrong.
    #[must_use]
    pub fn is_done(self) -> bool {
        self == Self::Done
    }

    /// The first thing that went wrong of two, in order.
    #[must_use]
    pub fn or(self, later: Self) -> Self {
        if self.is_done() { later } else { self }
    }

    /// How a command ended.
    #[must_use]
    pub fn of_end(end: &Completed) -> Self {
        match end.status {
            Status::Completed => Self::Done,
            Status::Failed => end.errors.first().map_or(Self::Failed, |problem| Self::of_code(&problem.code)),
            Status::Cancelled => Self::Cancelled,
            Status::Expired => Self::TimeLimit,
            Status::Interrupted => Self::Unreachable,
            Status::Pending | Status::Running => Self::Internal,
        }
    }

    /// What a failed command's first error says. Whatever is not about the line or the service is the device's answer.
    fn of_code(code: &str) -> Self {
        match code {
            "not_on_platform" | "bad_value" | "bad_name" | "unknown_command" => Self::NotUnderstood,
            "role" | "limit" | "policy" | "unsigned" | "bad_signature" | "attached" | "running" | "session_closed" => {
                Self::Refused
            }
            "device_gone" | "device_offline" => Self::Unreachable,
            "internal" | "agent_garbage" => Self::Internal,
            _ => Self::Failed,
        }
    }
}

/// A failure: a sentence for the analyst, and what it means for the exit code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct Failure {
    /// What it means for the exit code.
    pub exit: Exit,
    /// What went wrong, about which thing, and what to do.
    pub problem: Problem,
}

/// What the shell's functions return.
pub type Outcome<T> = Result<T, Failure>;

impl Failure {
    /// A failure of a kind.
    pub fn new(exit: Exit, code: &str, message: impl Into<String>) -> Self {
        Self { exit, problem: Problem::new(code, message) }
    }

    /// Something on the analyst's own machine went wrong: a file, a terminal.
    pub fn here(code: &str, message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, code, message)
    }

    /// The service cannot be reached.
    pub fn unreachable(message: impl Into<String>) -> Self {
        Self::new(Exit::Unreachable, "unreachable", message)
    }

    /// The program itself is at fault.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Exit::Internal, "internal", message)
    }

    /// Nobody reads standard output any more: ends silently.
    #[must_use]
    pub fn broken_pipe() -> Self {
        Self::new(Exit::BrokenPipe, "broken_pipe", "standard output was closed")
    }

    /// What the service answered to a call.
    #[must_use]
    pub fn answered(status: u16, problem: Problem) -> Self {
        let exit = match (status, problem.code.as_str()) {
            (_, code) if is_reading(code) => Exit::NotUnderstood,
            (401 | 403 | 409 | 410 | 413 | 423 | 426 | 429, _) => Exit::Refused,
            (404, _) => Exit::Failed,
            // What a device says of itself, passed on.
            (502, code) => Exit::of_code(code),
            (503 | 504, _) => Exit::Unreachable,
            (400..=499, _) => Exit::NotUnderstood,
            _ => Exit::Internal,
        };
        Self { exit, problem }
    }

    /// The code of the problem.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.problem.code
    }
}

/// Whether a code is one of [`crate::grammar::ErrorKind`]'s names.
fn is_reading(code: &str) -> bool {
    const NAMES: [&str; 12] = [
        "unknown_command",
        "unknown_parameter",
        "missing_value",
        "missing_parameter",
        "duplicate_parameter",
        "too_many_values",
        "bad_value",
        "open_quote",
        "missing_redirect_target",
        "unsupported_syntax",
        "not_on_platform",
        "empty",
    ];
    NAMES.contains(&code)
}
