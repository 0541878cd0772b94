//! The routes, all below `/api/v1`: what each call means stands in the design, section 6.

mod commands;
mod devices;
mod events;
mod library;
mod sessions;

use axum::Router;
use axum::extract::{ConnectInfo, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use uuid::Uuid;

use super::error::{Answer, Refusal};
use super::policy::Analyst;
use super::serve::Peer;
use super::state::Service;
use crate::grammar::Role;
use crate::protocol::{API, PROTOCOL_HEADER, PROTOCOL_VERSION, REQUEST_HEADER, SHELL_HEADER, SessionId};

/// The largest body of a call, in bytes; library content is streamed and has its own limit.
const MAX_BODY: usize = 1 << 20;

/// Every route of a service.
pub fn router(service: Service) -> Router {
    let api = Router::new()
        .route("/analyst", get(devices::analyst))
        .route("/devices", get(devices::list))
        .route("/devices/{id}", get(devices::one))
        .route("/sessions", get(sessions::list).post(sessions::open))
        .route("/sessions/{sid}", get(sessions::one))
        .route("/sessions/{sid}/close", post(sessions::close))
        .route("/sessions/{sid}/definitions", get(sessions::definitions))
        .route("/sessions/{sid}/events", get(events::of_session))
        .route("/sessions/{sid}/commands", get(commands::list).post(commands::create))
        .route("/sessions/{sid}/commands/{cid}", get(commands::one))
        .route("/sessions/{sid}/commands/{cid}/events", get(events::of_command))
        .route("/sessions/{sid}/commands/{cid}/cancel", post(commands::cancel))
        .route("/sessions/{sid}/commands/{cid}/file", get(commands::file))
        .route("/commands", get(commands::everywhere))
        .route("/commands/{cid}", get(commands::anywhere))
        .route("/library", get(library::list))
        .route("/library/{name}", get(library::content).put(library::put).delete(library::delete))
        .route("/settings", get(devices::settings).patch(devices::change_settings));
    Router::new()
        .nest(API, api)
        .fallback(|| async { Refusal::not_found("there is no such call") })
        .layer(axum::extract::DefaultBodyLimit::max(MAX_BODY))
        .layer(axum::middleware::from_fn(named))
        .with_state(service)
}

/// Names each request, refuses callers that speak an older protocol, and puts the name into what is refused.
async fn named(request: Request, next: Next) -> Response {
    let id = Uuid::now_v7().to_string();
    let spoken = request.headers().get(PROTOCOL_HEADER).and_then(|value| value.to_str().ok()?.parse::<u32>().ok());
    let mut response = match spoken {
        Some(version) if version < PROTOCOL_VERSION => {
            let message =
                format!("this shell speaks protocol {version}, the service {PROTOCOL_VERSION}; use the newer program");
            Refusal::new(axum::http::StatusCode::UPGRADE_REQUIRED, "protocol", message).into_response()
        }
        _ => next.run(request).await,
    };
    if let Ok(value) = id.parse() {
        response.headers_mut().insert(REQUEST_HEADER, value);
    }
    response
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
        let shell = shell.filter(|shell| shell.len() <= 64).map(str::to_owned);
        Ok(Self { analyst, shell })
    }
}

fn session_id(text: &str) -> Answer<SessionId> {
    text.parse().map_err(|_| Refusal::not_found(format!("there is no session {text}")).about("session"))
}
