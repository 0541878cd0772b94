//! `trace on|off`: shows each request and event with its time, and writes them to a file.

use crate::error::{Exit, Outcome};
use crate::grammar::Invocation;
use crate::shell::Shell;

pub(super) fn run(shell: &mut Shell, invocation: &Invocation) -> Outcome<Exit> {
    let trace = shell.client.trace();
    match invocation.params.get("state").map(String::as_str) {
        Some("on") => {
            let file = trace.start()?;
            shell.screen.message(&format!("requests and events are shown here and written to {}", file.display()));
        }
        Some(_) => {
            trace.stop();
            shell.screen.message("trace is off");
        }
        None => shell.screen.message(if trace.is_on() { "trace is on" } else { "trace is off" }),
    }
    Ok(Exit::Done)
}
