//! Sessions.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{BasicCaller, session_id};
use crate::protocol::{NewSession, Session};
use crate::service::error::{Answer, Refusal};
use crate::service::state::Service;

pub(super) async fn list(State(service): State<Service>, BasicCaller(caller): BasicCaller) -> Answer<Json<Vec<Session>>> {
    let stored = service.inner.store.sessions(false).await?;
    Ok(Json(stored.into_iter().map(|session| service.told_stored(session, &caller.analyst)).collect()))
}

pub(super) async fn open(
    State(service): State<Service>,
    BasicCaller(caller): BasicCaller,
    wanted: Result<Json<NewSession>, JsonRejection>,
) -> Answer<Json<Session>> {
    let Json(wanted) = wanted.map_err(|error| Refusal::bad("bad_body", error.body_text()))?;
    Ok(Json(service.open_session(&caller.analyst, caller.shell.as_deref(), wanted).await?))
}

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
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Close {
    /// `exit`: this shell leaves, and the session ends with the last one; anything else ends it for all.
    reason: Option<String>,
    /// Though other shells are attached.
    force: bool,
}

pub(super) async fn close(
    State(service): State<Service>,
    BasicCaller(caller): BasicCaller,
    Path(sid): Path<String>,
    body: axum::body::Bytes,
) -> Answer<Json<Value>> {
    let close: Close = if body.is_empty() {
        Close::default()
    } else {
        serde_json::from_slice(&body).map_err(|error| Refusal::bad("bad_body", error.to_string()))?
    };
    let session = service.own_session(&session_id(&sid)?, &caller.analyst).await?;
    if close.reason.as_deref() == Some("exit") {
        let (shells, commands) = service.leave_session(&session, &caller.analyst, caller.shell.as_deref()).await?;
        if shells > 0 || commands > 0 {
            return Ok(Json(json!({ "state": "open", "shells": shells, "commands": commands })));
        }
        return Ok(Json(json!({ "state": "closed" })));
    }
    if !close.force && caller.shell.is_some() {
        session.check_alone(caller.shell.as_deref(), None)?;
    }
    let reason = close.reason.as_deref().unwrap_or("disconnect");
    service.close_session(&session, &caller.analyst.name, reason).await?;
    Ok(Json(json!({ "state": "closed" })))
}

/// The commands that this analyst may run on this device, as the table has them.
pub(super) async fn definitions(
    State(service): State<Service>,
    BasicCaller(caller): BasicCaller,
    Path(sid): Path<String>,
) -> Answer<Json<Vec<Value>>> {
    let session = service.own_session(&session_id(&sid)?, &caller.analyst).await?;
    let rows = crate::grammar::table().rows().iter();
    let may =
        rows.filter(|row| row.platforms.contains(&session.platform()) && row.roles().any(|role| caller.analyst.may(role)));
    let told = may.map(|row| {
        let mut row = row.clone();
        let main = row.role;
        row.forms.retain(|form| caller.analyst.may(form.role.unwrap_or(main)));
        let mut value = serde_json::to_value(&row).unwrap_or_default();
        if let Some(map) = value.as_object_mut() {
            map.insert("command_definition_id".into(), json!(row.name));
        }
        value
    });
    Ok(Json(told.collect()))
}
