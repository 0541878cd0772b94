//! The screen: standard output, standard error, and what is known of the terminal behind them.

#![allow(clippy::disallowed_methods)] // This is the one place that holds the two streams.

use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rustix::event::{PollFd, PollFlags, Timespec};
use tokio_util::sync::CancellationToken;

use crate::grammar::Diagnostic;
use crate::protocol::{Problem, Progress};

use super::diagnostic::{self, Origin};
use super::progress::Bars;
use super::wrap::Wrap;
use super::{Above, clean, theme};

/// How a [`Screen`] is to be.
#[derive(Debug, Clone, Copy, Default)]
pub struct ScreenOptions {
    /// What the command line says of colour; nothing: `NO_COLOR`, `CLICOLOR_FORCE` and the terminal decide.
    pub color: Option<bool>,
    /// Whether a person sits at it: only then are there bars, and messages above a line being typed.
    pub interactive: bool,
    /// The width of tables, instead of the terminal's.
    pub width: Option<usize>,
}

/// The owner of standard output and standard error. Cheap to clone; every clone is the same screen.
#[derive(Debug, Clone)]
pub struct Screen(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    options: ScreenOptions,
    out_is_terminal: bool,
    err_is_terminal: bool,
    /// Keeps what two tasks write whole.
    turn: Mutex<Turn>,
    /// Both streams go to the same place, which is no terminal: what is said beside an answer stands in it.
    is_one_place: bool,
    bars: Bars,
    above: Above,
    /// Said once nobody can read standard output any more; watched from the first time that somebody wants to know.
    unread: OnceLock<CancellationToken>,
}

#[derive(Debug, Default)]
struct Turn {
    /// The last line of standard output has no end yet.
    line_is_open: bool,
}

impl Screen {
    /// Takes the two streams over.
    #[must_use]
    pub fn new(options: ScreenOptions) -> Self {
        let out_is_terminal = io::stdout().is_terminal();
        let err_is_terminal = io::stderr().is_terminal();
        let bars = Bars::new(options.interactive && err_is_terminal, is_dumb());
        Self(Arc::new(Inner {
            options,
            out_is_terminal,
            err_is_terminal,
            turn: Mutex::default(),
            is_one_place: !out_is_terminal && !err_is_terminal && is_one_place(),
            bars,
            above: Above::default(),
            unread: OnceLock::new(),
        }))
    }

    /// Whether standard output is a terminal.
    #[must_use]
    pub fn out_is_terminal(&self) -> bool {
        self.0.out_is_terminal
    }

    /// Whether standard output is a terminal that knows where its cursor is.
    #[must_use]
    pub fn can_be_drawn_on(&self) -> bool {
        self.0.out_is_terminal && !is_dumb()
    }

    /// Whether standard error is a terminal.
    #[must_use]
    pub fn err_is_terminal(&self) -> bool {
        self.0.err_is_terminal
    }

    /// Whether a person sits at it.
    #[must_use]
    pub fn is_interactive(&self) -> bool {
        self.0.options.interactive
    }

    /// The columns that a table may take, read afresh; `None` where nothing bounds them.
    #[must_use]
    pub fn width(&self) -> Option<usize> {
        if let Some(width) = self.0.options.width {
            return Some(width);
        }
        self.0.out_is_terminal.then(|| crate::host::terminal_width(io::stdout()).unwrap_or(80))
    }

    /// The same of standard error.
    #[must_use]
    pub fn err_width(&self) -> Option<usize> {
        self.0.err_is_terminal.then(|| crate::host::terminal_width(io::stderr()).unwrap_or(80))
    }

    /// How what stands beside an answer is broken into lines.
    fn wrap(&self) -> Wrap {
        Wrap { columns: self.err_width(), taken: 0, hang: 2 }
    }

    /// Whether standard output takes colour.
    #[must_use]
    pub fn color(&self) -> bool {
        self.colors(self.0.out_is_terminal)
    }

