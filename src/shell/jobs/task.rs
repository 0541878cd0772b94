//! The task behind a job: reads the command's events, keeps the facts, does the work that needs no reader, and passes on
//! to the reader, if there is one.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use tokio::sync::{Notify, mpsc, watch};

use super::replay::replay;
use super::words::goes_on;
use super::{End, Facts, HEARD, Heard, Job, Reader};
use crate::error::{Exit, Failure, Outcome};
use crate::grammar::Invocation;
use crate::protocol::{Body, CommandId, Completed, Event, NewCommand, SessionId, Status};
use crate::shell::client::content::is_shown;
use crate::shell::client::fetch::{Fetch, Fetched, Word};
use crate::shell::client::send::Upload;
use crate::shell::client::{Client, CommandEvents};
use crate::shell::view::{Next, Rendering};

/// What the task does itself with what it hears.
enum Work {
    /// Nothing: the output is for a reader.
    Tell,
    /// Writes the output to the redirect's target.
    Write(Box<Rendering>),
    /// Takes a file's bytes in; what is told of it goes to the redirect's target, if there is one.
    Fetch(Box<Fetch>, Option<Box<Rendering>>),
}

impl Work {
    /// What is heard of the work beside the command's events.
    async fn word(&mut self) -> Word {
        match self {
            Self::Fetch(fetch, _) => fetch.word().await,
            Self::Tell | Self::Write(_) => std::future::pending().await,
        }
    }
}

/// Tells of a job that nobody looks at.
pub(super) type Announce = Arc<dyn Fn(&Job) + Send + Sync>;

/// All that a job begins with.
pub struct Start {
    /// The way to the service.
    pub client: Client,
    /// The session it belongs to.
    pub session: SessionId,
    /// What was typed.
    pub line: String,
    /// What it was read as.
    pub invocation: Arc<Invocation>,
    /// Where the shell stands, for `context` to change; `None` when the command is not this shell's.
    pub directory: Option<Arc<Mutex<String>>>,
    /// The rendering of a redirect.
    pub redirect: Option<Rendering>,
    /// The file that comes.
    pub fetch: Option<Fetch>,
    /// The file that goes.
    pub upload: Option<Upload>,
    /// What becomes of it is shown together with others, by whoever begins it.
    pub kept: bool,
    /// What is called when there is something to be told of it and nobody looks: its end, or the number it goes on under.
    pub announce: Announce,
}

impl Start {
    /// Posts the command. The service has accepted it when this returns.
    ///
    /// # Errors
    /// When the service refuses it or cannot be reached.
    pub async fn post(self, command: NewCommand) -> Outcome<Arc<Job>> {
        let events = CommandEvents::post(&self.client, &self.session, command.clone()).await?;
        let events = events.with_content(is_shown(&self.invocation));
        Ok(self.spawn(command.command_id, events, Some(command)))
    }

    /// Looks at a command that was posted before, perhaps by another shell.
    #[must_use]
    pub fn attach(self, command: CommandId) -> Arc<Job> {
        let events = CommandEvents::after(&self.client, &self.session, command, 0);
        let events = events.with_content(is_shown(&self.invocation));
        self.spawn(command, events, None)
    }

    fn spawn(self, command: CommandId, events: CommandEvents, posted: Option<NewCommand>) -> Arc<Job> {
        let background = posted.as_ref().is_none_or(|posted| posted.background_mode);
        let (readers, asked) = mpsc::channel(1);
        // A command in the foreground has its reader before the task begins: nothing is asked for twice.
        let (to, heard) = mpsc::channel(HEARD);
        let (reader, first) = if background { (None, None) } else { (Some(to), Some(heard)) };
        let facts =
            Facts { command, number: None, status: Status::Pending, place: None, progress: None, cancelled: false, end: None };
        let job = Arc::new(Job {
            session: self.session,
            line: self.line,
            invocation: self.invocation,
            sent: Timestamp::now(),
            parked: Mutex::new(None),
            first: Mutex::new(first),
            notes: Mutex::default(),
            given_up: Notify::new(),
            result: Mutex::new(None),
            has_redirect: self.redirect.is_some(),
            is_kept: AtomicBool::new(self.kept),
            client: self.client,
            facts: watch::Sender::new(facts),
            readers,
            background: AtomicBool::new(background),
            own: self.directory.is_some(),
        });
        let work = match (self.redirect, self.fetch) {
            (redirect, Some(fetch)) => Work::Fetch(Box::new(fetch), redirect.map(Box::new)),
            (Some(rendering), None) => Work::Write(Box::new(rendering)),
            (None, None) => Work::Tell,
        };
        let announce = self.announce.clone();
        let task = Task {
            job: job.clone(),
            events,
            reader,
            work,
            upload: self.upload,
            directory: self.directory,
            posted,
            announce: self.announce,
            known: 0,
        };
        tokio::spawn(async move {
            let job = task.job.clone();
            task.run(asked).await;
            if job.claim() {
                announce(&job);
            }
        });
        job
    }
}

