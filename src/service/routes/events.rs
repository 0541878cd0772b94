//! Event streams, as server-sent events: the id is the event's number.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, header};
use axum::response::Response;
use bytes::{BufMut, Bytes, BytesMut};
use serde::Deserialize;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc};
use tokio_stream::wrappers::ReceiverStream;

use super::document::{EventMessage, SessionEventMessage};
use super::{BasicCaller, session_id};
use crate::protocol::SessionEvent;
use crate::service::error::{Answer, Refusal};
use crate::service::sessions::OpenSession;
use crate::service::state::{Command, Service};

/// What a stream without events says from time to time: a comment.
const KEEP_ALIVE: Bytes = Bytes::from_static(b":\n\n");
/// Small events are sent together up to this.
const PIECE: usize = 64 * 1024;
/// Events that wait for a reader's connection; the rest waits in the spool.
const AHEAD: usize = 4;
/// What happens in a session waits so long for more of it: a batch of small commands would else be told of one by one, to every
/// shell.
const MOMENT: Duration = Duration::from_millis(20);

/// Where a reader goes on.
#[derive(Debug, Default, Deserialize)]
pub(super) struct After {
    after: Option<u64>,
}

impl After {
    fn place(&self, headers: &HeaderMap) -> Option<u64> {
        self.after.or_else(|| headers.get("last-event-id")?.to_str().ok()?.parse().ok())
    }
}

/// The events of a command, live or replayed, up to `completed`: the `data` of each is an `Event`.
#[utoipa::path(get, path = "/sessions/{sid}/commands/{cid}/events", operation_id = "get_command_events", tag = "commands",
    params(
        ("sid" = String, Path, description = "`CLR` and a UUID."),
        ("cid" = String, Path, description = "The command's number, its id, or a unique start of that."),
        ("after" = Option<u64>, Query, description = "Only events behind this one."),
        ("last-event-id" = Option<u64>, Header, description = "The same, where `after` is not given."),
    ),
    responses(
        (status = 200, description = "The events.", body = EventMessage, content_type = "text/event-stream"),
        (status = 400, description = "Several commands are meant, or the path or `after` is not understood."),
        (status = 404, description = "There is no such command."),
    ))]
pub(super) async fn of_command(
    State(service): State<Service>,
    _caller: BasicCaller,
    Path((sid, cid)): Path<(String, String)>,
    Query(after): Query<After>,
    headers: HeaderMap,
) -> Answer<Response> {
    let id = match cid.parse() {
        Ok(id) => id,
        Err(_) => super::commands::find(&service, &sid, &cid).await?.command_id,
    };
    match service.find_command(id).await? {
        Some(command) if command.record().session_id == sid => {
            Ok(sse(&service, &command, after.place(&headers).unwrap_or(0)).await)
        }
        _ => Err(Refusal::not_found(format!("there is no command {cid} in this session")).about("command")),
    }
}

/// The events of a command behind `after`, until its last. The answer begins with the first that are told; those of a small
/// command are all told by then, and are one answer that is whole.
pub(super) async fn sse(service: &Service, command: &Arc<Command>, after: u64) -> Response {
    let mut reader = Reader { command: Arc::clone(command), next: after.saturating_add(1), missed: None };
    let mut newest = command.stream.watch();
    // One who waits for events to come is answered before they do.
    let told = if after < command.stream.count() {
        newest.wait_for(|(count, _)| *count > after).await.map_or((0, false), |told| *told)
    } else {
        *newest.borrow()
    };
    if let (count, true) = told {
        let all = reader.piece(count, true);
        if reader.next > count {
            return event_stream(Body::from(all));
        }
        reader = Reader { next: after.saturating_add(1), missed: None, ..reader };
    }
    let (sender, receiver) = mpsc::channel(AHEAD);
    let limits = &service.inner.policy.limits;
    let keep_alive = Duration::from_secs(limits.keep_alive_seconds.max(1));
    let end = Duration::from_secs(limits.stream_seconds.max(1));
    tokio::spawn(async move {
        // One who stops reading is not waited for longer than any stream lasts.
        let _ = tokio::time::timeout(end, reader.send(keep_alive, sender)).await;
    });
    event_stream(Body::from_stream(ReceiverStream::new(receiver)))
}

fn event_stream(events: Body) -> Response {
    let mut response = Response::new(events);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-cache"));
    response
}

/// A reader of a command's events.
struct Reader {
    command: Arc<Command>,
    next: u64,
    missed: Option<Missed>,
}

/// Events that are not there any more.
#[derive(Clone, Copy)]
struct Missed {
    first: u64,
    last: u64,
    count: u64,
}

