//! The library: files that can be put on a device or run there.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A library file's facts, a row of `library`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LibraryFile {
    /// Letters, digits, `-`, `_` and `.`.
    pub file_name: String,
    /// In bytes.
    pub size: u64,
    /// What it is for.
    pub description: Option<String>,
    /// The analyst who added it.
    pub created_by: String,
    /// When it was added or last overwritten.
    #[schema(value_type = String)]
    pub updated: Timestamp,
    /// Of its content, lower-case hexadecimal.
    pub sha256: String,
    /// Whether a text about its parameters was given.
    pub has_parameters: bool,
    /// That text.
    pub parameters_description: Option<String>,
    /// Whether a detached signature was given.
    pub signed: bool,
}
