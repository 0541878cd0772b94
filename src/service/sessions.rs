//! Sessions: opening, attaching, leaving, and their end by themselves.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use jiff::{Timestamp, Unit};
use tokio::sync::broadcast;

use super::error::{Answer, Refusal};
use super::policy::Analyst;
use super::shells::Shells;
use super::state::{Attached, Service, locked, millis_between};
use super::store::StoredSession;
use crate::protocol::{
    CommandId, Device, NewSession, PROTOCOL_VERSION, PlatformName, SeenItem, Session, SessionEvent, SessionEventKind,
    SessionId, SessionState,
};

/// What the editors of a session may ask at once.
const PEEKS: usize = 4;
/// Session events that may wait for a reader.
const EVENTS: usize = 256;
/// Session events kept for a shell that comes back, or that has fallen behind.
const RECENT: usize = 4096;

/// A session that is open.
pub(super) struct OpenSession {
    pub(super) id: SessionId,
    pub(super) device: Device,
    pub(super) analyst: String,
    pub(super) comment: Option<String>,
    pub(super) started: Timestamp,
    pub(super) state: Mutex<SessionFacts>,
    /// Held while a command gets its number and is committed, so that numbers are in order.
    pub(super) numbering: tokio::sync::Mutex<u64>,
    events: broadcast::Sender<SessionEvent>,
    /// Told when activity begins or ends.
    pub(super) activity: tokio::sync::Notify,
    pub(super) closed: tokio_util::sync::CancellationToken,
    /// Room for what its editors ask at once.
    pub(super) peeks: tokio::sync::Semaphore,
}

#[derive(Default)]
pub(super) struct SessionFacts {
    pub(super) shells: Shells,
    pub(super) last_activity: Option<Instant>,
    /// Commands under way.
    pub(super) under_way: Vec<CommandId>,
    /// What was looked at: by entity type and key.
    pub(super) seen: HashMap<(String, String), SeenItem>,
    recent: VecDeque<SessionEvent>,
    event_count: u64,
    last_command: u64,
}

impl SessionFacts {
    /// What a reader of the events behind `after` cannot be told any more.
    fn missed_behind(&self, after: u64) -> Option<SessionEvent> {
        let first = after.saturating_add(1);
        let kept = self.recent.front().map_or(self.event_count + 1, |oldest| oldest.n);
        let (n, last) = match after {
            _ if after > self.event_count => (0, None),
            _ if first < kept => (kept - 1, Some(kept - 1)),
            _ => return None,
        };
        Some(SessionEvent { n, t: Timestamp::now(), what: SessionEventKind::Missed { first, last } })
    }
}

impl OpenSession {
    fn new(stored: StoredSession) -> Self {
        Self {
            id: stored.session_id,
            device: stored.device,
            analyst: stored.analyst,
            comment: stored.comment,
            started: stored.started,
            state: Mutex::new(SessionFacts { last_command: stored.last_command, ..SessionFacts::default() }),
            numbering: tokio::sync::Mutex::new(stored.last_command),
            events: broadcast::channel(EVENTS).0,
            activity: tokio::sync::Notify::new(),
            closed: tokio_util::sync::CancellationToken::new(),
            peeks: tokio::sync::Semaphore::new(PEEKS),
        }
    }

    pub(super) fn platform(&self) -> PlatformName {
        self.device.platform
    }

    /// Counts as activity now.
    pub(super) fn touch(&self) {
        locked(&self.state).last_activity = Some(Instant::now());
        self.activity.notify_one();
    }

    /// Tells every attached shell.
    pub(super) fn tell(&self, what: SessionEventKind) {
        let mut state = locked(&self.state);
        if let SessionEventKind::Command { number, .. } = &what {
            state.last_command = *number;
        }
        state.event_count += 1;
        let event = SessionEvent { n: state.event_count, t: Timestamp::now(), what };
        state.recent.push_back(event.clone());
        if state.recent.len() > RECENT {
            state.recent.pop_front();
        }
        // Nobody listens: then nobody is told.
        let _ = self.events.send(event);
    }

