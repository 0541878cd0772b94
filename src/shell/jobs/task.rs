//! The task behind a job: reads the command's events, keeps the facts, does the work that needs no reader, and passes on
//! to the reader, if there is one.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use tokio::sync::{mpsc, watch};

use super::{End, Facts, HEARD, Heard, Job, Reader};
use crate::error::{Exit, Failure, Outcome};
use crate::grammar::Invocation;
use crate::protocol::{Body, CommandId, Completed, Event, NewCommand, SessionId, Status};
use crate::shell::client::fetch::Fetch;
use crate::shell::client::send::Upload;
use crate::shell::client::{Client, CommandEvents};
use crate::shell::view::{Next, Rendering};

/// What the task does itself with what it hears.
enum Work {
    /// Nothing: the output is for a reader.
    Tell,
    /// Writes the output to the redirect's target.
    Write(Box<Rendering>),
    /// Takes a file's bytes in.
    Fetch(Box<Fetch>),
}

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
    /// What is called when it ends without anybody looking.
    pub announce: Arc<dyn Fn(&Job) + Send + Sync>,
}

impl Start {
    /// Posts the command. The service has accepted it when this returns.
    ///
    /// # Errors
    /// When the service refuses it or cannot be reached.
    pub async fn post(self, command: NewCommand) -> Outcome<Arc<Job>> {
        let id = command.command_id;
        let background = command.background_mode;
        let events = CommandEvents::post(&self.client, &self.session, command).await?;
        Ok(self.spawn(id, events, background))
    }

    /// Looks at a command that was posted before, perhaps by another shell.
    #[must_use]
    pub fn attach(self, command: CommandId) -> Arc<Job> {
        let events = CommandEvents::after(&self.client, &self.session, command, 0);
        self.spawn(command, events, true)
    }

