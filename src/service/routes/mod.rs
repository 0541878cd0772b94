//! The routes, all below `/api/v1`: what each call means stands in the design, section 6. A route and what the OpenAPI
//! document says of it are one declaration.

mod commands;
mod devices;
mod document;
mod events;
mod library;
mod peek;
mod request;
mod sessions;

use axum::Router;
use axum::routing::get;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub use document::openapi;
pub(super) use peek::Question;
use request::{BasicCaller, Caller, Given, Posted, first_byte};

use super::error::{Answer, Refusal};
use super::state::Service;
use crate::protocol::{API, SessionId};

/// The largest body of a call, in bytes; library content is streamed and has its own limit.
const MAX_BODY: usize = 1 << 20;

/// Every route of a service.
pub fn router(service: Service) -> Router {
    let (router, _) = described().split_for_parts();
    router
        .route("/openapi.json", get(document::serve))
        .fallback(|| async { Refusal::not_found("there is no such call").about("path") })
        .layer(axum::extract::DefaultBodyLimit::max(MAX_BODY))
        .layer(axum::middleware::from_fn(request::named))
        .with_state(service)
}

/// The routes with what is said of them.
fn described() -> OpenApiRouter<Service> {
    let api = OpenApiRouter::new()
        .routes(routes!(devices::analyst))
        .routes(routes!(devices::list))
        .routes(routes!(devices::one))
        .routes(routes!(devices::settings, devices::change_settings))
        .routes(routes!(sessions::list, sessions::open))
        .routes(routes!(sessions::one))
        .routes(routes!(sessions::close))
        .routes(routes!(sessions::definitions))
        .routes(routes!(events::of_session))
        .routes(routes!(peek::peek))
        .routes(routes!(commands::list, commands::create))
        .routes(routes!(commands::one))
        .routes(routes!(events::of_command))
        .routes(routes!(commands::cancel))
        .routes(routes!(commands::file))
        .routes(routes!(commands::everywhere))
        .routes(routes!(commands::everywhere_briefly))
        .routes(routes!(commands::anywhere))
        .routes(routes!(library::list))
        .routes(routes!(library::content, library::put, library::delete));
    OpenApiRouter::with_openapi(document::head()).nest(API, api)
}

fn session_id(text: &str) -> Answer<SessionId> {
    text.parse().map_err(|_| Refusal::not_found(format!("there is no session {text}")).about("session"))
}
