//! `devices`: those that the service knows.

use crate::error::{Exit, Outcome};
use crate::grammar::Invocation;
use crate::shell::Shell;

pub(super) async fn run(shell: &mut Shell, invocation: &Invocation) -> Outcome<Exit> {
    let mut devices = shell.client.devices().await?;
    if let Some(filter) = invocation.params.get("filter").map(|filter| filter.to_lowercase()) {
        let contains = |text: &String| text.to_lowercase().contains(&filter);
        devices.retain(|device| contains(&device.name) || contains(&device.id) || device.tags.iter().any(contains));
    }
    shell.answer_rows(invocation, &devices)
}
