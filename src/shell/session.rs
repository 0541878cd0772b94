//! The session of a shell: connected by the first command that needs one, watched while it lasts, left at the end.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use super::client::SessionEvents;
use super::{Question, Shell};
use crate::error::{Exit, Failure, Outcome};
use crate::protocol::{NewSession, Session, SessionEventKind, SessionId};

/// The session that the shell is in now, for whoever is beside its loop. Clones are the same.
#[derive(Clone, Default)]
pub(super) struct Now(Arc<Mutex<Option<Known>>>);

struct Known {
    session: Session,
    /// When something was last done in it, as far as this shell has heard, or as the service has said since.
    active: Instant,
    /// When the service was last asked how long is left.
    asked: Option<Instant>,
}

impl Now {
    /// Its id.
    pub(super) fn id(&self) -> Option<SessionId> {
        self.session().map(|session| session.session_id)
    }

    /// What the service said when it was opened.
    pub(super) fn session(&self) -> Option<Session> {
        self.locked().as_ref().map(|known| known.session.clone())
    }

    /// How long until it ends by itself, if nothing happens.
    pub(super) fn idle_left(&self) -> Option<Duration> {
        self.locked().as_ref().map(Known::idle_left)
    }

    /// Whether the service is to be asked how long is left: not again within `pause`. If so, it counts as asked.
    pub(super) fn ask_idle(&self, pause: Duration) -> Option<SessionId> {
        let mut known = self.locked();
        let known = known.as_mut()?;
        if known.asked.is_some_and(|asked| asked.elapsed() < pause) {
            return None;
        }
        known.asked = Some(Instant::now());
        Some(known.session.session_id.clone())
    }

    /// What the service says now: how long is left, or nothing while a command runs, which is activity.
    pub(super) fn hear_idle(&self, session: &Session) {
        if let Some(known) = self.locked().as_mut().filter(|known| known.session.session_id == session.session_id) {
            known.active = last_activity(session);
        }
    }

    /// Something was done in it.
    pub(super) fn touch(&self) {
        if let Some(known) = self.locked().as_mut() {
            known.active = Instant::now();
        }
    }

    fn set(&self, session: Option<&Session>) {
        let known = |session: &Session| Known { session: session.clone(), active: last_activity(session), asked: None };
        *self.locked() = session.map(known);
    }

    /// It has ended, if it is still the one.
    fn end(&self, id: &SessionId) {
        self.locked().take_if(|known| known.session.session_id == *id);
    }

    fn locked(&self) -> MutexGuard<'_, Option<Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn idle_left(&self) -> Duration {
        Duration::from_secs(self.session.limits.idle_seconds).saturating_sub(self.active.elapsed())
    }
}

/// When something was last done in a session, by what the service says is left.
fn last_activity(session: &Session) -> Instant {
    let limit = Duration::from_secs(session.limits.idle_seconds);
    let idle = session.idle_left_ms.map_or(Duration::ZERO, |left| limit.saturating_sub(Duration::from_millis(left)));
    Instant::now().checked_sub(idle).unwrap_or_else(Instant::now)
}

/// A session that this shell is attached to.
pub(super) struct Attached {
    /// What the service said when it was opened.
    pub(super) facts: Session,
    closed: Arc<Mutex<Option<String>>>,
    /// The device was cut off the network when last heard of.
    isolated: Arc<AtomicBool>,
    /// This shell has asked for its end, and needs not be told of it.
    disconnecting: Arc<AtomicBool>,
    watch: JoinHandle<()>,
}

impl Attached {
    /// Whether somebody has ended it.
    pub(super) fn is_closed(&self) -> bool {
        self.closed_by().is_some()
    }

