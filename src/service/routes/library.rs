//! The library: list, content both ways, delete.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use serde::Deserialize;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use utoipa::IntoParams;

use super::{Caller, first_byte};
use crate::grammar::Role;
use crate::protocol::{CommandId, LibraryFile};
use crate::service::error::{Answer, Refusal};
use crate::service::library::{NewFile, Sent, check_match, etag};
use crate::service::state::Service;

/// What a `PUT` says beside the content.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct PutQuery {
    /// The `library add` that waits for this content; it says everything else of the file.
    #[param(value_type = Option<Uuid>)]
    command_id: Option<CommandId>,
    /// What it is for; not given, that of the file it replaces.
    description: Option<String>,
    /// What parameters it takes; not given, as the file it replaces.
    parameters_description: Option<String>,
    /// Whether a file of this name is replaced.
    #[serde(default)]
    overwrite: bool,
    /// A detached minisign signature.
    signature: Option<String>,
    /// What the content's SHA-256 has to be.
    sha256: Option<String>,
}

/// The files of the library; needs the role `advanced`.
#[utoipa::path(get, path = "/library", operation_id = "list_library", tag = "library",
    responses((status = 200, description = "Every file.", body = Vec<LibraryFile>)))]
pub(super) async fn list(State(service): State<Service>, caller: Caller) -> Answer<Json<Vec<LibraryFile>>> {
    caller.analyst.check(Role::Advanced, "seeing the library")?;
    Ok(Json(service.library_files().await?))
}

/// The content of a library file; needs the role `advanced`.
#[utoipa::path(get, path = "/library/{name}", operation_id = "get_library_file", tag = "library",
    params(
        ("name" = String, Path, description = "Letters, digits, `-`, `_` and `.`."),
        ("range" = Option<String>, Header, description = "`bytes=N-`: from byte N on.", pattern = "^bytes=[0-9]{1,15}-$"),
        ("if-match" = Option<String>, Header, description = "The `etag` of the state that was begun."),
    ),
    responses(
        (status = 200, description = "Its bytes; `etag` names its state, `repr-digest` their SHA-256.", content_type = "application/octet-stream"),
        (status = 206, description = "Its bytes from `range` on.", content_type = "application/octet-stream"),
        (status = 400, description = "No library file may be called so."),
        (status = 404, description = "There is no such file."),
        (status = 412, description = "The file is in another state now."),
        (status = 416, description = "The range is not understood, or begins behind the last byte."),
    ))]
pub(super) async fn content(
    State(service): State<Service>,
    caller: Caller,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Answer<Response> {
    caller.analyst.check(Role::Advanced, "seeing the library")?;
    let file = service.library_file(&name).await?.file;
    if let Some(wanted) = header_text(&headers, header::IF_MATCH).map(unquoted) {
        check_match(&name, &wanted, Some(&file))?;
    }
    let offset = first_byte(&headers)?.unwrap_or(0);
    if offset > file.size {
        let message = format!("{name} has {} bytes", file.size);
        return Err(Refusal::new(StatusCode::RANGE_NOT_SATISFIABLE, "range", message).about("range"));
    }
    let pieces = ReceiverStream::new(service.deliver_from(&file, offset)?);
    let bytes = pieces.map(|piece| piece.map_err(|problem| std::io::Error::other(problem.message)));
    let mut response = Response::builder()
        .header(header::ETAG, format!("\"{}\"", etag(&file)))
        .header(header::CONTENT_TYPE, "application/octet-stream")
        .header(header::CONTENT_LENGTH, file.size - offset);
    if offset > 0 {
        let last = file.size.saturating_sub(1).max(offset);
        response = response
            .status(StatusCode::PARTIAL_CONTENT)
            .header(header::CONTENT_RANGE, format!("bytes {offset}-{last}/{}", file.size));
    }
    if let Some(digest) = digest(&file.sha256) {
        response = response.header("repr-digest", digest);
    }
    response.body(Body::from_stream(bytes)).map_err(Refusal::internal)
}

/// Takes in a file's content: of a `library add` that waits for it, or of a file that is described beside it. Needs the
/// role `library`.
#[utoipa::path(put, path = "/library/{name}", operation_id = "put_library_file", tag = "library",
    params(
        ("name" = String, Path, description = "Letters, digits, `-`, `_` and `.`."),
        PutQuery,
        ("if-match" = Option<String>, Header, description = "The `etag` of the state that is replaced."),
    ),
    request_body(content_type = "application/octet-stream", description = "The content."),
    responses(
        (status = 200, description = "The file as it is kept; `etag` names its state.", body = LibraryFile),
        (status = 400, description = "Name or query are not understood, or the content is cut off or has another hash."),
        (status = 404, description = "There is no such file to replace."),
        (status = 409, description = "A file of this name is there or on its way, or the command does not wait for one."),
        (status = 412, description = "The file is in another state now."),
        (status = 413, description = "The content is larger than a library file may be."),
        (status = 507, description = "There is no room for the content."),
    ))]
