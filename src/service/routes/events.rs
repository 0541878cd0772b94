//! Event streams, as server-sent events: the id is the event's number.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, header};
use axum::response::Response;
use bytes::{BufMut, Bytes, BytesMut};
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::{BasicCaller, session_id};
use crate::service::error::{Answer, Refusal};
use crate::service::state::{Command, Service};

/// A stream without events says so often that it is alive.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Events that wait for a reader's connection; the rest waits in the spool.
const AHEAD: usize = 4;

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
        (status = 200, description = "The events.", body = String, content_type = "text/event-stream"),
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
        Some(command) if command.record().session_id == sid => Ok(sse(&command, after.place(&headers).unwrap_or(0))),
        _ => Err(Refusal::not_found(format!("there is no command {cid} in this session")).about("command")),
    }
}

/// The events of a command behind `after`, until its last.
pub(super) fn sse(command: &Arc<Command>, after: u64) -> Response {
    let (sender, receiver) = mpsc::channel(AHEAD);
    tokio::spawn(send_events(Arc::clone(command), after, sender));
    stream_of(receiver)
}

fn stream_of(receiver: mpsc::Receiver<std::io::Result<Bytes>>) -> Response {
    let mut response = Response::new(Body::from_stream(ReceiverStream::new(receiver)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-cache"));
    response
}

async fn send_events(command: Arc<Command>, after: u64, sender: mpsc::Sender<std::io::Result<Bytes>>) {
    let mut newest = command.stream.watch();
    let mut next = after + 1;
    loop {
        let (count, last) = *newest.borrow_and_update();
        while next <= count {
            let event = framed(&command, &mut next, count);
            if sender.send(Ok(event)).await.is_err() {
                return;
            }
        }
        if last {
            return;
        }
        tokio::select! {
            changed = newest.changed() => if changed.is_err() { return },
            () = sender.closed() => return,
            () = tokio::time::sleep(KEEP_ALIVE) => {
                if sender.send(Ok(Bytes::from_static(b":\n\n"))).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// As many events as make one piece: small ones go together.
fn framed(command: &Command, next: &mut u64, count: u64) -> Bytes {
    let mut piece = BytesMut::new();
    while *next <= count && piece.len() < 64 * 1024 {
        match command.stream.event(*next) {
            Some(json) => {
                piece.reserve(json.len() + 40);
                piece.put_slice(format!("id: {next}\ndata: ").as_bytes());
                piece.put_slice(&json);
                piece.put_slice(b"\n\n");
            }
            None => {
                let lost =
                    format!(r#"{{"n":{next},"t":"{}","kind":"lost","text":"this event is not kept"}}"#, jiff::Timestamp::now());
                piece.put_slice(format!("id: {next}\ndata: {lost}\n\n").as_bytes());
            }
        }
        *next += 1;
    }
    piece.freeze()
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
        (status = 200, description = "The events.", body = String, content_type = "text/event-stream"),
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
    let (old, mut events) = session.listen(after.place(&headers));
    let (sender, receiver) = mpsc::channel(AHEAD);
    tokio::spawn(async move {
        let _attached = attachment;
        let (mut old, mut last) = (old, 0);
        loop {
            for event in old.drain(..) {
                last = event.n;
                if sender.send(Ok(session_event(&event))).await.is_err() || event.what.is_end() {
                    return;
                }
            }
            tokio::select! {
                event = events.recv() => match event {
                    Ok(event) => old.push(event),
                    // A reader who fell behind goes on from the last that it has.
                    Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => {
                        (old, events) = session.listen(Some(last));
                    }
                    Err(tokio::sync::broadcast::error::RecvError::Closed) => return,
                },
                () = sender.closed() => return,
                () = tokio::time::sleep(KEEP_ALIVE) => {
                    if sender.send(Ok(Bytes::from_static(b":\n\n"))).await.is_err() {
                        return;
                    }
                }
            }
        }
    });
    Ok(stream_of(receiver))
}

fn session_event(event: &crate::protocol::SessionEvent) -> Bytes {
    let json = serde_json::to_string(event).unwrap_or_default();
    format!("id: {}\ndata: {json}\n\n", event.n).into()
}
