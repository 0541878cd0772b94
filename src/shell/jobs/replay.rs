//! Reading a job: from the task while it runs, from the service once it has ended.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use tokio::sync::{mpsc, watch};

use super::task::is_bulk;
use super::{End, Facts, HEARD, Heard, Job, Reader};
use crate::error::Exit;
use crate::protocol::{Body, Event};
use crate::shell::client::CommandEvents;
use crate::shell::client::content::is_shown;

impl Job {
    /// Begins to read everything behind event `after`, instead of whoever read before.
    pub async fn read(&self, after: u64) -> mpsc::Receiver<Heard> {
        if let (0, Some(first)) = (after, self.first.lock().unwrap_or_else(PoisonError::into_inner).take()) {
            return first;
        }
        let (to, heard) = mpsc::channel(HEARD);
        if let Err(mpsc::error::SendError(reader)) = self.readers.send(Reader { after, to }).await {
            // The task is at its end: what it heard is asked for again.
            let (end, cancelled) = (self.facts().end, self.facts.subscribe());
            tokio::spawn(tell(self.replayed(after), reader.to, end, self.told(), cancelled));
        }
        heard
    }

    /// The events behind `after`, asked for anew.
    pub(super) fn replayed(&self, after: u64) -> CommandEvents {
        // Of work that goes on as another command nothing was shown yet.
        let after = if self.result().is_some() { 0 } else { after };
        CommandEvents::after(&self.client, &self.session, self.command(), after).with_content(is_shown(&self.invocation))
    }

    /// What stands for the answer in a replay.
    fn told(&self) -> Told {
        match self.result() {
            _ if self.has_redirect || self.is_kept.load(Ordering::SeqCst) => Told::Nothing,
            Some(body) => Told::Result(Box::new(body)),
            None => Told::All,
        }
    }
}

/// What a replay tells of a command's answer.
enum Told {
    /// All of it, as the device said it.
    All,
    /// What the task made of it (a fetched file) in its place.
    Result(Box<Body>),
    /// Nothing: it went into a file.
    Nothing,
}

/// Tells a reader the events of a job that ended so.
pub(super) async fn replay(job: &Job, reader: Reader, end: End) {
    tell(job.replayed(reader.after), reader.to, Some(end), job.told(), job.facts.subscribe()).await;
}

async fn tell(
    mut events: CommandEvents,
    to: mpsc::Sender<Heard>,
    mut end: Option<End>,
    answer: Told,
    mut facts: watch::Receiver<Facts>,
) {
    let mut told = None;
    loop {
        let next = tokio::select! {
            biased;
            _ = facts.wait_for(|facts| facts.cancelled), if events.is_in_content() => {
                events.cut();
                end = None;
                continue;
            }
            next = events.next() => next,
        };
        match next {
            Ok(Some(event)) => {
                if !matches!(answer, Told::All) && is_bulk(&event.body) {
                    continue;
                }
                if let Body::Completed(completed) = &event.body {
                    told = Some(End::Completed(completed.clone(), Exit::of_end(completed)));
                    if let Told::Result(body) = &answer {
                        let object = Event { n: event.n, t: event.t, body: body.as_ref().clone() };
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
                // What cannot be told again, for one: a library file that is another one by now.
                (told, end) = (Some(End::Lost(failure)), None);
                break;
            }
        }
    }
    if let Some(end) = end.or(told) {
        let _ = to.send(Heard::End(Box::new(end))).await;
    }
}
