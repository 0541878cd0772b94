//! What a service that was killed left behind: the commands that were under way are ended.

use std::collections::HashMap;

use jiff::Timestamp;

use super::state::{Service, end, millis_between, push};
use super::stream::Stream;
use crate::grammar;
use crate::protocol::{Body, CommandId, CommandRecord, Completed, Cost, Effect, Event, Problem, Status};

impl Service {
    /// Commands that were under way when the last service ended are `interrupted`, with what came so far and what the agent
    /// found in its journal. One whose end was told, and only not written down any more, has ended so.
    pub(super) async fn end_interrupted(&self) -> Result<(), sqlx::Error> {
        let mut recovered: HashMap<CommandId, Vec<Effect>> = HashMap::new();
        for device in &self.inner.devices {
            for (command, effect) in device.link.recovered() {
                recovered.entry(command).or_default().push(effect);
            }
        }
        for mut record in self.inner.store.unfinished().await? {
            let stream = self.inner.spools.resume(&record);
            record.started = record.started.or_else(|| began(&stream));
            if stream.count() == 0 {
                // It was written down, and nobody told of it yet: its readers begin with its number too.
                push(&stream, &Body::Created { number: record.number });
            }
            record.last_event = stream.count();
            if let Some(completed) = stream.completed() {
                end(&mut record, &completed, Timestamp::now());
                stream.close();
            } else {
                for effect in recovered.remove(&record.command_id).unwrap_or_default() {
                    self.inner.store.add_effect(record.command_id, &effect).await?;
                    if !has_effect(&stream, effect.effect_id) {
                        push(&stream, &Body::Effect(Box::new(effect)));
                    }
                }
                let mut completed = interrupted(&record);
                completed.errors.extend(stream.unkept());
                end(&mut record, &completed, Timestamp::now());
                record.last_event = push(&stream, &Body::Completed(completed));
            }
            self.inner.store.update_command(&record).await?;
        }
        Ok(())
    }
}

fn interrupted(record: &CommandRecord) -> Completed {
    let name = &record.command_definition_id;
    let problem = match record.started {
        Some(_) => Problem::new(
            "interrupted",
            format!("{name}: the service's process ended{}", what_to_do(name, &record.raw_command_line)),
        ),
        None => {
            let message = format!("{name}: the service's process ended before it was started; nothing was done: run it again");
            Problem::new("not_started", message)
        }
    };
    let duration_ms = record.started.map_or(0, |started| millis_between(started, Timestamp::now()));
    Completed { status: Status::Interrupted, duration_ms, cost: Cost::default(), errors: vec![problem] }
}

/// What an analyst does about a command that a dead service had under way.
fn what_to_do(name: &str, line: &str) -> &'static str {
    let changes = grammar::read(line, None).invocation.is_none_or(|invocation| invocation.changes_state());
    match name {
        // An agent starts only once what the last one ran is gone.
        "run" => "; its processes were ended: run it again if what it did so far allows that",
        "remediate" | "undo" | "scan" if changes => ": `remediate list` shows what was done, before you run it again",
        "isolate" | "release" => ": `session` shows whether the device is isolated, before you run it again",
        _ => ": run it again",
    }
}

/// When the device began a command, as its events tell.
fn began(stream: &Stream) -> Option<Timestamp> {
    let mut events = stream.events().filter_map(|json| Event::parse(&json).ok());
    events.find(|event| !matches!(event.body.kind(), "created" | "queued" | "prerequisite")).map(|event| event.t)
}

/// Whether an effect was told before the service ended.
fn has_effect(stream: &Stream, id: u64) -> bool {
    let mut events = stream.events().filter_map(|json| Event::parse(&json).ok());
    events.any(|event| matches!(event.body, Body::Effect(told) if told.effect_id == id))
}
