//! `sessions`: every session, ended ones too.

use serde_json::{Value, json};

use crate::error::{Exit, Failure, Outcome};
use crate::grammar::Invocation;
use crate::protocol::Session;
use crate::shell::Shell;

pub(super) async fn run(shell: &mut Shell, invocation: &Invocation) -> Outcome<Exit> {
    let sessions = shell.client.sessions().await?;
    let rows = sessions.iter().map(row).collect::<Outcome<Vec<_>>>()?;
    shell.answer_rows(invocation, &rows)
}

/// A session as a row: the device by its name.
pub(super) fn row(session: &Session) -> Outcome<Value> {
    let mut row = serde_json::to_value(session).map_err(|error| Failure::internal(error.to_string()))?;
    if let Some(row) = row.as_object_mut() {
        row.insert("id".to_owned(), json!(session.session_id));
        row.insert("device".to_owned(), json!(session.device.name));
        row.shift_remove("attached");
    }
    Ok(row)
}