    fn spawn(self, command: CommandId, events: CommandEvents, background: bool) -> Arc<Job> {
        let (readers, asked) = mpsc::channel(1);
        // A command in the foreground has its reader before the task begins: nothing is asked for twice.
        let (to, heard) = mpsc::channel(HEARD);
        let (reader, first) = if background { (None, None) } else { (Some(to), Some(heard)) };
        let facts = Facts { number: None, status: Status::Pending, place: None, progress: None, cancelled: false, end: None };
        let job = Arc::new(Job {
            command,
            session: self.session,
            line: self.line,
            invocation: self.invocation,
            sent: Timestamp::now(),
            parked: Mutex::new(None),
            first: Mutex::new(first),
            result: Mutex::new(None),
            client: self.client,
            facts: watch::Sender::new(facts),
            readers,
            background: AtomicBool::new(background),
            own: self.directory.is_some(),
        });
        let work = match (self.redirect, self.fetch) {
            (_, Some(fetch)) => Work::Fetch(Box::new(fetch)),
            (Some(rendering), None) => Work::Write(Box::new(rendering)),
            (None, None) => Work::Tell,
        };
        let task = Task { job: job.clone(), events, reader, work, upload: self.upload, directory: self.directory, known: 0 };
        let announce = self.announce;
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

impl Job {
    /// Begins to read everything behind event `after`, instead of whoever read before.
    pub async fn read(&self, after: u64) -> mpsc::Receiver<Heard> {
        if let (0, Some(first)) = (after, self.first.lock().unwrap_or_else(PoisonError::into_inner).take()) {
            return first;
        }
        let (to, heard) = mpsc::channel(HEARD);
        if let Err(mpsc::error::SendError(reader)) = self.readers.send(Reader { after, to }).await {
            // The task is at its end: what it heard is asked for again.
            let events = CommandEvents::after(&self.client, &self.session, self.command, after);
            tokio::spawn(replay(events, reader.to, self.facts().end, self.result()));
        }
        heard
    }
}

/// Tells a reader the events of a command that has ended.
///
/// Of work that the task did itself (a fetched file) the result stands in the place of what the device said.
async fn replay(mut events: CommandEvents, to: mpsc::Sender<Heard>, end: Option<End>, result: Option<Body>) {
    let mut told = None;
    loop {
        match events.next().await {
            Ok(Some(event)) => {
                if result.is_some() && is_bulk(&event.body) {
                    continue;
                }
                if let Body::Completed(completed) = &event.body {
                    told = Some(End::Completed(completed.clone(), Exit::of_end(completed)));
                    if let Some(body) = result.clone() {
                        let object = Event { n: event.n, t: event.t, body };
                        if to.send(Heard::Event(Box::new(object))).await.is_err() {
                            return;
                        }
                    }
                }
                if to.send(Heard::Event(Box::new(event))).await.is_err() {
                    return;
                }
            }
            Ok(None) => break,
            Err(failure) => {
                told = Some(End::Lost(failure));
                break;
            }
        }
    }
    if let Some(end) = end.or(told) {
        let _ = to.send(Heard::End(Box::new(end))).await;
    }
}

struct Task {
    job: Arc<Job>,
    events: CommandEvents,
    reader: Option<mpsc::Sender<Heard>>,
    work: Work,
    upload: Option<Upload>,
    directory: Option<Arc<Mutex<String>>>,
    /// The last event that the facts know of; what is heard again changes nothing.
    known: u64,
}

impl Task {
    async fn run(mut self, mut asked: mpsc::Receiver<Reader>) {
        let end = loop {
            tokio::select! {
                biased;
                Some(reader) = asked.recv() => self.attach(reader),
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
                let job = &self.job;
                let events = CommandEvents::after(&job.client, &job.session, job.command, reader.after);
                replay(events, reader.to, Some(end), self.job.result()).await;
                return;
            }
        }
        if let Some(reader) = self.reader {
            let _ = reader.send(Heard::End(Box::new(end))).await;
        }
    }

    /// Gives the events to a reader, from the place on that it names.
    fn attach(&mut self, reader: Reader) {
        if reader.after != self.events.last() && !matches!(self.work, Work::Write(_) | Work::Fetch(_)) {
            let job = &self.job;
            self.events = CommandEvents::after(&job.client, &job.session, job.command, reader.after);
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
            upload.hear(&self.job.client, self.job.command, &event.body);
        }
        match &mut self.work {
            Work::Tell => {}
            Work::Write(rendering) => match rendering.event(&event.body) {
                Ok(Next::More) => {}
                Ok(Next::Enough) => {
                    let _ = self.job.client.enough(&self.job.session, self.job.command).await;
                }
                Err(error) => {
                    let _ = self.job.cancel().await;
                    return Some(End::Lost(Failure::here("redirect", format!("the answer cannot be written: {error}"))));
                }
            },
            Work::Fetch(fetch) => {
                let job = &self.job;
                match fetch.hear(&job.client, &job.session, job.command, &event.body) {
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
            let end = self.finish(completed, exit, event.n, asked).await;
            self.tell(Heard::Event(Box::new(event)), asked).await;
            return Some(end);
        }
        if matches!(self.work, Work::Tell) || !is_bulk(&event.body) {
            self.tell(Heard::Event(Box::new(event)), asked).await;
        }
        None
    }

    /// Ends the work that the task does itself.
    async fn finish(&mut self, completed: Completed, exit: Exit, n: u64, asked: &mut mpsc::Receiver<Reader>) -> End {
        if let Some(upload) = self.upload.take()
            && let Some(failure) = upload.finish(completed.status == Status::Completed).await
        {
            return End::Lost(failure);
        }
        match std::mem::replace(&mut self.work, Work::Tell) {
            Work::Tell => End::Completed(completed, exit),
            Work::Write(rendering) => match rendering.end(completed.status) {
                Ok(summary) => {
                    for note in summary.notes {
                        self.tell(Heard::Note(note), asked).await;
                    }
                    End::Completed(completed, exit)
                }
                Err(error) => End::Lost(Failure::here("redirect", format!("the answer cannot be written: {error}"))),
            },
            Work::Fetch(fetch) => match fetch.finish(completed.status, completed.duration_ms).await {
                Ok(row) => {
                    if let Some(value) = row {
                        let object = Event { n, t: Timestamp::now(), body: Body::Object { value } };
                        self.job.keep_result(object.body.clone());
                        self.tell(Heard::Event(Box::new(object)), asked).await;
                    }
                    End::Completed(completed, exit)
                }
                Err(failure) => End::Lost(failure),
            },
        }
    }

    /// Passes on to the reader. One that is gone is forgotten; one that is slow is waited for, unless another comes.
    async fn tell(&mut self, heard: Heard, asked: &mut mpsc::Receiver<Reader>) {
        let Some(reader) = &self.reader else { return };
        tokio::select! {
            biased;
            sent = reader.send(heard) => {
                if sent.is_err() {
                    self.reader = None;
                }
            }
            Some(reader) = asked.recv() => self.attach(reader),
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

/// Whether an event is output, which only its rendering needs.
fn is_bulk(body: &Body) -> bool {
    matches!(body, Body::Table { .. } | Body::Rows { .. } | Body::Object { .. } | Body::Text(_))
}
