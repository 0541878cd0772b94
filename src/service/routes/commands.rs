//! Commands: posting, the log, stopping, and the bytes of a file.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use utoipa::{IntoParams, ToSchema};

use super::document::EventMessage;
use super::events::sse;
use super::{BasicCaller, Given, Posted, first_byte, session_id};
use crate::protocol::link::{FileRefusal, FileRequest};
use crate::protocol::{CommandBrief, CommandId, CommandRecord, NewCommand};
use crate::service::commands::pick;
use crate::service::error::{Answer, Refusal};
use crate::service::state::Service;
use crate::service::store::LogOf;

/// The log over every session tells so many commands at most.
const EVERYWHERE: u32 = 10_000;

/// Posts a command; the answer is its event stream: the `data` of each event is an `Event`, its `id` the event's number.
/// A command id that was posted before gets the first answer.
#[utoipa::path(post, path = "/sessions/{sid}/commands", operation_id = "post_command", tag = "commands",
    params(("sid" = String, Path, description = "`CLR` and a UUID.")),
    request_body = NewCommand,
    responses(
        (status = 200, description = "The command's events, up to `completed`.", body = EventMessage, content_type = "text/event-stream"),
        (status = 400, description = "The path, the body or the line is not understood, or they disagree."),
        (status = 403, description = "A role is missing, or another analyst holds the session."),
        (status = 404, description = "There is no such open session."),
        (status = 409, description = "The command id belongs to another command."),
        (status = 410, description = "The session has been ended."),
        (status = 413, description = "The body is too large."),
        (status = 415, description = "The body is not said to be JSON."),
    ))]
pub(super) async fn create(
    State(service): State<Service>,
    BasicCaller(caller): BasicCaller,
    Path(sid): Path<String>,
    Posted(new): Posted<NewCommand>,
) -> Answer<Response> {
    let id = session_id(&sid)?;
    let session = match service.own_session(&id, &caller.analyst).await {
        Ok(session) => session,
        // A command that is known may be asked for again after its session has ended.
        Err(refusal) => match service.find_command(new.command_id).await? {
            Some(known) if known.record().session_id == sid => {
                crate::service::commands::again(&known.record(), &id, &new)?;
                return Ok(sse(&service, &known, 0).await);
            }
            _ => return Err(refusal),
        },
    };
    let command = service.accept(&session, &caller.analyst, caller.shell, new).await?;
    Ok(sse(&service, &command, 0).await)
}

/// The log of a session, open or ended.
#[utoipa::path(get, path = "/sessions/{sid}/commands", operation_id = "list_commands", tag = "commands",
    params(("sid" = String, Path, description = "`CLR` and a UUID.")),
    responses(
        (status = 200, description = "Every command, oldest first.", body = Vec<CommandRecord>),
        (status = 400, description = "The path is not UTF-8."),
        (status = 404, description = "There is no such session."),
    ))]
pub(super) async fn list(State(service): State<Service>, _caller: BasicCaller, Path(sid): Path<String>) -> Answer<Response> {
    let id = session_id(&sid)?;
    if service.inner.store.session(&id).await?.is_none() {
        return Err(Refusal::not_found(format!("there is no session {sid}")).about("session"));
    }
    log(&service, LogOf::Session(id), false).await
}

/// One command of a session's log.
#[utoipa::path(get, path = "/sessions/{sid}/commands/{cid}", operation_id = "get_command", tag = "commands",
    params(
        ("sid" = String, Path, description = "`CLR` and a UUID."),
        ("cid" = String, Path, description = "The command's number, its id, or a unique start of that."),
    ),
    responses(
        (status = 200, description = "The command.", body = CommandRecord),
        (status = 400, description = "Several commands are meant, or the path is not UTF-8."),
        (status = 404, description = "There is no such command."),
    ))]
pub(super) async fn one(
    State(service): State<Service>,
    _caller: BasicCaller,
    Path((sid, cid)): Path<(String, String)>,
) -> Answer<Json<CommandRecord>> {
    Ok(Json(find(&service, &sid, &cid).await?))
}

/// What the log of every session is narrowed by.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// The device's id.
    device: Option<String>,
}

/// The log over every session, ended ones too, oldest first: the newest 10,000 commands.
#[utoipa::path(get, path = "/commands", operation_id = "list_all_commands", tag = "commands",
    params(Which),
    responses(
        (status = 200, description = "The commands.", body = Vec<CommandRecord>),
        (status = 400, description = "The query is not understood."),
    ))]
pub(super) async fn everywhere(
    State(service): State<Service>,
    _caller: BasicCaller,
    Query(which): Query<Which>,
) -> Answer<Response> {
    log(&service, which.newest(), false).await
}

/// The same in brief: enough for a list of thousands.
#[utoipa::path(get, path = "/commands/brief", operation_id = "list_all_commands_briefly", tag = "commands",
    params(Which),
    responses(
        (status = 200, description = "The commands.", body = Vec<CommandBrief>),
        (status = 400, description = "The query is not understood."),
    ))]
pub(super) async fn everywhere_briefly(
    State(service): State<Service>,
    _caller: BasicCaller,
    Query(which): Query<Which>,
) -> Answer<Response> {
    log(&service, which.newest(), true).await
}

impl Which {
    fn newest(self) -> LogOf {
        LogOf::Device { id: self.device, newest: EVERYWHERE }
    }
}

