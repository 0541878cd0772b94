//! `getfile` with a pattern: a job for each file that it matches, shown in order as one answer, under one bar.

use std::sync::{Arc, Mutex, PoisonError};

use super::client::fetch::{Destination, Matched};
use super::feed::{Fed, Feed};
use super::jobs::{End, GROUP, Group, Job, Seen};
use super::view::{RenderSpec, Rendering, Screen, Target};
use super::{Shell, jobs};
use crate::error::{Exit, Failure, Outcome};
use crate::grammar::Invocation;
use crate::protocol::{Body, Status};

/// So many jobs are named when a line goes to the background.
const NAMED: usize = 8;

/// What a pattern comes to, beside the job that says what it matches.
pub(super) struct Pattern {
    /// Where the files are told that it matches.
    pub(super) matches: Arc<Mutex<Vec<Matched>>>,
    /// Where the answer goes, if not to the screen.
    pub(super) redirect: Option<Rendering>,
}

/// The one answer of several jobs.
struct Answer {
    rendering: Rendering,
    status: Status,
}

impl Answer {
    /// Adds what became of a job.
    fn add(&mut self, job: &Job, exit: Exit) -> Outcome<()> {
        if !exit.is_done() {
            self.status = Status::Failed;
        }
        match job.result() {
            Some(Body::Object { value }) => {
                let row = Body::Rows { rows: vec![value] };
                self.rendering.event(&row).map(|_| ()).map_err(|error| jobs::written(&error))
            }
            _ => Ok(()),
        }
    }

    fn end(self, screen: &Screen) -> Outcome<()> {
        let summary = self.rendering.end(self.status).map_err(|error| jobs::written(&error))?;
        for note in summary.notes {
            screen.message(&note);
        }
        Ok(())
    }
}

impl Shell {
    /// Waits for what the pattern matches, and fetches that.
    pub(super) async fn fetch_matching(
        &mut self,
        invocation: &Invocation,
        job: &Arc<Job>,
        text: &str,
        pattern: Pattern,
    ) -> Outcome<Exit> {
        let (zone, screen) = (self.zone(), self.screen.clone());
        let spec = RenderSpec::of(invocation, zone).map_err(|problem| Failure { exit: Exit::NotUnderstood, problem })?;
        let to_file = pattern.redirect.is_some();
        let rendering = match pattern.redirect {
            Some(rendering) => rendering,
            None => self.begin(spec, Target::Screen)?,
        };
        let mut answer = Answer { rendering, status: Status::Completed };
        let seen = self.see(job).await?;
        let exit = match &seen {
            Seen::Ended(end) => end.exit(),
            Seen::Left => {
                job.set_kept(to_file);
                return Ok(Exit::Done);
            }
            Seen::Asked(asked) => self.asked(*asked),
        };
        let matched = std::mem::take(&mut *pattern.matches.lock().unwrap_or_else(PoisonError::into_inner));
        if matched.is_empty() || !exit.is_done() {
            // It matched one file, which the device served at once; or it failed.
            answer.add(job, exit)?;
            answer.end(&screen)?;
            return Ok(exit);
        }
        if matched.len() > 1 {
            Destination::of(invocation, None)?.takes_several()?;
        }
        // What the device could not look at may have been a file, too; what is none is left out by right.
        let missed = matches!(&seen, Seen::Ended(End::Completed(completed, _))
            if completed.errors.iter().any(|error| error.code != "not_a_file"));
        let exit = if missed { Exit::Failed } else { Exit::Done };
        // Whatever becomes of one in the background without a file is shown when somebody looks at it.
        let outbox = self.outbox(!invocation.background || to_file).await?;
        let bytes = matched.iter().map(|file| file.size).sum();
        let group = Arc::new(Group::new(text.to_owned(), matched.len(), bytes));
        let feed = Feed::begin(invocation.clone(), matched, outbox, group.clone(), &self.jobs);
        if invocation.background {
            let (left, unsent) = self.name_new(feed).await;
            self.leave_each(left, to_file.then_some(answer));
            return Ok(exit.or(unsent));
        }
        self.sight.group = Some(group);
        let looked = self.look_at_each(feed, answer, to_file).await;
        self.sight.group = None;
        self.screen.progress_end(GROUP);
        looked.map(|each| exit.or(each))
    }

    async fn look_at_each(&mut self, mut feed: Feed, mut answer: Answer, to_file: bool) -> Outcome<Exit> {
        let mut exit = Exit::Done;
        while let Some(fed) = feed.next().await {
            let job = match fed {
                Fed::Job(job) => job,
                unsent => {
                    exit = exit.or(self.say_unsent(&unsent));
                    answer.status = Status::Failed;
                    continue;
                }
            };
            let end = match self.see(&job).await? {
                Seen::Ended(end) => end,
                Seen::Left => {
                    if job.facts().cancelled {
                        cancel_each(&mut feed);
                    }
                    self.screen.progress_end(GROUP);
                    return self.to_background(job, feed, answer, to_file);
                }
                Seen::Asked(asked) => {
                    exit = self.asked(asked);
                    answer.status = Status::Cancelled;
                    break;
                }
            };
            answer.add(&job, end.exit())?;
            exit = exit.or(end.exit());
            if end.exit() == Exit::Cancelled {
                let (cancelled, unsent) = cancel_each(&mut feed);
                cancelled.iter().for_each(|job| self.jobs.remove(job));
                if cancelled.len() + unsent > 0 {
                    self.screen.message(&format!("the {} files behind it are cancelled too", cancelled.len() + unsent));
                }
                break;
            }
        }
        answer.end(&self.screen)?;
        Ok(exit)
    }

