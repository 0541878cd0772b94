//! What a refused call says, and with which status. Internals stay in the log.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::store::Trouble;
use crate::protocol::Problem;

/// A call that is not answered as asked.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    status: StatusCode,
    problem: Problem,
}

/// What routes return.
pub(super) type Answer<T> = Result<T, Refusal>;

impl Refusal {
    pub(super) fn new(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        Self { status, problem: Problem::new(code, message) }
    }

    /// The call itself is off.
    pub(super) fn bad(code: &str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    /// A problem that was met on the way.
    pub(super) fn of(problem: Problem) -> Self {
        Self { status: StatusCode::INTERNAL_SERVER_ERROR, problem }
    }

    /// There is no such thing.
    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    /// Something stands in the way: another analyst, an ended command.
    pub(super) fn conflict(code: &str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code, message)
    }

    /// The caller may not: `role`, `policy`, `limit`, `protocol`.
    pub(super) fn forbidden(code: &str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, code, message)
    }

    /// The service itself is at fault; the reason goes into its log.
    pub(super) fn internal(reason: impl std::fmt::Display) -> Self {
        tracing::error!(%reason, "a call failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the service failed; its log says more")
    }

    /// Refuses a text that is longer than so many bytes: it would be kept, and told to others, for good.
    pub(super) fn unless_within(text: &str, most: usize, what: &str) -> Answer<()> {
        if text.len() <= most {
            return Ok(());
        }
        Err(Self::bad("too_long", format!("{what} has {} bytes; {most} are the limit", text.len())).about(what))
    }

    /// What it was about.
    pub(super) fn about(mut self, target: impl Into<String>) -> Self {
        self.problem.target = Some(target.into());
        self
    }

    /// The problem, for a command that fails for the same reason.
    pub(super) fn into_problem(self) -> Problem {
        self.problem
    }
}

impl From<sqlx::Error> for Refusal {
    fn from(error: sqlx::Error) -> Self {
        tracing::error!(%error, "the store failed");
        let message = match Trouble::of(&error) {
            Trouble::Full => "the disk of the service is full",
            Trouble::ReadOnly => "the home of the service cannot be written",
            Trouble::Damaged => "the store of the service is damaged; the next start of the service says what can be done",
            Trouble::Newer | Trouble::Other => "the store of the service failed; its log says more",
        };
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "store", message).about("store")
    }
}

impl IntoResponse for Refusal {
    /// The status alone: what it says is put into words where every call passes, with the name of the request
    /// ([`super::routes`]).
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self.problem);
        response
    }
}
