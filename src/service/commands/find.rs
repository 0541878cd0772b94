//! Finding a command: under way in memory, ended in the store and its spool.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::protocol::{CommandId, CommandRecord};
use crate::service::error::{Answer, Refusal};
use crate::service::sessions::OpenSession;
use crate::service::state::{Command, Service, locked, millis_between};
use crate::service::stream::Stream;

/// How often a command is looked for whose end is neither to come nor written down: its store has failed.
const PATIENCE: u32 = 1000;

impl Service {
    pub(in crate::service) fn live_command(&self, id: CommandId) -> Option<Arc<Command>> {
        locked(&self.inner.commands).get(&id).cloned()
    }

    /// A command under way or ended.
    pub(in crate::service) async fn find_command(&self, id: CommandId) -> Answer<Option<Arc<Command>>> {
        let mut tries = 0;
        let record = loop {
            if let Some(live) = self.live_command(id) {
                return Ok(Some(live));
            }
            let Some(record) = self.inner.store.command(id).await? else { return Ok(None) };
            // It is written down before it is live, and after its end it is live a little longer: what the store says counts
            // once it says the end and the command is not live any more.
            if let Some(live) = self.live_command(id) {
                return Ok(Some(live));
            }
            if record.status.is_final() || tries == PATIENCE {
                break record;
            }
            tries += 1;
            tokio::time::sleep(Duration::from_millis(1)).await;
        };
        let (path, cap) = (self.spool_of(&record), self.inner.policy.limits.spool_bytes);
        let stream = tokio::task::spawn_blocking(move || Stream::load(path, cap, true)).await;
        let stream = stream.map_err(|_| Refusal::internal("a task that reads a spool ended"))?;
        Ok(Some(Arc::new(Command {
            record: std::sync::Mutex::new(record),
            stream,
            stop: tokio_util::sync::CancellationToken::new(),
            device: String::new(),
        })))
    }

    /// The record of a session's command by number, id, or a unique start of the id.
    pub(in crate::service) async fn find_record(&self, session: &OpenSession, which: &str) -> Answer<CommandRecord> {
        let records = self.inner.store.commands(&session.id).await?;
        pick(records, which).map(|record| self.fresh(record))
    }

    /// The record as it is now, when the command is under way.
    pub(in crate::service) fn fresh(&self, record: CommandRecord) -> CommandRecord {
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
pub(in crate::service) fn pick(mut records: Vec<CommandRecord>, which: &str) -> Answer<CommandRecord> {
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
