//! Jobs that one line began: the files of a pattern, under one bar.

use std::sync::Arc;

use super::{End, Job};
use crate::protocol::{Progress, ProgressUnit};

/// The jobs of a line, each with the bytes that it fetches.
pub struct Group {
    /// What was typed.
    pub line: String,
    jobs: Vec<(Arc<Job>, u64)>,
}

impl Group {
    /// A group without jobs.
    #[must_use]
    pub fn new(line: String) -> Self {
        Self { line, jobs: Vec::new() }
    }

    /// Takes a job in.
    pub fn add(&mut self, job: Arc<Job>, bytes: u64) {
        self.jobs.push((job, bytes));
    }

    /// Its jobs, in order.
    pub fn jobs(&self) -> impl Iterator<Item = &Arc<Job>> {
        self.jobs.iter().map(|(job, _)| job)
    }

    /// How far all of them are.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let (mut done, mut total, mut ended) = (0, 0, 0);
        for (job, bytes) in &self.jobs {
            let facts = job.facts();
            total += bytes;
            match facts.end {
                Some(End::Completed(..)) => done += bytes,
                _ => done += facts.progress.map_or(0, |progress| progress.done).min(*bytes),
            }
            ended += u64::from(facts.end.is_some());
        }
        let text = format!("{ended} of {} files", self.jobs.len());
        Progress { done, total: Some(total), unit: ProgressUnit::Bytes, text }
    }
}
