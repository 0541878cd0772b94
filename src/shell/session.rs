//! The session of a shell: connected by the first command that needs one, watched while it lasts, left at the end.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use super::Shell;
use super::client::SessionEvents;
use crate::error::{Exit, Failure, Outcome};
use crate::protocol::{NewSession, Session, SessionEventKind, SessionId};

/// The session that the shell is in now, for whoever is beside its loop. Clones are the same.
#[derive(Clone, Default)]
pub(super) struct Now(Arc<Mutex<Option<Known>>>);

struct Known {
    session: Session,
    /// When something was last done in it, as far as this shell has heard.
    active: Instant,
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
        let known = self.locked();
        let known = known.as_ref()?;
        let limit = Duration::from_secs(known.session.limits.idle_seconds);
        Some(limit.saturating_sub(known.active.elapsed()))
    }

    /// Something was done in it.
    pub(super) fn touch(&self) {
        if let Some(known) = self.locked().as_mut() {
            known.active = Instant::now();
        }
    }

    fn set(&self, session: Option<&Session>) {
        let known = |session: &Session| Known { session: session.clone(), active: Instant::now() };
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