    /// The events behind `after` that are still known, the end in any case, and those to come. What is not known any more is
    /// told by one event in its place, so that nothing is missing in silence.
    pub(super) fn listen(&self, after: Option<u64>) -> (Vec<SessionEvent>, broadcast::Receiver<SessionEvent>) {
        let state = locked(&self.state);
        let missed = after.and_then(|after| state.missed_behind(after));
        // Behind events of a service that is gone everything is new.
        let is_gone = |after| after > state.event_count;
        let wanted =
            |event: &&SessionEvent| after.is_some_and(|after| event.n > after || is_gone(after)) || event.what.is_end();
        (missed.into_iter().chain(state.recent.iter().filter(wanted).cloned()).collect(), self.events.subscribe())
    }

    /// A shell opens its event stream: it is attached until the guard is dropped.
    pub(super) fn attach(self: &Arc<Self>, shell: &str, pid: Option<u32>) -> Attachment {
        if locked(&self.state).shells.attach(shell, pid) {
            self.tell(SessionEventKind::Attached { shell: shell.to_owned() });
        }
        Attachment { session: Arc::clone(self), shell: shell.to_owned() }
    }

    /// Shells that are attached, but for one.
    pub(super) fn others(&self, shell: Option<&str>) -> u32 {
        locked(&self.state).shells.others(shell)
    }

    /// Refuses what comes after the end.
    pub(super) fn check_open(&self) -> Answer<()> {
        if locked(&self.state).shells.is_closed() {
            let message = format!("session {} has just been ended", self.id);
            return Err(Refusal::new(StatusCode::GONE, "session_closed", message).about("session"));
        }
        Ok(())
    }

    /// Refuses to end a session that others use, or in which commands beside that one run.
    pub(super) fn check_alone(&self, shell: Option<&str>, but: Option<CommandId>) -> Answer<()> {
        let others = self.others(shell);
        if others > 0 {
            let who = if others == 1 { "another shell is".to_owned() } else { format!("{others} other shells are") };
            let message = format!("{who} attached; `disconnect -force` ends the session for all");
            return Err(Refusal::conflict("attached", message).about("session"));
        }
        let running = locked(&self.state).under_way.iter().filter(|id| Some(**id) != but).count();
        if running > 0 {
            let what =
                if running == 1 { "1 command runs or waits".to_owned() } else { format!("{running} commands run or wait") };
            let message = format!("{what} (`jobs`); `disconnect -force` cancels and ends the session");
            return Err(Refusal::conflict("running", message).about("session"));
        }
        Ok(())
    }

    pub(super) fn is_busy(&self) -> bool {
        !locked(&self.state).under_way.is_empty()
    }
}

/// A shell that is attached.
pub(super) struct Attachment {
    session: Arc<OpenSession>,
    shell: String,
}

impl Drop for Attachment {
    fn drop(&mut self) {
        let gone = locked(&self.session.state).shells.detach(&self.shell);
        if gone {
            self.session.tell(SessionEventKind::Left { shell: self.shell.clone() });
        }
    }
}

