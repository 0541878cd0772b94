//! One line, from its text to its exit code.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::client::Client;
use super::client::fetch::{Destination, Fetch};
use super::client::send::Upload;
use super::jobs::{Job, Jobs, Seen, Start};
use super::pattern::Pattern;
use super::view::{Origin, RedirectFile, RenderSpec, Rendering, Screen, Target};
use super::{Shell, jobs, local};
use crate::error::{Exit, Failure, Outcome};
use crate::grammar::{Invocation, Reading, read};
use crate::host::signals::{Asked, Signals};
use crate::protocol::{CommandId, MAX_LINE, NewCommand, Param, Problem, Session};

/// How long the service is waited for once an end was asked for.
const PATIENCE: Duration = Duration::from_secs(5);

impl Shell {
    /// Runs a line as [`Shell::line`] does. Where the service does not answer, and no job can hear of it, a signal heard
    /// twice, or five seconds behind it, ends the waiting.
    pub(super) async fn line_or_signal(&mut self, text: &str, origin: Option<&Origin>) -> (Exit, Option<String>) {
        let attention = self.sight.attention.clone();
        attention.reset();
        let Ok(mut signals) = Signals::listen(self.interactive) else { return self.line(text, origin).await };
        let mut line = Box::pin(self.line(text, origin));
        let mut heard: Option<Instant> = None;
        let asked = loop {
            tokio::select! {
                biased;
                ended = &mut line => return ended,
                asked = signals.next() => match asked {
                    // The look at a job hears it too.
                    _ if attention.is_at_job() => {}
                    Asked::Suspend => {}
                    asked if heard.is_some() => break asked,
                    _ => {
                        attention.interrupt();
                        heard = Some(Instant::now() + PATIENCE);
                    }
                },
                () = sleep_until(heard.unwrap_or_else(Instant::now)), if heard.is_some() => {
                    if !attention.is_at_job() {
                        break Asked::Interrupt;
                    }
                    heard = None;
                }
            }
        };
        drop(line);
        attention.reset();
        self.screen
            .message("the service has not answered, and is not waited for any more; jobs tells whether the command runs");
        if !self.interactive {
            self.asked(asked);
        }
        (Exit::Cancelled, Some("cancelled".to_owned()))
    }

    /// Runs a line and says what went wrong. Answers with the exit code, and why it is not 0 in a word.
    pub async fn line(&mut self, text: &str, origin: Option<&Origin>) -> (Exit, Option<String>) {
        if self.is_too_long(text, origin) {
            return (Exit::NotUnderstood, Some("too_long".to_owned()));
        }
        let platform = self.session_facts().map(|session| session.device.platform);
        let reading = read(text, platform);
        if reading.is_empty() {
            return (Exit::Done, None);
        }
        if !reading.diagnostics.is_empty() {
            self.screen.diagnostics(text, origin, &reading.told_of(text));
            let kind = reading.diagnostics.first().map(|found| found.kind.as_str().to_owned());
            return (Exit::NotUnderstood, kind);
        }
        let Reading { invocation: Some(invocation), .. } = reading else { return (Exit::Done, None) };
        if let Some(obstacle) = invocation.obstacle(None) {
            let kind = obstacle.kind.as_str().to_owned();
            self.screen.diagnostics(text, origin, &[obstacle]);
            return (Exit::NotUnderstood, Some(kind));
        }
        match self.invoke(invocation, text).await {
            Ok(exit) => (exit, (!exit.is_done()).then(|| format!("exit {}", exit.code()))),
            Err(failure) => {
                if failure.exit != Exit::BrokenPipe {
                    self.screen.error(&failure.problem);
                }
                (failure.exit, Some(failure.problem.code))
            }
        }
    }

    /// Whether a line is longer than any that was meant; says so.
    pub(super) fn is_too_long(&self, text: &str, origin: Option<&Origin>) -> bool {
        if text.len() <= MAX_LINE {
            return false;
        }
        let place = origin.map(|origin| format!("{origin}: ")).unwrap_or_default();
        let message = format!("{place}the line is longer than {} KiB", MAX_LINE >> 10);
        self.screen.error(&Problem::new("too_long", message));
        true
    }

