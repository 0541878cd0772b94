//! A command's way: read again, checked, numbered, committed, queued, carried out, and written down.

mod find;
mod here;
mod library;
mod look;
mod outcome;
mod reading;
mod there;

use std::sync::Arc;

use jiff::Timestamp;

pub(super) use find::pick;
pub(super) use library::tell_progress;
pub(super) use reading::new_command;
use reading::read_again;

use super::closing::SERVICE;
use super::error::{Answer, Refusal};
use super::policy::Analyst;
use super::sessions::OpenSession;
use super::state::{Command, Service, end, locked, push};
use crate::grammar::{self, Invocation, RunsOn};
use crate::protocol::{Body, CommandId, CommandRecord, Completed, NewCommand, SessionEventKind, SessionId, Status};

/// Whether a command that is known is asked for again, and nothing else is meant by its id.
pub(super) fn again(known: &CommandRecord, session: &SessionId, asked: &NewCommand) -> Answer<()> {
    let duplicate = |message: &str| Err(Refusal::conflict("duplicate", message).about("command_id"));
    if known.session_id != session.as_str() {
        return duplicate("this command id belongs to another session");
    }
    let is_retry = known.raw_command_line == asked.raw_command_line
        && known.command_definition_id == asked.command_definition_id
        && known.params == asked.params
        && known.flags == asked.flags
        && known.current_directory == asked.current_directory
        && known.background_mode == asked.background_mode;
    if is_retry { Ok(()) } else { duplicate("this command id belongs to another command") }
}

impl Service {
    /// Accepts a command, or finds the one that was accepted under this id before.
    pub(super) async fn accept(
        &self,
        session: &Arc<OpenSession>,
        analyst: &Analyst,
        shell: Option<String>,
        new: NewCommand,
    ) -> Answer<Arc<Command>> {
        let id = new.command_id;
        let asked = new.clone();
        let accepted = match self.live_command(id) {
            Some(_) => Ok(None),
            None => self.accept_new(session, analyst, shell, new).await,
        };
        match accepted {
            Ok(Some(command)) => Ok(command),
            known => match self.find_command(id).await? {
                Some(command) => {
                    again(&command.record(), &session.id, &asked)?;
                    Ok(command)
                }
                None => Err(known.err().unwrap_or_else(|| Refusal::not_found("this command is not kept"))),
            },
        }
    }

    /// Accepts a command whose id nothing is known of; `None` when something is.
    async fn accept_new(
        &self,
        session: &Arc<OpenSession>,
        analyst: &Analyst,
        shell: Option<String>,
        new: NewCommand,
    ) -> Answer<Option<Arc<Command>>> {
        let mut invocation = read_again(session, &new)?;
        if new.confirmed && invocation.row.name == "disconnect" {
            // It is done as one that is not to ask; the log has what was typed.
            invocation.flags.insert("force".to_owned());
        }
        analyst.check(invocation.role(), &invocation.row.name)?;
        if invocation.row.runs_on == RunsOn::Shell {
            let message = format!("{} is a command of the shell alone", invocation.row.name);
            return Err(Refusal::bad("not_on_platform", message).about("command_definition_id"));
        }
        if let Some(before) = new.continues {
            self.check_continued(session, before, &new.raw_command_line).await?;
        }
        let command = self.commit(session, analyst, shell, new, true).await?;
        if let Some(command) = &command {
            self.begin(session, analyst, command, invocation);
        }
        Ok(command)
    }

    /// The automatic first command of a session. Its success is "connected".
    pub(super) async fn connect(&self, session: &Arc<OpenSession>, analyst: &Analyst) -> Answer<()> {
        let new = NewCommand {
            command_id: CommandId::new(),
            raw_command_line: "connect".into(),
            command_definition_id: "connect".into(),
            params: Vec::new(),
            flags: Vec::new(),
            current_directory: session.platform().start_directory().into(),
            background_mode: false,
            continues: None,
            confirmed: false,
        };
        let Some(invocation) = grammar::read("connect", None).invocation else {
            return Err(Refusal::internal("the table has no `connect`"));
        };
        let Some(command) = self.commit(session, analyst, None, new, false).await? else {
            return Err(Refusal::bad("internal", "a new id is taken"));
        };
        let mut newest = command.stream.watch();
        self.begin(session, analyst, &command, invocation);
        // A stream that ends without its last event is an end too.
        let _ = newest.wait_for(|(_, last)| *last).await;
        let record = command.record().clone();
        match record.status {
            Status::Completed => Ok(()),
            _ => {
                let why = record.errors.first().map_or("it does not answer", |problem| problem.message.as_str());
                let message = format!("{} cannot be connected: {why}", session.device.name);
                self.close_session(session, SERVICE, "unreachable").await?;
                Err(Refusal::new(axum::http::StatusCode::SERVICE_UNAVAILABLE, "unreachable", message)
                    .about(session.device.name.clone()))
            }
        }
    }

