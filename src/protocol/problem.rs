//! What went wrong, in words that name the thing it is about.

use serde::{Deserialize, Serialize};

/// One problem: of a call (with `target`), or of a command on the device (with `path`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error, utoipa::ToSchema)]
#[error("{message}")]
pub struct Problem {
    /// A stable word for programs, e.g. `not_found`, `permission_denied`, `limit`, `role`, `busy`, `not_on_platform`.
    pub code: String,
    /// A sentence for people: what, about which thing, and what to do.
    pub message: String,
    /// What the call was about: a field, a parameter, a session, a limit's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The path on the device that this is about, invalid UTF-8 as U+FFFD.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

impl Problem {
    /// A problem about nothing in particular.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), target: None, path: None }
    }

    /// The same problem, about a part of the call.
    #[must_use]
    pub fn about(mut self, target: impl Into<String>) -> Self {
        self.target = Some(target.into());
        self
    }

    /// The same problem, about a path on the device.
    #[must_use]
    pub fn at(mut self, path: impl Into<String>) -> Self {
        self.path = Some(path.into());
        self
    }
}

/// The body of every refused call: `{"error":{"code","message","target"},"request_id"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ErrorBody {
    /// What went wrong.
    pub error: Problem,
    /// The request's name in the service's log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}
