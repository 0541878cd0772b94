//! Bytes on their way: asked for, taken in, and asked for again from the last one when the way breaks.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::part::Part;
use super::sink::{Shape, Sink, Taken, UNWRITTEN};
use crate::error::{Exit, Failure, Outcome};
use crate::protocol::{CommandId, SessionId};
use crate::shell::client::{Client, FilePart};

/// A transfer that breaks this often without a byte between is given up.
const BREAKS: u32 = 5;
/// How long the device may take to notice that a broken connection has no reader any more.
const BUSY: Duration = Duration::from_secs(30);
/// How long to wait before it is asked again.
const AGAIN: Duration = Duration::from_millis(50);

/// A transfer.
pub(super) struct Transfer {
    pub(super) client: Client,
    pub(super) session: SessionId,
    pub(super) command: CommandId,
    pub(super) part: Part,
    pub(super) shape: Shape,
    /// The command has ended: nothing more comes.
    pub(super) stop: CancellationToken,
    /// What the analyst should know.
    pub(super) notes: mpsc::UnboundedSender<String>,
}

/// A transfer that came to its end.
pub(super) struct Arrived {
    /// With what is there, whatever the outcome is.
    pub(super) part: Part,
    /// The bytes that were there before.
    pub(super) resumed_from: u64,
    /// Whether any byte came.
    pub(super) came: bool,
    /// All that is there; or why that is not the whole file.
    pub(super) outcome: Outcome<Taken>,
}

/// How reading from one connection ended.
enum Came {
    /// With the last byte.
    All,
    /// The device has another state of the file there, which comes from its first byte.
    Another(Box<FilePart>),
    /// The sink does not take any more.
    Stuck,
}

impl Transfer {
    /// Takes the file in.
    pub(super) async fn run(mut self) -> Arrived {
        let mut resumed_from = self.part.have;
        let mut at = resumed_from;
        // An archive cannot be gone on with: its key is not kept.
        self.part.passing = self.shape != Shape::Plain;
        let outcome = self.take_in(&mut resumed_from, &mut at).await.map_err(|failure| self.about_the_part(failure));
        if outcome.is_err() {
            // What cannot be written down is found out again from the part's length.
            let _ = self.part.note(at);
        }
        Arrived { part: self.part, resumed_from, came: at > resumed_from, outcome }
    }

    /// What went wrong in the sink, with the file that it was about.
    fn about_the_part(&self, failure: Failure) -> Failure {
        if failure.code() != UNWRITTEN {
            return failure;
        }
        let part = self.part.path();
        let stays = if self.part.passing { "" } else { "; what came stays there, and getfile goes on with it" };
        Failure::here("local_file", format!("{}: {}{stays}", part.display(), failure.problem.message))
    }

    async fn take_in(&mut self, resumed_from: &mut u64, at: &mut u64) -> Outcome<Taken> {
        if self.shape != Shape::Plain && self.part.have > 0 {
            self.part.begin_again(None)?;
            (*resumed_from, *at) = (0, 0);
        }
        let mut sink = Sink::begin(self.part.handle()?, *at, self.shape.clone())?;
        let stop = self.stop.clone();
        let (mut breaks, mut next) = (0, None);
        while breaks < BREAKS {
            let before = *at;
            let came = tokio::select! {
                biased;
                came = self.read_on(next.take(), &mut sink, at) => came,
                () = stop.cancelled() => Err(Failure::new(Exit::Unreachable, "ended", "the command ended before its file was whole")),
            };
            match came {
                Ok(Came::All) => return sink.end().await,
                Ok(Came::Another(bytes)) => {
                    // What comes now is another file: nothing that is here belongs to it.
                    sink.end().await?;
                    if *at > 0 {
                        let told = format!(
                            "the device's file is another one now, or was changed, after {at} bytes of it: begins again"
                        );
                        // Nobody listens any more when the shell is at its end.
                        let _ = self.notes.send(told);
                    }
                    self.part.begin_again(Some(&bytes.etag))?;
                    (*resumed_from, *at) = (0, 0);
                    sink = Sink::begin(self.part.handle()?, 0, self.shape.clone())?;
                    next = Some(*bytes);
                    breaks += 1;
                }
                Ok(Came::Stuck) => {
                    let ended = sink.end().await;
                    return Err(ended.err().unwrap_or_else(|| Failure::internal("the file's writer ended early")));
                }
                Err(failure) if failure.code() == "broken" && breaks + 1 < BREAKS => {
                    breaks = if *at > before { 1 } else { breaks + 1 };
                }
                Err(failure) => {
                    sink.end().await?;
                    return Err(failure);
                }
            }
        }
        Err(Failure::here("changed", "the file on the device changes faster than it can be read"))
    }

    /// Reads until the connection ends.
    async fn read_on(&self, bytes: Option<FilePart>, sink: &mut Sink, at: &mut u64) -> Outcome<Came> {
        let mut bytes = match bytes {
            Some(bytes) => bytes,
            None => self.ask(*at).await?,
        };
        if bytes.offset != *at || bytes.etag != self.part.etag() {
            return Ok(Came::Another(Box::new(bytes)));
        }
        while let Some(piece) = bytes.next().await? {
            *at += piece.len() as u64;
            if sink.take(piece).await.is_err() {
                return Ok(Came::Stuck);
            }
        }
        Ok(Came::All)
    }

    /// Asks for the bytes from a place on; for all of them where the file is another one now.
    async fn ask(&self, at: u64) -> Outcome<FilePart> {
        let (mut at, mut etag) = (at, Some(self.part.etag()));
        let patience = Instant::now() + BUSY;
        loop {
            match self.client.file(&self.session, self.command, at, etag).await {
                Err(failure) if failure.code() == "changed" && etag.is_some() => (at, etag) = (0, None),
                Err(failure) if failure.code() == "busy" && Instant::now() < patience => tokio::time::sleep(AGAIN).await,
                answer => return answer,
            }
        }
    }
}
