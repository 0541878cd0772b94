//! Commands: posting, the log, stopping, and the bytes of a file.

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

use super::events::sse;
use super::{BasicCaller, session_id};
use crate::protocol::link::{FileRefusal, FileRequest};
use crate::protocol::{CommandId, CommandRecord, NewCommand};
use crate::service::commands::pick;
use crate::service::error::{Answer, Refusal};
use crate::service::state::Service;

/// The log over every session tells so many commands at most.
const EVERYWHERE: u32 = 10_000;

/// Posts a command; the answer is its event stream.
pub(super) async fn create(
    State(service): State<Service>,
    BasicCaller(caller): BasicCaller,
    Path(sid): Path<String>,
    new: Result<Json<NewCommand>, JsonRejection>,
) -> Answer<Response> {
    let Json(new) = new.map_err(|error| Refusal::bad("bad_body", error.body_text()))?;
    let id = session_id(&sid)?;
    let session = match service.own_session(&id, &caller.analyst).await {
        Ok(session) => session,
        // A command that is known may be asked for again after its session has ended.
        Err(refusal) => match service.find_command(new.command_id).await? {
            Some(known) if known.record().session_id == sid => return Ok(sse(&known, 0)),
            _ => return Err(refusal),
        },
    };
    let command = service.accept(&session, &caller.analyst, caller.shell, new).await?;
    Ok(sse(&command, 0))
}

pub(super) async fn list(
    State(service): State<Service>,
    _caller: BasicCaller,
    Path(sid): Path<String>,
) -> Answer<Json<Vec<CommandRecord>>> {
    let id = session_id(&sid)?;
    if service.inner.store.session(&id).await?.is_none() {
        return Err(Refusal::not_found(format!("there is no session {sid}")).about("session"));
    }
    let records = service.inner.store.commands(&id).await?;
    Ok(Json(records.into_iter().map(|record| service.fresh(record)).collect()))
}

pub(super) async fn one(
    State(service): State<Service>,
    _caller: BasicCaller,
    Path((sid, cid)): Path<(String, String)>,
) -> Answer<Json<CommandRecord>> {
    Ok(Json(find(&service, &sid, &cid).await?))
}

/// What the log of every session is narrowed by.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Which {
    /// The device's id.
    device: Option<String>,
}

/// The log over every session, ended ones too, oldest first: the newest 10,000 commands.
pub(super) async fn everywhere(
    State(service): State<Service>,
    _caller: BasicCaller,
    Query(which): Query<Which>,
) -> Answer<Json<Vec<CommandRecord>>> {
    let records = service.inner.store.commands_everywhere(which.device.as_deref(), EVERYWHERE).await?;
    Ok(Json(records.into_iter().map(|record| service.fresh(record)).collect()))
}

/// The command of any session by id, or a unique start of the id.
pub(super) async fn anywhere(
    State(service): State<Service>,
    _caller: BasicCaller,
    Path(cid): Path<String>,
) -> Answer<Json<CommandRecord>> {
    let mut found = service.inner.store.commands_from(&cid.to_ascii_lowercase()).await?;
    match found.len() {
        1 => Ok(Json(service.fresh(found.swap_remove(0)))),
        0 => Err(Refusal::not_found(format!("there is no command {cid} in any session")).about("command_id")),
        _ => Err(Refusal::bad("ambiguous", format!("{cid} is the start of several commands")).about("command_id")),
    }
}

/// The command of a session by number, id, or a unique start of the id.
pub(super) async fn find(service: &Service, sid: &str, cid: &str) -> Answer<CommandRecord> {
    let records = service.inner.store.commands(&session_id(sid)?).await?;
    pick(records, cid).map(|record| service.fresh(record))
}

/// Why a command is stopped.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Cancel {
    /// The shell has all the rows it wants: the command completes.
    enough: bool,
}

