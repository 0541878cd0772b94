//! `getfile` with a pattern: a job for each file that it matches, shown in order as one answer, under one bar.

use std::sync::{Arc, Mutex, PoisonError};

use super::client::fetch::Matched;
use super::jobs::{End, GROUP, Group, Job, Seen};
use super::run::Posted;
use super::view::{RenderSpec, Rendering, Screen, Target};
use super::{Shell, jobs};
use crate::error::{Exit, Failure, Outcome};
use crate::grammar::{Invocation, Reading, read};
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
        let group = self.post_each(invocation, text, &matched).await?;
        let jobs: Vec<Arc<Job>> = group.jobs().cloned().collect();
        if invocation.background {
            for job in &jobs {
                let facts = job.numbered().await;
                if facts.number.is_some() {
                    self.screen.message(&jobs::line_of(job, "Just created"));
                }
            }
            self.leave_each(&jobs, to_file.then_some(answer));
            return Ok(Exit::Done);
        }
        self.sight.group = Some(Arc::new(group));
        let exit = self.look_at_each(&jobs, answer, to_file).await;
        self.sight.group = None;
        self.screen.progress_end(GROUP);
        exit
    }

    /// A job for each file.
    async fn post_each(&mut self, pattern: &Invocation, text: &str, matched: &[Matched]) -> Outcome<Group> {
        let mut group = Group::new(text.to_owned());
        for file in matched {
            let text = line_for(pattern, file);
            let Reading { invocation: Some(mut invocation), diagnostics } = read(&text, None) else { continue };
            if let Some(problem) = diagnostics.first() {
                return Err(Failure::internal(format!("{text}: {}", problem.message)));
            }
            invocation.output = pattern.output;
            let Posted { job, .. } = Box::pin(self.post(&Arc::new(invocation), &text, true)).await?;
            // Nobody reads it until it is its turn.
            job.let_go();
            self.jobs.add(&job);
            group.add(job, file.size);
        }
        Ok(group)
    }

    async fn look_at_each(&mut self, jobs: &[Arc<Job>], mut answer: Answer, to_file: bool) -> Outcome<Exit> {
        let mut exit = Exit::Done;
        let mut left = jobs;
        while let Some((job, behind)) = left.split_first() {
            let end = match self.see(job).await? {
                Seen::Ended(end) => end,
                Seen::Left => {
                    if job.facts().cancelled {
                        cancel_each(behind);
                    }
                    self.screen.progress_end(GROUP);
                    return self.to_background(left, answer, to_file);
                }
                Seen::Asked(asked) => {
                    exit = self.asked(asked);
                    answer.status = Status::Cancelled;
                    break;
                }
            };
            answer.add(job, end.exit())?;
            exit = exit.or(end.exit());
            left = behind;
            if end.exit() == Exit::Cancelled && !left.is_empty() {
                cancel_each(left);
                left.iter().for_each(|job| self.jobs.remove(job));
                self.screen.message(&format!("the {} files behind it are cancelled too", left.len()));
                break;
            }
        }
        answer.end(&self.screen)?;
        Ok(exit)
    }

    /// The rest of a line goes to the background.
    fn to_background(&self, jobs: &[Arc<Job>], answer: Answer, to_file: bool) -> Outcome<Exit> {
        let behind = jobs.get(1..).unwrap_or_default();
        for job in behind.iter().take(NAMED) {
            self.screen.message(&jobs::line_of(job, &jobs::state_of(job)));
        }
        if behind.len() > NAMED {
            self.screen.message(&format!("and {} more: jobs tells of them", behind.len() - NAMED));
        }
        if to_file {
            self.leave_each(jobs, Some(answer));
        } else {
            self.leave_each(jobs, None);
            answer.end(&self.screen)?;
        }
        Ok(Exit::Done)
    }

    /// Lets jobs go on by themselves; what goes into a file is written once the last has ended.
    fn leave_each(&self, jobs: &[Arc<Job>], answer: Option<Answer>) {
        for job in jobs {
            job.set_kept(answer.is_some());
            job.set_background(true);
            if job.has_ended() && job.claim() {
                self.screen.announce(&jobs::line_of(job, &jobs::state_of(job)));
            }
        }
        if let Some(mut answer) = answer {
            let (jobs, screen) = (jobs.to_vec(), self.screen.clone());
            let writing = tokio::spawn(async move {
                for job in jobs {
                    let end = job.ended().await.end;
                    if let Err(failure) = answer.add(&job, end.as_ref().map_or(Exit::Internal, End::exit)) {
                        screen.announce(&failure.problem.message);
                        return;
                    }
                }
                if let Err(failure) = answer.end(&screen) {
                    screen.announce(&failure.problem.message);
                }
            });
            self.jobs.add_answer(writing);
        }
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

fn cancel_each(jobs: &[Arc<Job>]) {
    for job in jobs {
        let job = job.clone();
        tokio::spawn(async move { job.cancel().await });
    }
}

/// The line that fetches one of the files that a pattern matched, with everything else as the analyst said it. What had to
/// be looked at first was looked at with the pattern.
fn line_for(invocation: &Invocation, matched: &Matched) -> String {
    let path = matched.path_uri.clone().unwrap_or_else(|| crate::protocol::text::file_uri(matched.path.as_bytes()));
    let mut line = format!("{} {path}", invocation.row.name);
    for flag in invocation.flags.iter().filter(|flag| *flag != "auto") {
        line.push_str(&format!(" -{flag}"));
    }
    if let Some(to) = invocation.params.get("to") {
        line.push_str(&format!(" -to \"{}\"", to.replace('"', "\"\"")));
    }
    line
}
