//! `sessions`: every session, ended ones too.

use serde_json::{Map, Value, json};

use crate::error::{Exit, Failure, Outcome};
use crate::grammar::Invocation;
use crate::protocol::Session;
use crate::shell::Shell;

pub(super) async fn run(shell: &mut Shell, invocation: &Invocation) -> Outcome<Exit> {
    let sessions = shell.client.sessions().await?;
    let rows = sessions.iter().map(row).collect::<Outcome<Vec<_>>>()?;
    shell.answer_rows(invocation, &rows)
}

/// A session as a row: the device by its name, how long it has lasted (in milliseconds) by the name of its column.
pub(super) fn row(session: &Session) -> Outcome<Value> {
    let row = serde_json::to_value(session).map_err(|error| Failure::internal(error.to_string()))?;
    let Value::Object(row) = row else { return Ok(row) };
    let named = |key: String| if key == "duration_ms" { "duration".to_owned() } else { key };
    let mut row: Map<String, Value> = row.into_iter().map(|(key, value)| (named(key), value)).collect();
    row.insert("id".to_owned(), json!(session.session_id));
    row.insert("device".to_owned(), json!(session.device.name));
    row.shift_remove("attached");
    Ok(Value::Object(row))
}
