//! The signals that an analyst's terminal sends to the shell.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What was asked by a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// SIGINT: Ctrl+C.
    Interrupt,
    /// SIGTSTP: Ctrl+Z.
    Suspend,
    /// SIGTERM.
    Terminate,
    /// SIGHUP: the terminal is gone.
    HangUp,
}

/// Hears signals from the moment it is made. The first one made keeps the process from ever being stopped or ended by
/// these signals; a terminal's waits take a fresh one each, because an old one remembers what came before it was asked.
#[derive(Debug)]
pub struct Signals {
    interrupt: Signal,
    suspend: Option<Signal>,
    terminate: Signal,
    hang_up: Signal,
}

impl Signals {
    /// Begins to listen; to SIGTSTP only if asked, so that a batch can be stopped like any program.
    ///
    /// # Errors
    /// When the operating system refuses a handler.
    pub fn listen(suspend: bool) -> io::Result<Self> {
        let kind = SignalKind::from_raw(rustix::process::Signal::TSTP.as_raw());
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            suspend: suspend.then(|| signal(kind)).transpose()?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// The next signal. Dropping the future loses none.
    pub async fn next(&mut self) -> Asked {
        tokio::select! {
            biased;
            _ = self.hang_up.recv() => Asked::HangUp,
            _ = self.terminate.recv() => Asked::Terminate,
            _ = self.interrupt.recv() => Asked::Interrupt,
            Some(()) = heard(&mut self.suspend) => Asked::Suspend,
        }
    }
}

async fn heard(signal: &mut Option<Signal>) -> Option<()> {
    match signal {
        Some(signal) => signal.recv().await,
        None => std::future::pending().await,
    }
}
