//! The jobs of a pattern, sent one after the other: a few more at a time than the device works at, however many there are
//! to be. One that cannot be sent takes none of the others with it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::client::fetch::Matched;
use super::jobs::{Group, Job, Jobs, Sending};
use super::run::Outbox;
use crate::error::{Exit, Failure, Outcome};
use crate::grammar::{Invocation, Reading, read};
use crate::protocol::text::file_uri;

/// So many jobs of a line are under way at once. The device works at four.
const AT_ONCE: usize = 32;
/// How often a service that cannot be reached is tried before the rest is given up.
const TRIES: u32 = 5;
/// How long is waited before it is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// What became of sending a job.
pub(super) enum Fed {
    /// It was sent.
    Job(Arc<Job>),
    /// It could not be sent. Those behind it are.
    Lost(Failure),
    /// It could not be sent, and neither are the so many behind it.
    GivenUp(Failure, usize),
}

/// The jobs of a pattern, as they are sent.
pub(super) struct Feed {
    jobs: mpsc::UnboundedReceiver<Fed>,
    sending: Sending,
}

impl Feed {
    /// Begins to send a job for each file that a pattern matched.
    pub(super) fn begin(pattern: Invocation, files: Vec<Matched>, outbox: Outbox, group: Arc<Group>, jobs: &Jobs) -> Self {
        let (to, fed) = mpsc::unbounded_channel();
        let sending = Sending::of(files.len());
        let feeder = Feeder { pattern, outbox, group, jobs: jobs.clone(), to, sending: sending.clone() };
        jobs.add_sending(sending.clone(), tokio::spawn(feeder.run(files)));
        Self { jobs: fed, sending }
    }

    /// How many jobs nobody has taken yet, sent or not.
    pub(super) fn left(&self) -> usize {
        self.jobs.len() + self.sending.left()
    }

    /// The next job; `None` behind the last one. Dropping the future loses none.
    pub(super) async fn next(&mut self) -> Option<Fed> {
        self.jobs.recv().await
    }

    /// The next job, if it was sent already.
    pub(super) fn ready(&mut self) -> Option<Fed> {
        self.jobs.try_recv().ok()
    }

    /// Sends no more. How many that leaves out.
    pub(super) fn stop(&self) -> usize {
        self.sending.stop()
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        // Nobody would show what comes of more.
        self.sending.stop();
    }
}

struct Feeder {
    pattern: Invocation,
    outbox: Outbox,
    group: Arc<Group>,
    jobs: Jobs,
    to: mpsc::UnboundedSender<Fed>,
    sending: Sending,
}

impl Feeder {
    async fn run(self, files: Vec<Matched>) {
        let room = Arc::new(Semaphore::new(AT_ONCE));
        for file in files {
            let Some(place) = self.place(&room).await else { return };
            let sent = self.send(&file).await;
            let fed = match sent {
                Ok(job) if self.sending.is_stopped() => {
                    // It counts among those that were not sent.
                    let _ = job.cancel().await;
                    return;
                }
                Ok(job) => {
                    self.sending.one_less();
                    self.take_in(&job, file.size, place);
                    Fed::Job(job)
                }
                Err(failure) => {
                    self.group.lose();
                    let left = self.sending.one_less();
                    let problem = failure.problem.at(file.path);
                    let failure = Failure { problem, ..failure };
                    if is_for_all(&failure) { Fed::GivenUp(failure, left) } else { Fed::Lost(failure) }
                }
            };
            let is_over = matches!(fed, Fed::GivenUp(..));
            // Who takes them has said that it does not take more, where it does not.
            let _ = self.to.send(fed);
            if is_over {
                self.sending.stop();
                return;
            }
        }
    }

    /// Waits until there is room for one more job; `None` when no more are wanted.
    async fn place(&self, room: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
        tokio::select! {
            biased;
            () = self.sending.stopped() => None,
            place = Arc::clone(room).acquire_owned() => place.ok(),
        }
    }

    /// A job that was sent holds its place until its end.
    fn take_in(&self, job: &Arc<Job>, bytes: u64, place: OwnedSemaphorePermit) {
        // Nobody reads it until it is its turn.
        job.let_go();
        self.jobs.add(job);
        self.group.add(job.clone(), bytes);
        let job = job.clone();
        tokio::spawn(async move {
            job.ended().await;
            drop(place);
        });
    }

    async fn send(&self, file: &Matched) -> Outcome<Arc<Job>> {
        let text = line_for(&self.pattern, file);
        let Reading { invocation: Some(mut invocation), diagnostics } = read(&text, None) else {
            return Err(Failure::internal(format!("{text}: this is no line")));
        };
        if let Some(problem) = diagnostics.first() {
            return Err(Failure::internal(format!("{text}: {}", problem.message)));
        }
        invocation.output = self.pattern.output;
        // Where the answer goes, as a whole; it is not for this job to write it there.
        invocation.redirect.clone_from(&self.pattern.redirect);
        let invocation = Arc::new(invocation);
        let mut tries = 1;
        loop {
            match self.outbox.fetch(&invocation, &text).await {
                Err(failure) if failure.exit == Exit::Unreachable && tries < TRIES => {
                    tries += 1;
                    tokio::time::sleep(AGAIN).await;
                }
                sent => return sent,
            }
        }
    }
}

/// Whether what went wrong with one goes wrong with each.
fn is_for_all(failure: &Failure) -> bool {
    matches!(failure.exit, Exit::Unreachable | Exit::Internal) || matches!(failure.code(), "session_closed" | "role" | "policy")
}

/// The line that fetches one of the files that a pattern matched, with everything else as the analyst said it. What had to
/// be looked at first was looked at with the pattern.
fn line_for(invocation: &Invocation, matched: &Matched) -> String {
    let path = matched.path_uri.clone().unwrap_or_else(|| file_uri(matched.path.as_bytes()));
    let mut line = format!("{} {path}", invocation.row.name);
    for flag in invocation.flags.iter().filter(|flag| *flag != "auto") {
        line.push_str(&format!(" -{flag}"));
    }
    if let Some(to) = invocation.params.get("to") {
        line.push_str(&format!(" -to \"{}\"", to.replace('"', "\"\"")));
    }
    line
}
