//! `log`: who typed what and what came of it, in this session and those before it.

use serde_json::{Value, json};

use crate::error::{Exit, Failure, Outcome};
use crate::grammar::Invocation;
use crate::protocol::CommandRecord;
use crate::shell::Shell;

pub(super) async fn run(shell: &mut Shell, invocation: &Invocation) -> Outcome<Exit> {
    let Some(which) = invocation.params.get("command_id") else {
        // Of this device, ended sessions too; without a session of every device.
        let device = shell.session_facts().map(|session| session.device.id.clone());
        let records = shell.client.commands_everywhere(device.as_deref()).await?;
        return shell.answer_rows(invocation, &records.iter().map(row).collect::<Vec<_>>());
    };
    let record = shell.record(which).await?;
    let mut object = row(&record);
    let said = shell.output_of(&record).await?;
    if let Some(object) = object.as_object_mut() {
        let mut input = json!({"command": record.command_definition_id, "flags": record.flags});
        for param in &record.params {
            input[param.param_id.as_str()] = json!(param.value);
        }
        object.insert("input".to_owned(), input);
        if let Some(errors) = &said.errors {
            object.insert("errors".to_owned(), json!(errors));
        }
    }
    shell.answer_with(invocation, object, &record, &said)
}

impl Shell {
    /// The command that a number of this session means, or of the latest one where there is none; or an id, of any session.
    pub(super) async fn record(&self, which: &str) -> Outcome<CommandRecord> {
        if which.parse::<u64>().is_err() {
            return self.client.command_anywhere(which).await;
        }
        let session = match self.session_facts() {
            Some(session) => session.session_id.clone(),
            None => match self.client.sessions().await?.into_iter().next() {
                Some(latest) => latest.session_id,
                None => return Err(Failure::here("not_found", "there was no session yet")),
            },
        };
        self.client.command(&session, which).await
    }
}

fn row(record: &CommandRecord) -> Value {
    json!({
        "id": record.number,
        "command_line": record.raw_command_line,
        "started": record.started.unwrap_or(record.created),
        "duration": record.duration_ms,
        "status": record.status,
        "session": short(&record.session_id),
        "command_id": record.command_id,
        "session_id": record.session_id,
        "analyst": record.analyst,
        "shell": record.shell,
        "current_directory": record.current_directory,
        "background": record.background_mode,
        "cancelled_by": record.cancelled_by,
        "effects": record.effects,
        "errors": record.errors,
    })
}

/// What tells the sessions of a list apart: the end of the id, which no two have in common. `sessions -match` finds it.
fn short(session: &str) -> &str {
    session.get(session.len().saturating_sub(8)..).unwrap_or(session)
}
