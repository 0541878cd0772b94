//! What an editor asks while a line is typed.

use axum::Json;
use axum::extract::{Path, Query, State};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{BasicCaller, session_id};
use crate::protocol::{Peek, PeekAt};
use crate::service::error::Answer;
use crate::service::state::Service;

/// What is asked.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::service) struct Question {
    /// Of what.
    #[param(inline)]
    pub(in crate::service) at: PeekAt,
    /// Of `folder`: which one, as it would be typed; the current one without it.
    pub(in crate::service) path: Option<String>,
    /// Of `folder`: only names that begin so, in any case.
    pub(in crate::service) begins: Option<String>,
    /// The directory that a relative path stands in; where a shell starts without it.
    pub(in crate::service) directory: Option<String>,
}

/// The rows of a looking command, quietly: it gets no number, is neither logged nor kept, counts as no activity, and what it
/// tells has been looked at by nobody (`remediate` asks for that). The role is that of the command. A device is given ten
/// seconds, and the question ends with the call.
#[utoipa::path(get, path = "/sessions/{sid}/peek", operation_id = "peek", tag = "sessions",
    params(("sid" = String, Path, description = "`CLR` and a UUID."), Question),
    responses(
        (status = 200, description = "The rows.", body = Peek),
        (status = 400, description = "The path or the query is not understood."),
        (status = 403, description = "Another analyst holds the session, or the command's role is missing."),
        (status = 404, description = "There is no such open session."),
        (status = 410, description = "The session has been ended."),
        (status = 429, description = "Too many such questions wait in this session already."),
        (status = 422, description = "The device cannot answer: there is no such folder, or it may not be read."),
        (status = 503, description = "The device is not connected."),
        (status = 504, description = "The device has not answered in time."),
    ))]
pub(super) async fn peek(
    State(service): State<Service>,
    BasicCaller(caller): BasicCaller,
    Path(sid): Path<String>,
    Query(question): Query<Question>,
) -> Answer<Json<Peek>> {
    let session = service.own_session(&session_id(&sid)?, &caller.analyst).await?;
    Ok(Json(service.peek(&session, &caller.analyst, &question).await?))
}
