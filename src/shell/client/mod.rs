//! The way to the service: HTTP over its Unix socket, event streams as answers. A service that is gone is started again
//! and the call repeated (every call may be: commands carry an id of the shell's making); the analyst hears of it only
//! when that takes longer than two seconds.

mod calls;
pub mod content;
mod decode;
pub mod fetch;
mod list;
pub mod send;
mod stream;
mod trace;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response};
use serde::de::DeserializeOwned;

pub use calls::FilePart;
pub use list::List;
pub use stream::{CommandEvents, SessionEvents};
pub use trace::Trace;

use super::view::Screen;
use crate::error::{Failure, Outcome};
use crate::protocol::{API, ErrorBody, PROTOCOL_HEADER, PROTOCOL_VERSION, Problem, SHELL_HEADER};

/// Finds the service, or starts it: what the embedded default does, and what a shell must not know how to do.
pub trait Starter: Send + Sync {
    /// The socket of a service that is there now. May take as long as a start takes; may block.
    ///
    /// # Errors
    /// When it cannot be started.
    fn ensure(&self) -> Result<PathBuf, Problem>;
}

/// How often a call is tried before the service counts as not to be reached.
const TRIES: u32 = 5;
/// How long the analyst hears nothing of a service that does not answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// An error's body is read up to this.
const MAX_ERROR_BODY: usize = 64 * 1024;

/// Connections to a service that was there.
#[derive(Clone)]
struct Connected {
    http: reqwest::Client,
    /// Tells one start of the service from another.
    start: u64,
}

/// The way to the service. Clones share connections.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

struct Shared {
    starter: Arc<dyn Starter>,
    /// The name of this shell within a session.
    shell: String,
    http: RwLock<Option<Connected>>,
    /// Held by the one who starts the service.
    starting: tokio::sync::Mutex<()>,
    starts: AtomicU64,
    screen: Screen,
    trace: Trace,
}

impl Client {
    /// A client that has not connected yet.
    #[must_use]
    pub fn new(starter: Arc<dyn Starter>, screen: Screen, trace: Trace) -> Self {
        let shared = Shared {
            starter,
            shell: uuid::Uuid::now_v7().to_string(),
            http: RwLock::new(None),
            starting: tokio::sync::Mutex::new(()),
            starts: AtomicU64::new(0),
            screen,
            trace,
        };
        Self { shared: Arc::new(shared) }
    }

