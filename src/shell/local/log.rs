//! `log`: who typed what in the session, and what came of it.

use serde_json::{Value, json};

use crate::error::{Exit, Outcome};
use crate::grammar::Invocation;
use crate::protocol::CommandRecord;
use crate::shell::Shell;

pub(super) async fn run(shell: &mut Shell, invocation: &Invocation) -> Outcome<Exit> {
    let session = shell.attached().await?.session_id;
    let Some(which) = invocation.params.get("command_id") else {
        let records = shell.client.commands(&session).await?;
        return shell.answer_rows(invocation, &records.iter().map(row).collect::<Vec<_>>());
    };
    let record = shell.client.command(&session, which).await?;
    let mut object = row(&record);
    if let Some(object) = object.as_object_mut() {
        let mut input = json!({"command": record.command_definition_id, "flags": record.flags});
        for param in &record.params {
            input[param.param_id.as_str()] = json!(param.value);
        }
        object.insert("input".to_owned(), input);
        object.insert("output".to_owned(), json!(shell.output_of(&session, record.command_id).await?.output));
    }
    shell.answer_object(invocation, &object)
}

fn row(record: &CommandRecord) -> Value {
    json!({
        "id": record.number,
        "command_line": record.raw_command_line,
        "started": record.started.unwrap_or(record.created),
        "duration_ms": record.duration_ms,
        "status": record.status,
        "command_id": record.command_id,
        "session_id": record.session_id,
        "analyst": record.analyst,
        "shell": record.shell,
        "current_directory": record.current_directory,
        "background": record.background_mode,
        "cancelled_by": record.cancelled_by,
        "errors": record.errors,
    })
}
