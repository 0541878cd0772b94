//! `settings` where no session can be had: live response that was switched off must be switched on again.

use serde_json::{Value, json};

use crate::error::{Exit, Failure, Outcome};
use crate::grammar::Invocation;
use crate::protocol::SettingsChange;
use crate::shell::Shell;

/// Shows or changes the switches by their own call instead of a command of a session.
pub(in crate::shell) async fn without_session(shell: &mut Shell, invocation: &Invocation) -> Outcome<Exit> {
    let name = invocation.params.get("name");
    let settings = match (name, invocation.params.get("value")) {
        (Some(name), Some(value)) => {
            let change = json!({ name.as_str(): value == "on" });
            let change: SettingsChange =
                serde_json::from_value(change).map_err(|error| Failure::internal(error.to_string()))?;
            shell.client.change_settings(&change).await?
        }
        _ => shell.client.settings().await?,
    };
    let all = [
        ("live_response", settings.live_response),
        ("live_response_servers", settings.live_response_servers),
        ("unsigned_scripts", settings.unsigned_scripts),
    ];
    let shown = all.iter().filter(|(setting, _)| name.is_none_or(|name| name == setting));
    let rows: Vec<Value> =
        shown.map(|(setting, on)| json!({ "name": setting, "value": if *on { "on" } else { "off" } })).collect();
    shell.answer_rows(invocation, &rows)
}
