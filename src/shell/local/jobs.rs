//! `jobs`: the running commands of the session, and once those that ended in the background untold.

use jiff::Timestamp;
use serde_json::json;

use crate::error::{Exit, Outcome};
use crate::grammar::Invocation;
use crate::protocol::{CommandRecord, Progress, ProgressUnit};
use crate::shell::Shell;

/// So many that have ended are listed at most: `log` has them all.
const ENDED: usize = 20;

pub(super) async fn run(shell: &mut Shell, invocation: &Invocation) -> Outcome<Exit> {
    // A shell that has sent nothing yet may be asked for what others of the session do.
    let session = shell.attached().await?.session_id;
    let mut records = shell.client.commands(&session).await?;
    let mut room = ENDED;
    // The newest ends first: those are the ones that may be news.
    let is_listed = |record: &CommandRecord| {
        if !record.status.is_final() {
            return true;
        }
        let is_job = record.background_mode || shell.jobs.of(record.command_id).is_some();
        let is_news = is_job && record.continued_by.is_none() && shell.jobs.tell_end(record.command_id) && room > 0;
        room -= usize::from(is_news);
        is_news
    };
    let listed: Vec<bool> = records.iter().rev().map(is_listed).collect();
    let mut listed = listed.into_iter().rev();
    records.retain(|_| listed.next().unwrap_or_default());
    let mut rows = Vec::new();
    for record in records {
        let own = shell.jobs.of(record.command_id);
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