impl Service {
    /// Opens a session, or attaches to the one that the analyst holds on the device.
    pub(super) async fn open_session(&self, analyst: &Analyst, shell: Option<&str>, wanted: NewSession) -> Answer<Session> {
        let (device, attached) = self.find_device(wanted.device.as_deref())?;
        let settings = self.settings();
        if !settings.live_response {
            return Err(Refusal::forbidden("policy", "live response is switched off (`settings live_response on`)")
                .about("live_response"));
        }
        if !settings.live_response_servers && attached.link.hello().server {
            let message = format!("{} is a server, and live response on servers is switched off", device.name);
            return Err(Refusal::forbidden("policy", message).about("live_response_servers"));
        }
        let spoken = attached.link.hello().protocol;
        if spoken < PROTOCOL_VERSION {
            let message =
                format!("the agent of {} speaks protocol {spoken}, the service {PROTOCOL_VERSION}; update it", device.name);
            return Err(Refusal::new(StatusCode::UPGRADE_REQUIRED, "protocol", message).about(device.name));
        }
        let opening = self.inner.opening.lock().await;
        loop {
            let open: Vec<Arc<OpenSession>> = locked(&self.inner.sessions).values().cloned().collect();
            let Some(held) = open.iter().find(|session| session.device.id == device.id) else {
                self.check_limits(analyst, &open)?;
                break;
            };
            if held.analyst != analyst.name {
                let message = format!("{} is in a session of {} since {:.0}", device.name, held.analyst, held.started);
                return Err(Refusal::conflict("held", message).about(device.name));
            }
            let is_open = match shell {
                Some(shell) => locked(&held.state).shells.expect(shell, analyst.pid),
                None => !locked(&held.state).shells.is_closed(),
            };
            if is_open {
                held.touch();
                return Ok(Session { attached: true, ..self.told(held, analyst) });
            }
            // It is being closed in this very moment.
            held.closed.cancelled().await;
        }
        let now = Timestamp::now();
        let stored = StoredSession {
            session_id: SessionId::new(),
            device,
            analyst: analyst.name.clone(),
            comment: wanted.comment,
            started: now,
            ended: None,
            closed_by: None,
            last_command: 0,
            last_activity: now,
        };
        self.inner.store.add_session(&stored).await?;
        let session = self.keep_session(stored, Duration::ZERO);
        if let Some(shell) = shell {
            locked(&session.state).shells.expect(shell, analyst.pid);
        }
        // A device that is slow to answer holds up nobody else.
        drop(opening);
        self.connect(&session, analyst).await?;
        Ok(self.told(&session, analyst))
    }

    fn check_limits(&self, analyst: &Analyst, open: &[Arc<OpenSession>]) -> Answer<()> {
        let limits = &self.inner.policy.limits;
        let mine = open.iter().filter(|session| session.analyst == analyst.name).count();
        if mine >= limits.sessions_per_analyst {
            let message = format!(
                "{} holds {mine} sessions, and {} is the limit of one analyst",
                analyst.name, limits.sessions_per_analyst
            );
            return Err(Refusal::forbidden("limit", message).about("sessions_per_analyst"));
        }
        if open.len() >= limits.sessions {
            let mut holders: HashMap<&str, usize> = HashMap::new();
            for session in open {
                *holders.entry(&session.analyst).or_default() += 1;
            }
            let mut holders: Vec<String> = holders.into_iter().map(|(name, count)| format!("{name} {count}")).collect();
            holders.sort();
            let message = format!(
                "{} sessions are open, and {} is the limit in all: {}",
                open.len(),
                limits.sessions,
                holders.join(", ")
            );
            return Err(Refusal::forbidden("limit", message).about("sessions"));
        }
        Ok(())
    }

    pub(super) fn keep_session(&self, stored: StoredSession, idle: Duration) -> Arc<OpenSession> {
        let session = Arc::new(OpenSession::new(stored));
        locked(&session.state).last_activity = Instant::now().checked_sub(idle).or_else(|| Some(Instant::now()));
        locked(&self.inner.sessions).insert(session.id.clone(), Arc::clone(&session));
        tokio::spawn(self.clone().end_when_idle(Arc::clone(&session)));
        session
    }

