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

/// Each setting but the keys: its name, what it would say where it is not set, and what it is for.
const SETTINGS: [(&str, &str, &str); 4] = [
    ("time", "\"utc\"", "The clock that tables show times by: utc, local or device; JSON and CSV are always UTC"),
    ("pager", "\"less -FRX\"", "Shows long answers page by page; none where it is not set"),
    ("download_folder", "\"/cases/today\"", "Where getfile puts files without -to; the current folder where it is not set"),
    ("edit_mode", "\"emacs\"", "How the line editor takes keys: emacs or vi"),
];

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

    /// The settings as a `config.toml` would say them: every one there is with what it is for, those that are not set as
    /// comments.
    ///
    /// # Errors
    /// When a folder's name is not UTF-8.
    pub fn to_toml(&self) -> Outcome<String> {
        let failed = |error| Failure::internal(format!("the settings cannot be written: {error}"));
        let set = toml::Table::try_from(self).map_err(failed)?;
        let mut text = String::new();
        for (name, unset, about) in SETTINGS {
            let line = set.get(name).map_or_else(|| format!("# {name} = {unset}"), |value| format!("{name} = {value}"));
            text.push_str(&format!("# {about}.\n{line}\n\n"));
        }
        text.push_str(
            "# Keys of the line editor: a chord, and the line to run or the action it is for; the README lists the actions.\n",
        );
        text.push_str("[keys]\n");
        if self.keys.is_empty() {
            text.push_str("# \"ctrl+t\" = \"jobs\"\n# \"f2\" = \"search-history\"\n");
        }
        text.push_str(&toml::to_string(&self.keys).map_err(failed)?);
        Ok(text)
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
        assert_eq!(load(&Config::default().to_toml().unwrap()).unwrap(), Config::default());
    }

    #[test]
    fn every_setting_is_printed_set_or_not() {
        let all = Config {
            pager: Some("less \"-F\"".to_owned()),
            download_folder: Some("/cases".into()),
            keys: BTreeMap::from([("f2".to_owned(), "search-history".to_owned())]),
            ..Config::default()
        };
        let names: Vec<String> = toml::Table::try_from(&all).unwrap().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), SETTINGS.len() + 1, "{names:?}");
        assert_eq!(load(&all.to_toml().unwrap()).unwrap(), all);
        // With the comments taken away it is a configuration too.
        let examples = Config::default()
            .to_toml()
            .unwrap()
            .lines()
            .filter_map(|line| {
                let set = line.strip_prefix("# ").unwrap_or(line);
                (set.contains(" = ") || set == "[keys]").then(|| format!("{set}\n"))
            })
            .collect::<String>();
        let examples = load(&examples).unwrap();
        assert!(examples.pager.is_some() && examples.download_folder.is_some() && examples.keys.len() == 2, "{examples:?}");
    }

    #[test]
    fn a_setting_that_does_not_exist_is_named() {
        let failure = load("colour = true\n").unwrap_err();
        assert_eq!(failure.exit, Exit::NotUnderstood);
        assert!(failure.problem.message.contains("colour"), "{failure}");
    }
}
