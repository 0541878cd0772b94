//! `connect`: opens a session, or attaches to the one that the analyst holds there, and shows what it is.

use crate::error::{Exit, Outcome};
use crate::grammar::Invocation;
use crate::protocol::{NewSession, Session};
use crate::shell::Shell;

pub(super) async fn run(shell: &mut Shell, invocation: &Invocation) -> Outcome<Exit> {
    let device = invocation.params.get("device").cloned().or_else(|| shell.device.clone());
    let wanted = NewSession { device, comment: invocation.params.get("comment").cloned() };
    let before = shell.session_facts().map(|session| session.session_id.clone());
    // One shell, one session: that of another device is left in order.
    if let (Some(_), Some(device)) = (&before, &wanted.device) {
        let facts = shell.session_facts().map(|session| session.device.clone());
        if facts.is_some_and(|facts| !facts.name.starts_with(device) && !facts.id.starts_with(device)) {
            shell.leave().await;
        }
    }
    let session = shell.connect(&wanted).await?;
    shell.screen.message(&dashboard(&session));
    Ok(Exit::Done)
}

/// What the analyst should know of a session at its beginning.
fn dashboard(session: &Session) -> String {
    let device = &session.device;
    let limits = &session.limits;
    let state = if session.attached { "attached to your session" } else { "connected" };
    let mut lines = vec![
        format!("{state}: {} ({}), agent {}", device.title(), device.platform, device.version),
        format!("  session   {}", session.session_id),
        format!("  analyst   {} since {:.0}", session.analyst, session.started),
    ];
    if let Some(os) = &device.os {
        lines.insert(1, format!("  system    {os}"));
    }
    if let Some(comment) = &session.comment {
        lines.push(format!("  comment   {comment}"));
    }
    lines.push(format!(
        "  limits    {} min idle, {} min a command ({} for long ones), getfile {} MB",
        limits.idle_seconds / 60,
        limits.command_seconds / 60,
        limits.long_command_seconds / 60,
        limits.getfile_bytes >> 20,
    ));
    lines.push("  help lists the commands; library add uploads a file; log shows what was done; disconnect ends".to_owned());
    lines.join("\n")
}