    /// Gives a command its number and writes it down; `None` when its id is taken.
    async fn commit(
        &self,
        session: &Arc<OpenSession>,
        analyst: &Analyst,
        shell: Option<String>,
        new: NewCommand,
        told: bool,
    ) -> Answer<Option<Arc<Command>>> {
        let mut last = session.numbering.lock().await;
        session.check_open()?;
        let number = *last + 1;
        let record = CommandRecord {
            number,
            command_id: new.command_id,
            session_id: session.id.to_string(),
            command_definition_id: new.command_definition_id,
            raw_command_line: new.raw_command_line,
            params: new.params,
            flags: new.flags,
            current_directory: new.current_directory,
            background_mode: new.background_mode,
            analyst: analyst.name.clone(),
            shell,
            created: Timestamp::now(),
            started: None,
            completed: None,
            duration_ms: None,
            status: Status::Pending,
            place: None,
            errors: Vec::new(),
            cancelled_by: None,
            effects: Vec::new(),
            last_event: 0,
            continued_by: None,
        };
        if !self.inner.store.add_command(&record).await? {
            return Ok(None);
        }
        if let Some(before) = new.continues {
            self.inner.store.continue_command(before, number).await?;
        }
        *last = number;
        drop(last);
        let stream = self.inner.spools.begin(&record);
        push(&stream, &Body::Created { number });
        let (line, shell) = (record.raw_command_line.clone(), record.shell.clone());
        let command = Arc::new(Command {
            record: std::sync::Mutex::new(record),
            stream,
            stop: tokio_util::sync::CancellationToken::new(),
            device: session.device.id.clone(),
        });
        locked(&self.inner.commands).insert(new.command_id, Arc::clone(&command));
        self.inner.accepted.notify_waiters();
        locked(&session.state).under_way.push(new.command_id);
        self.inner.activity.begin();
        session.touch();
        if told {
            session.tell(SessionEventKind::Command { number, shell, line });
        }
        Ok(Some(command))
    }

    /// Sets a command going; it ends by itself from here on.
    fn begin(&self, session: &Arc<OpenSession>, analyst: &Analyst, command: &Arc<Command>, invocation: Invocation) {
        let (service, session, analyst, command) = (self.clone(), Arc::clone(session), analyst.clone(), Arc::clone(command));
        tokio::spawn(async move {
            let completed = tokio::select! {
                biased;
                completed = service.carry_out(&session, &analyst, &command, &invocation) => completed,
                never = command.stream.pace() => match never {},
            };
            service.finish(&session, &command, completed).await;
        });
    }

    async fn carry_out(
        &self,
        session: &Arc<OpenSession>,
        analyst: &Analyst,
        command: &Arc<Command>,
        invocation: &Invocation,
    ) -> Completed {
        if let Some(failed) = self.look_first(session, analyst, command, invocation).await {
            return failed;
        }
        // `connect` is a command of the service that the device answers.
        if invocation.row.runs_on == RunsOn::Service && invocation.row.name != "connect" {
            return self.run_here(session, analyst, command, invocation).await;
        }
        self.run_there(session, analyst, command, invocation).await
    }

    /// Tells the end, which its spool keeps, and writes it into the store.
    async fn finish(&self, session: &Arc<OpenSession>, command: &Arc<Command>, mut completed: Completed) {
        // Whether all is kept is known once it is written.
        command.stream.write();
        completed.errors.extend(command.stream.unkept());
        let record = {
            let mut record = command.record();
            end(&mut record, &completed, Timestamp::now());
            record.last_event = command.stream.count() + 1;
            record.clone()
        };
        locked(&session.state).under_way.retain(|id| *id != record.command_id);
        push(&command.stream, &Body::Completed(completed));
        session.touch();
        if let Err(error) = self.inner.store.update_command(&record).await {
            tracing::error!(%error, command = %record.command_id, "the end of a command is not written");
        }
        // Whoever reads it holds it; whoever asks later reads the store and the spool.
        locked(&self.inner.commands).remove(&record.command_id);
        self.inner.activity.end();
    }
}
