//! The OpenAPI document: what every call takes and answers, for clients that are not this shell.

use std::sync::LazyLock;

use axum::http::header;
use axum::response::IntoResponse;
use serde::Serialize;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{Operation, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Required, ResponseBuilder};
use utoipa::{OpenApi, ToSchema};

use super::Caller;
use crate::protocol::{
    Completed, Effect, ErrorBody, FileFacts, PROTOCOL_HEADER, Progress, REQUEST_HEADER, Receipt, SHELL_HEADER, SessionEvent,
    Text,
};

/// A server-sent event of a command.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the shape is told; events are written as they are")]
pub(super) struct EventMessage {
    /// Its number.
    id: String,
    /// The JSON of an `Event`.
    #[schema(content_media_type = "application/json")]
    data: String,
}

/// A server-sent event of a session.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the shape is told; events are written as they are")]
pub(super) struct SessionEventMessage {
    /// Its number.
    id: String,
    /// The JSON of a `SessionEvent`.
    #[schema(content_media_type = "application/json")]
    data: String,
}

/// One event of a command: the `data` of a server-sent event whose `id` is `n`.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the shape is told; the service passes events on as it gets them")]
struct Event {
    /// Its place in the command's stream, from 1. Numbers may be left out: `completed` says why.
    n: u64,
    /// When the service had it.
    #[schema(value_type = String, format = DateTime)]
    t: String,
    /// What it says.
    #[serde(flatten)]
    body: EventBody,
}

/// What an event says, by `kind`. Later versions may add kinds.
#[derive(Serialize, ToSchema)]
#[serde(tag = "kind", rename_all = "lowercase")]
#[expect(dead_code, reason = "the shape is told; the service passes events on as it gets them")]
enum EventBody {
    /// The service accepted the command; its number within the session.
    Created { number: u64 },
    /// The command waits; 1 is next.
    Queued { place: u32 },
    /// The device has begun.
    Started,
    /// How far it is.
    Progress(Progress),
    /// Rows follow, with these fields.
    Table { keys: Vec<String> },
    /// Rows of a table: at most 512, or 256 KiB.
    Rows { rows: Vec<serde_json::Value> },
    /// An answer that is one object.
    Object { value: serde_json::Value },
    /// Output of a script, or a file's text.
    Text(Text),
    /// The shell that sent the command goes on in this directory.
    Context { current_directory: String },
    /// A file was read to its end.
    File(FileFacts),
    /// A command that had to run first.
    Prerequisite { command_id: uuid::Uuid },
    /// A change made on the device.
    Effect(Box<Effect>),
    /// What a cancelled command had done.
    Receipt(Receipt),
    /// The end; always last. An error with a code that begins with `spool_` says which events before it are not kept.
    Completed(Completed),
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "lrsh service",
        description = "Live response: sessions on devices, commands in them, and the events that they answer with.\n\n\
            Every refusal is an `ErrorBody` with a code for programs, a sentence for people, what it is about, and the \
            name of the request. Readers ignore fields and event kinds that they do not know.",
        license(name = "MIT OR Apache-2.0")
    ),
    components(schemas(ErrorBody, Event, SessionEvent))
)]
struct Head;

/// The document without its paths.
pub(super) fn head() -> utoipa::openapi::OpenApi {
    let mut document = Head::openapi();
    // The program's own version changes with every release; the contract's does not.
    document.info.version = crate::protocol::PROTOCOL_VERSION.to_string();
    document
}

/// The OpenAPI document as JSON.
///
/// # Errors
/// When it cannot be written as JSON, which no document of this program's making can.
pub fn openapi() -> serde_json::Result<String> {
    let (_, mut document) = super::described().split_for_parts();
    let items = document.paths.paths.values_mut();
    for item in items {
        let operations = [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch];
        for operation in operations.into_iter().flatten() {
            complete(operation);
        }
    }
    document.to_pretty_json().map(|json| json + "\n")
}

/// Adds what holds for every call.
fn complete(operation: &mut Operation) {
    let text = || ObjectBuilder::new().schema_type(Type::String).build();
    let version = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0)).maximum(Some(u32::MAX)).build();
    let headers = [
        (PROTOCOL_HEADER, "The version of this contract that the caller speaks; an older one is refused.", version),
        (SHELL_HEADER, "The name of a shell within its session, at most 64 characters.", text()),
    ];
    for (name, description, schema) in headers {
        let parameter = ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Header)
            .required(Required::False)
            .description(Some(description))
            .schema(Some(schema))
            .build();
        operation.parameters.get_or_insert_default().push(parameter.into());
    }
    let common = [
        ("403", "The caller is not one of the service's analysts, or may not do this."),
        ("426", "The caller speaks an older version of this contract."),
        ("500", "The service failed: its disk is full, its home cannot be written, or its log says more."),
    ];
    for (status, description) in common {
        let response = ResponseBuilder::new().description(description).build();
        operation.responses.responses.entry(status.to_owned()).or_insert_with(|| response.into());
    }
    for (status, response) in &mut operation.responses.responses {
        let RefOr::T(response) = response else { continue };
        if status.starts_with(['4', '5']) && response.content.is_empty() {
            let body = ContentBuilder::new().schema(Some(Ref::from_schema_name("ErrorBody"))).build();
            response.content.insert("application/json".into(), body.into());
        }
        let header =
            HeaderBuilder::new().schema(Some(text())).description(Some("The name of the request in the service's log."));
        response.headers.insert(REQUEST_HEADER.into(), RefOr::T(header.build()));
    }
}

/// The document, to any caller of this service.
pub(super) async fn serve(_caller: Caller) -> impl IntoResponse {
    static DOCUMENT: LazyLock<String> = LazyLock::new(|| openapi().unwrap_or_default());
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT.as_str())
}
