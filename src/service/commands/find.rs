//! Finding a command: under way in memory, ended in the store and its spool.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::protocol::{CommandId, CommandRecord};
use crate::service::error::{Answer, Refusal};
use crate::service::sessions::OpenSession;
use crate::service::state::{Command, Service, locked, millis_between};

/// Between the store's word and the memory's lies so much at most.
const ACCEPTED_WITHIN: Duration = Duration::from_secs(1);

impl Service {
    pub(in crate::service) fn live_command(&self, id: CommandId) -> Option<Arc<Command>> {
        locked(&self.inner.commands).get(&id).cloned()
    }

    /// A command under way or ended.
    pub(in crate::service) async fn find_command(&self, id: CommandId) -> Answer<Option<Arc<Command>>> {
        if let Some(live) = self.live_command(id) {
            return Ok(Some(live));
        }
        let Some(record) = self.inner.store.command(id).await? else { return Ok(None) };
        let spools = Arc::clone(&self.inner.spools);
        let loaded = tokio::task::spawn_blocking(move || (spools.load(&record), record)).await;
        let (stream, mut record) = loaded.map_err(|_| Refusal::internal("a task that reads a spool ended"))?;
        if !record.status.is_final() {
            // It is just being accepted, or its end could not be written down.
            let Some(completed) = stream.completed() else { return self.await_live(id).await.map(Some) };
            record.status = completed.status;
            record.duration_ms = Some(completed.duration_ms);
            record.errors = completed.errors;
        }
        stream.end_as(&record);
        Ok(Some(Arc::new(Command {
            record: std::sync::Mutex::new(record),
            stream,
            stop: tokio_util::sync::CancellationToken::new(),
            device: String::new(),
        })))
    }

    /// A command that is in the store and will be in memory in a moment.
    async fn await_live(&self, id: CommandId) -> Answer<Arc<Command>> {
        let accepted = async {
            loop {
                // Listening first, so that none is missed between the look and the waiting.
                let mut next = std::pin::pin!(self.inner.accepted.notified());
                next.as_mut().enable();
                if let Some(live) = self.live_command(id) {
                    return live;
                }
                next.await;
            }
        };
        let late = |_| Refusal::internal(format!("command {id} is neither under way nor ended"));
        tokio::time::timeout(ACCEPTED_WITHIN, accepted).await.map_err(late)
    }

    /// The record of a session's command by number, id, or a unique start of the id.
    pub(in crate::service) async fn find_record(&self, session: &OpenSession, which: &str) -> Answer<CommandRecord> {
        let live = self.live_commands();
        let records = self.inner.store.named(&session.id, which).await?;
        pick(records, which).map(|record| self.fresh(&live, record))
    }

    /// The same, but where another command goes on with its work, that one.
    pub(in crate::service) async fn find_latest(&self, session: &OpenSession, which: &str) -> Answer<CommandRecord> {
        let mut record = self.find_record(session, which).await?;
        // Numbers only grow, so this ends.
        while let Some(number) = record.continued_by.filter(|number| *number > record.number) {
            record = self.find_record(session, &number.to_string()).await?;
        }
        Ok(record)
    }

    /// That a command may go on with another's work: it is the same line of the same session.
    pub(super) async fn check_continued(&self, session: &OpenSession, before: CommandId, line: &str) -> Answer<()> {
        let before = self.inner.store.command(before).await?;
        if before.is_some_and(|before| before.session_id == session.id.to_string() && before.raw_command_line == line) {
            return Ok(());
        }
        Err(Refusal::bad("mismatch", "the command to go on with is none of this session and line").about("continues"))
    }

    /// The commands that are under way now: asked for before the store is, so that none ends unseen between the two.
    pub(in crate::service) fn live_commands(&self) -> HashMap<CommandId, Arc<Command>> {
        locked(&self.inner.commands).clone()
    }

    /// The record as it is now, when the command is or was just under way.
    pub(in crate::service) fn fresh(&self, live: &HashMap<CommandId, Arc<Command>>, record: CommandRecord) -> CommandRecord {
        self.record_now(live, record.command_id).unwrap_or(record)
    }

    /// The record of a command that is or was just under way, as it is now.
    pub(in crate::service) fn record_now(
        &self,
        live: &HashMap<CommandId, Arc<Command>>,
        id: CommandId,
    ) -> Option<CommandRecord> {
        let live = live.get(&id).cloned().or_else(|| self.live_command(id))?;
        let mut record = live.record().clone();
        record.last_event = live.stream.count();
        if record.duration_ms.is_none() {
            record.duration_ms = record.started.map(|started| millis_between(started, Timestamp::now()));
        }
        Some(record)
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
