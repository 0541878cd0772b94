//! A job in the foreground: its output is shown as it comes, and the keys that send signals act on it.

use std::io;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::{End, Heard, Job};
use crate::error::{Exit, Failure, Outcome};
use crate::host::signals::{Asked, Signals};
use crate::host::terminal::Quiet;
use crate::protocol::{Body, Event, Receipt, Status};
use crate::shell::view::{Next, Rendering, Screen};

/// How long a receipt is waited for.
const RECEIPT: Duration = Duration::from_secs(5);

/// Where jobs are looked at.
pub struct Sight {
    /// What they are shown on.
    pub screen: Screen,
    /// A batch hears signals from its beginning to its end; a terminal's waits listen afresh, because what was typed
    /// before a command does not mean it.
    pub signals: Option<Signals>,
}

/// How the look at a job ended.
#[derive(Debug)]
pub enum Seen {
    /// With the job.
    Ended(End),
    /// It goes on in the background.
    Left,
    /// The shell is to end.
    Asked(Asked),
}

/// What makes a wait interactive, dropped at its end.
struct Wait<'a> {
    _quiet: Option<Quiet>,
    fresh: Option<Signals>,
    kept: Option<&'a mut Signals>,
}

impl<'a> Wait<'a> {
    fn begin(sight: &'a mut Sight) -> Outcome<Self> {
        if let Some(kept) = &mut sight.signals {
            return Ok(Self { _quiet: None, fresh: None, kept: Some(kept) });
        }
        let failed = |error: io::Error| Failure::internal(format!("the terminal cannot be listened to: {error}"));
        let fresh = Some(Signals::listen(true).map_err(failed)?);
        Ok(Self { _quiet: Quiet::enter().map_err(failed)?, fresh, kept: None })
    }

    async fn asked(&mut self) -> Asked {
        match (&mut self.kept, &mut self.fresh) {
            (Some(signals), _) => signals.next().await,
            (None, Some(signals)) => signals.next().await,
            (None, None) => std::future::pending().await,
        }
    }
}

impl Sight {
    /// Shows a job until it ends, or is left. `begin` makes the rendering of one that was not shown before; the second
    /// argument says whether another shell typed it, so that Ctrl+C asks first.
    ///
    /// # Errors
    /// When the answer cannot be written, or the service is gone for good.
    pub async fn look(&mut self, job: &Arc<Job>, begin: impl FnOnce() -> Outcome<Rendering>) -> Outcome<Seen> {
        let parked = job.parked.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (rendering, after) = match parked {
            Some(parked) => parked,
            None => (begin()?, 0),
        };
        job.set_background(false);
        let screen = self.screen.clone();
        let mut look = Look { job, screen, rendering, last: after, enough: false, warned: false, because: None, ended: None };
        let seen = look.until_it_ends(self, after).await;
        look.screen.progress_end(job.number());
        match seen {
            Ok(Seen::Ended(end)) => {
                look.end(&end)?;
                Ok(Seen::Ended(end))
            }
            Ok(Seen::Left) => {
                let parked = (look.rendering, look.last);
                *job.parked.lock().unwrap_or_else(PoisonError::into_inner) = Some(parked);
                Ok(Seen::Left)
            }
            Ok(asked) => {
                if let Some(end) = look.ended.take() {
                    look.end(&end)?;
                }
                Ok(asked)
            }
            Err(failure) => Err(failure),
        }
    }
}

struct Look<'a> {
    job: &'a Arc<Job>,
    screen: Screen,
    rendering: Rendering,
    last: u64,
    enough: bool,
    /// The analyst was told that the command is another shell's.
    warned: bool,
    /// The signal that ends a batch once its command has.
    because: Option<Asked>,
    /// How the command ended, when such a signal was heard before.
    ended: Option<End>,
}