    /// Says why there is no job for a file. What it means for the exit code.
    fn say_unsent(&self, fed: &Fed) -> Exit {
        let (failure, behind) = match fed {
            Fed::Job(_) => return Exit::Done,
            Fed::Lost(failure) => (failure, 0),
            Fed::GivenUp(failure, behind) => (failure, *behind),
        };
        self.screen.error(&failure.problem);
        if behind > 0 {
            self.screen.message(&format!("the {behind} files behind it were not sent for"));
        }
        failure.exit
    }

    /// Tells the numbers of jobs that begin in the background: of the first few.
    async fn name_new(&self, mut feed: Feed) -> (Left, Exit) {
        let (mut jobs, mut exit) = (Vec::new(), Exit::Done);
        while jobs.len() < NAMED
            && let Some(fed) = feed.next().await
        {
            match fed {
                Fed::Job(job) => {
                    if job.numbered().await.number.is_some() {
                        self.screen.message(&jobs::line_of(&job, "Just created"));
                    }
                    jobs.push(job);
                }
                unsent => exit = exit.or(self.say_unsent(&unsent)),
            }
        }
        self.say_more(feed.left());
        (Left { jobs, feed }, exit)
    }

    fn say_more(&self, count: usize) {
        if count > 0 {
            self.screen.message(&format!("and {count} more: jobs tells of them"));
        }
    }

    /// The rest of a line goes to the background.
    fn to_background(&self, looked_at: Arc<Job>, mut feed: Feed, answer: Answer, to_file: bool) -> Outcome<Exit> {
        let mut jobs = vec![looked_at];
        while jobs.len() <= NAMED
            && let Some(fed) = feed.ready()
        {
            match fed {
                Fed::Job(job) => {
                    self.screen.message(&jobs::line_of(&job, &jobs::state_of(&job)));
                    jobs.push(job);
                }
                unsent => _ = self.say_unsent(&unsent),
            }
        }
        self.say_more(feed.left());
        let left = Left { jobs, feed };
        if to_file {
            self.leave_each(left, Some(answer));
        } else {
            self.leave_each(left, None);
            answer.end(&self.screen)?;
        }
        Ok(Exit::Done)
    }

    /// Lets jobs go on by themselves; what goes into a file is written once the last has ended.
    fn leave_each(&self, left: Left, answer: Option<Answer>) {
        let Left { jobs, mut feed } = left;
        let (screen, to_file, all) = (self.screen.clone(), answer.is_some(), self.jobs.clone());
        let leave = move |job: &Job, screen: &Screen| {
            job.set_kept(to_file);
            job.set_background(true);
            if job.has_ended() && job.claim() {
                all.announce(screen, job);
            }
        };
        jobs.iter().for_each(|job| leave(job, &screen));
        let leaving = tokio::spawn(async move {
            let (mut jobs, mut exit) = (jobs, Exit::Done);
            while let Some(fed) = feed.next().await {
                match fed {
                    Fed::Job(job) => {
                        leave(&job, &screen);
                        if to_file {
                            jobs.push(job);
                        }
                    }
                    Fed::Lost(failure) => {
                        exit = exit.or(failure.exit);
                        screen.announce(&failure.problem.to_string());
                    }
                    Fed::GivenUp(failure, behind) => {
                        exit = exit.or(failure.exit);
                        screen.announce(&format!("{}; the {behind} files behind it were not sent for", failure.problem));
                    }
                }
            }
            if let Some(mut answer) = answer {
                if !exit.is_done() {
                    answer.status = Status::Failed;
                }
                if let Err(failure) = written_of(answer, jobs, &screen).await {
                    exit = exit.or(failure.exit);
                    screen.announce(&failure.problem.message);
                }
            }
            exit
        });
        self.jobs.add_answer(leaving);
    }

    /// Looks at a job whose result is shown elsewhere.
    async fn see(&mut self, job: &Arc<Job>) -> Outcome<Seen> {
        let screen = self.screen.clone();
        let begin = || Rendering::begin(&screen, RenderSpec::text(), Target::Screen).map_err(|error| jobs::written(&error));
        let seen = self.sight.look(job, begin).await;
        if matches!(seen, Ok(Seen::Ended(_)) | Err(_)) {
            self.jobs.remove(job);
        }
        seen
    }
}

/// What of a line goes on in the background: jobs that were sent, and those that still are to be.
struct Left {
    jobs: Vec<Arc<Job>>,
    feed: Feed,
}

/// Writes the answer of jobs, in their order, as they end.
async fn written_of(mut answer: Answer, jobs: Vec<Arc<Job>>, screen: &Screen) -> Outcome<()> {
    for job in jobs {
        let end = job.ended().await.end;
        answer.add(&job, end.as_ref().map_or(Exit::Internal, End::exit))?;
    }
    answer.end(screen)
}

/// Cancels the jobs of a line that were sent, and sends no more. The former, and how many the latter are.
fn cancel_each(feed: &mut Feed) -> (Vec<Arc<Job>>, usize) {
    let unsent = feed.stop();
    let sent: Vec<Arc<Job>> =
        std::iter::from_fn(|| feed.ready()).filter_map(|fed| if let Fed::Job(job) = fed { Some(job) } else { None }).collect();
    for job in &sent {
        let job = job.clone();
        tokio::spawn(async move { job.cancel().await });
    }
    (sent, unsent)
}
