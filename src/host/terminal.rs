//! The terminal that the shell sits at: quiet while a command runs, and as it was found at every end.

use std::io;
use std::sync::Mutex;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::stdio::stdin;
use rustix::termios::{InputModes, LocalModes, OptionalActions, Termios, isatty, tcgetattr, tcsetattr};

/// The terminal as it was found, for an end that nobody foresaw.
static FOUND: Mutex<Found> = Mutex::new(Found { found: None, is_over: false });

struct Found {
    found: Option<Termios>,
    /// It was put back for good: a command that still runs quiets it no more.
    is_over: bool,
}

/// Changes the terminal, unless it was put back for good.
fn change(to: &Termios) -> io::Result<()> {
    let kept = FOUND.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    // DRAIN, not FLUSH: flushing would throw away what was typed ahead.
    if kept.is_over { Ok(()) } else { Ok(tcsetattr(stdin(), OptionalActions::Drain, to)?) }
}

/// Whether standard input is a terminal.
#[must_use]
pub fn stdin_is_terminal() -> bool {
    isatty(stdin())
}

/// Whether there is something to read on standard input now: of a terminal that hands out lines, a whole line.
#[must_use]
pub fn has_input() -> bool {
    let input = stdin();
    let mut watched = [PollFd::new(&input, PollFlags::IN)];
    poll(&mut watched, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
}

/// Remembers the terminal as it is now, and puts it back when this thread panics. (A task that panics ends nothing: the
/// editor goes on.)
pub fn remember() {
    let Ok(found) = tcgetattr(stdin()) else { return };
    if let Ok(mut kept) = FOUND.lock() {
        *kept = Found { found: Some(found), is_over: false };
    }
    let before = std::panic::take_hook();
    let thread = std::thread::current().id();
    std::panic::set_hook(Box::new(move |panic| {
        if std::thread::current().id() == thread {
            restore();
        }
        before(panic);
    }));
}

/// Puts the terminal back as it was found, for good: the process ends. Harmless where there is none.
pub fn restore() {
    // A poisoned lock still holds the right state, and this may run within a panic.
    let mut kept = FOUND.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(found) = kept.found.as_ref() {
        let _ = tcsetattr(stdin(), OptionalActions::Drain, found);
        kept.is_over = true;
    }
}

/// Wakes whoever waits for a key: as if the terminal had another size.
pub fn wake() {
    // Without it, what was held back waits for the next key.
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::WINCH);
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
        Self::without(InputModes::empty())
    }

    /// Quiets the terminal between the lines of an editor, which wants the return key as it is: a line feed would not end
    /// what it reads at once, and what was typed behind it would be lost.
    ///
    /// # Errors
    /// As the terminal says.
    pub fn for_editor() -> io::Result<Option<Self>> {
        Self::without(InputModes::ICRNL)
    }

    fn without(input: InputModes) -> io::Result<Option<Self>> {
        if !stdin_is_terminal() {
            return Ok(None);
        }
        let before = tcgetattr(stdin())?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON);
        quiet.input_modes.remove(input);
        change(&quiet)?;
        Ok(Some(Self { before }))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        let _ = change(&self.before);
    }
}
