//! What an editor asks of a device while a line is typed: a looking command that is none of the session's. The device cannot
//! tell it from one, and it waits its turn there like one; the service gives it no number, keeps nothing of it, and forgets
//! what it saw.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::commands::new_command;
use super::error::{Answer, Refusal};
use super::policy::Analyst;
use super::routes::Question;
use super::sessions::OpenSession;
use super::state::Service;
use crate::grammar::{Invocation, quoted};
use crate::protocol::link::{AgentLink, DeviceCommand, StopReason};
use crate::protocol::{AgentEvent, Body, CommandId, Peek, PeekAt, Status};

/// More rows nobody looks through in a menu.
const MAX_ROWS: usize = 2000;
/// Nor more bytes of them.
const MAX_BYTES: usize = 1 << 20;
/// How long a device may take.
const PATIENCE: Duration = Duration::from_secs(10);

impl Service {
    /// Has the device look, and answers with what it tells.
    pub(super) async fn peek(&self, session: &Arc<OpenSession>, analyst: &Analyst, question: &Question) -> Answer<Peek> {
        let line = line_of(question);
        let start = || session.platform().start_directory().to_owned();
        let directory = question.directory.clone().unwrap_or_else(start);
        let (new, invocation) = new_command(&line, directory)?;
        analyst.check(invocation.role(), &invocation.row.name)?;
        let Ok(_room) = session.peeks.try_acquire() else {
            let message = "too many questions of editors wait in this session already";
            return Err(Refusal::new(StatusCode::TOO_MANY_REQUESTS, "busy", message).about("session"));
        };
        let command = device_command(session, analyst, new.current_directory, &invocation);
        let begins = question.begins.as_deref().filter(|begins| !begins.is_empty()).map(str::to_lowercase);
        let looked = self.look(session, command, &invocation, begins.as_deref());
        tokio::time::timeout(PATIENCE, looked).await.unwrap_or_else(|_| {
            let message = format!("{} has not answered within {} s", session.device.name, PATIENCE.as_secs());
            Err(Refusal::new(StatusCode::GATEWAY_TIMEOUT, "time_limit", message).about(session.device.name.clone()))
        })
    }

    async fn look(
        &self,
        session: &OpenSession,
        command: DeviceCommand,
        invocation: &Invocation,
        begins: Option<&str>,
    ) -> Answer<Peek> {
        let name = &session.device.name;
        let Some(attached) = self.attached(&session.device.id) else {
            let message = format!("{name} is not connected");
            return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "unreachable", message).about(name.clone()));
        };
        let mut turn = attached.queue.line_up(command.command_id, invocation.row.weight);
        // A queue that is gone lets everybody in.
        let _ = turn.place.wait_for(|place| *place == 0).await;
        let asked = Asked { link: Arc::clone(&attached.link), command: command.command_id };
        let mut running = attached.link.start(command, None);
        let mut peek = Peek { rows: Vec::new(), more: false };
        let mut bytes = 0;
        while let Some(event) = running.events.recv().await {
            let rows = match event {
                AgentEvent::Pass { json, rows: 1.. } => rows_of(&json),
                AgentEvent::Read(body) => match *body {
                    Body::Rows { rows } => rows,
                    Body::Completed(completed) if completed.status != Status::Completed && peek.rows.is_empty() => {
                        let problem = completed.errors.into_iter().next();
                        let (code, message) = problem.map_or_else(
                            || (completed.status.as_str().to_owned(), format!("{name}: {}", completed.status)),
                            |problem| (problem.code, problem.message),
                        );
                        return Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, &code, message).about(name.clone()));
                    }
                    _ => continue,
                },
                AgentEvent::Pass { .. } => continue,
            };
            for row in rows.into_iter().filter(|row| begins.is_none_or(|begins| begins_so(row, begins))) {
                bytes += row.get().len();
                if peek.rows.len() == MAX_ROWS || bytes > MAX_BYTES {
                    peek.more = true;
                    drop(asked);
                    return Ok(peek);
                }
                peek.rows.push(row);
            }
        }
        Ok(peek)
    }
}

/// The line whose answer is asked for.
fn line_of(question: &Question) -> String {
    match question.at {
        PeekAt::Folder => {
            let path = question.path.as_deref().filter(|path| !path.is_empty()).unwrap_or(".");
            format!("dir -path {}", quoted(path))
        }
        PeekAt::Processes => "processes".to_owned(),
        PeekAt::Services => "services".to_owned(),
        PeekAt::ScheduledTasks => "scheduledtasks".to_owned(),
        PeekAt::StartupFolders => "startupfolders".to_owned(),
        PeekAt::Effects => "remediate list".to_owned(),
        PeekAt::Registry => format!("registry -path {}", quoted(question.path.as_deref().unwrap_or_default())),
    }
}

fn device_command(session: &OpenSession, analyst: &Analyst, directory: String, invocation: &Invocation) -> DeviceCommand {
    // No command of the session has its number.
    DeviceCommand {
        analyst: analyst.name.clone(),
        params: invocation.for_device(),
        current_directory: directory,
        ..DeviceCommand::new(session.id.clone(), &invocation.row.name, PATIENCE)
    }
}

fn rows_of(json: &[u8]) -> Vec<Box<RawValue>> {
    #[derive(Deserialize)]
    struct Rows {
        rows: Vec<Box<RawValue>>,
    }
    serde_json::from_slice::<Rows>(json).map_or_else(|_| Vec::new(), |told| told.rows)
}

fn begins_so(row: &RawValue, begins: &str) -> bool {
    #[derive(Deserialize)]
    struct Named {
        path: String,
    }
    serde_json::from_str::<Named>(row.get()).is_ok_and(|named| named.path.to_lowercase().starts_with(begins))
}

/// What the device was asked. Whatever ends the waiting ends the work too: the answer, a limit, or an editor that went away.
struct Asked {
    link: Arc<dyn AgentLink>,
    command: CommandId,
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.link.stop(self.command, StopReason::Enough);
    }
}
