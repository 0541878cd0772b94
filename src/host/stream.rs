//! What is known of the terminal behind an open stream.

use std::os::fd::AsFd;

/// The columns of the terminal behind a stream; `None` where there is none, or it does not say.
#[must_use]
pub fn terminal_width(stream: impl AsFd) -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(stream).ok()?;
    (size.ws_col > 0).then(|| usize::from(size.ws_col))
}