    /// The open session that an analyst may act in.
    pub(super) async fn own_session(&self, id: &SessionId, analyst: &Analyst) -> Answer<Arc<OpenSession>> {
        let session = locked(&self.inner.sessions).get(id).cloned();
        let Some(session) = session else {
            return Err(match self.inner.store.session(id).await? {
                Some(ended) => {
                    let by = ended.closed_by.map(|by| format!(" by {by}")).unwrap_or_default();
                    Refusal::new(StatusCode::GONE, "session_closed", format!("session {id} was ended{by}"))
                }
                None => Refusal::not_found(format!("there is no session {id}")),
            }
            .about("session"));
        };
        if session.analyst != analyst.name {
            let message = format!("session {id} is held by {} since {:.0}", session.analyst, session.started);
            return Err(Refusal::forbidden("held", message).about("session"));
        }
        Ok(session)
    }

    /// What is told of an open session.
    pub(super) fn told(&self, session: &OpenSession, analyst: &Analyst) -> Session {
        let isolation = self.attached(&session.device.id).and_then(|attached| attached.link.isolation_left());
        Session {
            session_id: session.id.clone(),
            device: session.device.clone(),
            analyst: session.analyst.clone(),
            comment: session.comment.clone(),
            started: session.started,
            ended: None,
            duration_ms: millis_between(session.started, Timestamp::now()),
            idle_left_ms: self.idle_left(session).map(|left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX)),
            isolated_until: isolation.and_then(|left| Timestamp::now().checked_add(left).ok()?.round(Unit::Second).ok()),
            isolation_left_ms: isolation.map(|left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX)),
            state: SessionState::Open,
            closed_by: None,
            shells: session.others(None),
            last_command: locked(&session.state).last_command,
            roles: analyst.roles.iter().map(|role| role.as_str().to_owned()).collect(),
            limits: self.inner.policy.limits.of_session(session.platform()),
            attached: false,
        }
    }

    /// What is told of any session, open or ended.
    pub(super) fn told_stored(&self, stored: StoredSession, analyst: &Analyst) -> Session {
        let open = locked(&self.inner.sessions).get(&stored.session_id).cloned();
        if let Some(open) = open {
            return self.told(&open, analyst);
        }
        Session {
            duration_ms: millis_between(stored.started, stored.ended.unwrap_or_else(Timestamp::now)),
            limits: self.inner.policy.limits.of_session(stored.device.platform),
            session_id: stored.session_id,
            device: stored.device,
            analyst: stored.analyst,
            comment: stored.comment,
            started: stored.started,
            ended: stored.ended,
            idle_left_ms: None,
            isolated_until: None,
            isolation_left_ms: None,
            state: SessionState::Closed,
            closed_by: stored.closed_by,
            shells: 0,
            last_command: stored.last_command,
            roles: analyst.roles.iter().map(|role| role.as_str().to_owned()).collect(),
            attached: false,
        }
    }

    /// The device that a name, an id, or a unique start of either means.
    pub(super) fn find_device(&self, wanted: Option<&str>) -> Answer<(Device, &Attached)> {
        let mut all: Vec<(Device, &Attached)> = self.devices().collect();
        let names = |devices: &[(Device, &Attached)]| {
            let names: Vec<&str> = devices.iter().map(|(device, _)| device.name.as_str()).collect();
            names.join(", ")
        };
        let Some(wanted) = wanted else {
            return match all.len() {
                1 => Ok(all.remove(0)),
                0 => Err(Refusal::not_found("there is no device").about("device")),
                _ => Err(Refusal::bad("ambiguous", format!("name a device: {}", names(&all))).about("device")),
            };
        };
        if let Some(at) = all.iter().position(|(device, _)| device.id == wanted || device.name == wanted) {
            return Ok(all.remove(at));
        }
        let every = names(&all);
        all.retain(|(device, _)| !wanted.is_empty() && (device.id.starts_with(wanted) || device.name.starts_with(wanted)));
        match all.len() {
            1 => Ok(all.remove(0)),
            0 => Err(Refusal::not_found(format!("there is no device {wanted}; there are: {every}")).about("device")),
            _ => {
                Err(Refusal::bad("ambiguous", format!("{wanted} is the start of several devices: {}", names(&all)))
                    .about("device"))
            }
        }
    }
}
