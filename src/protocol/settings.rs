//! The switches that hold for the whole service, as the reference's advanced features have them.

use serde::{Deserialize, Serialize};

/// `GET /settings`. All three are on by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Settings {
    /// Whether sessions may be opened at all.
    pub live_response: bool,
    /// Whether sessions may be opened on servers.
    pub live_response_servers: bool,
    /// Whether `run` takes scripts without a valid signature.
    pub unsigned_scripts: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { live_response: true, live_response_servers: true, unsigned_scripts: true }
    }
}

/// The body of `PATCH /settings`: what is given is set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SettingsChange {
    /// See [`Settings::live_response`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live_response: Option<bool>,
    /// See [`Settings::live_response_servers`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live_response_servers: Option<bool>,
    /// See [`Settings::unsigned_scripts`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unsigned_scripts: Option<bool>,
}