impl Look<'_> {
    async fn until_it_ends(&mut self, sight: &mut Sight, after: u64) -> Outcome<Seen> {
        let batch = sight.signals.is_some();
        let mut wait = Wait::begin(sight)?;
        let mut heard = self.job.read(after).await;
        let mut patience: Option<Instant> = None;
        loop {
            tokio::select! {
                biased;
                asked = wait.asked() => match asked {
                    // At a terminal the task beside the loop ends the shell; here nothing is left to do.
                    Asked::Terminate | Asked::HangUp if !batch => {}
                    Asked::Interrupt if !batch && !self.job.is_own() && !self.warned => {
                        self.warned = true;
                        self.screen.message("another shell typed this: Ctrl+C again cancels it, Ctrl+Z leaves it");
                    }
                    Asked::Suspend => {
                        if self.leave() {
                            self.screen.message(&line_of(self.job, "Running"));
                            return Ok(Seen::Left);
                        }
                    }
                    asked if patience.is_none() => {
                        patience = Some(Instant::now() + RECEIPT);
                        self.because = batch.then_some(asked);
                        self.screen.progress_end(self.job.number());
                        self.job.cancel().await?;
                    }
                    asked => {
                        self.screen.message(&format!("[{0}] goes on being cancelled; see status {0}", self.job.number()));
                        if batch {
                            return Ok(Seen::Asked(asked));
                        }
                        if self.leave() {
                            return Ok(Seen::Left);
                        }
                    }
                },
                next = heard.recv() => match next {
                    Some(Heard::Event(event)) => self.show(&event).await?,
                    Some(Heard::Note(note)) => self.screen.message(&note),
                    Some(Heard::End(end)) => {
                        return Ok(match self.because {
                            Some(asked) => {
                                self.ended = Some(*end);
                                Seen::Asked(asked)
                            }
                            None => Seen::Ended(*end),
                        });
                    }
                    None => return Err(Failure::internal("the job was lost")),
                },
                () = sleep_until(patience.unwrap_or_else(Instant::now)), if patience.is_some() => {
                    self.screen.message(&format!(
                        "[{0}] the device has not confirmed within {1} s and may still finish this: status {0} tells",
                        self.job.number(),
                        RECEIPT.as_secs(),
                    ));
                    if let Some(asked) = self.because {
                        return Ok(Seen::Asked(asked));
                    }
                    if self.leave() {
                        return Ok(Seen::Left);
                    }
                    patience = None;
                }
            }
        }
    }

    /// Lets the job go to the background; not when it has ended in this very moment, because then nobody tells it.
    fn leave(&self) -> bool {
        self.job.set_background(true);
        !(self.job.has_ended() && self.job.claim())
    }

    async fn show(&mut self, event: &Event) -> Outcome<()> {
        match &event.body {
            Body::Progress(progress) => self.screen.progress(self.job.number(), &self.job.line, progress),
            Body::Queued { place } if self.screen.is_interactive() => {
                self.screen.aside(&format!("[{}] waits for the device, place {place}", self.job.number()));
            }
            Body::Receipt(receipt) => self.screen.message(&receipt_text(self.job.number(), receipt)),
            _ => {}
        }
        if self.enough && matches!(event.body, Body::Rows { .. }) {
            self.last = event.n;
            return Ok(());
        }
        let next = match self.rendering.event(&event.body) {
            Ok(next) => next,
            Err(error) => {
                // Nobody can see the rest: the device need not go on.
                let _ = self.job.cancel().await;
                return Err(written(&error));
            }
        };
        self.last = event.n;
        if matches!(next, Next::Enough) && !self.enough {
            self.enough = true;
            self.job.enough().await?;
        }
        Ok(())
    }

    /// Ends the rendering, and says what went wrong.
    fn end(self, end: &End) -> Outcome<()> {
        let status = match end {
            End::Completed(completed, _) => completed.status,
            End::Lost(_) => Status::Interrupted,
        };
        let summary = self.rendering.end(status).map_err(|error| written(&error))?;
        for note in summary.notes {
            self.screen.message(&note);
        }
        say_end(&self.screen, self.job, end);
        Ok(())
    }
}

/// What an output that cannot be written means.
pub(in crate::shell) fn written(error: &io::Error) -> Failure {
    if error.kind() == io::ErrorKind::BrokenPipe {
        Failure::broken_pipe()
    } else {
        Failure::here("output", format!("the answer cannot be written: {error}"))
    }
}

/// Says how a job ended, where that is not what everybody expects.
pub(in crate::shell) fn say_end(screen: &Screen, job: &Job, end: &End) {
    let (number, line) = (job.number(), &job.line);
    match end {
        End::Lost(failure) if failure.exit == Exit::BrokenPipe => {}
        End::Lost(failure) => screen.error(&failure.problem),
        End::Completed(completed, _) => {
            for problem in completed.errors.iter().take(20) {
                screen.error(problem);
            }
            if completed.errors.len() > 20 {
                screen.message(&format!("and {} more errors: status {number} -output json", completed.errors.len() - 20));
            }
            match completed.status {
                Status::Expired => screen.message(&format!("[{number}] {line}: ended by its time limit")),
                Status::Interrupted if completed.errors.is_empty() => {
                    screen.message(&format!("[{number}] {line}: interrupted; a process that carried it ended"));
                }
                Status::Failed if completed.errors.is_empty() => screen.message(&format!("[{number}] {line}: failed")),
                _ => {}
            }
        }
    }
}

/// The line that tells of a job in the background, as the reference's shell writes it.
pub(in crate::shell) fn line_of(job: &Job, state: &str) -> String {
    format!("[{}]   ({state})   {}", job.number(), job.line)
}

/// How a job stands, in the words of such a line.
pub(in crate::shell) fn state_of(job: &Job) -> String {
    match job.facts().end {
        None => "Running".to_owned(),
        Some(End::Lost(failure)) => format!("Failed: {failure}"),
        Some(End::Completed(completed, _)) => {
            let word = completed.status.as_str();
            let mut letters = word.chars();
            letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
        }
    }
}

fn receipt_text(number: u64, receipt: &Receipt) -> String {
    let confirmed =
        if receipt.confirmed { "the device confirmed" } else { "the device has not confirmed and may still finish this" };
    let mut text = format!("[{number}] cancelled; {confirmed}");
    for (title, list) in [("done", &receipt.done), ("not done", &receipt.not_done)] {
        if !list.is_empty() {
            text.push_str(&format!("\n  {title}: {}", list.join("; ")));
        }
    }
    text
}