struct Task {
    job: Arc<Job>,
    events: CommandEvents,
    reader: Option<mpsc::Sender<Heard>>,
    work: Work,
    upload: Option<Upload>,
    directory: Option<Arc<Mutex<String>>>,
    /// What was sent, to be sent again where that is how the work goes on.
    posted: Option<NewCommand>,
    announce: Announce,
    /// The last event that the facts know of; what is heard again changes nothing.
    known: u64,
}

impl Task {
    async fn run(mut self, mut asked: mpsc::Receiver<Reader>) {
        let end = loop {
            tokio::select! {
                biased;
                Some(reader) = asked.recv() => self.attach(reader),
                () = self.job.given_up.notified() => {
                    let message = format!("[{0}] was left before it ended: status {0} tells", self.job.number());
                    break End::Lost(Failure::unreachable(message));
                }
                word = self.work.word() => match word {
                    Word::Note(note) => self.tell(Heard::Note(note), &mut asked).await,
                    Word::Broke(failure) => {
                        // The device waits for a reader that does not come.
                        let _ = self.job.cancel().await;
                        break End::Lost(failure);
                    }
                },
                () = self.job.cancelled(), if self.events.is_in_content() => self.events.cut(),
                event = self.events.next() => match event {
                    Ok(Some(event)) => {
                        if let Some(end) = self.hear(event, &mut asked).await {
                            break end;
                        }
                    }
                    Ok(None) => break End::Lost(Failure::internal("the command's events ended without an end")),
                    Err(failure) => break End::Lost(failure),
                },
            }
        };
        if let Work::Write(rendering) = std::mem::replace(&mut self.work, Work::Tell)
            && let Err(failure) = self.written(*rendering, Status::Interrupted, &mut asked).await
        {
            self.tell(Heard::Note(failure.to_string()), &mut asked).await;
        }
        self.job.facts.send_modify(|facts| {
            if let End::Completed(completed, _) = &end {
                facts.status = completed.status;
            } else {
                facts.status = Status::Interrupted;
            }
            facts.end = Some(end.clone());
        });
        // Who asked to read in this very moment is served as after the end.
        asked.close();
        if let Some(reader) = asked.recv().await {
            if reader.after == self.events.last() {
                self.reader = Some(reader.to);
            } else {
                replay(&self.job, reader, end).await;
                return;
            }
        }
        if let Some(reader) = self.reader {
            let _ = reader.send(Heard::End(Box::new(end))).await;
        }
    }

    /// Gives the events to a reader, from the place on that it names.
    fn attach(&mut self, reader: Reader) {
        if reader.after != self.events.last() && matches!(self.work, Work::Tell) {
            self.events = self.job.replayed(reader.after);
        }
        self.reader = Some(reader.to);
    }

    /// Takes an event in; answers with the end when it was the last.
    async fn hear(&mut self, event: Event, asked: &mut mpsc::Receiver<Reader>) -> Option<End> {
        if event.n > self.known {
            self.known = event.n;
            self.learn(&event.body);
        }
        let end = match &event.body {
            Body::Completed(completed) => Some(End::Completed(completed.clone(), Exit::of_end(completed))),
            _ => None,
        };
        if let Some(upload) = &mut self.upload {
            upload.hear(&self.job.client, &self.job.session, self.job.command(), &event.body);
        }
        match &mut self.work {
            Work::Tell => {}
            Work::Write(rendering) => match rendering.event(&event.body) {
                Ok(Next::More) => {}
                Ok(Next::Enough) => {
                    let _ = self.job.enough().await;
                }
                Err(error) => {
                    let _ = self.job.cancel().await;
                    return Some(End::Lost(unwritten(&error)));
                }
            },
            Work::Fetch(fetch, _) => {
                let job = &self.job;
                match fetch.hear(&job.client, &job.session, job.command(), &event.body) {
                    Ok(notes) => {
                        for note in notes {
                            self.tell(Heard::Note(note), asked).await;
                        }
                    }
                    Err(failure) => {
                        let _ = self.job.cancel().await;
                        return Some(End::Lost(failure));
                    }
                }
            }
        }
        if let Some(End::Completed(completed, exit)) = end {
            let end = self.finish(completed, exit, event.n, asked).await?;
            self.tell(Heard::Event(Box::new(event)), asked).await;
            return Some(end);
        }
        if matches!(self.work, Work::Tell) || !is_bulk(&event.body) {
            self.tell(Heard::Event(Box::new(event)), asked).await;
        }
        None
    }