pub(super) async fn put(
    State(service): State<Service>,
    caller: Caller,
    Path(name): Path<String>,
    Query(query): Query<PutQuery>,
    headers: HeaderMap,
    body: Body,
) -> Answer<Response> {
    caller.analyst.check(Role::Library, "adding to the library")?;
    let size = header_text(&headers, header::CONTENT_LENGTH).and_then(|length| length.parse().ok());
    let sent = Sent { size, sha256: query.sha256, signature: query.signature };
    let file = match query.command_id {
        Some(command) => service.receive_for(command, &name, &caller.analyst.name, sent, body).await?,
        None => {
            let new = NewFile {
                name,
                description: query.description,
                parameters_description: query.parameters_description,
                overwrite: query.overwrite,
                if_match: header_text(&headers, header::IF_MATCH).map(unquoted),
            };
            let mut arrival = service.expect_file(&caller.analyst.name, new).await?;
            service.receive(&mut arrival, sent, body, |_| ()).await?
        }
    };
    Ok(([(header::ETAG, format!("\"{}\"", etag(&file)))], Json(file)).into_response())
}

/// Deletes a file, if it still is in the state that the caller has seen. Needs the role `library`.
#[utoipa::path(delete, path = "/library/{name}", operation_id = "delete_library_file", tag = "library",
    params(
        ("name" = String, Path, description = "Letters, digits, `-`, `_` and `.`."),
        ("if-match" = Option<String>, Header, description = "The `etag` of the state that is meant, or `*` for any."),
    ),
    responses(
        (status = 204, description = "It is deleted."),
        (status = 400, description = "No library file may be called so."),
        (status = 404, description = "There is no such file."),
        (status = 409, description = "A file of this name is on its way."),
        (status = 412, description = "The file is in another state now."),
        (status = 428, description = "`if-match` is not given."),
    ))]
pub(super) async fn delete(
    State(service): State<Service>,
    caller: Caller,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Answer<StatusCode> {
    caller.analyst.check(Role::Library, "deleting from the library")?;
    let Some(seen) = header_text(&headers, header::IF_MATCH).map(unquoted) else {
        let message = format!("say in If-Match which state of {name} is meant: its ETag, or * for any");
        return Err(Refusal::new(StatusCode::PRECONDITION_REQUIRED, "if_match", message).about("if-match"));
    };
    service.delete_file(&name, &seen).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn header_text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn unquoted(tag: &str) -> String {
    tag.trim_matches('"').to_owned()
}

/// The hash of a file's content as RFC 9530 writes it.
fn digest(sha256: &str) -> Option<String> {
    let pairs = sha256.as_bytes().chunks(2);
    let bytes: Option<Vec<u8>> = pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect();
    bytes.map(|bytes| format!("sha-256=:{}:", base64::engine::general_purpose::STANDARD.encode(bytes)))
}
