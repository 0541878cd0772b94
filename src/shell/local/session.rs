//! `session`: who holds it, since when, and how long it may idle.

use crate::error::{Exit, Outcome};
use crate::grammar::Invocation;
use crate::shell::Shell;

pub(super) async fn run(shell: &mut Shell, invocation: &Invocation) -> Outcome<Exit> {
    let id = shell.attached().await?.session_id;
    let session = shell.client.session(&id).await?;
    shell.answer_object(invocation, &super::sessions::row(&session)?)
}
