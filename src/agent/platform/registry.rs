//! What a device tells of its registry.

use std::path::PathBuf;

use super::Time;

/// A value of a key; or one of the key's subkeys, which has neither name nor value.
#[derive(Debug, Clone, Default)]
pub struct RegistryItem {
    /// The key; of a subkey its own path.
    pub path: String,
    /// What the value is called; empty for the default value.
    pub name: Option<String>,
    /// Its type, as Windows calls it; `key` for a subkey.
    pub kind: Option<String>,
    /// What it holds: text, a list of texts, a number, or bytes in hexadecimal.
    pub value: serde_json::Value,
    /// When the key was last changed.
    pub modified: Option<Time>,
    /// The file that holds it.
    pub hive: Option<PathBuf>,
    /// Why it, or not all of it, is told.
    pub error: Option<String>,
}
