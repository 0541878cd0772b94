//! Lines read by the service: a shell's once more, and those of its own making.

use indexmap::IndexMap;

use crate::grammar::{self, Invocation};
use crate::protocol::{CommandId, MAX_LINE, NewCommand, Param};
use crate::service::error::{Answer, Refusal};
use crate::service::sessions::OpenSession;

/// No folder has a longer path, each byte of it as `%XX`: PATH_MAX of Linux, and as much on Windows.
const MAX_DIRECTORY: usize = 3 * 4096 + 16;

/// Reads the raw line by the same grammar and compares it with what the shell made of it.
pub(super) fn read_again(session: &OpenSession, new: &NewCommand) -> Answer<Invocation> {
    Refusal::unless_within(&new.raw_command_line, MAX_LINE, "raw_command_line")?;
    Refusal::unless_within(&new.current_directory, MAX_DIRECTORY, "current_directory")?;
    let reading = grammar::read(&new.raw_command_line, Some(session.platform()));
    if let Some(error) = reading.error() {
        return Err(Refusal::bad(error.kind.as_str(), error.message.clone()).about("raw_command_line"));
    }
    let Some(invocation) = reading.invocation else {
        return Err(Refusal::bad("empty", "there is no command").about("raw_command_line"));
    };
    let span = grammar::Span { start: 0, end: 0 };
    if invocation.row.since.is_some() {
        let message = grammar::not_yet(invocation.row, span).message;
        return Err(Refusal::bad("not_on_platform", message).about("command_definition_id"));
    }
    let params: IndexMap<&str, &str> = new.params.iter().map(|param| (param.param_id.as_str(), param.value.as_str())).collect();
    let same = invocation.row.name == new.command_definition_id
        && params.len() == new.params.len()
        && params.len() == invocation.params.len()
        && invocation.params.iter().all(|(name, value)| params.get(name.as_str()) == Some(&value.as_str()))
        && invocation.flags.iter().eq(new.flags.iter())
        && invocation.background == new.background_mode;
    if !same {
        let message = "the raw command line and the parameters disagree";
        return Err(Refusal::bad("mismatch", message).about("raw_command_line"));
    }
    Ok(invocation)
}

/// A command of the service's own making.
pub(in crate::service) fn new_command(line: &str, current_directory: String) -> Answer<(NewCommand, Invocation)> {
    let reading = grammar::read(line, None);
    match (reading.error().cloned(), reading.invocation) {
        (None, Some(invocation)) => {
            let params = invocation.params.iter().map(|(name, value)| Param { param_id: name.clone(), value: value.clone() });
            let new = NewCommand {
                command_id: CommandId::new(),
                raw_command_line: line.to_owned(),
                command_definition_id: invocation.row.name.clone(),
                params: params.collect(),
                flags: invocation.flags.iter().cloned().collect(),
                current_directory,
                background_mode: false,
                continues: None,
                confirmed: false,
            };
            Ok((new, invocation))
        }
        (error, _) => {
            let message = error.map_or_else(String::new, |error| error.message);
            Err(Refusal::bad("internal", format!("`{line}` is not understood: {message}")))
        }
    }
}