    async fn invoke(&mut self, invocation: Invocation, text: &str) -> Outcome<Exit> {
        let invocation = Arc::new(invocation);
        if let Some(local) = local::find(&invocation.row.name) {
            return local(self, &invocation).await;
        }
        if invocation.redirect.is_none() && self.screen.is_unread() {
            // Nobody would see what comes of it.
            return Err(Failure::broken_pipe());
        }
        if invocation.row.name == "disconnect" {
            self.attached().await?;
            if self.interactive && !invocation.flags.contains("force") && !self.is_sure {
                self.question = self.before_disconnect().await?;
                if self.question.is_some() {
                    return Ok(Exit::Done);
                }
            }
            self.set_disconnecting(true);
        }
        let Posted { job, pattern } = match self.post(&invocation, text).await {
            Err(failure) if invocation.row.name == "settings" && failure.code() == "policy" => {
                return local::settings_without_session(self, &invocation).await;
            }
            posted => posted?,
        };
        // What a pattern matches is told at once; the files themselves are jobs of their own.
        if invocation.background && pattern.is_none() {
            self.show_number(&job).await;
            return Ok(Exit::Done);
        }
        self.jobs.add(&job);
        if let Some(pattern) = pattern {
            return self.fetch_matching(&invocation, &job, text, pattern).await;
        }
        let exit = self.look(&job).await?;
        if invocation.row.name == "disconnect" {
            if exit.is_done() {
                self.forget_session();
            } else {
                self.set_disconnecting(false);
            }
        }
        Ok(exit)
    }

    pub(super) async fn show_number(&mut self, job: &Arc<Job>) {
        let facts = job.numbered().await;
        self.jobs.add(job);
        if facts.number.is_some() {
            self.screen.message(&jobs::line_of(job, "Just created"));
        }
    }

    /// Sends a command, its redirect tested before.
    async fn post(&mut self, invocation: &Arc<Invocation>, text: &str) -> Outcome<Posted> {
        let not_understood = |problem| Failure { exit: Exit::NotUnderstood, problem };
        let spec = RenderSpec::of(invocation, self.zone()).map_err(not_understood)?;
        let redirect = invocation.redirect.as_ref().map(RedirectFile::test).transpose();
        let redirect = redirect.map_err(|problem| Failure { exit: Exit::Failed, problem })?;
        let destination = match invocation.row.name.as_str() {
            "getfile" | "collect" => Some(Destination::of(invocation, self.config.download_folder.as_deref())?),
            _ => None,
        };
        let session = self.attached().await?;
        let adds = invocation.row.name == "library" && invocation.params.get("action").is_some_and(|action| action == "add");
        let upload = adds.then(|| Upload::of(invocation, session.limits.library_bytes)).transpose()?;
        let redirect = match redirect {
            Some(file) => Some(self.begin(spec, Target::File(file))?),
            None => None,
        };
        let fetch = destination.map(|destination| Fetch::new(destination, session.device.id.clone()));
        let is_pattern = invocation.params.get("path").is_some_and(|path| path.contains(['*', '?', '[']));
        let (redirect, pattern) = match &fetch {
            // The files that match are one answer, wherever it goes.
            Some(fetch) if is_pattern => (None, Some(Pattern { matches: fetch.matches(), redirect })),
            _ => (redirect, None),
        };
        let mut start = self.start(&session, invocation.clone(), text);
        start.redirect = redirect;
        start.fetch = fetch;
        start.upload = upload;
        start.kept = pattern.is_some();
        let command = NewCommand { confirmed: self.is_sure, ..command(invocation, text, self.directory()) };
        let job = start.post(command).await?;
        if invocation.changes_state() {
            self.expect_isolation();
        }
        Ok(Posted { job, pattern })
    }

    /// What a job of this shell begins with.
    pub(super) fn start(&self, session: &Session, invocation: Arc<Invocation>, text: &str) -> Start {
        self.outbox_of(session.clone(), false).start(invocation, text)
    }

    /// What jobs of this shell are sent with from beside it.
    pub(super) async fn outbox(&mut self, kept: bool) -> Outcome<Outbox> {
        let session = self.attached().await?;
        Ok(self.outbox_of(session, kept))
    }

    fn outbox_of(&self, session: Session, kept: bool) -> Outbox {
        Outbox {
            client: self.client.clone(),
            session,
            directory: self.directory.clone(),
            downloads: self.config.download_folder.clone(),
            screen: self.screen.clone(),
            jobs: self.jobs.clone(),
            interactive: self.interactive,
            kept,
        }
    }