    fn colors(&self, is_terminal: bool) -> bool {
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let forced = std::env::var_os("CLICOLOR_FORCE").is_some_and(|value| !value.is_empty() && value != "0");
        choose_color(self.0.options.color, set("NO_COLOR"), forced, is_terminal && !is_dumb())
    }

    /// The announcements that wait for the editor.
    #[must_use]
    pub fn above(&self) -> &Above {
        &self.0.above
    }

    /// Writes a piece of an answer to standard output.
    ///
    /// # Errors
    /// As the stream says; `BrokenPipe` when nobody reads it any more.
    pub fn write(&self, bytes: &[u8]) -> io::Result<()> {
        self.in_turn(|turn| {
            let mut out = io::stdout().lock();
            out.write_all(bytes)?;
            turn.line_is_open = bytes.last().map_or(turn.line_is_open, |last| *last != b'\n');
            out.flush()
        })
    }

    /// Whether nobody can read standard output any more: the other end of its pipe is closed. A terminal's end is told by
    /// a signal.
    #[must_use]
    pub fn is_unread(&self) -> bool {
        !self.0.out_is_terminal && is_broken(Some(&Timespec::default()))
    }

    /// Waits until nobody can read standard output any more; for ever where it is a terminal or a file.
    pub async fn until_unread(&self) {
        let unread = self.0.unread.get_or_init(|| {
            let unread = CancellationToken::new();
            if is_pipe() {
                let told = unread.clone();
                // A thread: a runtime could only watch what it owns. It ends with the process.
                std::thread::spawn(move || {
                    while !is_broken(None) {}
                    told.cancel();
                });
            }
            unread
        });
        unread.cancelled().await;
    }

    /// Writes a piece of a script's standard error to standard error.
    ///
    /// # Errors
    /// As the stream says.
    pub fn write_error(&self, bytes: &[u8]) -> io::Result<()> {
        self.in_turn(|_| io::stderr().lock().write_all(bytes))
    }

    /// Writes something that stands beside the answer to standard error as it is: it begins a line where both streams go to one
    /// place.
    ///
    /// # Errors
    /// As the stream says.
    pub fn write_beside(&self, bytes: &[u8]) -> io::Result<()> {
        self.in_turn(|turn| self.beside(turn, bytes))
    }

    /// Says something beside the answer, on standard error. Line feeds stay, all else that is hostile is shown.
    pub fn message(&self, text: &str) {
        self.say(&self.wrap().lines(&clean::lines(text)));
    }

    /// Shows a line as it was typed, to be copied as it is: it is not broken.
    pub fn typed(&self, line: &str) {
        self.say(&clean::lines(line));
    }

    /// Says something less important than a message.
    pub fn aside(&self, text: &str) {
        let color = self.colors(self.0.err_is_terminal);
        self.say(&theme::paint(theme::aside(), &self.wrap().lines(&clean::lines(text)), color));
    }

    /// Says something that did not come from what is being typed now: above that line while there is one.
    pub fn announce(&self, text: &str) {
        if let Some(text) = self.0.above.offer(self.wrap().lines(&clean::lines(text))) {
            self.say(&text);
        }
    }

    /// Says what went wrong. Further lines of its message are set in, so that they cannot pass for lines of their own.
    pub fn error(&self, problem: &Problem) {
        let color = self.colors(self.0.err_is_terminal);
        let mut text = theme::paint(theme::error(), "error:", color);
        for (n, line) in problem.message.lines().enumerate() {
            if n > 0 {
                text.push('\n');
            }
            let (taken, indent) = if n == 0 { ("error:".len(), " ") } else { (0, "  ") };
            let wrap = Wrap { taken, ..self.wrap() };
            wrap.line(&format!("{indent}{}", clean::line(line)), &mut text);
        }
        self.say(&text);
    }

