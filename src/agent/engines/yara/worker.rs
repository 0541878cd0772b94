//! A thread on which the rules of the library look, so that it can be left behind when they do not end.

use std::fs::File;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use boreal::Scanner;

use super::super::{Trouble, answer_within};
use super::{Looked, Tally, look, patience};
use crate::agent::platform::{thread_cpu_since, thread_cpu_time};

/// How much longer it is waited for than the rules may take.
const GRACE: Duration = Duration::from_secs(10);

/// What rules look at.
pub(super) struct Job {
    /// Its first bytes.
    pub(super) start: Arc<Vec<u8>>,
    /// How many there are.
    pub(super) size: u64,
    /// The file, and how much of its data is read, where the start is not all.
    pub(super) rest: Option<(File, u64)>,
}

impl Job {
    /// How many bytes are looked at, at most.
    pub(super) fn bytes(&self) -> u64 {
        self.rest.as_ref().map_or(self.start.len() as u64, |(_, bound)| self.size.min(*bound))
    }

    /// The same once more.
    pub(super) fn again(&self) -> Result<Self, Trouble> {
        let rest = self.rest.as_ref().map(|(file, bound)| file.try_clone().map(|file| (file, *bound))).transpose();
        let rest = rest.map_err(|error| Trouble::Here(error.to_string()))?;
        Ok(Self { start: Arc::clone(&self.start), size: self.size, rest })
    }
}

/// What came of waiting.
pub(super) enum Came {
    /// What they found.
    Answer(Looked),
    /// Nothing: they miss their deadline, and the thread is left behind.
    Nothing,
}

/// The thread.
pub(super) struct Worker {
    jobs: SyncSender<Job>,
    answers: Receiver<Looked>,
}

impl Worker {
    pub(super) fn start(mut scanner: Scanner, tally: Tally) -> Result<Self, Trouble> {
        let (jobs, todo) = sync_channel::<Job>(1);
        let (done, answers) = sync_channel(1);
        let work = move || {
            while let Ok(job) = todo.recv() {
                let begun = thread_cpu_time();
                // The start is let go of before the answer: whoever hears it uses its room again.
                let looked = std::panic::catch_unwind(AssertUnwindSafe(|| look(&mut scanner, job, &tally, "yara", true)));
                let micros = thread_cpu_since(begun).as_micros();
                tally.meter.cpu_us.fetch_add(u64::try_from(micros).unwrap_or(u64::MAX), Ordering::Relaxed);
                let looked = looked.unwrap_or_else(|_| Err("boreal failed at it".to_owned()));
                if done.send(looked).is_err() {
                    break;
                }
            }
        };
        let started = std::thread::Builder::new().name("yara".into()).spawn(work);
        started.map_err(|error| Trouble::Gone(format!("no thread for the rules: {error}")))?;
        Ok(Self { jobs, answers })
    }

    /// Has them look, and waits for them. Rules that miss their deadline keep the content they have.
    ///
    /// # Errors
    /// When the command was asked to stop.
    pub(super) fn look(&self, job: Job, tally: &Tally) -> Result<Came, Trouble> {
        let patience = patience(job.bytes()) + GRACE;
        self.jobs.send(job).map_err(|_| Trouble::Gone("its thread is gone".to_owned()))?;
        let answer = answer_within(&self.answers, patience, &tally.stop)?;
        Ok(answer.map_or(Came::Nothing, Came::Answer))
    }
}