    pub(super) fn begin(&self, spec: RenderSpec, target: Target) -> Outcome<Rendering> {
        Rendering::begin(&self.screen, spec, target).map_err(|error| jobs::written(&error))
    }

    /// Shows a job until it ends or is left.
    pub(super) async fn look(&mut self, job: &Arc<Job>) -> Outcome<Exit> {
        self.look_into(job, Target::Screen).await
    }

    /// Shows a job there until it ends or is left.
    pub(super) async fn look_into(&mut self, job: &Arc<Job>, target: Target) -> Outcome<Exit> {
        let (screen, zone) = (self.screen.clone(), self.zone());
        let begin = || {
            let spec = if job.invocation.redirect.is_some() {
                // The answer is in the file: only what is said beside it is shown.
                RenderSpec::text()
            } else {
                RenderSpec::of(&job.invocation, zone).map_err(|problem| Failure { exit: Exit::NotUnderstood, problem })?
            };
            Rendering::begin(&screen, spec, target).map_err(|error| jobs::written(&error))
        };
        match self.sight.look(job, begin).await {
            Ok(Seen::Ended(end)) => {
                self.jobs.remove(job);
                Ok(end.exit())
            }
            Ok(Seen::Left) => Ok(Exit::Done),
            Ok(Seen::Asked(asked)) => Ok(self.asked(asked)),
            Err(failure) => {
                self.jobs.remove(job);
                Err(failure)
            }
        }
    }

    /// What a signal means for the shell as a whole.
    pub(super) fn asked(&mut self, asked: Asked) -> Exit {
        let exit = match asked {
            Asked::HangUp => Exit::HungUp,
            Asked::Terminate => Exit::Terminated,
            Asked::Interrupt | Asked::Suspend => Exit::Cancelled,
        };
        self.leaving = Some(exit);
        exit
    }
}

/// What jobs of a shell are sent with.
pub(super) struct Outbox {
    client: Client,
    session: Session,
    directory: Arc<Mutex<String>>,
    downloads: Option<PathBuf>,
    screen: Screen,
    jobs: Jobs,
    interactive: bool,
    /// What becomes of them is shown together with others, by whoever sends them.
    kept: bool,
}

impl Outbox {
    fn start(&self, invocation: Arc<Invocation>, text: &str) -> Start {
        let (screen, interactive, jobs) = (self.screen.clone(), self.interactive, self.jobs.clone());
        Start {
            client: self.client.clone(),
            session: self.session.session_id.clone(),
            line: text.to_owned(),
            invocation,
            directory: Some(self.directory.clone()),
            redirect: None,
            fetch: None,
            upload: None,
            kept: self.kept,
            announce: Arc::new(move |job| {
                if interactive {
                    jobs.announce(&screen, job);
                }
            }),
        }
    }

    /// Sends for one file.
    ///
    /// # Errors
    /// When its folder is not there, or the service refuses or cannot be reached.
    pub(super) async fn fetch(&self, invocation: &Arc<Invocation>, text: &str) -> Outcome<Arc<Job>> {
        let destination = Destination::of(invocation, self.downloads.as_deref())?;
        let mut start = self.start(invocation.clone(), text);
        start.fetch = Some(Fetch::new(destination, self.session.device.id.clone()));
        let directory = self.directory.lock().unwrap_or_else(PoisonError::into_inner).clone();
        start.post(command(invocation, text, directory)).await
    }
}

fn command(invocation: &Invocation, text: &str, current_directory: String) -> NewCommand {
    let params = invocation.params.iter();
    NewCommand {
        command_id: CommandId::new(),
        raw_command_line: text.to_owned(),
        command_definition_id: invocation.row.name.clone(),
        params: params.map(|(name, value)| Param { param_id: name.clone(), value: value.clone() }).collect(),
        flags: invocation.flags.iter().cloned().collect(),
        current_directory,
        background_mode: invocation.background,
        continues: None,
        confirmed: false,
    }
}

/// A command that the service has accepted.
struct Posted {
    job: Arc<Job>,
    /// The pattern, if it is a `getfile` with one.
    pattern: Option<Pattern>,
}