    /// Ends the work that the task does itself; `None` when it goes on as another command.
    async fn finish(&mut self, completed: Completed, exit: Exit, n: u64, asked: &mut mpsc::Receiver<Reader>) -> Option<End> {
        if let Some(upload) = self.upload.take()
            && let Some(failure) = upload.finish(completed.status == Status::Completed).await
        {
            return Some(End::Lost(failure));
        }
        Some(match std::mem::replace(&mut self.work, Work::Tell) {
            Work::Tell => End::Completed(completed, exit),
            Work::Write(rendering) => match self.written(*rendering, completed.status, asked).await {
                Ok(()) => End::Completed(completed, exit),
                Err(failure) => End::Lost(failure),
            },
            Work::Fetch(mut fetch, redirect) => match fetch.finish(completed.status, completed.duration_ms).await {
                Ok(Fetched::Row(row)) => {
                    if let Some(value) = row {
                        self.job.keep_result(Body::Object { value });
                    }
                    match self.show_row(n, redirect, completed.status, asked).await {
                        Ok(()) => End::Completed(completed, exit),
                        Err(failure) => End::Lost(failure),
                    }
                }
                Ok(Fetched::Again) if self.job.facts().cancelled => End::Completed(completed, exit),
                Ok(Fetched::Again) => {
                    self.work = Work::Fetch(fetch, redirect);
                    match self.post_again(asked).await {
                        Ok(()) => return None,
                        Err(failure) => End::Lost(failure),
                    }
                }
                Err(failure) => End::Lost(failure),
            },
        })
    }

    /// Tells what came of a fetch, or writes it where the line says.
    async fn show_row(
        &mut self,
        n: u64,
        redirect: Option<Box<Rendering>>,
        status: Status,
        asked: &mut mpsc::Receiver<Reader>,
    ) -> Outcome<()> {
        let row = self.job.result();
        if let Some(mut rendering) = redirect {
            if let Some(body) = row {
                rendering.event(&body).map_err(|error| unwritten(&error))?;
            }
            return self.written(*rendering, status, asked).await;
        }
        let is_kept = self.job.is_kept.load(Ordering::SeqCst);
        if let Some(body) = row.filter(|_| !is_kept) {
            self.tell(Heard::Event(Box::new(Event { n, t: Timestamp::now(), body })), asked).await;
        }
        Ok(())
    }

    /// Makes the file of a redirect whole.
    async fn written(&mut self, rendering: Rendering, status: Status, asked: &mut mpsc::Receiver<Reader>) -> Outcome<()> {
        let summary = rendering.end(status).map_err(|error| unwritten(&error))?;
        for note in summary.notes {
            self.tell(Heard::Note(note), asked).await;
        }
        Ok(())
    }

    /// Sends the command again, under an id of its own, to go on where the last one ended.
    async fn post_again(&mut self, asked: &mut mpsc::Receiver<Reader>) -> Outcome<()> {
        let Some(posted) = &mut self.posted else { return Err(Failure::internal("nothing to go on with")) };
        posted.continues = Some(posted.command_id);
        posted.command_id = CommandId::new();
        let command = posted.clone();
        let (before, id) = (self.job.number(), command.command_id);
        self.events = CommandEvents::post(&self.job.client, &self.job.session, command).await?;
        self.known = 0;
        self.job.facts.send_modify(|facts| (facts.command, facts.status) = (id, Status::Pending));
        let number = match self.events.next().await? {
            Some(Event { n, body: Body::Created { number }, .. }) => {
                self.known = n;
                number
            }
            _ => return Err(Failure::internal("the service did not say a command's number")),
        };
        self.job.facts.send_modify(|facts| facts.number = Some(number));
        let note = goes_on(before, number);
        self.tell(Heard::Note(note), asked).await;
        if self.reader.is_none() {
            // Whoever means it by its number is to know the new one now, not at its end.
            (self.announce)(&self.job);
        }
        if self.job.facts().cancelled {
            // Said while it was between two commands.
            self.job.cancel().await?;
        }
        Ok(())
    }

    /// Passes on to the reader. One that is gone is forgotten; one that is slow is waited for, unless another comes.
    async fn tell(&mut self, heard: Heard, asked: &mut mpsc::Receiver<Reader>) {
        let Some(reader) = &self.reader else { return self.keep(heard) };
        tokio::select! {
            biased;
            sent = reader.send(heard) => {
                if let Err(mpsc::error::SendError(heard)) = sent {
                    self.reader = None;
                    self.keep(heard);
                }
            }
            Some(reader) = asked.recv() => self.attach(reader),
        }
    }

    /// Keeps what nobody hears now and no replay tells.
    fn keep(&self, heard: Heard) {
        if let Heard::Note(note) = heard {
            self.job.keep_note(note);
        }
    }

    /// Keeps what an event says about the job as a whole.
    fn learn(&self, body: &Body) {
        self.job.facts.send_modify(|facts| match body {
            Body::Created { number } => facts.number = Some(*number),
            Body::Queued { place } => facts.place = Some(*place),
            Body::Started => {
                facts.status = Status::Running;
                facts.place = None;
            }
            Body::Progress(progress) => facts.progress = Some(progress.clone()),
            _ => {}
        });
        if let (Body::Context { current_directory }, Some(directory)) = (body, &self.directory) {
            directory.lock().unwrap_or_else(PoisonError::into_inner).clone_from(current_directory);
        }
    }
}

fn unwritten(error: &std::io::Error) -> Failure {
    Failure::here("redirect", format!("the answer cannot be written: {error}"))
}

/// Whether an event is output, which only its rendering needs.
pub(super) fn is_bulk(body: &Body) -> bool {
    matches!(body, Body::Table { .. } | Body::Rows { .. } | Body::Object { .. } | Body::Text(_))
}