/// A log as one JSON array, page by page as it is read: what is long is under way before the last of it is looked up.
async fn log(service: &Service, of: LogOf, brief: bool) -> Answer<Response> {
    let (service, live) = (service.clone(), service.live_commands());
    let mut log = service.inner.store.log(of, brief).await?;
    let now = move |id| service.record_now(&live, id);
    let first = log.page(&now).await?.unwrap_or_default();
    let json = [(header::CONTENT_TYPE, "application/json")];
    if log.is_over() {
        return Ok((json, format!("[{first}]")).into_response());
    }
    let rest = futures_util::stream::try_unfold((log, now), |(mut log, now)| async move {
        let page = log.page(&now).await.inspect_err(|error| tracing::error!(%error, "a log broke off"))?;
        Ok::<_, sqlx::Error>(page.map(|page| (format!(",\n{page}"), (log, now))))
    });
    let pieces = tokio_stream::once(Ok(format!("[{first}"))).chain(rest).chain(tokio_stream::once(Ok("]".to_owned())));
    Ok((json, Body::from_stream(pieces)).into_response())
}

/// The command of any session by id, or a unique start of the id.
#[utoipa::path(get, path = "/commands/{cid}", operation_id = "get_any_command", tag = "commands",
    params(("cid" = String, Path, description = "The command's id, or a unique start of it.")),
    responses(
        (status = 200, description = "The command.", body = CommandRecord),
        (status = 400, description = "Several commands are meant, or the path is not UTF-8."),
        (status = 404, description = "There is no such command."),
    ))]
pub(super) async fn anywhere(
    State(service): State<Service>,
    _caller: BasicCaller,
    Path(cid): Path<String>,
) -> Answer<Json<CommandRecord>> {
    let live = service.live_commands();
    let mut found = service.inner.store.commands_from(&cid.to_ascii_lowercase()).await?;
    match found.len() {
        1 => Ok(Json(service.fresh(&live, found.swap_remove(0)))),
        0 => Err(Refusal::not_found(format!("there is no command {cid} in any session")).about("command_id")),
        _ => Err(Refusal::bad("ambiguous", format!("{cid} is the start of several commands")).about("command_id")),
    }
}

/// The command of a session by number, id, or a unique start of the id.
pub(super) async fn find(service: &Service, sid: &str, cid: &str) -> Answer<CommandRecord> {
    let live = service.live_commands();
    let records = service.inner.store.named(&session_id(sid)?, cid).await?;
    pick(records, cid).map(|record| service.fresh(&live, record))
}

/// Why a command is stopped.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default)]
pub(super) struct Cancel {
    /// The shell has all the rows it wants: the command completes.
    enough: bool,
}

/// Whether there was anything to stop.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Asked {
    /// Whether the device is asked; `false` when the command has ended.
    asked: bool,
}

/// Asks for the end of a command; the receipt comes as an event.
#[utoipa::path(post, path = "/sessions/{sid}/commands/{cid}/cancel", operation_id = "cancel_command", tag = "commands",
    params(
        ("sid" = String, Path, description = "`CLR` and a UUID."),
        ("cid" = String, Path, description = "The command's number, its id, or a unique start of that."),
    ),
    request_body = Option<Cancel>,
    responses(
        (status = 200, description = "Whether the device is asked.", body = Asked),
        (status = 400, description = "The path or the body is not understood, or several commands are meant."),
        (status = 403, description = "Another analyst holds the session."),
        (status = 404, description = "There is no such open session, or no such command."),
        (status = 410, description = "The session has been ended."),
        (status = 413, description = "The body is too large."),
    ))]
pub(super) async fn cancel(
    State(service): State<Service>,
    BasicCaller(caller): BasicCaller,
    Path((sid, cid)): Path<(String, String)>,
    Given(cancel): Given<Cancel>,
) -> Answer<Json<Asked>> {
    service.own_session(&session_id(&sid)?, &caller.analyst).await?;
    // The way by id is short: it must work while thousands of commands are in the log.
    let id = match cid.parse::<CommandId>() {
        Ok(id) if service.live_command(id).is_some_and(|command| command.record().session_id == sid) => id,
        _ => find(&service, &sid, &cid).await?.command_id,
    };
    if cancel.enough {
        service.enough(id);
        return Ok(Json(Asked { asked: true }));
    }
    Ok(Json(Asked { asked: service.cancel(id, &caller.analyst.name) }))
}

/// The bytes behind a `getfile` or `collect`, from the device as they are asked for.
#[utoipa::path(get, path = "/sessions/{sid}/commands/{cid}/file", operation_id = "get_file", tag = "commands",
    params(
        ("sid" = String, Path, description = "`CLR` and a UUID."),
        ("cid" = String, Path, description = "The command's number, its id, or a unique start of that."),
        ("range" = Option<String>, Header, description = "`bytes=N-`: from byte N on.", pattern = "^bytes=[0-9]{1,15}-$"),
        ("if-match" = Option<String>, Header, description = "The `etag` of the file that was begun."),
    ),
    responses(
        (status = 200, description = "The file's bytes.", content_type = "application/octet-stream"),
        (status = 206, description = "Its bytes from `range` on.", content_type = "application/octet-stream"),
        (status = 400, description = "Several commands are meant, or the path is not UTF-8."),
        (status = 403, description = "Another analyst holds the session."),
        (status = 404, description = "There is no such open session, or no such command."),
        (status = 410, description = "The session has been ended."),
        (status = 409, description = "The command has ended or has no file, or another reader is at it."),
        (status = 412, description = "The file on the device is another one now; `etag` is its tag."),
        (status = 416, description = "The range is not understood."),
        (status = 502, description = "The device cannot read it."),
    ))]
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
    let range = first_byte(&headers)?;
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
    response.body(Body::from_stream(bytes)).map_err(Refusal::internal)
}
