//! `jobs`: the running commands of the session, and those of this shell whose end nobody has looked at.

use jiff::Timestamp;
use serde_json::json;

use crate::error::{Exit, Outcome};
use crate::grammar::Invocation;
use crate::protocol::{CommandRecord, Progress, ProgressUnit};
use crate::shell::Shell;

pub(super) async fn run(shell: &mut Shell, invocation: &Invocation) -> Outcome<Exit> {
    // A shell that has sent nothing yet may be asked for what others of the session do.
    let session = shell.attached().await?.session_id;
    let mut rows = Vec::new();
    for record in shell.client.commands(&session).await? {
        let own = shell.jobs.of(record.command_id);
        if record.status.is_final() && own.is_none() {
            continue;
        }
        let progress = match (record.place, own.and_then(|job| job.facts().progress)) {
            (Some(place), _) => Some(format!("place {place}")),
            (None, progress) => progress.map(|progress| progress_text(&progress)),
        };
        rows.push(json!({
            "number": record.number,
            "status": record.status,
            "started": record.started,
            "elapsed": elapsed(&record),
            "progress": progress,
            "command_line": record.raw_command_line,
            "shell": record.shell,
            "command_id": record.command_id,
        }));
    }
    shell.answer_rows(invocation, &rows)
}

fn elapsed(record: &CommandRecord) -> Option<u64> {
    let so_far = || {
        let since = Timestamp::now().duration_since(record.started?);
        u64::try_from(since.as_millis()).ok()
    };
    record.duration_ms.or_else(so_far)
}

fn progress_text(progress: &Progress) -> String {
    let unit = match progress.unit {
        ProgressUnit::Bytes => "bytes",
        ProgressUnit::Files => "files",
        ProgressUnit::Folders => "folders",
        ProgressUnit::Entries => "entries",
    };
    match progress.total.filter(|total| *total > 0) {
        Some(total) => format!("{} % of {total} {unit}", progress.done.saturating_mul(100) / total),
        None => format!("{} {unit}", progress.done),
    }
}