    /// Who ended it and why.
    pub(super) fn closed_by(&self) -> Option<String> {
        self.closed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

impl Shell {
    /// The session, where there is one.
    #[must_use]
    pub fn session_facts(&self) -> Option<&Session> {
        self.session.as_ref().filter(|session| !session.is_closed()).map(|session| &session.facts)
    }

    /// The session, connecting to the only device there is (or the one that the command line names) when there is none.
    ///
    /// # Errors
    /// When no session can be had; in a batch also when somebody has ended the one there was.
    pub async fn attached(&mut self) -> Outcome<Session> {
        if let Some(session) = &self.session {
            match session.closed_by() {
                None => return Ok(session.facts.clone()),
                Some(by) if !self.interactive => {
                    return Err(Failure::new(Exit::Refused, "session_closed", format!("the session was ended: {by}")));
                }
                Some(_) => self.session = None,
            }
        }
        let wanted = NewSession { device: self.device.clone(), comment: None };
        let session = self.connect(&wanted).await?;
        let how = if session.attached { "attached to your session on" } else { "connected to" };
        self.screen.aside(&format!("{how} {}", session.device.title()));
        Ok(session)
    }

    /// How long the device stays cut off the network yet, asked of it now; asked only once it was said to be.
    pub(super) async fn isolation_left(&self) -> Option<Duration> {
        let session = self.session.as_ref().filter(|session| !session.is_closed())?;
        if !session.isolated.load(Ordering::Relaxed) {
            return None;
        }
        let left = self.client.session(&session.facts.session_id).await.ok()?.isolation_left_ms;
        session.isolated.store(left.is_some(), Ordering::Relaxed);
        left.map(Duration::from_millis)
    }

    /// What changes the device may cut it off, or end that: the next prompt asks, since the session's own word of it may come later.
    pub(super) fn expect_isolation(&self) {
        if let Some(session) = &self.session {
            session.isolated.store(true, Ordering::Relaxed);
        }
    }

    /// Opens a session and watches it from now on.
    ///
    /// # Errors
    /// As the service says.
    pub async fn connect(&mut self, wanted: &NewSession) -> Outcome<Session> {
        let facts = self.client.open_session(wanted).await?;
        let is_new = self.session.as_ref().is_none_or(|session| session.facts.session_id != facts.session_id);
        if is_new {
            self.session = None;
            facts
                .device
                .platform
                .start_directory()
                .clone_into(&mut self.directory.lock().unwrap_or_else(PoisonError::into_inner));
        }
        let closed = Arc::new(Mutex::new(None));
        let disconnecting = Arc::new(AtomicBool::new(false));
        let isolated = Arc::new(AtomicBool::new(facts.isolation_left_ms.is_some()));
        let watching = Watching {
            client: self.client.clone(),
            now: self.now.clone(),
            session: facts.session_id.clone(),
            closed: closed.clone(),
            isolated: isolated.clone(),
            disconnecting: disconnecting.clone(),
            screen: self.screen.clone(),
        };
        self.now.set(Some(&facts));
        let watch = tokio::spawn(watching.run());
        self.session = Some(Attached { facts: facts.clone(), closed, isolated, disconnecting, watch });
        Ok(facts)
    }

    /// Leaves the session in order: the last shell to do so ends it.
    pub async fn leave(&mut self) {
        let Some(session) = self.session.take() else { return };
        self.now.set(None);
        if session.is_closed() {
            return;
        }
        // Its end is this shell's own doing: nothing to be told of.
        *session.closed.lock().unwrap_or_else(PoisonError::into_inner) = Some("by this shell".to_owned());
        if let Err(failure) = self.client.leave(&session.facts.session_id).await {
            self.screen.error(&failure.problem);
        }
    }

    /// Says that the session's end is this shell's own doing, or that it has not come of it.
    pub(super) fn set_disconnecting(&self, disconnecting: bool) {
        if let Some(session) = &self.session {
            session.disconnecting.store(disconnecting, Ordering::Relaxed);
        }
    }

    /// What to ask before the session is ended for all that uses it, where anything but this shell does. Tells what runs.
    ///
    /// # Errors
    /// When the service cannot be asked.
    pub(super) async fn before_disconnect(&mut self) -> Outcome<Option<Question>> {
        let session = self.attached().await?.session_id;
        let others = self.client.session(&session).await?.shells.saturating_sub(1);
        let mut running = self.client.commands(&session).await?;
        running.retain(|record| !record.status.is_final());
        for record in &running {
            self.screen.message(&format!("[{}]   ({})   {}", record.number, record.status, record.raw_command_line));
        }
        let runs = match running.len() {
            0 => None,
            1 => Some("1 command runs".to_owned()),
            several => Some(format!("{several} commands run")),
        };
        let attached = match others {
            0 => None,
            1 => Some("1 other shell is attached".to_owned()),
            several => Some(format!("{several} other shells are attached")),
        };
        let uses: Vec<String> = runs.into_iter().chain(attached).collect();
        let text = format!("{}. End the session all the same?", uses.join(", and "));
        Ok((!uses.is_empty()).then_some(Question { text, at_end: false }))
    }

    /// Forgets a session that was ended by this shell's own word.
    pub(super) fn forget_session(&mut self) {
        self.session = None;
        self.now.set(None);
    }
}

/// Hears what happens in a session: this is also how the service knows that the shell is there.
struct Watching {
    client: super::client::Client,
    now: Now,
    session: SessionId,
    closed: Arc<Mutex<Option<String>>>,
    isolated: Arc<AtomicBool>,
    disconnecting: Arc<AtomicBool>,
    screen: super::view::Screen,
}

impl Watching {
    async fn run(self) {
        let by = match self.until_closed().await {
            Ok(by) => by,
            // It ended while nobody was there to tell it.
            Err(failure) if matches!(failure.code(), "session_closed" | "not_found") => failure.problem.message,
            // A service that is gone is told by the next command.
            Err(_) => return,
        };
        self.now.end(&self.session);
        let before = self.closed.lock().unwrap_or_else(PoisonError::into_inner).replace(by.clone());
        if before.is_none() && !self.disconnecting.load(Ordering::Relaxed) {
            self.screen.announce(&format!("the session was ended: {by}"));
        }
    }

    async fn until_closed(&self) -> Outcome<String> {
        let mut events = SessionEvents::open(&self.client, &self.session).await?;
        loop {
            match events.next().await?.what {
                SessionEventKind::Closed { by, reason } => return Ok(format!("by {by} ({reason})")),
                SessionEventKind::Command { .. } => self.now.touch(),
                SessionEventKind::Isolation { isolated } => self.isolated.store(isolated, Ordering::Relaxed),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(idle_left_ms: Option<u64>) -> Session {
        let value = serde_json::json!({
            "session_id": "CLR01a20e2c-2514-7383-a853-97f322c0ab26", "analyst": "kim", "comment": null, "started": "2026-01-01T00:00:00Z",
            "device": {"id": "d", "name": "web01", "platform": "linux", "version": "1", "last_seen": "2026-01-01T00:00:00Z", "state": "online", "tags": []},
            "ended": null, "duration_ms": 0, "idle_left_ms": idle_left_ms, "state": "open", "closed_by": null, "shells": 1,
            "last_command": 1, "roles": [],
            "limits": {
                "idle_seconds": 1800, "command_seconds": 600, "long_command_seconds": 1800, "getfile_bytes": 1,
                "fileinfo_bytes": 1, "library_bytes": 1, "putfile_bytes": 1,
            },
        });
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn the_time_that_is_left_is_what_the_service_says() {
        let now = Now::default();
        let minutes = |now: &Now| now.idle_left().unwrap().as_secs().div_ceil(60);
        assert_eq!((now.idle_left(), now.ask_idle(Duration::ZERO)), (None, None));
        // A session that another shell has left idle for long has no more than that, though this one has just come.
        now.set(Some(&session(Some(120_000))));
        assert_eq!(minutes(&now), 2);
        // Once asked, not again at each key.
        assert!(now.ask_idle(Duration::from_mins(1)).is_some());
        assert_eq!(now.ask_idle(Duration::from_mins(1)), None);
        assert!(now.ask_idle(Duration::ZERO).is_some());
        now.hear_idle(&session(Some(1_500_000)));
        assert_eq!(minutes(&now), 25);
        // A command of another shell runs: that is activity.
        now.hear_idle(&session(None));
        assert_eq!(minutes(&now), 30);
        // What is said of another session changes nothing.
        now.hear_idle(&Session { session_id: "CLR01a20e2c-24f5-72b2-91e0-61dcc81f9899".parse().unwrap(), ..session(Some(1)) });
        assert_eq!(minutes(&now), 30);
    }
}
