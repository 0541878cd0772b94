//! `cls`: clears the screen.

use crate::error::{Exit, Outcome};
use crate::grammar::Invocation;
use crate::shell::Shell;
use crate::shell::jobs::written;

pub(super) fn run(shell: &mut Shell, _invocation: &Invocation) -> Outcome<Exit> {
    shell.screen.wipe().map_err(|error| written(&error))?;
    Ok(Exit::Done)
}
