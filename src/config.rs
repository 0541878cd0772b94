//! `config.toml`: what an analyst may set for every shell of a home. What is not set is as documented here.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Exit, Failure, Outcome};

/// The shell's settings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The clock that tables show times by. JSON and CSV are always UTC.
    pub time: Clock,
    /// The program that shows long answers page by page, with its arguments (`less -FRX`); none: no pager.
    pub pager: Option<String>,
    /// Where `getfile` puts files without `-to`; the current folder when absent.
    pub download_folder: Option<PathBuf>,
    /// How the line editor takes keys.
    pub edit_mode: EditMode,
    /// Keys of the line editor: a chord (`ctrl+t`, `alt+f`) and what it does.
    pub keys: BTreeMap<String, String>,
}

/// The clock that tables show times by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Clock {
    /// Coordinated universal time, with `Z`.
    #[default]
    Utc,
    /// The device's own.
    Device,
    /// The analyst's own.
    Local,
}

/// How the line editor takes keys.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EditMode {
    /// As readline by default.
    #[default]
    Emacs,
    /// Modal.
    Vi,
}

impl Config {
    /// Reads the file; without one, everything is as by default.
    ///
    /// # Errors
    /// When the file cannot be read, or says something that is no setting.
    pub fn load(file: &Path) -> Outcome<Self> {
        let text = match std::fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(Failure::here("config", format!("{} cannot be read: {error}", file.display()))),
        };
        toml::from_str(&text).map_err(|error| {
            let message = format!("{} is not understood: {}", file.display(), error.to_string().trim_end());
            Failure::new(Exit::NotUnderstood, "config", message)
        })
    }

    /// The settings as a `config.toml` would say them.
    ///
    /// # Errors
    /// When a folder's name is not UTF-8.
    pub fn to_toml(&self) -> Outcome<String> {
        toml::to_string(self).map_err(|error| Failure::internal(format!("the settings cannot be written: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Outcome<Config> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.toml");
        std::fs::write(&file, text).unwrap();
        Config::load(&file)
    }

    #[test]
    fn what_is_not_set_is_as_by_default() {
        assert_eq!(Config::load(Path::new("/no/such/config.toml")).unwrap(), Config::default());
        let config = load("time = \"local\"\n[keys]\n\"ctrl+t\" = \"jobs\"\n").unwrap();
        assert_eq!((config.time, config.pager), (Clock::Local, None));
        assert_eq!(config.keys.get("ctrl+t").map(String::as_str), Some("jobs"));
    }

    #[test]
    fn what_it_prints_it_reads_again() {
        let config = load("pager = \"less -FRX\"\nedit_mode = \"vi\"\n[keys]\n\"alt+j\" = \"jobs\"\n").unwrap();
        assert_eq!(load(&config.to_toml().unwrap()).unwrap(), config);
    }

    #[test]
    fn a_setting_that_does_not_exist_is_named() {
        let failure = load("colour = true\n").unwrap_err();
        assert_eq!(failure.exit, Exit::NotUnderstood);
        assert!(failure.problem.message.contains("colour"), "{failure}");
    }
}
