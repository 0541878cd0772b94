//! Content on its way to the engines: block by block, hashed as it comes, its start kept.

use std::fs::File;
use std::io::{self, Read};
use std::num::NonZeroU64;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use md5::Md5;
use rustix::fs::Advice;
use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::{WINDOW, Wants};
use crate::agent::content::fill;
use crate::agent::digest::{Counts, hex};

/// How much is read at once.
const BLOCK: usize = 256 * 1024;
/// How much more the disk is asked for meanwhile.
const AHEAD: u64 = 2 * 1024 * 1024;

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
    /// What of it was read already.
    first: &'a [u8],
    at: u64,
    size: u64,
    /// How far the disk was asked for it.
    asked: u64,
}

impl<'a> Blocks<'a> {
    /// The first `size` bytes of a file, of which some may have been read.
    pub(super) fn new(file: &'a File, first: &'a [u8], size: u64) -> Self {
        Self { file, first, at: 0, size, asked: BLOCK as u64 }
    }

    /// Appends what comes next; how many bytes, none at the end.
    pub(super) fn next(&mut self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        let left = usize::try_from(self.size.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let first = std::mem::take(&mut self.first);
        let count = match first.get(..first.len().min(left)) {
            _ if left == 0 => 0,
            Some(first) if !first.is_empty() => {
                buffer.extend_from_slice(first);
                first.len()
            }
            _ => {
                if self.asked < self.size && self.asked < self.at + AHEAD {
                    advise(self.file, self.asked, AHEAD.min(self.size - self.asked), Advice::WillNeed);
                    self.asked += AHEAD;
                }
                read_more(self.file, self.at, left.min(BLOCK), buffer)?
            }
        };
        self.at += count as u64;
        Ok(count)
    }
}

/// Tells the kernel how a part of a file will be used. Where it does not take that, reading is slower and no less true.
pub(super) fn advise(file: &File, at: u64, length: u64, advice: Advice) {
    if let Some(length) = NonZeroU64::new(length) {
        let _ = rustix::fs::fadvise(file, at, Some(length), advice);
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

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn what_was_read_already_comes_first_and_the_rest_behind_it() {
        let mut file = tempfile::tempfile().unwrap();
        let content: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
        file.write_all(&content).unwrap();
        let check = |first: usize, size: usize| {
            let mut blocks = Blocks::new(&file, &content[..first], size as u64);
            let mut all = Vec::new();
            while blocks.next(&mut all).unwrap() > 0 {}
            assert!(all == content[..size.min(content.len())], "{first} of {size}: {} came", all.len());
        };
        let whole = content.len();
        for first in [0, 1, 65_536, BLOCK + 1, whole] {
            for size in [0, 10, 65_536, BLOCK, whole, whole + 10] {
                check(first, size);
            }
        }
    }
}
