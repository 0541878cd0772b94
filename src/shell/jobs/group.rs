//! Jobs that one line began: the files of a pattern, under one bar.

use std::sync::{Arc, Mutex, PoisonError};

use super::{End, Job};
use crate::protocol::{Progress, ProgressUnit};

/// The jobs of a line, each with the bytes that it fetches; those that are still to be sent count too.
pub struct Group {
    /// What was typed.
    pub line: String,
    files: usize,
    bytes: u64,
    under_way: Mutex<UnderWay>,
}

#[derive(Default)]
struct UnderWay {
    /// Jobs that had not ended when they were last looked at.
    jobs: Vec<(Arc<Job>, u64)>,
    files_ended: usize,
    bytes_ended: u64,
}

impl Group {
    /// A group of so many files with so many bytes, without jobs.
    #[must_use]
    pub fn new(line: String, files: usize, bytes: u64) -> Self {
        Self { line, files, bytes, under_way: Mutex::default() }
    }

    /// Takes a job in.
    pub fn add(&self, job: Arc<Job>, bytes: u64) {
        self.under_way().jobs.push((job, bytes));
    }

    /// A file for which there is no job: it could not be sent for.
    pub fn lose(&self) {
        self.under_way().files_ended += 1;
    }

    /// How far all of them are.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let mut under_way = self.under_way();
        let UnderWay { jobs, files_ended, bytes_ended } = &mut *under_way;
        let mut so_far = 0;
        jobs.retain(|(job, bytes)| {
            let facts = job.facts();
            let told = facts.progress.map_or(0, |progress| progress.done).min(*bytes);
            match facts.end {
                None => so_far += told,
                Some(End::Completed(..)) => *bytes_ended += bytes,
                Some(End::Lost(_)) => *bytes_ended += told,
            }
            *files_ended += usize::from(facts.end.is_some());
            facts.end.is_none()
        });
        let text = format!("{files_ended} of {} files", self.files);
        Progress { done: *bytes_ended + so_far, total: Some(self.bytes), unit: ProgressUnit::Bytes, text }
    }

    fn under_way(&self) -> std::sync::MutexGuard<'_, UnderWay> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
