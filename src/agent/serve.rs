//! Hands a file's bytes to whoever asks for them while its command runs: one reader at a time, from any place on, as often
//! as it takes. Nothing is copied first: the bytes are read from the device's file as they are wanted.
//!
//! The SHA-256 of the whole is computed on the way, each piece once, whatever readers come and go; of a file that a reader
//! goes on with (begun by an earlier command), the part it has is read and hashed here first.

use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use rustix::fs::SeekFrom;
use sha2::{Digest as _, Sha256};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::content::Content;
use super::context::{Context, Stop, VerbError, VerbResult};
use super::digest::hex;
use super::dispatch::ReadRequest;
use super::path::{lossy, problem};
use super::platform::Facts;
use crate::protocol::link::{FileRefusal, FileRequest, FileStream};
use crate::protocol::{Body, FileFacts, Problem, ProgressUnit};

/// How long a command waits for somebody to ask for its bytes.
pub const READER_PATIENCE: Duration = Duration::from_mins(1);
/// How much is sent at once.
const CHUNK: usize = 256 * 1024;
/// How many chunks may wait for the reader.
const WAITING: usize = 8;
/// The zeros of holes: sent without being read.
static ZEROS: [u8; CHUNK] = [0; CHUNK];

/// A file to be handed over.
pub struct Serving<'a> {
    content: Content,
    path: &'a Path,
    name: String,
    limit: u64,
    hashed: Hashed,
}

/// The part of one state of the file that was hashed.
struct Hashed {
    etag: String,
    to: u64,
    hash: Sha256,
}

/// What a reader came to.
enum Outcome {
    /// It has all of it.
    Whole,
    /// It went away; the next may go on.
    Left,
}

/// What happened while a command waited.
enum Next {
    Request(ReadRequest),
    Stopped,
    Nobody,
}

impl<'a> Serving<'a> {
    /// For an opened file that a path led to, under the name that it is saved as; no more than `limit` bytes of it.
    ///
    /// # Errors
    /// When it is known to be larger.
    pub fn new(content: Content, path: &'a Path, name: String, limit: Option<u64>) -> Result<Self, Problem> {
        let limit = limit.unwrap_or(u64::MAX);
        if content.size.is_some_and(|size| size > limit) {
            return Err(too_large(path, limit));
        }
        let hashed = Hashed::new(content.facts.etag());
        Ok(Self { content, path, name, limit, hashed })
    }

    /// The tag of the state that the file is in.
    #[must_use]
    pub fn etag(&self) -> &str {
        &self.hashed.etag
    }

    /// Waits for readers until one has all of it; then tells the file's hash.
    ///
    /// # Errors
    /// When the file cannot be read, nobody asks for it in time, or the command is asked to stop.
    pub fn run(mut self, ctx: &mut Context) -> VerbResult {
        loop {
            let asked = match wait(&mut ctx.desk, &ctx.stop, READER_PATIENCE) {
                Next::Request(asked) => asked,
                Next::Stopped => return Err(self.stopped()),
                Next::Nobody => {
                    // Without a word to stop this ends as interrupted.
                    ctx.problem(Problem::new(
                        "no_reader",
                        "nobody asked for the file's bytes for 60 seconds; send getfile again",
                    ));
                    return Err(self.stopped());
                }
            };
            if let Outcome::Whole = self.answer(ctx, asked)? {
                return Ok(());
            }
        }
    }

    fn answer(&mut self, ctx: &mut Context, asked: ReadRequest) -> Result<Outcome, VerbError> {
        let ReadRequest { request, answer } = asked;
        if let Err(refusal) = self.admit(&request) {
            // Whoever asked may be gone by now, here and below; the next one gets its own answer.
            let _ = answer.send(Err(refusal));
            return Ok(Outcome::Left);
        }
        let (sender, chunks) = mpsc::channel(WAITING);
        let stream = FileStream {
            etag: self.hashed.etag.clone(),
            name: self.name.clone(),
            size: self.content.size,
            offset: request.offset,
            chunks,
        };
        if answer.send(Ok(stream)).is_err() {
            return Ok(Outcome::Left);
        }
        match self.send(ctx, request.offset, &sender) {
            Err(VerbError::Failed(problem)) => {
                // The reader is told too, so that it does not take what it has for the whole.
                self.pass(ctx, &sender, 1, Some(Err(problem.clone())))?;
                Err(problem.into())
            }
            done => done,
        }
    }

