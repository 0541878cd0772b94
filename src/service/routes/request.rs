//! What every call has in common: its name, its caller, its body, and the shape in which it is refused.

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tracing::Instrument;
use uuid::Uuid;

use crate::grammar::Role;
use crate::protocol::{ErrorBody, PROTOCOL_HEADER, PROTOCOL_VERSION, Problem, REQUEST_HEADER, SHELL_HEADER};
use crate::service::error::{Answer, Refusal};
use crate::service::policy::Analyst;
use crate::service::serve::Peer;

/// What a part of the framework says about a call it refuses is read up to this.
const MAX_REASON: usize = 4096;

/// A body of at most so many bytes is taken in before anything answers.
const SHORT: usize = 64 * 1024;

/// Names each request, refuses callers that speak an older protocol, and gives every refusal one shape, with that name in
/// it. What is logged on the way carries the name too.
pub(super) async fn named(request: Request, next: Next) -> Response {
    let id = Uuid::now_v7().to_string();
    let span = tracing::error_span!("request", id, method = %request.method(), path = request.uri().path());
    let spoken = request.headers().get(PROTOCOL_HEADER).and_then(|value| value.to_str().ok()?.parse::<u32>().ok());
    let response = match (spoken, with_short_body(request).await) {
        (_, Err(refusal)) => refusal.into_response(),
        (Some(version), _) if version < PROTOCOL_VERSION => {
            let message =
                format!("this shell speaks protocol {version}, the service {PROTOCOL_VERSION}; use the newer program");
            Refusal::new(StatusCode::UPGRADE_REQUIRED, "protocol", message).about(PROTOCOL_HEADER).into_response()
        }
        (_, Ok(request)) if request.method().is_safe() => next.run(request).instrument(span).await,
        // Who hangs up in the middle stops nothing that is half done: a number that is given and not yet known of, say.
        (_, Ok(request)) => match tokio::spawn(next.run(request).instrument(span)).await {
            Ok(response) => response,
            Err(error) => Refusal::internal(format!("a call's task ended: {error}")).into_response(),
        },
    };
    let mut response = if response.status().is_client_error() || response.status().is_server_error() {
        told(response, &id).await
    } else {
        response
    };
    if let Ok(value) = id.parse() {
        response.headers_mut().insert(REQUEST_HEADER, value);
    }
    response
}

/// The request with its body at hand where that is short. An answer that leaves bytes unread ends in a reset of the connection,
/// and a caller that is still writing would never see it. Who waits for the word to go on has not begun to write.
async fn with_short_body(request: Request) -> Answer<Request> {
    let length = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if request.headers().contains_key(header::EXPECT) || !length.is_some_and(|length| (1..=SHORT).contains(&length)) {
        return Ok(request);
    }
    let (parts, body) = request.into_parts();
    let bytes = axum::body::to_bytes(body, SHORT).await.map_err(|error| {
        Refusal::new(StatusCode::BAD_REQUEST, "bad_request", format!("the body of the call did not come whole: {error}"))
    })?;
    Ok(Request::from_parts(parts, Body::from(bytes)))
}

/// A refusal as every caller reads it.
async fn told(response: Response, id: &str) -> Response {
    let (mut parts, body) = response.into_parts();
    let error = match parts.extensions.remove::<Problem>() {
        Some(problem) => problem,
        None => of_framework(parts.status, body).await,
    };
    let mut body = serde_json::to_value(ErrorBody { error, request_id: Some(id.to_owned()) }).unwrap_or_default();
    if let Some(error) = body.get_mut("error").and_then(Value::as_object_mut) {
        // Also where nobody knows what it was about: callers read it without asking first.
        error.entry("target").or_insert(Value::Null);
    }
    let json = body.to_string();
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    Response::from_parts(parts, Body::from(json))
}

/// What was refused before it came to a route.
async fn of_framework(status: StatusCode, body: Body) -> Problem {
    let said = axum::body::to_bytes(body, MAX_REASON).await.unwrap_or_default();
    let said = String::from_utf8_lossy(&said).trim().to_owned();
    let (code, otherwise) = match status {
        StatusCode::METHOD_NOT_ALLOWED => ("method", "this call is not made with this method; `allow` says with which"),
        StatusCode::PAYLOAD_TOO_LARGE => ("too_large", "the body of the call is too large"),
        StatusCode::BAD_REQUEST => ("bad_request", "the call is not understood"),
        _ => ("http", "the call is refused"),
    };
    Problem::new(code, if said.is_empty() { otherwise.to_owned() } else { said })
}

/// Who calls. What they may do is for the route to ask; see [`BasicCaller`].
pub(super) struct Caller {
    pub(super) analyst: Analyst,
    pub(super) shell: Option<String>,
}

/// Who calls a route that needs the role `basic`, as every route about devices, sessions and commands does.
pub(super) struct BasicCaller(pub(super) Caller);

impl<S: Send + Sync> FromRequestParts<S> for BasicCaller {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        let caller = Caller::from_request_parts(parts, state).await?;
        let path = parts.uri.path();
        caller.analyst.check(Role::Basic, &format!("{} {}", parts.method, path))?;
        Ok(Self(caller))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        let ConnectInfo(peer) = ConnectInfo::<Peer>::from_request_parts(parts, state)
            .await
            .map_err(|_| Refusal::forbidden("role", "the caller is not known"))?;
        let analyst = peer.0.ok_or_else(|| Refusal::forbidden("role", "the caller is not one of this service's analysts"))?;
        let shell = parts.headers.get(SHELL_HEADER).and_then(|value| value.to_str().ok());
        let shell = shell.filter(|shell| (1..=64).contains(&shell.len())).map(str::to_owned);
        Ok(Self { analyst, shell })
    }
}

/// The byte that an answer is to begin with, where that is said: `range: bytes=N-`.
pub(super) fn first_byte(headers: &HeaderMap) -> Answer<Option<u64>> {
    let Some(range) = headers.get(header::RANGE) else { return Ok(None) };
    let first = range.to_str().ok().and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
    let refusal = || Refusal::new(StatusCode::RANGE_NOT_SATISFIABLE, "range", "a range is `bytes=N-`").about("range");
    first.map(Some).ok_or_else(refusal)
}

/// A body that must be there, as JSON.
pub(super) struct Posted<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Posted<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Self::Rejection> {
        match Json::<T>::from_request(request, state).await {
            Ok(Json(body)) => Ok(Self(body)),
            Err(rejection) => Err(unread(rejection.status(), rejection.body_text())),
        }
    }
}

/// A body that may be left out, as JSON.
pub(super) struct Given<T>(pub(super) T);

impl<T: DeserializeOwned + Default, S: Send + Sync> FromRequest<S> for Given<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Self::Rejection> {
        let bytes =
            Bytes::from_request(request, state).await.map_err(|rejection| unread(rejection.status(), rejection.body_text()))?;
        if bytes.is_empty() {
            return Ok(Self(T::default()));
        }
        serde_json::from_slice(&bytes).map(Self).map_err(|error| unread(StatusCode::BAD_REQUEST, error.to_string()))
    }
}

fn unread(status: StatusCode, reason: String) -> Refusal {
    match status {
        StatusCode::PAYLOAD_TOO_LARGE => Refusal::new(status, "too_large", reason),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => Refusal::new(status, "media_type", reason),
        _ => Refusal::bad("bad_body", reason),
    }
    .about("body")
}
