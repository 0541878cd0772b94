//! The way of a command to its device: its turn, its start, what the device says, and how it is stopped.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::outcome::{expired, failed, interrupted, stopped_early};
use crate::grammar::Invocation;
use crate::protocol::link::{DeviceCommand, ShellPeer, StopReason};
use crate::protocol::{AgentEvent, Body, CommandId, Completed, Effect, Problem, Seen, SessionEventKind, Status};
use crate::service::error::Refusal;
use crate::service::policy::{Analyst, size_limit};
use crate::service::sessions::OpenSession;
use crate::service::state::{Command, Service, locked, push, push_agent};

/// A device that does not end a command at its limit is given so long before the command counts as ended.
const GRACE: Duration = Duration::from_secs(10);

impl Service {
    /// Waits for its turn, has the device carry it out, and passes on what the device says.
    pub(super) async fn run_there(
        &self,
        session: &Arc<OpenSession>,
        analyst: &Analyst,
        command: &Arc<Command>,
        invocation: &Invocation,
    ) -> Completed {
        let Some(attached) = self.attached(&command.device) else {
            return failed(Problem::new("unreachable", format!("{} is not connected", session.device.name)));
        };
        let id = command.record().command_id;
        let mut turn = attached.queue.line_up(id, invocation.row.weight);
        loop {
            let place = *turn.place.borrow_and_update();
            if place == 0 {
                break;
            }
            command.record().place = Some(place);
            push(&command.stream, &Body::Queued { place });
            tokio::select! {
                changed = turn.place.changed() => if changed.is_err() { break },
                () = command.stop.cancelled() => return stopped_early(command),
            }
        }
        let limit = self.inner.policy.limits.command(invocation);
        let mut request = device_command(session, analyst, command, invocation, limit);
        let delivery = match self.delivery_for(invocation, request.size_limit).await {
            Ok(Some(delivered)) => {
                request.library_file = Some(delivered.file);
                request.signing_keys = delivered.keys;
                Some(delivered.content)
            }
            Ok(None) => match self.rules_for(invocation).await {
                Ok(Some((files, content))) => {
                    request.rule_files = files;
                    Some(content)
                }
                Ok(None) => None,
                Err(refusal) => return failed(refusal.into_problem()),
            },
            Err(refusal) => return failed(refusal.into_problem()),
        };
        let now = Timestamp::now();
        {
            let mut record = command.record();
            record.place = None;
            record.started = Some(now);
            record.status = Status::Running;
        }
        if invocation.changes_state() {
            // Of what only looks, the spool tells whether it had begun.
            let record = command.record().clone();
            if let Err(error) = self.inner.store.update_command(&record).await {
                return failed(Refusal::from(error).into_problem());
            }
        }
        let mut running = attached.link.start(request, delivery);
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
                        Body::Effect(effect) => {
                            let isolates = effect.entity == "isolation";
                            self.note_effect(command, *effect).await;
                            if isolates {
                                let isolated = attached.link.isolation_left().is_some();
                                session.tell(SessionEventKind::Isolation { isolated });
                            }
                        }
                        body => { push(&command.stream, &body); }
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

    /// Tells a change, and keeps it for the log.
    async fn note_effect(&self, command: &Command, effect: Effect) {
        let id = command.record().command_id;
        if let Err(error) = self.inner.store.add_effect(id, &effect).await {
            tracing::error!(%error, effect = effect.effect_id, "the log does not keep a change");
        }
        command.record().effects.push(effect.clone());
        push(&command.stream, &Body::Effect(Box::new(effect)));
    }

    /// Asks for the end of a command; `false` when it has ended.
    pub(in crate::service) fn cancel(&self, id: CommandId, by: &str) -> bool {
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
    pub(in crate::service) fn enough(&self, id: CommandId) {
        if let Some(command) = self.live_command(id)
            && let Some(attached) = self.attached(&command.device)
        {
            attached.link.stop(id, StopReason::Enough);
        }
    }
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

fn device_command(
    session: &OpenSession,
    analyst: &Analyst,
    command: &Command,
    invocation: &Invocation,
    limit: Duration,
) -> DeviceCommand {
    // Who sent it counts, though its event stream may still be to come.
    let mut shells = locked(&session.state).shells.pids();
    shells.extend(analyst.pid);
    let record = command.record();
    DeviceCommand {
        command_id: record.command_id,
        number: record.number,
        analyst: record.analyst.clone(),
        params: invocation.for_device(),
        flags: record.flags.clone(),
        current_directory: record.current_directory.clone(),
        size_limit: match size_limit(&record.command_definition_id, session.platform()) {
            u64::MAX => None,
            limit => Some(limit),
        },
        seen: seen(session, invocation),
        shells: shells.into_iter().map(|pid| ShellPeer { pid }).collect(),
        ..DeviceCommand::new(session.id.clone(), &record.command_definition_id, limit)
    }
}
