//! `status`: how one command stands, what it cost and what it said so far.

use serde_json::{Value, json};

use crate::error::{Exit, Failure, Outcome};
use crate::grammar::Invocation;
use crate::protocol::{Body, CommandRecord, Cost, Problem, Progress, SessionId};
use crate::shell::Shell;
use crate::shell::client::CommandEvents;

/// What a command has said, as far as a person reads it in one go.
#[derive(Default)]
pub(super) struct Said {
    /// Objects, rows and text, in order.
    pub(super) output: Vec<Value>,
    /// What went wrong, also with what is kept of it.
    pub(super) errors: Option<Vec<Problem>>,
    cost: Option<Cost>,
    progress: Option<Progress>,
}

/// An output is shown up to this many values; `fg` shows it whole.
const MAX_OUTPUT: usize = 1000;

pub(super) async fn run(shell: &mut Shell, invocation: &Invocation) -> Outcome<Exit> {
    let which = invocation.params.get("command_id").map(String::as_str).unwrap_or_default();
    let record = shell.record(which).await?;
    let mut said = shell.output_of(&record).await?;
    if record.status.is_final() {
        said.progress = None;
    }
    let object = json!({
        "number": record.number,
        "command_id": record.command_id,
        "command_line": record.raw_command_line,
        "status": record.status,
        "started": record.started,
        "completed": record.completed,
        "duration_ms": record.duration_ms,
        "place": record.place,
        "progress": said.progress,
        "analyst": record.analyst,
        "shell": record.shell,
        "cancelled_by": record.cancelled_by,
        "cost": said.cost,
        "errors": said.errors.unwrap_or(record.errors),
        "output": said.output,
    });
    shell.answer_object(invocation, &object)
}

impl Shell {
    /// What a command has said; of one that runs, what it has said so far.
    pub(super) async fn output_of(&self, record: &CommandRecord) -> Outcome<Said> {
        let mut said = Said::default();
        let session: SessionId =
            record.session_id.parse().map_err(|_| Failure::internal(format!("{} is no session id", record.session_id)))?;
        let mut events = CommandEvents::after(&self.client, &session, record.command_id, 0);
        while record.status.is_final() || events.last() < record.last_event {
            let Some(event) = events.next().await? else { break };
            let room = MAX_OUTPUT.saturating_sub(said.output.len());
            match event.body {
                Body::Object { value } if room > 0 => said.output.extend(serde_json::from_str(value.get()).ok()),
                Body::Rows { rows } => {
                    said.output.extend(rows.iter().take(room).filter_map(|row| serde_json::from_str(row.get()).ok()));
                }
                Body::Text(text) if room > 0 => {
                    let bytes = text.data.bytes().unwrap_or_default();
                    said.output.push(Value::String(String::from_utf8_lossy(&bytes).into_owned()));
                }
                Body::Progress(progress) => said.progress = Some(progress),
                Body::Completed(completed) => {
                    said.cost = Some(completed.cost);
                    said.errors = Some(completed.errors);
                }
                _ => {}
            }
        }
        Ok(said)
    }
}
