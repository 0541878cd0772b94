//! `status`: how one command stands, what it cost and what it said so far.

use serde_json::{Value, json};

use super::log::no_session;
use crate::error::{Exit, Outcome};
use crate::grammar::{Invocation, read};
use crate::protocol::{Body, CommandRecord, Cost, Problem, Progress, SessionId};
use crate::shell::Shell;
use crate::shell::client::CommandEvents;
use crate::shell::view::RenderSpec;

/// What a command has said, as far as a person reads it in one go.
#[derive(Default)]
pub(super) struct Said {
    /// Its answer: objects, rows, text and effects, in order.
    pub(super) answer: Vec<Body>,
    /// What went wrong, also with what is kept of it.
    pub(super) errors: Option<Vec<Problem>>,
    /// There is more of it.
    pub(super) more: bool,
    cost: Option<Cost>,
    progress: Option<Progress>,
}

impl Said {
    /// The answer as a field of an object.
    pub(super) fn output(&self) -> Vec<Value> {
        let mut output = Vec::new();
        for body in &self.answer {
            match body {
                Body::Object { value } => output.extend(serde_json::from_str(value.get()).ok()),
                Body::Rows { rows } => output.extend(rows.iter().filter_map(|row| serde_json::from_str(row.get()).ok())),
                Body::Text(text) => {
                    let bytes = text.data.bytes().unwrap_or_default();
                    output.push(Value::String(String::from_utf8_lossy(&bytes).into_owned()));
                }
                Body::Effect(effect) => output.extend(serde_json::to_value(effect).ok()),
                _ => {}
            }
        }
        output
    }
}

/// An answer is shown up to this many values; `fg` shows it whole.
const MAX_OUTPUT: usize = 1000;

pub(super) async fn run(shell: &mut Shell, invocation: &Invocation) -> Outcome<Exit> {
    let which = invocation.params.get("command_id").map(String::as_str).unwrap_or_default();
    let record = shell.latest_record(which).await?;
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
        "errors": said.errors.take().unwrap_or_else(|| record.errors.clone()),
    });
    shell.answer_with(invocation, object, &record, &said)
}

impl Shell {
    /// What a command has said; of one that runs, what it has said so far.
    pub(super) async fn output_of(&self, record: &CommandRecord) -> Outcome<Said> {
        let mut said = Said::default();
        let session: SessionId = record.session_id.parse().map_err(|_| no_session(record))?;
        let mut events = CommandEvents::after(&self.client, &session, record.command_id, 0);
        let mut room = MAX_OUTPUT;
        while record.status.is_final() || events.last() < record.last_event {
            let Some(event) = events.next().await? else { break };
            match event.body {
                Body::Rows { mut rows } => {
                    said.more |= rows.len() > room;
                    rows.truncate(room);
                    room -= rows.len();
                    said.answer.push(Body::Rows { rows });
                }
                Body::Object { .. } | Body::Text(_) | Body::Effect(_) if room == 0 => said.more = true,
                body @ (Body::Object { .. } | Body::Text(_) | Body::Effect(_)) => {
                    room -= 1;
                    said.answer.push(body);
                }
                body @ Body::Table { .. } => said.answer.push(body),
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

    /// Shows what is known of a command, and its answer: to a person as the command's own line shows it, to a program as a
    /// field of the object.
    pub(super) fn answer_with(
        &self,
        invocation: &Invocation,
        mut object: Value,
        record: &CommandRecord,
        said: &Said,
    ) -> Outcome<Exit> {
        let own = read(&record.raw_command_line, None).invocation;
        let is_for_people = invocation.output.is_none() && invocation.view.is_empty();
        let own = own.filter(|_| is_for_people).and_then(|own| RenderSpec::of(&own, self.zone()).ok());
        let is_told = said.answer.iter().any(|body| !matches!(body, Body::Table { .. }));
        let exit = match own {
            Some(spec) if is_told => self.answer_object_and(invocation, &object, spec, &said.answer)?,
            Some(_) => self.answer_object(invocation, &object)?,
            None => {
                object["output"] = json!(said.output());
                self.answer_object(invocation, &object)?
            }
        };
        if said.more {
            let number = record.number;
            self.screen.aside(&format!("more than {MAX_OUTPUT} rows: `fg {number}` shows all of the answer"));
        }
        Ok(exit)
    }
}
