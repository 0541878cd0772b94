//! A key of the registry that was found: what is below it. Whatever of that cannot be read is noted with the registry's doubts.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::doubts::Doubts;
use super::hive::{Data, Hive, HiveError, Key, MAX_LIST, Value};
use crate::agent::path::{lossy, problem, shown};
use crate::agent::pattern::same_in_any_case;
use crate::protocol::Problem;

/// A key that was found.
#[derive(Clone)]
pub struct Found {
    /// As it is shown: whole, spelled as the hive spells it.
    pub path: String,
    /// The hive that holds it.
    pub hive: Rc<Hive>,
    /// The file of that.
    pub file: PathBuf,
    /// The key.
    pub key: Key,
    pub(super) doubts: Rc<Doubts>,
}

impl Found {
    /// A subkey of it.
    #[must_use]
    pub fn with(&self, key: Key) -> Self {
        let path = format!(r"{}\{}", self.path, key.name);
        Self { path, hive: Rc::clone(&self.hive), file: self.file.clone(), key, doubts: Rc::clone(&self.doubts) }
    }

    /// What to say of a part of it that cannot be read.
    #[must_use]
    pub fn broken(&self, error: &HiveError) -> Problem {
        let mut problem = broken(&self.file, error);
        problem.message = format!("{}: {}: {error}", shown(&self.file), self.path);
        problem
    }

    /// Notes what must be known of it.
    pub fn doubt(&self, problem: Problem) {
        self.doubts.note(&self.path, problem);
    }

    /// Of a list the parts that can be read; how many cannot is noted, and the first of them.
    fn readable<T>(&self, list: Vec<Result<T, HiveError>>, claimed: u32, what: &str) -> Vec<T> {
        self.compare(list.len(), claimed, what);
        let mut damaged: Vec<HiveError> = Vec::new();
        let readable: Vec<T> = list.into_iter().filter_map(|part| part.map_err(|error| damaged.push(error)).ok()).collect();
        if let Some(first) = damaged.first() {
            let mut problem = self.broken(first);
            if damaged.len() > 1 {
                problem.message.push_str(&format!("; and {} more of its {what}", damaged.len() - 1));
            }
            self.doubt(problem);
        }
        readable
    }

    /// Notes where it says that it has more than were found.
    pub fn compare(&self, found: usize, claimed: u32, what: &str) {
        if usize::try_from(claimed).is_ok_and(|claimed| claimed <= found) {
            return;
        }
        let why = if found >= MAX_LIST {
            format!("only the first {MAX_LIST} of its {claimed} {what} are looked at")
        } else {
            format!("it says that it has {claimed} {what}, and {found} are in its list")
        };
        self.doubt(Problem::new("damaged", format!("{}: {}: {why}", shown(&self.file), self.path)).at(lossy(&self.file)));
    }

    /// Its subkeys that can be read.
    ///
    /// # Errors
    /// When the list of them cannot be.
    pub fn keys(&self) -> Result<Vec<Key>, Problem> {
        let list = self.hive.subkeys(&self.key).map_err(|error| self.broken(&error))?;
        Ok(self.readable(list, self.key.counts().0, "subkeys"))
    }

    /// The subkey of that name, in any case; `None` where there is none.
    ///
    /// # Errors
    /// When it cannot be read, or might be one of those that cannot.
    pub fn child(&self, name: &str) -> Result<Option<Self>, Problem> {
        let mut damaged = None;
        for key in self.hive.subkeys(&self.key).map_err(|error| self.broken(&error))? {
            match key {
                Ok(key) if same_in_any_case(key.name.as_bytes(), name.as_bytes()) => return Ok(Some(self.with(key))),
                Ok(_) => {}
                Err(error) => damaged = damaged.or(Some(error)),
            }
        }
        damaged.map_or(Ok(None), |error| {
            let mut problem = self.broken(&error);
            problem.message.push_str(&format!("; of the keys that can be read none is called {name}, and this may be it"));
            Err(problem)
        })
    }

    /// Its values that can be read.
    #[must_use]
    pub fn values(&self) -> Vec<Value> {
        match self.hive.values(&self.key) {
            Ok(list) => self.readable(list, self.key.counts().1, "values"),
            Err(error) => {
                self.doubt(self.broken(&error));
                Vec::new()
            }
        }
    }

    /// What the value of that name holds.
    #[must_use]
    pub fn data(&self, name: &str) -> Option<Data> {
        let value = self.values().into_iter().find(|value| same_in_any_case(value.name.as_bytes(), name.as_bytes()))?;
        match self.hive.told(&value) {
            Ok((data, hidden)) => {
                if let Some(hidden) = hidden {
                    let message = format!(r"{}\\{}: {hidden}", self.path, value.name);
                    self.doubt(Problem::new("hidden_bytes", message).at(lossy(&self.file)));
                }
                Some(data)
            }
            Err(error) => {
                self.doubt(self.broken(&error));
                None
            }
        }
    }

    /// The text of that name, where it is one and says something.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<String> {
        self.data(name)?.text().filter(|text| !text.trim().is_empty()).map(ToOwned::to_owned)
    }

    /// The texts of that name that say something.
    #[must_use]
    pub fn texts(&self, name: &str) -> Vec<String> {
        let data = self.data(name);
        data.iter().flat_map(Data::texts).filter(|text| !text.is_empty()).cloned().collect()
    }

    /// The number of that name.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<u64> {
        self.data(name)?.number()
    }
}

/// What to say of a hive that cannot be read.
#[must_use]
pub fn broken(file: &Path, error: &HiveError) -> Problem {
    match error {
        HiveError::Unreadable(error) => problem(file, error),
        HiveError::NoHive => Problem::new("not_a_hive", format!("{}: {error}", shown(file))).at(lossy(file)),
        HiveError::Damaged { .. } => Problem::new("damaged", format!("{}: {error}", shown(file))).at(lossy(file)),
    }
}
