//! The calls that are answered at once, each as a function.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{CONTENT_LENGTH, ETAG, HeaderMap, IF_MATCH, RANGE};
use reqwest::{Method, RequestBuilder, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::fetch::hex;
use super::{Client, List, root_cause};
use crate::error::{Exit, Failure, Outcome};
use crate::protocol::{
    Analyst, CommandId, CommandRecord, Device, LibraryFile, NewSession, Peek, PeekAt, Problem, Session, SessionId, Settings,
    SettingsChange,
};

impl Client {
    /// The devices that the service knows.
    ///
    /// # Errors
    /// As every call: when the service refuses or cannot be reached.
    pub async fn devices(&self) -> Outcome<Vec<Device>> {
        self.list("/devices", "devices").await
    }

    /// Who the service takes this shell's analyst for.
    ///
    /// # Errors
    /// As every call.
    pub async fn analyst(&self) -> Outcome<Analyst> {
        self.get("/analyst").await
    }

    /// The switches of the service.
    ///
    /// # Errors
    /// As every call.
    pub async fn settings(&self) -> Outcome<Settings> {
        self.get("/settings").await
    }

    /// Changes the switches that are given.
    ///
    /// # Errors
    /// `role` for who may not; as every call.
    pub async fn change_settings(&self, change: &SettingsChange) -> Outcome<Settings> {
        let response = self.send(Method::PATCH, "/settings", |request| request.json(change)).await?;
        super::read_json(response, "/settings").await
    }

    /// Opens a session, or attaches to the one that this analyst holds on the device.
    ///
    /// # Errors
    /// When no device fits, another analyst holds it, a limit or the policy forbids it.
    pub async fn open_session(&self, wanted: &NewSession) -> Outcome<Session> {
        let opened = async {
            let response = self.send(Method::POST, "/sessions", |request| request.json(wanted)).await?;
            super::read_json(response, "/sessions").await
        };
        opened.await.map_err(|failure: Failure| match failure.code() {
            // A device that the service does not know is none that can be reached.
            "not_found" => Failure { exit: Exit::Unreachable, ..failure },
            _ => failure,
        })
    }

    /// Every session, the ended ones too.
    ///
    /// # Errors
    /// As every call.
    pub async fn sessions(&self) -> Outcome<Vec<Session>> {
        self.list("/sessions", "sessions").await
    }

    /// One session.
    ///
    /// # Errors
    /// As every call.
    pub async fn session(&self, session: &SessionId) -> Outcome<Session> {
        self.get(&format!("/sessions/{session}")).await
    }

    /// Leaves a session in order; the last shell to leave closes it.
    ///
    /// # Errors
    /// As every call.
    pub async fn leave(&self, session: &SessionId) -> Outcome<()> {
        let path = format!("/sessions/{session}/close");
        self.send(Method::POST, &path, |request| request.json(&json!({"reason": "exit"}))).await?;
        Ok(())
    }

    /// The names of the commands that this analyst may run on the session's device.
    ///
    /// # Errors
    /// As every call.
    pub async fn definitions(&self, session: &SessionId) -> Outcome<Vec<Value>> {
        self.list(&format!("/sessions/{session}/definitions"), "definitions").await
    }

    /// The commands of a session, oldest first.
    ///
    /// # Errors
    /// As every call.
    pub async fn commands(&self, session: &SessionId) -> Outcome<Vec<CommandRecord>> {
        self.list(&format!("/sessions/{session}/commands"), "commands").await
    }

    /// The newest commands of every session, ended ones too, oldest first; of one device, or of all. In brief or whole.
    ///
    /// # Errors
    /// As every call.
    pub async fn log(&self, device: Option<&str>, brief: bool) -> Outcome<List> {
        let only = device.map(|id| format!("?device={}", utf8_percent_encode(id, NON_ALPHANUMERIC))).unwrap_or_default();
        let path = format!("/commands{}{only}", if brief { "/brief" } else { "" });
        let response = self.send(Method::GET, &path, |request| request).await?;
        Ok(List::new(response, &path))
    }

    /// One command of any session by its id, or a unique start of that.
    ///
    /// # Errors
    /// As every call; `not_found` when there is none.
    pub async fn command_anywhere(&self, which: &str) -> Outcome<CommandRecord> {
        self.get(&format!("/commands/{}", utf8_percent_encode(which, NON_ALPHANUMERIC))).await
    }

    /// One command by its number, its id, or a unique start of that.
    ///
    /// # Errors
    /// As every call; `not_found` when there is none.
    pub async fn command(&self, session: &SessionId, which: &str) -> Outcome<CommandRecord> {
        let which = utf8_percent_encode(which, NON_ALPHANUMERIC);
        self.get(&format!("/sessions/{session}/commands/{which}")).await
    }

    /// Asks the device to stop a command. The receipt comes as an event.
    ///
    /// # Errors
    /// As every call.
    pub async fn cancel(&self, session: &SessionId, command: CommandId) -> Outcome<()> {
        let path = format!("/sessions/{session}/commands/{command}/cancel");
        self.send(Method::POST, &path, |request| request.json(&json!({}))).await?;
        Ok(())
    }

    /// Tells the device that the rows so far are all that is wanted: the command completes.
    ///
    /// # Errors
    /// As every call.
    pub async fn enough(&self, session: &SessionId, command: CommandId) -> Outcome<()> {
        let path = format!("/sessions/{session}/commands/{command}/cancel");
        self.send(Method::POST, &path, |request| request.json(&json!({"enough": true}))).await?;
        Ok(())
    }

    /// Asks for the bytes of a command's file from `offset` on.
    ///
    /// # Errors
    /// `changed` when the file is not the one that `etag` names any more; as every call.
    pub async fn file(&self, session: &SessionId, command: CommandId, offset: u64, etag: Option<&str>) -> Outcome<FilePart> {
        let path = format!("/sessions/{session}/commands/{command}/file");
        let response = self.send(Method::GET, &path, |request| from_offset(request, offset, etag)).await?;
        FilePart::of(response, offset)
    }

    /// Asks for the content of a library file from `offset` on.
    ///
    /// # Errors
    /// `changed` when the file is not in the state that `etag` names any more; as every call.
    pub async fn library_content(&self, name: &str, offset: u64, etag: Option<&str>) -> Outcome<FilePart> {
        let path = format!("/library/{}", utf8_percent_encode(name, NON_ALPHANUMERIC));
        let response = self.send(Method::GET, &path, |request| from_offset(request, offset, etag)).await?;
        FilePart::of(response, offset)
    }

    /// What the device tells while a line is typed; see [`PeekAt`]. `path` and `begins` are of a folder.
    ///
    /// # Errors
    /// As every call; as the device says.
    pub async fn peek(&self, session: &SessionId, at: PeekAt, directory: &str, path: &str, begins: &str) -> Outcome<Peek> {
        let mut call = format!("/sessions/{session}/peek?at={}", at.as_str());
        for (name, value) in [("directory", directory), ("path", path), ("begins", begins)] {
            call.push_str(&format!("&{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC)));
        }
        self.get(&call).await
    }

    /// The library's files.
    ///
    /// # Errors
    /// As every call; `role` for who may not see them.
    pub async fn library(&self) -> Outcome<Vec<LibraryFile>> {
        self.list("/library", "library").await
    }

    /// Sends the content of a library file, `size` bytes, that a `library add` command waits for.
    ///
    /// # Errors
    /// As every call.
    pub async fn upload(
        &self,
        name: &str,
        command: CommandId,
        query: &[(&str, String)],
        size: u64,
        content: impl Fn() -> Outcome<reqwest::Body>,
    ) -> Outcome<()> {
        let mut path = format!("/library/{}?command_id={command}", utf8_percent_encode(name, NON_ALPHANUMERIC));
        for (key, value) in query {
            path.push_str(&format!("&{key}={}", utf8_percent_encode(value, NON_ALPHANUMERIC)));
        }
        let failed = std::sync::Mutex::new(None);
        let answer = self
            .send(Method::PUT, &path, |request| match content() {
                Ok(body) => request.header(CONTENT_LENGTH, size).body(body),
                Err(failure) => {
                    if let Ok(mut kept) = failed.lock() {
                        *kept = Some(failure);
                    }
                    request
                }
            })
            .await;
        match failed.into_inner().ok().flatten() {
            Some(failure) => Err(failure),
            None => answer.map(|_| ()),
        }
    }

    /// A list, bare or as the one field of an object.
    async fn list<T: for<'a> Deserialize<'a>>(&self, path: &str, field: &str) -> Outcome<Vec<T>> {
        let answer: Value = self.get(path).await?;
        let list = match answer {
            Value::Object(mut object) => object.swap_remove(field).unwrap_or(Value::Null),
            bare => bare,
        };
        serde_json::from_value(list)
            .map_err(|error| Failure::internal(format!("the service's answer to {path} is not understood: {error}")))
    }
}

/// A request for what is behind a file's first bytes, as long as it is in the state that they are of.
fn from_offset(mut request: RequestBuilder, offset: u64, etag: Option<&str>) -> RequestBuilder {
    if offset > 0 {
        request = request.header(RANGE, format!("bytes={offset}-"));
    }
    match etag {
        Some(etag) => request.header(IF_MATCH, etag),
        None => request,
    }
}

/// Bytes of a file on their way.
pub struct FilePart {
    response: Response,
    /// Tells this file, as it is, from every other: `dev-inode-size-mtime_ns`.
    pub etag: String,
    /// The first byte that comes.
    pub offset: u64,
    /// How long the whole file is, where that is known.
    pub size: Option<u64>,
    /// The SHA-256 of all its bytes, where that is known beforehand.
    pub sha256: Option<String>,
}

impl FilePart {
    fn of(response: Response, asked: u64) -> Outcome<Self> {
        let headers = response.headers();
        let etag = text(headers, ETAG.as_str()).unwrap_or_default().trim_matches('"').to_owned();
        // "bytes 10-99/100", or "bytes 10-99/*" where the size is not known.
        let range = text(headers, "content-range").and_then(|range| range.strip_prefix("bytes "));
        let (offset, size) = match range.and_then(|range| range.split_once('/')) {
            Some((span, size)) => {
                let start = span.split('-').next().and_then(|start| start.parse().ok());
                (start.unwrap_or(asked), size.parse().ok())
            }
            None => (0, text(headers, "content-length").and_then(|length| length.parse().ok())),
        };
        if offset != asked && offset != 0 {
            return Err(Failure::internal(format!("the service sent byte {offset} where {asked} was asked for")));
        }
        // As RFC 9530 writes it.
        let digest = text(headers, "repr-digest").and_then(|digest| digest.strip_prefix("sha-256=:")?.strip_suffix(':'));
        let sha256 = digest.and_then(|digest| BASE64.decode(digest).ok()).map(|hash| hex(&hash));
        Ok(Self { response, etag, offset, size, sha256 })
    }

    /// The next bytes; `None` at the end.
    ///
    /// # Errors
    /// When the connection broke.
    pub async fn next(&mut self) -> Outcome<Option<bytes::Bytes>> {
        self.response.chunk().await.map_err(|error| Failure {
            exit: crate::error::Exit::Unreachable,
            problem: Problem::new("broken", format!("the transfer broke: {}", root_cause(&error))),
        })
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