pub(super) async fn cancel(
    State(service): State<Service>,
    BasicCaller(caller): BasicCaller,
    Path((sid, cid)): Path<(String, String)>,
    body: axum::body::Bytes,
) -> Answer<Json<Value>> {
    let cancel: Cancel = if body.is_empty() {
        Cancel::default()
    } else {
        serde_json::from_slice(&body).map_err(|error| Refusal::bad("bad_body", error.to_string()))?
    };
    service.own_session(&session_id(&sid)?, &caller.analyst).await?;
    // The way by id is short: it must work while thousands of commands are in the log.
    let id = match cid.parse::<CommandId>() {
        Ok(id) if service.live_command(id).is_some_and(|command| command.record().session_id == sid) => id,
        _ => find(&service, &sid, &cid).await?.command_id,
    };
    if cancel.enough {
        service.enough(id);
        return Ok(Json(json!({ "asked": true })));
    }
    Ok(Json(json!({ "asked": service.cancel(id, &caller.analyst.name) })))
}

/// The bytes behind a `getfile` or `collect`, from the device as they are asked for.
pub(super) async fn file(
    State(service): State<Service>,
    BasicCaller(caller): BasicCaller,
    Path((sid, cid)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answer<Response> {
    service.own_session(&session_id(&sid)?, &caller.analyst).await?;
    let record = find(&service, &sid, &cid).await?;
    let live = service.live_command(record.command_id).filter(|live| !live.record().status.is_final());
    let Some(attached) = live.as_ref().and_then(|live| service.attached(&live.device)) else {
        return Err(Refusal::conflict("ended", format!("[{}] has ended; send the command again to go on", record.number))
            .about("command"));
    };
    let header = |name| headers.get(name).and_then(|value: &header::HeaderValue| value.to_str().ok());
    let range = header(header::RANGE).and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
    if headers.contains_key(header::RANGE) && range.is_none() {
        return Err(Refusal::new(StatusCode::RANGE_NOT_SATISFIABLE, "range", "a range is `bytes=N-`").about("range"));
    }
    let if_match = header(header::IF_MATCH).map(|tag| tag.trim_matches('"').to_owned());
    let request = FileRequest { offset: range.unwrap_or(0), if_match };
    let answer = attached.link.read_file(record.command_id, request).await;
    let stream = match answer {
        Ok(Ok(stream)) => stream,
        Ok(Err(FileRefusal::Changed { etag })) => {
            let refusal = Refusal::new(StatusCode::PRECONDITION_FAILED, "changed", "the file on the device is another one now");
            return Ok(([(header::ETAG, format!("\"{etag}\""))], refusal).into_response());
        }
        Ok(Err(FileRefusal::Busy)) => return Err(Refusal::conflict("busy", "another reader is at this file").about("command")),
        Ok(Err(FileRefusal::Failed(problem))) => {
            return Err(Refusal::new(StatusCode::BAD_GATEWAY, &problem.code, problem.message));
        }
        Ok(Err(FileRefusal::Ended)) | Err(_) => {
            return Err(
                Refusal::conflict("ended", format!("[{}] has no file to read, or has ended", record.number)).about("command")
            );
        }
    };
    let total = stream.size.map_or_else(|| "*".to_owned(), |size| size.to_string());
    let mut response = Response::builder()
        .header(header::ETAG, format!("\"{}\"", stream.etag))
        .header(header::CONTENT_TYPE, "application/octet-stream");
    if let Some(size) = stream.size {
        response = response.header(header::CONTENT_LENGTH, size.saturating_sub(stream.offset));
    }
    if stream.offset > 0 {
        let end = stream.size.map_or(stream.offset, |size| size.saturating_sub(1).max(stream.offset));
        response = response
            .status(StatusCode::PARTIAL_CONTENT)
            .header(header::CONTENT_RANGE, format!("bytes {}-{end}/{total}", stream.offset));
    }
    let bytes = ReceiverStream::new(stream.chunks).map(|chunk| chunk.map_err(|problem| std::io::Error::other(problem.message)));
    response.body(Body::from_stream(bytes)).map_err(|error| Refusal::bad("internal", error.to_string()))
}
