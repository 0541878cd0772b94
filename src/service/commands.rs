//! A command's way: read again, checked, numbered, committed, queued, carried out, and written down.

use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;
use jiff::Timestamp;

use super::error::{Answer, Refusal};
use super::policy::{Analyst, size_limit};
use super::sessions::OpenSession;
use super::state::{Command, Service, locked, millis_between, push, push_agent};
use super::stream::Stream;
use crate::grammar::{self, Invocation, RunsOn, Weight};
use crate::protocol::link::{DeviceCommand, ShellPeer, StopReason};
use crate::protocol::{
    AgentEvent, Body, CommandId, CommandRecord, Completed, Cost, NewCommand, Param, Problem, Receipt, Seen, SessionEventKind,
    Status,
};

/// A device that does not end a command at its limit is given so long before the command counts as ended.
const GRACE: Duration = Duration::from_secs(10);

impl Service {
    /// Accepts a command, or finds the one that was accepted under this id before.
    pub(super) async fn accept(
        &self,
        session: &Arc<OpenSession>,
        analyst: &Analyst,
        shell: Option<String>,
        new: NewCommand,
    ) -> Answer<Arc<Command>> {
        if let Some(known) = self.find_command(new.command_id).await? {
            if known.record().session_id == session.id.as_str() {
                return Ok(known);
            }
            return Err(Refusal::conflict("duplicate", "this command id belongs to another session").about("command_id"));
        }
        let invocation = read_again(session, &new)?;
        analyst.check(invocation.role(), &invocation.row.name)?;
        if invocation.row.runs_on == RunsOn::Shell {
            let message = format!("{} is a command of the shell alone", invocation.row.name);
            return Err(Refusal::bad("not_on_platform", message).about("command_definition_id"));
        }
        let command = self.commit(session, analyst, shell, new, true).await?;
        self.begin(session, analyst, &command, invocation);
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
        };
        let Some(invocation) = grammar::read("connect", None).invocation else {
            return Err(Refusal::bad("internal", "the table has no `connect`"));
        };
        let command = self.commit(session, analyst, None, new, false).await?;
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
                self.close_session(session, "the service", "unreachable").await?;
                Err(Refusal::new(axum::http::StatusCode::SERVICE_UNAVAILABLE, "unreachable", message)
                    .about(session.device.name.clone()))
            }
        }
    }

    /// Gives a command its number and writes it down.
    async fn commit(
        &self,
        session: &Arc<OpenSession>,
        analyst: &Analyst,
        shell: Option<String>,
        new: NewCommand,
        told: bool,
    ) -> Answer<Arc<Command>> {
        let mut last = session.numbering.lock().await;
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
            last_event: 0,
        };
        self.inner.store.add_command(&record).await?;
        *last = number;
        drop(last);
        let stream = Stream::new(self.spool_of(&record), self.inner.policy.limits.spool_bytes);
        push(&stream, &Body::Created { number }, false);
        let (line, shell) = (record.raw_command_line.clone(), record.shell.clone());
        let command = Arc::new(Command {
            record: std::sync::Mutex::new(record),
            stream,
            stop: tokio_util::sync::CancellationToken::new(),
            device: session.device.id.clone(),
        });
        locked(&self.inner.commands).insert(new.command_id, Arc::clone(&command));
        locked(&session.state).under_way.push(new.command_id);
        self.inner.activity.begin();
        session.touch();
        if told {
            session.tell(SessionEventKind::Command { number, shell, line });
        }
        Ok(command)
    }

    /// Sets a command going; it ends by itself from here on.
    fn begin(&self, session: &Arc<OpenSession>, analyst: &Analyst, command: &Arc<Command>, invocation: Invocation) {
        let (service, session, analyst, command) = (self.clone(), Arc::clone(session), analyst.clone(), Arc::clone(command));
        tokio::spawn(async move {
            let completed = service.carry_out(&session, &analyst, &command, &invocation).await;
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
        self.run_there(session, command, invocation).await
    }

    /// With `-auto`: runs the command that has to look first, as a command of its own.
    async fn look_first(
        &self,
        session: &Arc<OpenSession>,
        analyst: &Analyst,
        command: &Arc<Command>,
        invocation: &Invocation,
    ) -> Option<Completed> {
        if !invocation.flags.contains("auto") {
            return None;
        }
        let entity = invocation.params.get("type").map_or("*", String::as_str);
        let first = invocation.row.prerequisites.get(entity).or_else(|| invocation.row.prerequisites.get("*"))?;
        let named = invocation.params.get("id").or_else(|| invocation.params.get("path"));
        let mut line = first.command.clone();
        if let (Some(param), Some(value)) = (&first.param, named) {
            line.push_str(&format!(" -{param} {}", grammar::quoted(value)));
        }
        let (cwd, shell) = {
            let record = command.record();
            (record.current_directory.clone(), record.shell.clone())
        };
        let looked = match new_command(&line, cwd) {
            Ok((new, invocation)) => {
                let ran = Box::pin(self.commit(session, analyst, shell, new, true)).await;
                ran.inspect(|ran| self.begin(session, analyst, ran, invocation))
            }
            Err(refusal) => Err(refusal),
        };
        let looked = match looked {
            Ok(looked) => looked,
            Err(refusal) => return Some(failed(refusal.into_problem())),
        };
        let id = looked.record().command_id;
        push(&command.stream, &Body::Prerequisite { command_id: id }, false);
        let mut newest = looked.stream.watch();
        tokio::select! {
            _ = newest.wait_for(|(_, last)| *last) => {}
            () = command.stop.cancelled() => {
                self.cancel(id, &command.record().analyst.clone());
                return Some(stopped_early(command));
            }
        }
        let record = looked.record();
        (record.status != Status::Completed).then(|| {
            let why = record.errors.first().map_or_else(|| record.status.to_string(), |problem| problem.message.clone());
            failed(Problem::new("prerequisite", format!("`{line}` had to run first and did not succeed: {why}")))
        })
    }

    /// Waits for its turn, has the device carry it out, and passes on what the device says.
    async fn run_there(&self, session: &Arc<OpenSession>, command: &Arc<Command>, invocation: &Invocation) -> Completed {
        let Some(attached) = self.attached(&command.device) else {
            return failed(Problem::new("unreachable", format!("{} is not connected", session.device.name)));
        };
        let id = command.record().command_id;
        let mut turn = attached.queue.line_up(id, weight(invocation));
        loop {
            let place = *turn.place.borrow_and_update();
            if place == 0 {
                break;
            }
            command.record().place = Some(place);
            push(&command.stream, &Body::Queued { place }, false);
            tokio::select! {
                changed = turn.place.changed() => if changed.is_err() { break },
                () = command.stop.cancelled() => return stopped_early(command),
            }
        }
        let limit = self.inner.policy.limits.command(invocation);
        let request = device_command(session, command, invocation, limit);
        let now = Timestamp::now();
        {
            let mut record = command.record();
            record.place = None;
            record.started = Some(now);
            record.status = Status::Running;
        }
        if invocation.changes_state() || limit.as_secs() > 600 || weight(invocation) == Weight::Heavy {
            // Of what is over in a moment the end alone is written; of all else the beginning too.
            let record = command.record().clone();
            if let Err(error) = self.inner.store.update_command(&record).await {
                return failed(Refusal::from(error).into_problem());
            }
        }
        let mut running = attached.link.start(request, None);
        if command.stop.is_cancelled() {
            self.stop_there(command);
        }
        let patience = tokio::time::sleep(limit + GRACE);
        tokio::pin!(patience);
        loop {
            tokio::select! {
                event = running.events.recv() => match event {
                    Some(AgentEvent::Read(body)) => match *body {
                        Body::Completed(completed) => return completed,
                        Body::Seen(seen) => remember(session, seen),
                        body => { push(&command.stream, &body, false); }
                    },
                    Some(event) => { push_agent(&command.stream, &event); }
                    None => return interrupted(command, "the link to the device broke"),
                },
                () = &mut patience => {
                    attached.link.stop(id, StopReason::Expired);
                    return expired(command, limit);
                }
            }
        }
    }

    /// Commands that the service carries out itself.
    async fn run_here(
        &self,
        session: &Arc<OpenSession>,
        analyst: &Analyst,
        command: &Arc<Command>,
        invocation: &Invocation,
    ) -> Completed {
        let begun = Timestamp::now();
        {
            let mut record = command.record();
            record.started = Some(begun);
            record.status = Status::Running;
        }
        push(&command.stream, &Body::Started, false);
        let ran = match invocation.row.name.as_str() {
            "cancel" => self.run_cancel(session, analyst, command, invocation).await,
            "settings" => self.run_settings(analyst, command, invocation).await,
            "disconnect" => self.run_disconnect(session, command, invocation).await,
            other => Err(Refusal::bad("not_on_platform", format!("{other} is not to be had yet"))),
        };
        match ran {
            Ok(()) => ended(Status::Completed, millis_between(begun, Timestamp::now()), Vec::new()),
            Err(refusal) => failed(refusal.into_problem()),
        }
    }

    async fn run_cancel(
        &self,
        session: &Arc<OpenSession>,
        analyst: &Analyst,
        command: &Command,
        invocation: &Invocation,
    ) -> Answer<()> {
        let which = invocation.params.get("command_id").map_or("", String::as_str);
        let record = self.find_record(session, which).await?;
        let Some(target) = self.live_command(record.command_id).filter(|target| !target.record().status.is_final()) else {
            return Err(Refusal::conflict(
                "ended",
                format!("[{}] {} has ended already: {}", record.number, record.raw_command_line, record.status),
            ));
        };
        let mut newest = target.stream.watch();
        self.cancel(record.command_id, &analyst.name);
        let confirmed = tokio::time::timeout(Duration::from_secs(5), newest.wait_for(|(_, last)| *last)).await.is_ok();
        let text = if confirmed {
            let record = target.record();
            format!("[{}] {}: {}\n", record.number, record.raw_command_line, record.status)
        } else {
            format!("[{}] has not confirmed yet; the device may still finish it (`status {}`)\n", record.number, record.number)
        };
        tell_text(command, &text);
        Ok(())
    }

    async fn run_settings(&self, analyst: &Analyst, command: &Command, invocation: &Invocation) -> Answer<()> {
        if let (Some(name), Some(value)) = (invocation.params.get("name"), invocation.params.get("value")) {
            self.change_setting(analyst, name, value == "on").await?;
        }
        let settings = self.settings();
        let all = [
            ("live_response", settings.live_response),
            ("live_response_servers", settings.live_response_servers),
            ("unsigned_scripts", settings.unsigned_scripts),
        ];
        push(&command.stream, &Body::Table { keys: vec!["name".into(), "value".into()] }, false);
        let wanted = invocation.params.get("name");
        let shown = all.iter().filter(|(name, _)| wanted.is_none_or(|wanted| wanted == name));
        let rows = shown.filter_map(|(name, on)| {
            let row = serde_json::json!({ "name": name, "value": if *on { "on" } else { "off" } });
            serde_json::value::to_raw_value(&row).ok()
        });
        push(&command.stream, &Body::Rows { rows: rows.collect() }, false);
        Ok(())
    }

    async fn run_disconnect(&self, session: &Arc<OpenSession>, command: &Command, invocation: &Invocation) -> Answer<()> {
        let (id, shell, analyst) = {
            let record = command.record();
            (record.command_id, record.shell.clone(), record.analyst.clone())
        };
        let others = session.others(shell.as_deref());
        if others > 0 && !invocation.flags.contains("force") {
            let message =
                format!("{others} other shells are attached to this session; `disconnect -force` ends it for them too");
            return Err(Refusal::conflict("attached", message));
        }
        // This command must not be cancelled by the end that it brings about.
        locked(&session.state).under_way.retain(|under_way| *under_way != id);
        self.close_session(session, &analyst, "disconnect").await?;
        tell_text(command, &format!("session {} is closed\n", session.id));
        Ok(())
    }

    /// Changes a switch; needs the role `settings`.
    pub(super) async fn change_setting(&self, analyst: &Analyst, name: &str, on: bool) -> Answer<()> {
        analyst.check(crate::grammar::Role::Settings, "changing a setting")?;
        self.inner.store.set(name, on).await?;
        let settings = self.inner.store.settings().await?;
        *self.inner.settings.write().unwrap_or_else(std::sync::PoisonError::into_inner) = settings;
        Ok(())
    }

    /// Asks for the end of a command; `false` when it has ended.
    pub(super) fn cancel(&self, id: CommandId, by: &str) -> bool {
        let Some(command) = self.live_command(id) else { return false };
        {
            let mut record = command.record();
            if record.status.is_final() {
                return false;
            }
            record.cancelled_by.get_or_insert_with(|| by.to_owned());
        }
        command.stop.cancel();
        self.stop_there(&command);
        true
    }

    fn stop_there(&self, command: &Command) {
        let (id, by) = {
            let record = command.record();
            (record.command_id, record.cancelled_by.clone())
        };
        if let (Some(attached), Some(by)) = (self.attached(&command.device), by) {
            attached.link.stop(id, StopReason::Cancel { by });
        }
    }

    /// The shell has all the rows it wants: the command completes.
    pub(super) fn enough(&self, id: CommandId) {
        if let Some(command) = self.live_command(id)
            && let Some(attached) = self.attached(&command.device)
        {
            attached.link.stop(id, StopReason::Enough);
        }
    }

    /// Writes the end down, then tells it.
    async fn finish(&self, session: &Arc<OpenSession>, command: &Arc<Command>, completed: Completed) {
        let record = {
            let mut record = command.record();
            record.status = completed.status;
            record.place = None;
            record.completed = Some(Timestamp::now());
            record.duration_ms = Some(completed.duration_ms);
            record.errors.clone_from(&completed.errors);
            record.last_event = command.stream.count() + 1;
            record.clone()
        };
        if let Err(error) = self.inner.store.update_command(&record).await {
            tracing::error!(%error, command = %record.command_id, "the end of a command is not written");
        }
        locked(&session.state).under_way.retain(|id| *id != record.command_id);
        push(&command.stream, &Body::Completed(completed), true);
        session.touch();
        // Whoever reads it holds it; whoever asks later reads the store and the spool.
        locked(&self.inner.commands).remove(&record.command_id);
        self.inner.activity.end();
    }

    pub(super) fn live_command(&self, id: CommandId) -> Option<Arc<Command>> {
        locked(&self.inner.commands).get(&id).cloned()
    }

    /// A command under way or ended.
    pub(super) async fn find_command(&self, id: CommandId) -> Answer<Option<Arc<Command>>> {
        if let Some(live) = self.live_command(id) {
            return Ok(Some(live));
        }
        let Some(record) = self.inner.store.command(id).await? else { return Ok(None) };
        let (path, cap) = (self.spool_of(&record), self.inner.policy.limits.spool_bytes);
        let stream = tokio::task::spawn_blocking(move || Stream::load(path, cap, true)).await;
        let stream = stream.map_err(|_| Refusal::bad("internal", "the spool cannot be read"))?;
        Ok(Some(Arc::new(Command {
            record: std::sync::Mutex::new(record),
            stream,
            stop: tokio_util::sync::CancellationToken::new(),
            device: String::new(),
        })))
    }

    /// The record of a session's command by number, id, or a unique start of the id.
    pub(super) async fn find_record(&self, session: &OpenSession, which: &str) -> Answer<CommandRecord> {
        let records = self.inner.store.commands(&session.id).await?;
        pick(records, which).map(|record| self.fresh(record))
    }

    /// The record as it is now, when the command is under way.
    pub(super) fn fresh(&self, record: CommandRecord) -> CommandRecord {
        match self.live_command(record.command_id) {
            Some(live) => {
                let mut record = live.record().clone();
                record.last_event = live.stream.count();
                if record.duration_ms.is_none() {
                    record.duration_ms = record.started.map(|started| millis_between(started, Timestamp::now()));
                }
                record
            }
            None => record,
        }
    }
}

/// The record that a number, an id, or the unique start of an id names.
pub(super) fn pick(mut records: Vec<CommandRecord>, which: &str) -> Answer<CommandRecord> {
    if let Ok(number) = which.parse::<u64>()
        && let Some(at) = records.iter().position(|record| record.number == number)
    {
        return Ok(records.swap_remove(at));
    }
    let wanted = which.to_ascii_lowercase();
    records.retain(|record| !wanted.is_empty() && record.command_id.to_string().starts_with(&wanted));
    match records.len() {
        1 => Ok(records.swap_remove(0)),
        0 => Err(Refusal::not_found(format!("there is no command {which} in this session")).about("command_id")),
        _ => Err(Refusal::bad("ambiguous", format!("{which} is the start of several commands")).about("command_id")),
    }
}

/// Reads the raw line by the same grammar and compares it with what the shell made of it.
fn read_again(session: &OpenSession, new: &NewCommand) -> Answer<Invocation> {
    let reading = grammar::read(&new.raw_command_line, Some(session.platform()));
    if let Some(error) = reading.error() {
        return Err(Refusal::bad(error.kind.as_str(), error.message.clone()).about("raw_command_line"));
    }
    let Some(invocation) = reading.invocation else {
        return Err(Refusal::bad("empty", "there is no command").about("raw_command_line"));
    };
    let span = grammar::Span { start: 0, end: 0 };
    if invocation.row.since.is_some() {
        let message = grammar::not_yet(invocation.row, span).message;
        return Err(Refusal::bad("not_on_platform", message).about("command_definition_id"));
    }
    let params: IndexMap<&str, &str> = new.params.iter().map(|param| (param.param_id.as_str(), param.value.as_str())).collect();
    let same = invocation.row.name == new.command_definition_id
        && params.len() == new.params.len()
        && params.len() == invocation.params.len()
        && invocation.params.iter().all(|(name, value)| params.get(name.as_str()) == Some(&value.as_str()))
        && invocation.flags.iter().eq(new.flags.iter())
        && invocation.background == new.background_mode;
    if !same {
        let message = "the raw command line and the parameters disagree";
        return Err(Refusal::bad("mismatch", message).about("raw_command_line"));
    }
    Ok(invocation)
}

/// A command of the service's own making.
fn new_command(line: &str, current_directory: String) -> Answer<(NewCommand, Invocation)> {
    let reading = grammar::read(line, None);
    match (reading.error().cloned(), reading.invocation) {
        (None, Some(invocation)) => {
            let params = invocation.params.iter().map(|(name, value)| Param { param_id: name.clone(), value: value.clone() });
            let new = NewCommand {
                command_id: CommandId::new(),
                raw_command_line: line.to_owned(),
                command_definition_id: invocation.row.name.clone(),
                params: params.collect(),
                flags: invocation.flags.iter().cloned().collect(),
                current_directory,
                background_mode: false,
            };
            Ok((new, invocation))
        }
        (error, _) => {
            let message = error.map_or_else(String::new, |error| error.message);
            Err(Refusal::bad("internal", format!("`{line}` is not understood: {message}")))
        }
    }
}

fn weight(invocation: &Invocation) -> Weight {
    invocation.row.weight
}

fn remember(session: &OpenSession, seen: Seen) {
    let mut state = locked(&session.state);
    for item in seen.items {
        state.seen.insert((seen.entity.clone(), item.key.clone()), item);
    }
}

/// The latest that the session has seen of the entities of the type that a changing command names.
fn seen(session: &OpenSession, invocation: &Invocation) -> Vec<crate::protocol::SeenItem> {
    let Some(entity) = invocation.params.get("type").filter(|_| invocation.changes_state()) else { return Vec::new() };
    let state = locked(&session.state);
    state.seen.iter().filter(|((kind, _), _)| kind == entity).map(|(_, item)| item.clone()).collect()
}

fn tell_text(command: &Command, text: &str) {
    let text = crate::protocol::Text {
        stream: crate::protocol::StreamName::Stdout,
        data: crate::protocol::TextData::of(text.as_bytes()),
    };
    push(&command.stream, &Body::Text(text), false);
}

fn ended(status: Status, duration_ms: u64, errors: Vec<Problem>) -> Completed {
    Completed { status, duration_ms, cost: Cost::default(), errors }
}

fn failed(problem: Problem) -> Completed {
    ended(Status::Failed, 0, vec![problem])
}

fn so_far(command: &Command) -> u64 {
    command.record().started.map_or(0, |started| millis_between(started, Timestamp::now()))
}

fn interrupted(command: &Command, why: &str) -> Completed {
    ended(Status::Interrupted, so_far(command), vec![Problem::new("interrupted", why)])
}

fn expired(command: &Command, limit: Duration) -> Completed {
    let message = format!("the time limit of {} s was reached, and the device has not confirmed the end", limit.as_secs());
    ended(Status::Expired, so_far(command), vec![Problem::new("time_limit", message)])
}

fn stopped_early(command: &Command) -> Completed {
    let by = command.record().cancelled_by.clone().unwrap_or_default();
    let receipt = Receipt { confirmed: true, done: Vec::new(), not_done: vec!["it had not been started".into()], by };
    push(&command.stream, &Body::Receipt(receipt), false);
    ended(Status::Cancelled, 0, Vec::new())
}

fn device_command(session: &OpenSession, command: &Command, invocation: &Invocation, limit: Duration) -> DeviceCommand {
    let record = command.record();
    DeviceCommand {
        command_id: record.command_id,
        session_id: session.id.clone(),
        number: record.number,
        analyst: record.analyst.clone(),
        command_definition_id: record.command_definition_id.clone(),
        params: invocation.params.clone(),
        flags: record.flags.clone(),
        current_directory: record.current_directory.clone(),
        time_limit_ms: u64::try_from(limit.as_millis()).unwrap_or(u64::MAX),
        size_limit: match size_limit(&record.command_definition_id, session.platform()) {
            u64::MAX => None,
            limit => Some(limit),
        },
        seen: seen(session, invocation),
        resume: None,
        library_file: None,
        signing_keys: None,
        shells: session.shell_pids().into_iter().map(|pid| ShellPeer { pid }).collect(),
    }
}
