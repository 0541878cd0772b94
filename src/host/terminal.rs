//! The terminal that the shell sits at: quiet while a command runs, and as it was found at every end.

use std::io;
use std::sync::Mutex;

use rustix::stdio::stdin;
use rustix::termios::{LocalModes, OptionalActions, Termios, isatty, tcgetattr, tcsetattr};

/// The terminal as it was found, for an end that nobody foresaw.
static FOUND: Mutex<Option<Termios>> = Mutex::new(None);

/// Whether standard input is a terminal.
#[must_use]
pub fn stdin_is_terminal() -> bool {
    isatty(stdin())
}

/// Remembers the terminal as it is now, and puts it back when the program panics.
pub fn remember() {
    let Ok(found) = tcgetattr(stdin()) else { return };
    if let Ok(mut kept) = FOUND.lock() {
        *kept = Some(found);
    }
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        restore();
        before(panic);
    }));
}

/// Puts the terminal back as it was found. Harmless where there is none.
pub fn restore() {
    // A poisoned lock still holds the right state, and this may run within a panic.
    let kept = FOUND.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(found) = kept.as_ref() {
        let _ = tcsetattr(stdin(), OptionalActions::Drain, found);
    }
}

/// The terminal while a command runs: nothing typed is echoed or edited, the keys that send signals still do, and what
/// was typed ahead stays for the next prompt. Dropping it puts the terminal back.
#[derive(Debug)]
pub struct Quiet {
    before: Termios,
}

impl Quiet {
    /// Quiets the terminal; `None` where standard input is none.
    ///
    /// # Errors
    /// As the terminal says.
    pub fn enter() -> io::Result<Option<Self>> {
        if !stdin_is_terminal() {
            return Ok(None);
        }
        let before = tcgetattr(stdin())?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON);
        // DRAIN, not FLUSH: flushing would throw away what was typed ahead.
        tcsetattr(stdin(), OptionalActions::Drain, &quiet)?;
        Ok(Some(Self { before }))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        let _ = tcsetattr(stdin(), OptionalActions::Drain, &self.before);
    }
}
