//! A job in the foreground: its output is shown as it comes, and the keys that send signals act on it.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use jiff::tz::TimeZone;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

use super::prior::Prior;
use super::words::{line_of, receipt_text, say_end, state_of};
use super::{End, Group, Heard, Job, Parked, RECEIPT};
use crate::error::{Failure, Outcome};
use crate::host::signals::{Asked, Signals};
use crate::host::terminal::Quiet;
use crate::protocol::{Body, Event, Progress, Status};
use crate::shell::client::content::is_shown;
use crate::shell::view::{Next, Rendering, Screen};

/// How often the bar of a group is drawn.
const TICK: Duration = Duration::from_millis(200);
/// The bar of a group: no job has this number.
pub(in crate::shell) const GROUP: u64 = u64::MAX;
/// How long it is waited for without a word.
const SILENCE: Duration = Duration::from_secs(1);

/// Where jobs are looked at.
pub struct Sight {
    /// What they are shown on.
    pub screen: Screen,
    /// The clock of tables.
    pub zone: TimeZone,
    /// A batch hears signals from its beginning to its end; a terminal's waits listen afresh, because what was typed
    /// before a command does not mean it.
    pub signals: Option<Signals>,
    /// Who hears a signal.
    pub attention: Attention,
    /// The jobs that the one which is looked at is one of.
    pub group: Option<Arc<Group>>,
}

/// Who hears a signal now: the look at a job, or whoever waits for the service before there is one. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Attention(Arc<Heed>);

#[derive(Debug, Default)]
struct Heed {
    at_job: AtomicBool,
    interrupted: AtomicBool,
    /// A job is no longer looked at.
    away: Notify,
}

impl Attention {
    /// Whether a job is being looked at.
    #[must_use]
    pub fn is_at_job(&self) -> bool {
        self.0.at_job.load(Ordering::SeqCst)
    }

    /// Ctrl+C was heard before there was a job: it means the job that comes of the line.
    pub fn interrupt(&self) {
        self.0.interrupted.store(true, Ordering::SeqCst);
    }

    /// A line begins, or ends.
    pub fn reset(&self) {
        self.give_back();
        self.0.interrupted.store(false, Ordering::SeqCst);
    }

    /// A job is looked at from now on. Whether an interrupt is waiting for it.
    fn take(&self) -> bool {
        self.0.at_job.store(true, Ordering::SeqCst);
        self.0.interrupted.swap(false, Ordering::SeqCst)
    }

    fn give_back(&self) {
        self.0.at_job.store(false, Ordering::SeqCst);
        self.0.away.notify_waiters();
    }

    /// Waits until what is looked at was told to its end, a second at most: the end of the shell may not cut it off.
    pub async fn looked_away(&self) {
        let away = async {
            // Listened for before it is looked at, so that nothing falls between.
            let heard = self.0.away.notified();
            if self.is_at_job() {
                heard.await;
            }
        };
        let _ = timeout(SILENCE, away).await;
    }
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
    /// Ctrl+C was heard before.
    interrupted: bool,
}

impl<'a> Wait<'a> {
    fn begin(sight: &'a mut Sight) -> Outcome<Self> {
        let interrupted = sight.attention.take();
        if let Some(kept) = &mut sight.signals {
            // What was heard before is still in there.
            return Ok(Self { _quiet: None, fresh: None, kept: Some(kept), interrupted: false });
        }
        let failed = |error: io::Error| Failure::internal(format!("the terminal cannot be listened to: {error}"));
        let fresh = Some(Signals::listen(true).map_err(failed)?);
        Ok(Self { _quiet: Quiet::enter().map_err(failed)?, fresh, kept: None, interrupted })
    }

    async fn asked(&mut self) -> Asked {
        if std::mem::take(&mut self.interrupted) {
            return Asked::Interrupt;
        }
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
        let Parked { rendering, last, prior } = match parked {
            Some(parked) => parked,
            None => Parked { rendering: begin()?, last: 0, prior: None },
        };
        job.set_background(false);
        let (screen, zone, group) = (self.screen.clone(), self.zone.clone(), self.group.clone());
        let mut look =
            Look { job, screen, zone, group, rendering, last, prior, enough: false, warned: false, because: None, ended: None };
        let seen = look.until_it_ends(self, last).await;
        look.screen.progress_end(job.number());
        let seen = look.tell(seen);
        self.attention.give_back();
        seen
    }
}

struct Look<'a> {
    job: &'a Arc<Job>,
    screen: Screen,
    zone: TimeZone,
    group: Option<Arc<Group>>,
    rendering: Rendering,
    last: u64,
    prior: Option<Prior>,
    enough: bool,
    /// The analyst was told that the command is another shell's.
    warned: bool,
    /// The signal that ends a batch once its command has.
    because: Option<Asked>,
    /// How the command ended, when such a signal was heard before.
    ended: Option<End>,
}

