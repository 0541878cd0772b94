//! Content on its way to the engines: block by block, hashed as it comes, its start kept.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::{WINDOW, Wants};
use crate::agent::content::fill;
use crate::agent::digest::{Counts, hex};

/// How much is read at once.
const BLOCK: usize = 256 * 1024;

/// What came of reading content.
pub(super) struct Taken {
    /// Its first bytes: all of it, or about as many as a [`WINDOW`] has.
    pub(super) start: Arc<Vec<u8>>,
    /// How many bytes came.
    pub(super) size: u64,
    /// Of all that came.
    pub(super) hashes: Hashing,
    /// How often each byte occurs, and of how many.
    pub(super) counts: Option<(Counts, u64)>,
    /// What ended it before its end.
    pub(super) error: Option<io::Error>,
}

impl Taken {
    /// Whether the start is all that came.
    pub(super) fn is_at_hand(&self) -> bool {
        self.size == self.start.len() as u64
    }
}

/// The first bytes of a file, so many as it had when it was opened.
pub(super) struct Blocks<'a> {
    file: &'a File,
    at: u64,
    size: u64,
}

impl<'a> Blocks<'a> {
    /// The first `size` bytes of a file.
    pub(super) fn new(file: &'a File, size: u64) -> Self {
        Self { file, at: 0, size }
    }

    /// Appends what comes next; how many bytes, none at the end.
    pub(super) fn next(&mut self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        let room = usize::try_from(self.size.saturating_sub(self.at)).unwrap_or(BLOCK).min(BLOCK);
        let count = read_more(self.file, self.at, room, buffer)?;
        self.at += count as u64;
        Ok(count)
    }
}

/// Appends up to so many bytes of a file; how many came.
pub(super) fn read_more(file: &File, at: u64, room: usize, buffer: &mut Vec<u8>) -> io::Result<usize> {
    let before = buffer.len();
    buffer.resize(before + room, 0);
    let count = loop {
        match file.read_at(buffer.get_mut(before..).unwrap_or_default(), at) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break Ok(0),
            read => break read,
        }
    };
    buffer.truncate(before + count.as_ref().copied().unwrap_or(0));
    count
}

/// Appends what a stream gives next; how many bytes, none at the end. What came before an error is looked at; the error comes
/// again.
pub(super) fn streamed(content: &mut dyn Read, buffer: &mut Vec<u8>) -> io::Result<usize> {
    let before = buffer.len();
    buffer.resize(before + BLOCK, 0);
    let (count, read) = fill(content, buffer.get_mut(before..).unwrap_or_default());
    buffer.truncate(before + count);
    if count == 0 { read.map(|()| 0) } else { Ok(count) }
}

/// The room for the start of what is read next; a new one where an engine that was given up still has it.
pub(super) fn cleared(start: &mut Arc<Vec<u8>>) -> &mut Vec<u8> {
    if Arc::get_mut(start).is_none() {
        *start = Arc::default();
    }
    let room = Arc::make_mut(start);
    room.clear();
    room
}

/// Makes room for one more block: no more than a start can become.
pub(super) fn make_room(start: &mut Vec<u8>) {
    if start.capacity() - start.len() < BLOCK {
        start.reserve_exact(start.len().min(WINDOW.saturating_sub(start.len())).max(BLOCK));
    }
}

/// The hashes that somebody needs.
pub(super) struct Hashing {
    sha256: Option<Sha256>,
    sha1: Option<Sha1>,
    md5: Option<Md5>,
}

impl Hashing {
    pub(super) fn new(wants: Wants) -> Self {
        Self { sha256: wants.sha256.then(Sha256::new), sha1: wants.sha1.then(Sha1::new), md5: wants.md5.then(Md5::new) }
    }

    pub(super) fn take(&mut self, bytes: &[u8]) {
        if let Some(hash) = &mut self.sha256 {
            hash.update(bytes);
        }
        if let Some(hash) = &mut self.sha1 {
            hash.update(bytes);
        }
        if let Some(hash) = &mut self.md5 {
            hash.update(bytes);
        }
    }

    /// SHA-256, SHA-1 and MD5, as far as somebody needs them.
    pub(super) fn end(self) -> (Option<String>, Option<String>, Option<String>) {
        (
            self.sha256.map(|hash| hex(&hash.finalize())),
            self.sha1.map(|hash| hex(&hash.finalize())),
            self.md5.map(|hash| hex(&hash.finalize())),
        )
    }
}
