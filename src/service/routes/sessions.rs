//! Sessions.

use axum::Json;
use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{BasicCaller, Given, Posted, session_id};
use crate::grammar::Row;
use crate::protocol::{NewSession, Session, SessionState};
use crate::service::error::{Answer, Refusal};
use crate::service::state::Service;

/// What a session is for, in bytes.
const MAX_COMMENT: usize = 4096;
/// Why it was ended, in bytes.
const MAX_REASON: usize = 200;

/// The newest 1000 sessions, the ended ones too.
#[utoipa::path(get, path = "/sessions", operation_id = "list_sessions", tag = "sessions",
    responses((status = 200, description = "Newest first.", body = Vec<Session>)))]
pub(super) async fn list(State(service): State<Service>, BasicCaller(caller): BasicCaller) -> Answer<Json<Vec<Session>>> {
    let stored = service.inner.store.sessions(false).await?;
    Ok(Json(stored.into_iter().map(|session| service.told_stored(session, &caller.analyst)).collect()))
}

/// Opens a session, or attaches to the one that the caller holds on the device. The service itself runs `connect` in it.
#[utoipa::path(post, path = "/sessions", operation_id = "open_session", tag = "sessions",
    request_body = NewSession,
    responses(
        (status = 200, description = "The session; `attached` when it was open already.", body = Session),
        (status = 400, description = "The body is not understood, or several devices are meant."),
        (status = 403, description = "A limit is reached, or live response is switched off (there)."),
        (status = 404, description = "There is no such device."),
        (status = 409, description = "Another analyst holds the device."),
        (status = 413, description = "The body is too large."),
        (status = 415, description = "The body is not said to be JSON."),
        (status = 503, description = "The device does not answer."),
    ))]
pub(super) async fn open(
    State(service): State<Service>,
    BasicCaller(caller): BasicCaller,
    Posted(wanted): Posted<NewSession>,
) -> Answer<Json<Session>> {
    Refusal::unless_within(wanted.comment.as_deref().unwrap_or_default(), MAX_COMMENT, "comment")?;
    Ok(Json(service.open_session(&caller.analyst, caller.shell.as_deref(), wanted).await?))
}

/// One session, open or ended.
#[utoipa::path(get, path = "/sessions/{sid}", operation_id = "get_session", tag = "sessions",
    params(("sid" = String, Path, description = "`CLR` and a UUID.")),
    responses(
        (status = 200, description = "The session.", body = Session),
        (status = 400, description = "The path is not UTF-8."),
        (status = 404, description = "There is no such session."),
    ))]
pub(super) async fn one(
    State(service): State<Service>,
    BasicCaller(caller): BasicCaller,
    Path(sid): Path<String>,
) -> Answer<Json<Session>> {
    let id = session_id(&sid)?;
    let stored = service.inner.store.session(&id).await?;
    let stored = stored.ok_or_else(|| Refusal::not_found(format!("there is no session {sid}")).about("session"))?;
    Ok(Json(service.told_stored(stored, &caller.analyst)))
}

/// Why a session is closed.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default)]
pub(super) struct Close {
    /// `exit`: this shell leaves, and the session ends with the last one; anything else ends it for all.
    reason: Option<String>,
    /// Though other shells are attached.
    force: bool,
}

/// How a session stands after a call to close it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Closed {
    /// `open` when this shell only leaves: others are attached, or commands of a lost one still run.
    state: SessionState,
    /// The number of shells that are still attached.
    shells: u32,
    /// The number of commands of lost shells that still run.
    commands: usize,
}

/// Closes a session, or leaves it (`{"reason":"exit"}`). What runs in a session that ends is cancelled.
#[utoipa::path(post, path = "/sessions/{sid}/close", operation_id = "close_session", tag = "sessions",
    params(("sid" = String, Path, description = "`CLR` and a UUID.")),
    request_body = Option<Close>,
    responses(
        (status = 200, description = "How it stands now.", body = Closed),
        (status = 400, description = "The path or the body is not understood."),
        (status = 403, description = "Another analyst holds it."),
        (status = 404, description = "There is no such open session."),
        (status = 410, description = "The session has been ended."),
        (status = 409, description = "Other shells are attached, or commands run; `force` ends it all the same."),
        (status = 413, description = "The body is too large."),
    ))]
pub(super) async fn close(
    State(service): State<Service>,
    BasicCaller(caller): BasicCaller,
    Path(sid): Path<String>,
    Given(close): Given<Close>,
) -> Answer<Json<Closed>> {
    let session = service.own_session(&session_id(&sid)?, &caller.analyst).await?;
    if close.reason.as_deref() == Some("exit") {
        let (shells, commands) = service.leave_session(&session, &caller.analyst, caller.shell.as_deref()).await?;
        let state = if shells > 0 || commands > 0 { SessionState::Open } else { SessionState::Closed };
        return Ok(Json(Closed { state, shells, commands }));
    }
    if !close.force && caller.shell.is_some() {
        session.check_alone(caller.shell.as_deref(), None)?;
    }
    let reason = close.reason.as_deref().unwrap_or("disconnect");
    Refusal::unless_within(reason, MAX_REASON, "reason")?;
    service.close_session(&session, &caller.analyst.name, reason).await?;
    Ok(Json(Closed { state: SessionState::Closed, shells: 0, commands: 0 }))
}

/// A command of the table.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Definition {
    /// What `POST …/commands` calls it by.
    command_definition_id: String,
    /// Its row, as `grammar/commands` has it.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    row: Row,
}

/// The commands that the caller may run on the session's device, as the table has them.
#[utoipa::path(get, path = "/sessions/{sid}/definitions", operation_id = "list_definitions", tag = "sessions",
    params(("sid" = String, Path, description = "`CLR` and a UUID.")),
    responses(
        (status = 200, description = "The commands.", body = Vec<Definition>),
        (status = 400, description = "The path is not UTF-8."),
        (status = 403, description = "Another analyst holds the session."),
        (status = 404, description = "There is no such open session."),
        (status = 410, description = "The session has been ended."),
    ))]
pub(super) async fn definitions(
    State(service): State<Service>,
    BasicCaller(caller): BasicCaller,
    Path(sid): Path<String>,
) -> Answer<Json<Vec<Definition>>> {
    let session = service.own_session(&session_id(&sid)?, &caller.analyst).await?;
    let rows = crate::grammar::table().rows().iter();
    let may =
        rows.filter(|row| row.platforms.contains(&session.platform()) && row.roles().any(|role| caller.analyst.may(role)));
    let told = may.map(|row| {
        let mut row = row.clone();
        let main = row.role;
        row.forms.retain(|form| caller.analyst.may(form.role.unwrap_or(main)));
        Definition { command_definition_id: row.name.clone(), row }
    });
    Ok(Json(told.collect()))
}