    /// The same shell's way with connections of its own, for a runtime that the others do not belong to.
    #[must_use]
    pub fn afresh(&self) -> Self {
        let shared = Shared {
            starter: self.shared.starter.clone(),
            shell: self.shared.shell.clone(),
            http: RwLock::new(None),
            starting: tokio::sync::Mutex::new(()),
            starts: AtomicU64::new(0),
            screen: self.shared.screen.clone(),
            trace: self.shared.trace.clone(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// The name of this shell within a session.
    #[must_use]
    pub fn shell(&self) -> &str {
        &self.shared.shell
    }

    /// The log of requests and events.
    #[must_use]
    pub fn trace(&self) -> &Trace {
        &self.shared.trace
    }

    /// Sends a call until it is answered, starting the service when it is not there.
    async fn send(&self, method: Method, path: &str, fill: impl Fn(RequestBuilder) -> RequestBuilder) -> Outcome<Response> {
        let mut tries = 0;
        loop {
            let Connected { http, start } = self.connected().await?;
            self.shared.trace.request(&method, path);
            let request = http
                .request(method.clone(), format!("http://lrsh{API}{path}"))
                .header(PROTOCOL_HEADER, PROTOCOL_VERSION)
                .header(SHELL_HEADER, &self.shared.shell);
            match fill(request).send().await {
                Ok(response) => {
                    self.shared.trace.answer(&method, path, response.status().as_u16());
                    return accept(response).await;
                }
                Err(error) if error.is_builder() => {
                    return Err(Failure::internal(format!("a request to the service cannot be made: {error}")));
                }
                Err(error) => {
                    tries += 1;
                    if tries >= TRIES {
                        let message = format!("the service does not answer: {}", root_cause(&error));
                        return Err(Failure::unreachable(message));
                    }
                    self.shared.trace.note(&format!("{path}: {}", root_cause(&error)));
                    self.forget(start).await;
                    // The first try again is immediate: a service that ended by itself is simply started.
                    tokio::time::sleep(Duration::from_millis(50 * u64::from(tries - 1))).await;
                }
            }
        }
    }

    fn kept(&self) -> Option<Connected> {
        self.shared.http.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn keep(&self, connected: Option<Connected>) {
        *self.shared.http.write().unwrap_or_else(PoisonError::into_inner) = connected;
    }

    /// The connections to the service, after it was found or started.
    async fn connected(&self) -> Outcome<Connected> {
        if let Some(kept) = self.kept() {
            return Ok(kept);
        }
        let _starting = self.shared.starting.lock().await;
        // Another task may have started it while this one waited.
        if let Some(kept) = self.kept() {
            return Ok(kept);
        }
        let starter = self.shared.starter.clone();
        let mut start = tokio::task::spawn_blocking(move || starter.ensure());
        let socket = if let Ok(ended) = tokio::time::timeout(PATIENCE, &mut start).await {
            ended
        } else {
            self.shared.screen.announce("the service is being started; this takes longer than usual");
            start.await
        };
        let socket = socket
            .map_err(|error| Failure::internal(format!("the start of the service ended: {error}")))?
            .map_err(|problem| Failure::unreachable(problem.message))?;
        // reqwest asks for it even where nothing is encrypted; who installed one before keeps it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .unix_socket(socket)
            .http1_only()
            .no_proxy()
            // No certificate is ever looked at on a Unix socket, and reading the system's takes milliseconds.
            .tls_certs_only([])
            .pool_idle_timeout(None)
            .build()
            .map_err(|error| Failure::internal(format!("no HTTP client: {error}")))?;
        let connected = Connected { http, start: self.shared.starts.fetch_add(1, Ordering::Relaxed) };
        self.keep(Some(connected.clone()));
        Ok(connected)
    }

    /// Has the service looked for again before the next call, unless somebody did since that start.
    async fn forget(&self, start: u64) {
        let _starting = self.shared.starting.lock().await;
        if self.kept().is_some_and(|kept| kept.start == start) {
            self.keep(None);
        }
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Outcome<T> {
        let response = self.send(Method::GET, path, |request| request).await?;
        read_json(response, path).await
    }
}

/// The body of an answer as JSON.
async fn read_json<T: DeserializeOwned>(response: Response, path: &str) -> Outcome<T> {
    let body = response
        .bytes()
        .await
        .map_err(|error| Failure::unreachable(format!("the service broke off its answer: {}", root_cause(&error))))?;
    serde_json::from_slice(&body)
        .map_err(|error| Failure::internal(format!("the service's answer to {path} is not understood: {error}")))
}

/// The answer, or the failure that it tells.
async fn accept(mut response: Response) -> Outcome<Response> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let mut body = Vec::new();
    while let Ok(Some(piece)) = response.chunk().await {
        body.extend_from_slice(&piece);
        if body.len() > MAX_ERROR_BODY {
            break;
        }
    }
    let problem = match serde_json::from_slice::<ErrorBody>(&body) {
        Ok(told) => match told.request_id {
            // Why the service failed is in its log, under this name.
            Some(id) if status.is_server_error() => {
                Problem { message: format!("{} (request {id})", told.error.message), ..told.error }
            }
            _ => told.error,
        },
        Err(_) => Problem::new("http", format!("the service answered {status}")),
    };
    Err(Failure::answered(status.as_u16(), problem))
}

/// What is at the bottom of an error: the sentence that says something.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
