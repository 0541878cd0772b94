//! The library: files that can be put on a device or run there.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Problem;

/// A name is at most this long.
const MAX_NAME: usize = 255;

/// Whether a file of the library may be called so; shell, service and agent ask the same rule.
///
/// # Errors
/// The rule, as a message, when the name breaks it.
pub fn check_library_name(name: &str) -> Result<(), Problem> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    // `.` and `..` are made of allowed characters, and are folders.
    if (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(allowed) && !matches!(name, "." | "..") {
        return Ok(());
    }
    Err(Problem::new(
        "bad_name",
        format!(
            "A library file's name is 1 to {MAX_NAME} of the letters a-z and A-Z, digits, '-', '_' and '.', without a path, \
             and neither '.' nor '..'."
        ),
    ))
}

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
    #[schema(value_type = String, format = DateTime)]
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain_and_never_a_path() {
        let longest = "x".repeat(MAX_NAME);
        for name in ["a", "Clean-up_2.ps1", ".hidden", "...", longest.as_str()] {
            assert!(check_library_name(name).is_ok(), "{name}");
        }
        let long = "x".repeat(300);
        for name in
            ["", ".", "..", "../x", "x/y", "x\\y", "/x", "C:x", "a b", "a\n", "a\0", "naïve.sh", "\u{202e}x", long.as_str()]
        {
            let problem = check_library_name(name).unwrap_err();
            assert_eq!(problem.code, "bad_name", "{name}");
            assert!(problem.message.contains("letters"), "{name}");
        }
    }
}
