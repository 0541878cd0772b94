//! The session of a shell: connected by the first command that needs one, watched while it lasts, left at the end.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::JoinHandle;

use super::Shell;
use super::client::SessionEvents;
use crate::error::{Exit, Failure, Outcome};
use crate::protocol::{NewSession, Session, SessionEventKind, SessionId};

/// A session that this shell is attached to.
pub(super) struct Attached {
    /// What the service said when it was opened.
    pub(super) facts: Session,
    closed: Arc<Mutex<Option<String>>>,
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
        let watch =
            watch(self.client.clone(), facts.session_id.clone(), closed.clone(), disconnecting.clone(), self.screen.clone());
        let watch = tokio::spawn(watch);
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(facts.session_id.clone());
        self.session = Some(Attached { facts: facts.clone(), closed, disconnecting, watch });
        Ok(facts)
    }

    /// Leaves the session in order: the last shell to do so ends it.
    pub async fn leave(&mut self) {
        let Some(session) = self.session.take() else { return };
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = None;
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
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The id of the session, for whoever ends the shell from beside it.
    pub(super) fn attached_now(&self) -> Arc<Mutex<Option<SessionId>>> {
        self.current.clone()
    }
}

/// Hears what happens in a session: this is also how the service knows that the shell is there.
async fn watch(
    client: super::client::Client,
    session: SessionId,
    closed: Arc<Mutex<Option<String>>>,
    disconnecting: Arc<AtomicBool>,
    screen: super::view::Screen,
) {
    let by = match until_closed(&client, &session).await {
        Ok(by) => by,
        // It ended while nobody was there to tell it.
        Err(failure) if matches!(failure.code(), "session_closed" | "not_found") => failure.problem.message,
        // A service that is gone is told by the next command.
        Err(_) => return,
    };
    let before = closed.lock().unwrap_or_else(PoisonError::into_inner).replace(by.clone());
    if before.is_none() && !disconnecting.load(Ordering::Relaxed) {
        screen.announce(&format!("the session was ended: {by}"));
    }
}

async fn until_closed(client: &super::client::Client, session: &SessionId) -> Outcome<String> {
    let mut events = SessionEvents::open(client, session).await?;
    loop {
        if let SessionEventKind::Closed { by, reason } = events.next().await?.what {
            return Ok(format!("by {by} ({reason})"));
        }
    }
}
