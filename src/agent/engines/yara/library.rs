//! The rules of the library while they are in use. A file of rules that takes too long is found out and goes; the others stay.

use std::sync::{Arc, Mutex, PoisonError};

use boreal::Scanner;

use super::super::Trouble;
use super::compile::compile;
use super::worker::{Came, Job, Worker};
use super::{Tally, patience};
use crate::agent::context::Stop;

/// A file of rules: its name in the library, and its text.
pub type RuleFile = (String, Vec<u8>);

/// What all judges of a command share of the library's rules.
pub struct Library {
    set: Mutex<Arc<Set>>,
    /// Held by whoever looks for the file that takes too long.
    search: Mutex<()>,
}

/// The rules that are looked with.
#[derive(Default)]
pub struct Set {
    /// How many files were given up before it was made.
    pub(super) round: usize,
    /// Those rules; `None` where all were given up.
    pub(super) scanner: Option<Scanner>,
    files: Vec<RuleFile>,
    /// The files that were given up, each with why.
    given_up: Vec<(String, String)>,
}

impl Set {
    /// What is said where nothing is left to look with.
    pub(super) fn lost(&self) -> String {
        self.given_up.iter().map(|(_, why)| why.as_str()).collect::<Vec<_>>().join("; ")
    }

    /// What is said of a look at which files were given up, since `round` of them were.
    pub(super) fn lost_since(&self, round: usize) -> impl Iterator<Item = &str> {
        self.given_up.iter().skip(round).map(|(_, why)| why.as_str())
    }
}

impl Library {
    pub(super) fn new(scanner: Scanner, files: Vec<RuleFile>) -> Self {
        let set = Set { scanner: Some(scanner), files, ..Set::default() };
        Self { set: Mutex::new(Arc::new(set)), search: Mutex::default() }
    }

    /// The files that were given up, and why.
    #[must_use]
    pub fn given_up(&self) -> Vec<(String, String)> {
        self.set().given_up.clone()
    }

    pub(super) fn set(&self) -> Arc<Set> {
        Arc::clone(&self.set.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Looks for the files whose rules took too long at this, one by one, and goes on without them. `false` where no file does so
    /// alone.
    ///
    /// # Errors
    /// When the command was asked to stop, or the others are no rules any more.
    pub(super) fn search(&self, slow: &Arc<Set>, job: &Job, tally: &Tally) -> Result<bool, Trouble> {
        let _searching = self.search.lock().unwrap_or_else(PoisonError::into_inner);
        if self.set().round != slow.round {
            // Another judge has found it meanwhile.
            return Ok(true);
        }
        let (mut left, mut given_up) = (Vec::new(), slow.given_up.clone());
        let (bytes, seconds) = (job.bytes(), patience(job.bytes()).as_secs());
        for file in &slow.files {
            if slow.files.len() > 1 && !is_slow(file, job, tally)? {
                left.push(file.clone());
                continue;
            }
            let name = &file.0;
            let why = format!(
                "{name}: its rules took more than {seconds} s for {bytes} bytes and were given up; `library delete {name}` takes \
                 them away"
            );
            given_up.push((name.clone(), why));
        }
        if given_up.len() == slow.round {
            return Ok(false);
        }
        let scanner = if left.is_empty() { None } else { recompiled(left.clone(), &tally.stop)? };
        let set = Set { round: given_up.len(), scanner, files: left, given_up };
        *self.set.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(set);
        Ok(true)
    }
}

fn recompiled(files: Vec<RuleFile>, stop: &Stop) -> Result<Option<Scanner>, Trouble> {
    Ok(compile(files, stop)?.0.and_then(|library| library.set().scanner.clone()))
}

/// Whether the rules of one file alone take too long.
fn is_slow(file: &RuleFile, job: &Job, tally: &Tally) -> Result<bool, Trouble> {
    let Some(scanner) = recompiled(vec![file.clone()], &tally.stop)? else { return Ok(false) };
    let worker = Worker::start(scanner, tally.clone())?;
    Ok(match worker.look(job.again()?, tally)? {
        Came::Nothing => true,
        Came::Answer(looked) => looked.is_ok_and(|seen| seen.slow),
    })
}