impl Look<'_> {
    /// Tells how the job ended, or keeps what is half shown.
    fn tell(mut self, seen: Outcome<Seen>) -> Outcome<Seen> {
        match seen {
            Ok(Seen::Ended(end)) => {
                self.end(&end)?;
                Ok(Seen::Ended(end))
            }
            // Content that is let go is asked for again from its beginning.
            Ok(Seen::Left) if is_shown(&self.job.invocation) => Ok(Seen::Left),
            Ok(Seen::Left) => {
                let parked = Parked { rendering: self.rendering, last: self.last, prior: self.prior };
                *self.job.parked.lock().unwrap_or_else(PoisonError::into_inner) = Some(parked);
                Ok(Seen::Left)
            }
            Ok(asked) => {
                if let Some(end) = self.ended.take() {
                    self.end(&end)?;
                }
                Ok(asked)
            }
            Err(failure) => Err(failure),
        }
    }

    async fn until_it_ends(&mut self, sight: &mut Sight, after: u64) -> Outcome<Seen> {
        let batch = sight.signals.is_some();
        let mut wait = Wait::begin(sight)?;
        let mut heard = self.job.read(after).await;
        let (mut patience, mut silence): (Option<Instant>, Option<Instant>) = (None, None);
        let mut tick = Instant::now() + TICK;
        let mut cancelling: Option<JoinHandle<Outcome<()>>> = None;
        // An answer in a file needs no reader.
        let (screen, shown) = (self.screen.clone(), self.job.invocation.redirect.is_none());
        let unread = screen.until_unread();
        tokio::pin!(unread);
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
                            self.make_way()?;
                            self.screen.message(&line_of(self.job, &state_of(self.job)));
                            return Ok(Seen::Left);
                        }
                    }
                    asked if patience.is_none() => {
                        patience = Some(Instant::now() + RECEIPT);
                        silence = Some(Instant::now() + SILENCE);
                        self.because = batch.then_some(asked);
                        self.screen.progress_end(self.bar());
                        let job = self.job.clone();
                        // Beside the look: a service that does not answer must not keep the next key waiting.
                        cancelling = Some(tokio::spawn(async move { job.cancel().await }));
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
                () = &mut unread, if shown => {
                    // The device need not go on, and nobody is there to be told.
                    let _ = self.job.cancel().await;
                    return Err(Failure::broken_pipe());
                }
                Some(asked) = answered(&mut cancelling) => {
                    cancelling = None;
                    asked?;
                }
                next = hear(&mut self.prior, &mut heard) => match next {
                    Some(next) if self.prior.is_some() => self.show_prior(&next)?,
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
                () = sleep_until(tick), if self.group.is_some() && patience.is_none() => {
                    tick = Instant::now() + TICK;
                    self.draw(None);
                }
                () = sleep_until(silence.unwrap_or_else(Instant::now)), if silence.is_some() => {
                    silence = None;
                    let again = if batch { "" } else { "; Ctrl+C again leaves it at once" };
                    self.screen.aside(&format!("[{}] is being cancelled{again}", self.job.number()));
                }
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

    /// What is said next begins a line.
    fn make_way(&mut self) -> Outcome<()> {
        self.rendering.make_way().map_err(|error| written(&error))
    }

    /// The bar that is shown.
    fn bar(&self) -> u64 {
        if self.group.is_some() { GROUP } else { self.job.number() }
    }

    /// Draws it.
    fn draw(&self, progress: Option<&Progress>) {
        match (&self.group, progress) {
            (Some(group), _) => self.screen.progress(GROUP, &group.line, &group.progress()),
            (None, Some(progress)) => self.screen.progress(self.job.number(), &self.job.line, progress),
            (None, None) => {}
        }
    }

    /// Shows what was heard of the command that had to look first.
    fn show_prior(&mut self, heard: &Heard) -> Outcome<()> {
        if let Heard::End(end) = heard {
            return self.prior.take().map_or(Ok(()), |prior| prior.end(end, &self.screen));
        }
        self.prior.as_mut().map_or(Ok(()), |prior| prior.show(heard, &self.screen))
    }

    async fn show(&mut self, event: &Event) -> Outcome<()> {
        match &event.body {
            Body::Prerequisite { command_id } => {
                let prior = Prior::begin(self.job, *command_id, &self.screen, self.zone.clone()).await;
                match prior {
                    Ok(prior) => self.prior = Some(prior),
                    // The command itself goes on all the same.
                    Err(failure) => self.screen.error(&failure.problem),
                }
            }
            Body::Progress(progress) => self.draw(Some(progress)),
            Body::Queued { place } if self.screen.is_interactive() => {
                self.screen.aside(&format!("[{}] waits for the device, place {place}", self.job.number()));
            }
            Body::Receipt(receipt) => {
                self.make_way()?;
                self.screen.message(&receipt_text(self.job.number(), receipt));
            }
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
        for note in self.job.take_notes() {
            self.screen.message(&note);
        }
        say_end(&self.screen, self.job, end);
        Ok(())
    }
}

/// What the service said to the word to stop, once that was sent.
async fn answered(cancelling: &mut Option<JoinHandle<Outcome<()>>>) -> Option<Outcome<()>> {
    let asked = cancelling.as_mut()?.await;
    Some(asked.unwrap_or_else(|error| Err(Failure::internal(format!("the word to stop was lost: {error}")))))
}

/// What comes next: of the command that has to look first, while that is being shown.
async fn hear(prior: &mut Option<Prior>, heard: &mut mpsc::Receiver<Heard>) -> Option<Heard> {
    match prior {
        Some(prior) => prior.next().await,
        None => heard.recv().await,
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
