//! How sessions end: by a word, with the last shell that leaves, or by themselves; and how they outlive their service.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::error::Answer;
use super::policy::Analyst;
use super::sessions::OpenSession;
use super::shells::Shells;
use super::state::{Service, locked, millis_between};
use crate::protocol::SessionEventKind;

/// Who ends what nobody asked to be ended.
pub(super) const SERVICE: &str = "the service";

impl Service {
    /// Sessions that were open when the last service ended go on, with the idle time they have left.
    pub(super) async fn reopen_sessions(&self) -> Result<(), sqlx::Error> {
        let limit = Duration::from_secs(self.inner.policy.limits.idle_seconds);
        for stored in self.inner.store.sessions(true).await? {
            let idle = Duration::from_millis(millis_between(stored.last_activity, Timestamp::now()));
            if idle >= limit {
                // It ended while no service was there to see it.
                let at = stored.last_activity.checked_add(limit).unwrap_or_else(|_| Timestamp::now());
                self.inner.store.end_session(&stored.session_id, at, &closed_by(SERVICE, "idle")).await?;
            } else if self.attached(&stored.device.id).is_none() {
                self.inner.store.end_session(&stored.session_id, Timestamp::now(), &closed_by(SERVICE, "unreachable")).await?;
            } else {
                let session = self.keep_session(stored, idle);
                locked(&session.state).shells = Shells::reopened();
            }
        }
        Ok(())
    }

    pub(super) async fn end_when_idle(self, session: Arc<OpenSession>) {
        loop {
            let left = self.idle_left(&session);
            let due = async {
                match left {
                    Some(left) => tokio::time::sleep(left).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = session.closed.cancelled() => return,
                () = session.activity.notified() => {}
                () = due => {
                    if let Err(error) = self.close_if_idle(&session).await {
                        tracing::error!(?error, session = %session.id, "the end of an idle session is not written");
                    }
                }
            }
        }
    }

    /// How long until a session ends by itself; `None` while a command runs or waits.
    pub(super) fn idle_left(&self, session: &OpenSession) -> Option<Duration> {
        if session.is_busy() {
            return None;
        }
        let since = locked(&session.state).last_activity.map_or(Duration::ZERO, |last| last.elapsed());
        Some(Duration::from_secs(self.inner.policy.limits.idle_seconds).saturating_sub(since))
    }

    /// Ends a session: its commands are cancelled, its shells told.
    pub(super) async fn close_session(&self, session: &Arc<OpenSession>, by: &str, reason: &str) -> Answer<()> {
        // While the numbering is held no command is accepted; behind it the session takes none.
        let numbering = session.numbering.lock().await;
        let is_first = locked(&session.state).shells.close();
        drop(numbering);
        if is_first {
            return self.end_session(session, by, reason).await;
        }
        session.closed.cancelled().await;
        Ok(())
    }

    /// A shell leaves in order; the last one closes the session, unless commands of a shell that was lost still run in it.
    /// Answers with the shells that stay, and those commands; none of both: it is closed.
    pub(super) async fn leave_session(
        &self,
        session: &Arc<OpenSession>,
        analyst: &Analyst,
        shell: Option<&str>,
    ) -> Answer<(u32, usize)> {
        let numbering = session.numbering.lock().await;
        let (others, under_way) = {
            let mut state = locked(&session.state);
            (state.shells.leave(shell), state.under_way.clone())
        };
        let commands = under_way.into_iter().filter_map(|id| self.live_command(id));
        let of_others = commands.filter(|command| command.record().shell.as_deref() != shell).count();
        let is_last = others == 0 && of_others == 0;
        let is_first = is_last && locked(&session.state).shells.close();
        drop(numbering);
        if is_first {
            self.end_session(session, &analyst.name, "exit").await?;
        }
        Ok((others, of_others))
    }

    async fn close_if_idle(&self, session: &Arc<OpenSession>) -> Answer<bool> {
        let numbering = session.numbering.lock().await;
        if self.idle_left(session) != Some(Duration::ZERO) || !locked(&session.state).shells.close() {
            return Ok(false);
        }
        drop(numbering);
        self.end_session(session, SERVICE, "idle").await.map(|()| true)
    }

    async fn end_session(&self, session: &Arc<OpenSession>, by: &str, reason: &str) -> Answer<()> {
        let under_way = locked(&session.state).under_way.clone();
        for command in under_way {
            self.cancel(command, by);
        }
        // A store that fails leaves it open in the store alone; here it has ended in any case.
        let written = self.inner.store.end_session(&session.id, Timestamp::now(), &closed_by(by, reason)).await;
        locked(&self.inner.sessions).remove(&session.id);
        session.tell(SessionEventKind::Closed { by: by.to_owned(), reason: reason.to_owned() });
        session.closed.cancel();
        Ok(written?)
    }
}

/// Who ended a session and why, as the store keeps it and a session tells it.
fn closed_by(by: &str, reason: &str) -> String {
    format!("{by} ({reason})")
}