    /// Shows what was not understood of a line, each with a caret under its place and what to do instead.
    pub fn diagnostics(&self, line: &str, origin: Option<&Origin>, diagnostics: &[Diagnostic]) {
        let color = self.colors(self.0.err_is_terminal);
        for found in diagnostics {
            self.say(&diagnostic::render(line, origin, found, color, self.err_width()));
        }
    }

    /// Shows how far a job is. Nothing in batch; now and then a line on a dumb terminal.
    pub fn progress(&self, job: u64, label: &str, progress: &Progress) {
        if let Some(line) = self.0.bars.show(job, &clean::line(label), progress) {
            self.say(&line);
        }
    }

    /// Removes a job's bar.
    pub fn progress_end(&self, job: u64) {
        self.0.bars.remove(job);
    }

    /// Removes every bar: before the terminal is handed to the editor or a pager.
    pub fn clear(&self) {
        self.0.bars.clear();
    }

    /// Clears the terminal, where standard output is one.
    ///
    /// # Errors
    /// As the stream says.
    pub fn wipe(&self) -> io::Result<()> {
        if self.0.out_is_terminal && !is_dumb() { self.write(b"\x1b[H\x1b[2J\x1b[3J") } else { Ok(()) }
    }

    fn say(&self, text: &str) {
        // Standard error that cannot be written leaves nobody to tell.
        let _ = self.write_beside(format!("{text}\n").as_bytes());
    }

    fn beside(&self, turn: &mut Turn, bytes: &[u8]) -> io::Result<()> {
        let mut err = io::stderr().lock();
        if std::mem::take(&mut turn.line_is_open) && self.0.is_one_place {
            // On this stream, so that the answer itself stays as it is.
            return err.write_all(&[b"\n", bytes].concat());
        }
        err.write_all(bytes)
    }

    /// Does something with the streams while no bar is drawn and nobody else writes.
    fn in_turn<T>(&self, write: impl FnOnce(&mut Turn) -> T) -> T {
        let mut turn = self.0.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.bars.suspend(|| write(&mut turn))
    }
}

/// Whether standard output and standard error are the same pipe or file.
fn is_one_place() -> bool {
    let place = |facts: rustix::fs::Stat| (facts.st_dev, facts.st_ino);
    match (rustix::fs::fstat(io::stdout()), rustix::fs::fstat(io::stderr())) {
        (Ok(out), Ok(err)) => place(out) == place(err),
        _ => false,
    }
}

/// Whether standard output is one end of something whose other end can be closed.
fn is_pipe() -> bool {
    use rustix::fs::FileType;
    let kind = rustix::fs::fstat(io::stdout()).map(|facts| FileType::from_raw_mode(facts.st_mode));
    matches!(kind, Ok(FileType::Fifo | FileType::Socket))
}

/// Whether the other end of standard output is closed, once it is or the patience is at its end.
fn is_broken(patience: Option<&Timespec>) -> bool {
    let out = io::stdout();
    let mut watched = [PollFd::new(&out, PollFlags::empty())];
    // Interrupted, it is asked again.
    let polled = rustix::event::poll(&mut watched, patience);
    polled.is_ok() && watched.iter().any(|fd| fd.revents().intersects(PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL))
}

/// The order in which colour is decided.
fn choose_color(flag: Option<bool>, no_color: bool, forced: bool, is_terminal: bool) -> bool {
    flag.unwrap_or(!no_color && (forced || is_terminal))
}

/// Whether the terminal can do nothing but print.
pub(crate) fn is_dumb() -> bool {
    std::env::var_os("TERM").is_none_or(|term| term == "dumb" || term.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_is_decided_by_flag_then_environment_then_terminal() {
        let check = |flag, no_color, forced, terminal, wanted| {
            assert_eq!(choose_color(flag, no_color, forced, terminal), wanted, "{flag:?} {no_color} {forced} {terminal}");
        };
        check(Some(true), true, false, false, true);
        check(Some(false), false, true, true, false);
        check(None, true, true, true, false);
        check(None, false, true, false, true);
        check(None, false, false, true, true);
        check(None, false, false, false, false);
    }
}