    /// Looks whether the file is still what the reader began with, and can be sent from there on.
    fn admit(&mut self, request: &FileRequest) -> Result<(), FileRefusal> {
        let failed = |error: std::io::Error| FileRefusal::Failed(problem(self.path, &error));
        let facts = Facts::of(self.content.file.as_fd(), c"").map_err(failed)?;
        let etag = facts.etag();
        if etag != self.hashed.etag {
            self.hashed = Hashed::new(etag.clone());
        }
        if facts.is_file() && self.content.size.is_some() {
            self.content.size = Some(facts.size);
        }
        self.content.facts = facts;
        let other = request.if_match.as_ref().is_some_and(|tag| *tag != etag);
        // What the kernel makes up anew at each reading cannot be gone on with.
        let no_such_place = self.content.size.map_or(request.offset > 0, |size| request.offset > size);
        if other || no_such_place {
            return Err(FileRefusal::Changed { etag });
        }
        if self.content.size.is_some_and(|size| size > self.limit) {
            return Err(FileRefusal::Failed(too_large(self.path, self.limit)));
        }
        Ok(())
    }

    /// Sends from a place on.
    fn send(
        &mut self,
        ctx: &mut Context,
        offset: u64,
        sender: &mpsc::Sender<Result<Bytes, Problem>>,
    ) -> Result<Outcome, VerbError> {
        if self.content.size.is_none() {
            self.hashed = Hashed::new(self.hashed.etag.clone());
        }
        // The hash must go over what the reader has already.
        while self.hashed.to < offset {
            let bytes = self.read(ctx, self.hashed.to, offset)?;
            if bytes.is_empty() {
                return Err(self.shrunk());
            }
            self.hashed.take(self.hashed.to, &bytes);
            ctx.progress(self.hashed.to, self.content.size, ProgressUnit::Bytes, "hashing what is there")?;
            if sender.is_closed() {
                return Ok(Outcome::Left);
            }
        }
        let mut at = offset;
        loop {
            let end = self.content.size.unwrap_or(self.limit.saturating_add(1));
            let bytes = if at < end { self.read(ctx, at, end)? } else { Bytes::new() };
            if bytes.is_empty() {
                if self.content.size.is_some_and(|size| at < size) {
                    return Err(self.shrunk());
                }
                break;
            }
            let next = at + bytes.len() as u64;
            if next > self.limit {
                return Err(too_large(self.path, self.limit).into());
            }
            if !self.pass(ctx, sender, 1, Some(Ok(bytes.clone())))? {
                return Ok(Outcome::Left);
            }
            // Hashed while the reader is at it already.
            self.hashed.take(at, &bytes);
            ctx.meter.sent_bytes.fetch_add(bytes.len() as u64, std::sync::atomic::Ordering::Relaxed);
            at = next;
            ctx.progress(at, self.content.size, ProgressUnit::Bytes, "")?;
        }
        // Room for all chunks again, or nobody there: the reader has taken them all, as far as can be told. (Who has not comes
        // back with a command of its own.)
        self.pass(ctx, sender, WAITING, None)?;
        let now = Facts::of(self.content.file.as_fd(), c"").map_err(|error| problem(self.path, &error))?;
        let changed = self.content.size.is_some() && self.content.facts.is_file() && now.etag() != self.hashed.etag;
        let sha256 = hex(&self.hashed.hash.clone().finalize());
        ctx.tell(&Body::File(FileFacts { name: self.name.clone(), size: at, sha256, changed }))?;
        Ok(Outcome::Whole)
    }

    /// The bytes at a place, one chunk at most; none at the end of the file.
    fn read(&mut self, ctx: &Context, at: u64, end: u64) -> Result<Bytes, VerbError> {
        ctx.stop.check().map_err(|_| self.stopped())?;
        let wanted = usize::try_from(end - at).unwrap_or(usize::MAX).min(CHUNK);
        if let Some(hole) = self.hole(at, wanted) {
            return Ok(hole);
        }
        let mut bytes = Vec::with_capacity(wanted);
        while bytes.len() < wanted {
            let place = at + bytes.len() as u64;
            match rustix::io::pread(&self.content.file, rustix::buffer::spare_capacity(&mut bytes), place) {
                // What has nothing to give without waiting (the kernel's log) is at its end too.
                Ok(0) | Err(rustix::io::Errno::AGAIN) => break,
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(problem(self.path, &error.into()).into()),
            }
        }
        bytes.truncate(wanted);
        ctx.meter.read(bytes.len() as u64);
        Ok(bytes.into())
    }