impl Reader {
    async fn send(mut self, keep_alive: Duration, sender: mpsc::Sender<std::io::Result<Bytes>>) {
        let mut newest = self.command.stream.watch();
        loop {
            let (count, last) = *newest.borrow_and_update();
            while self.next <= count {
                let piece = self.piece(count, last);
                if sender.send(Ok(piece)).await.is_err() {
                    return;
                }
            }
            if last {
                return;
            }
            tokio::select! {
                changed = newest.changed() => if changed.is_err() { return },
                () = sender.closed() => return,
                () = tokio::time::sleep(keep_alive) => {
                    if sender.send(Ok(KEEP_ALIVE)).await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// As many events as make one piece: small ones go together.
    fn piece(&mut self, count: u64, last: bool) -> Bytes {
        let mut piece = BytesMut::new();
        while self.next <= count && piece.len() < PIECE {
            let found = self.command.stream.at_or_behind(self.next);
            let there = found.as_ref().map_or(count + 1, |(n, _)| *n);
            if there > self.next {
                let missed = self.missed.get_or_insert(Missed { first: self.next, last: self.next, count: 0 });
                missed.last = there - 1;
                missed.count += there - self.next;
                self.next = there;
            }
            // What came meanwhile may be the last: it is for the next piece.
            let Some((n, mut json)) = found.filter(|(n, _)| *n <= count) else { break };
            self.next += 1;
            if last
                && n == count
                && let Some(missed) = self.missed
            {
                json = self.tell(&json, missed).unwrap_or(json);
            }
            piece.reserve(json.len() + 40);
            piece.put_slice(format!("id: {n}\ndata: ").as_bytes());
            piece.put_slice(&json);
            piece.put_slice(b"\n\n");
        }
        piece.freeze()
    }

    /// The last event with what its reader missed among its errors, unless it says so itself.
    fn tell(&self, completed: &[u8], missed: Missed) -> Option<Bytes> {
        let problem = self.command.stream.missed(missed.first, missed.last, missed.count);
        let mut event: serde_json::Value = serde_json::from_slice(completed).ok()?;
        let errors = event.get_mut("errors")?.as_array_mut()?;
        // What was never kept is said by the end itself.
        let is_kept = !self.command.stream.is_faulty();
        let codes = errors.iter().filter_map(|error| error.get("code")?.as_str());
        let is_said = |code: &str| code == problem.code || is_kept && (code.starts_with("spool_") || code == "event_too_large");
        if !codes.into_iter().any(is_said) {
            errors.push(serde_json::to_value(problem).ok()?);
        }
        serde_json::to_vec(&event).ok().map(Bytes::from)
    }
}

/// What happens in a session, from now on or behind `after`: the `data` of each event is a `SessionEvent`. A shell that
/// names itself is attached for as long as it holds this stream open.
#[utoipa::path(get, path = "/sessions/{sid}/events", operation_id = "get_session_events", tag = "sessions",
    params(
        ("sid" = String, Path, description = "`CLR` and a UUID."),
        ("after" = Option<u64>, Query, description = "Those behind this one too, as far as they are still known."),
        ("last-event-id" = Option<u64>, Header, description = "The same, where `after` is not given."),
    ),
    responses(
        (status = 200, description = "The events.", body = SessionEventMessage, content_type = "text/event-stream"),
        (status = 400, description = "The path or `after` is not understood."),
        (status = 403, description = "Another analyst holds the session."),
        (status = 404, description = "There is no such open session."),
        (status = 410, description = "The session has been ended."),
    ))]
pub(super) async fn of_session(
    State(service): State<Service>,
    BasicCaller(caller): BasicCaller,
    Path(sid): Path<String>,
    Query(after): Query<After>,
    headers: HeaderMap,
) -> Answer<Response> {
    let session = service.own_session(&session_id(&sid)?, &caller.analyst).await?;
    let attachment = caller.shell.as_deref().map(|shell| session.attach(shell, caller.analyst.pid));
    let limits = &service.inner.policy.limits;
    let keep_alive = Duration::from_secs(limits.keep_alive_seconds.max(1));
    let end = Duration::from_secs(limits.stream_seconds.max(1));
    let after = after.place(&headers);
    let (sender, receiver) = mpsc::channel(AHEAD);
    tokio::spawn(async move {
        let _attached = attachment;
        let _ = tokio::time::timeout(end, tell_session(session, after, keep_alive, sender)).await;
    });
    Ok(event_stream(Body::from_stream(ReceiverStream::new(receiver))))
}

async fn tell_session(
    session: Arc<OpenSession>,
    after: Option<u64>,
    keep_alive: Duration,
    sender: mpsc::Sender<std::io::Result<Bytes>>,
) {
    let (mut waiting, mut events) = session.listen(after);
    let (mut told, mut is_over) = (0, false);
    loop {
        let mut piece = BytesMut::new();
        for event in waiting.drain(..) {
            told = event.n;
            put_session_event(&event, &mut piece);
            is_over |= event.what.is_end();
        }
        if !piece.is_empty() && sender.send(Ok(piece.freeze())).await.is_err() || is_over {
            return;
        }
        tokio::select! {
            event = events.recv() => match more(event, &mut events, &mut waiting).await {
                Ok(()) => {}
                // A reader who fell behind reads on from what is still known.
                Err(RecvError::Lagged(_)) => (waiting, events) = session.listen(Some(told)),
                Err(RecvError::Closed) => return,
            },
            () = sender.closed() => return,
            () = tokio::time::sleep(keep_alive) => {
                if sender.send(Ok(KEEP_ALIVE)).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Takes an event, and what comes within a moment of it; the end of a session at once.
async fn more(
    event: Result<SessionEvent, RecvError>,
    events: &mut broadcast::Receiver<SessionEvent>,
    waiting: &mut Vec<SessionEvent>,
) -> Result<(), RecvError> {
    let mut event = event?;
    let moment = tokio::time::sleep(MOMENT);
    tokio::pin!(moment);
    loop {
        let is_end = event.what.is_end();
        waiting.push(event);
        if is_end {
            return Ok(());
        }
        event = tokio::select! {
            () = &mut moment => return Ok(()),
            next = events.recv() => match next {
                Err(RecvError::Closed) => return Ok(()),
                next => next?,
            },
        };
    }
}

fn put_session_event(event: &SessionEvent, piece: &mut BytesMut) {
    let json = serde_json::to_string(event).unwrap_or_default();
    piece.put_slice(format!("id: {}\ndata: {json}\n\n", event.n).as_bytes());
}
