//! `session`: who holds it, since when, and how long it may idle.

use crate::error::{Exit, Outcome};
use crate::grammar::Invocation;
use crate::shell::Shell;

pub(super) async fn run(shell: &mut Shell, invocation: &Invocation) -> Outcome<Exit> {
    let id = shell.attached().await?.session_id;
    let session = shell.client.session(&id).await?;
    let mut row = super::sessions::row(&session)?;
    if let Some(row) = row.as_object_mut() {
        // As `session_id` it is there already.
        row.shift_remove("id");
    }
    shell.answer_object(invocation, &row)
}
