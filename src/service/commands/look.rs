//! `-auto`: what has to be looked at first is looked at, as a command of its own.

use std::sync::Arc;

use super::outcome::{failed, stopped_early};
use super::reading::new_command;
use crate::grammar::{self, Invocation};
use crate::protocol::text::exact;
use crate::protocol::{Body, Completed, Problem, Status};
use crate::service::policy::Analyst;
use crate::service::sessions::OpenSession;
use crate::service::state::{Command, Service, push};

impl Service {
    /// With `-auto`: runs the command that has to look first, as a command of its own.
    pub(super) async fn look_first(
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
        let named = ["id", "path"].iter().find_map(|name| {
            let value = invocation.params.get(*name)?;
            Some(invocation.value_for_device(name, value))
        });
        let mut line = first.command.clone();
        let (cwd, shell) = {
            let record = command.record();
            (record.current_directory.clone(), record.shell.clone())
        };
        if let (Some(param), Some(value)) = (&first.param, named) {
            // What changes something takes no pattern: what looks first must not take its path for one.
            let path = param == "path" && entity == "file";
            let value = if path { exact(&value, &cwd) } else { value };
            line.push_str(&format!(" -{param} {}", grammar::quoted(&value)));
        }
        let looked = match new_command(&line, cwd) {
            Ok((new, invocation)) => {
                let ran = Box::pin(self.commit(session, analyst, shell, new, true)).await;
                ran.inspect(|ran| {
                    if let Some(ran) = ran {
                        self.begin(session, analyst, ran, invocation);
                    }
                })
            }
            Err(refusal) => Err(refusal),
        };
        let looked = match looked {
            Ok(Some(looked)) => looked,
            Ok(None) => return Some(failed(Problem::new("internal", "a new id is taken"))),
            Err(refusal) => return Some(failed(refusal.into_problem())),
        };
        let id = looked.record().command_id;
        push(&command.stream, &Body::Prerequisite { command_id: id });
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
}