    /// Zeros, where the file has a hole of at least a chunk.
    fn hole(&self, at: u64, wanted: usize) -> Option<Bytes> {
        let facts = &self.content.facts;
        if !facts.is_file() || self.content.size.is_none() || facts.allocated >= facts.size {
            return None;
        }
        let data = match rustix::fs::seek(&self.content.file, SeekFrom::Data(at)) {
            Ok(data) => data,
            // Nothing but a hole up to the end.
            Err(rustix::io::Errno::NXIO) => facts.size,
            Err(_) => return None,
        };
        let long = data.checked_sub(at).is_some_and(|length| length >= wanted as u64);
        long.then(|| ZEROS.get(..wanted).map(Bytes::from_static)).flatten()
    }

    /// Waits for room and sends; `false` when the reader is gone. Who else asks meanwhile is told that somebody is at it.
    fn pass(
        &self,
        ctx: &mut Context,
        sender: &mpsc::Sender<Result<Bytes, Problem>>,
        room: usize,
        item: Option<Result<Bytes, Problem>>,
    ) -> Result<bool, VerbError> {
        let (desk, stop) = (&mut ctx.desk, ctx.stop.token().clone());
        Handle::current().block_on(async {
            loop {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => return Err(self.stopped()),
                    permits = sender.reserve_many(room) => {
                        let Ok(mut permits) = permits else { return Ok(false) };
                        if let (Some(item), Some(permit)) = (item, permits.next()) {
                            permit.send(item);
                        }
                        return Ok(true);
                    }
                    Some(other) = desk.recv() => {
                        let _ = other.answer.send(Err(FileRefusal::Busy));
                    }
                }
            }
        })
    }

    fn shrunk(&self) -> VerbError {
        let path = lossy(self.path);
        Problem::new("changed", format!("{path}: it became shorter while it was read; send getfile again")).at(path).into()
    }

    fn stopped(&self) -> VerbError {
        VerbError::Stopped {
            done: vec![format!("{} bytes of {} read", self.hashed.to, self.name)],
            not_done: vec!["the rest of the file; what was saved of it can be gone on with".into()],
        }
    }
}

impl Hashed {
    fn new(etag: String) -> Self {
        Self { etag, to: 0, hash: Sha256::new() }
    }

    /// Adds the bytes at a place; those that it has already are left out.
    fn take(&mut self, at: u64, bytes: &[u8]) {
        let known = usize::try_from(self.to.saturating_sub(at)).unwrap_or(usize::MAX);
        if let Some(fresh) = bytes.get(known..) {
            self.hash.update(fresh);
            self.to += fresh.len() as u64;
        }
    }
}

fn too_large(path: &Path, limit: u64) -> Problem {
    let path = lossy(path);
    Problem::new("limit", format!("{path}: larger than the {limit} bytes that may be fetched")).about("getfile").at(path)
}

fn wait(desk: &mut mpsc::Receiver<ReadRequest>, stop: &Stop, patience: Duration) -> Next {
    Handle::current().block_on(async {
        tokio::select! {
            biased;
            () = stop.token().cancelled() => Next::Stopped,
            asked = desk.recv() => asked.map_or(Next::Nobody, Next::Request),
            () = tokio::time::sleep(patience) => Next::Nobody,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_nobody_reads_does_not_wait_for_ever() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let _inside = runtime.enter();
        let (_sender, mut desk) = mpsc::channel(1);
        let stop = Stop::default();
        assert!(matches!(wait(&mut desk, &stop, Duration::from_millis(1)), Next::Nobody));
        stop.ask(crate::protocol::link::StopReason::Expired);
        assert!(matches!(wait(&mut desk, &stop, READER_PATIENCE), Next::Stopped));
    }

    #[test]
    fn every_byte_is_hashed_once() {
        let mut hashed = Hashed::new(String::new());
        hashed.take(0, b"abc");
        hashed.take(0, b"ab");
        hashed.take(1, b"bcd");
        hashed.take(4, b"ef");
        assert_eq!((hashed.to, hex(&hashed.hash.finalize())), (6, hex(&Sha256::digest(b"abcdef"))));
    }
}
