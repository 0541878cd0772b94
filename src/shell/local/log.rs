//! `log`: who typed what and what came of it, in this session and those before it.

use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};

use super::answer::table;
use crate::error::{Exit, Failure, Outcome};
use crate::grammar::Invocation;
use crate::protocol::{Body, CommandRecord, SessionId, Status};
use crate::shell::Shell;
use crate::shell::jobs::goes_on;
use crate::shell::view::Next;

/// The fields that a brief log has.
const BRIEF: [&str; 8] = ["id", "command_line", "started", "duration", "status", "session", "command_id", "session_id"];

pub(super) async fn run(shell: &mut Shell, invocation: &Invocation) -> Outcome<Exit> {
    let Some(which) = invocation.params.get("command_id") else {
        return list(shell, invocation).await;
    };
    let record = shell.record(which).await?;
    let unreadable = |error: serde_json::Error| Failure::internal(error.to_string());
    let json = serde_json::to_string(&record).map_err(unreadable)?;
    let mut object = Row::of(json.as_bytes()).and_then(serde_json::to_value).map_err(unreadable)?;
    let said = shell.output_of(&record).await?;
    if let Some(object) = object.as_object_mut() {
        let mut input = json!({"command": record.command_definition_id, "flags": record.flags});
        for param in &record.params {
            input[param.param_id.as_str()] = json!(param.value);
        }
        object.insert("input".to_owned(), input);
        if let Some(errors) = &said.errors {
            object.insert("errors".to_owned(), json!(errors));
        }
    }
    shell.answer_with(invocation, object, &record, &said)
}

/// Of this device, ended sessions too; without a session of every device. Rows are shown as they come.
async fn list(shell: &Shell, invocation: &Invocation) -> Outcome<Exit> {
    let device = shell.session_facts().map(|session| session.device.id.clone());
    let spec = shell.spec(invocation)?;
    let brief = spec.is_within(&BRIEF);
    let mut log = shell.client.log(device.as_deref(), brief).await?;
    let mut answer = shell.begin_answer(invocation, spec)?;
    answer.take(&table(invocation))?;
    loop {
        let mut rows = Vec::new();
        let mut take = |item: &[u8]| Row::of(item).and_then(|row| to_raw_value(&row)).map(|row| rows.push(row));
        let more = log.piece(&mut take).await;
        let next = answer.take(&Body::Rows { rows })?;
        match more {
            Ok(true) if next == Next::More => {}
            Ok(_) => return answer.end(Status::Completed),
            Err(failure) => {
                // What came is shown, or kept beside the redirect's file.
                answer.end(Status::Interrupted)?;
                return Err(failure);
            }
        }
    }
}

/// A command of the log as it is shown, from what the service tells of it.
#[derive(Deserialize, Serialize)]
struct Row<'a> {
    #[serde(borrow, rename(deserialize = "number"))]
    id: &'a RawValue,
    #[serde(borrow, rename(deserialize = "raw_command_line"))]
    command_line: &'a RawValue,
    #[serde(borrow, skip_serializing)]
    created: &'a RawValue,
    #[serde(borrow)]
    started: &'a RawValue,
    #[serde(borrow, rename(deserialize = "duration_ms"))]
    duration: &'a RawValue,
    #[serde(borrow)]
    status: &'a RawValue,
    /// What tells the sessions of a list apart: the end of the id, which no two have in common. `sessions -match` finds it.
    #[serde(skip_deserializing)]
    session: &'a str,
    #[serde(borrow)]
    command_id: &'a RawValue,
    #[serde(borrow)]
    session_id: &'a RawValue,
    #[serde(borrow, default = "untold")]
    analyst: &'a RawValue,
    #[serde(borrow, default = "untold")]
    shell: &'a RawValue,
    #[serde(borrow, default = "untold")]
    current_directory: &'a RawValue,
    #[serde(borrow, default = "untold", rename(deserialize = "background_mode"))]
    background: &'a RawValue,
    #[serde(borrow, default = "untold")]
    cancelled_by: &'a RawValue,
    #[serde(borrow, default = "untold")]
    effects: &'a RawValue,
    #[serde(borrow, default = "untold")]
    errors: &'a RawValue,
    #[serde(borrow, default = "untold")]
    continued_by: &'a RawValue,
}

/// In place of what a brief log leaves out.
fn untold() -> &'static RawValue {
    RawValue::NULL
}

/// What a command's record names must be a session.
pub(super) fn no_session(record: &CommandRecord) -> Failure {
    Failure::internal(format!("{} is no session id", record.session_id))
}

impl<'a> Row<'a> {
    fn of(json: &'a [u8]) -> serde_json::Result<Self> {
        let mut row: Self = serde_json::from_slice(json)?;
        if row.started.get() == "null" {
            row.started = row.created;
        }
        let session = row.session_id.get().trim_matches('"');
        row.session = session.get(session.len().saturating_sub(8)..).unwrap_or(session);
        Ok(row)
    }
}

impl Shell {
    /// The command that a number of this session means, or of the latest one where there is none; or an id, of any session.
    pub(super) async fn record(&self, which: &str) -> Outcome<CommandRecord> {
        if which.parse::<u64>().is_err() {
            return self.client.command_anywhere(which).await;
        }
        let session = match self.session_facts() {
            Some(session) => session.session_id.clone(),
            None => match self.client.sessions().await?.into_iter().next() {
                Some(latest) => latest.session_id,
                None => return Err(Failure::here("not_found", "there was no session yet")),
            },
        };
        self.client.command(&session, which).await
    }

    /// The same, and of a command whose work another one goes on with, that one; says so.
    pub(super) async fn latest_record(&self, which: &str) -> Outcome<CommandRecord> {
        let record = self.record(which).await?;
        self.continued(record).await
    }

    /// The command that goes on with this one's work, or itself.
    pub(super) async fn continued(&self, mut record: CommandRecord) -> Outcome<CommandRecord> {
        // Numbers only grow, so this ends.
        while let Some(number) = record.continued_by.filter(|number| *number > record.number) {
            self.screen.message(&goes_on(record.number, number));
            let session: SessionId = record.session_id.parse().map_err(|_| no_session(&record))?;
            record = self.client.command(&session, &number.to_string()).await?;
        }
        Ok(record)
    }
}
