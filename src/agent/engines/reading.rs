//! Content on its way to the engines: block by block, holes passed over, hashed as it comes.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use md5::Md5;
use rustix::fs::SeekFrom;
use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::Wants;
use crate::agent::content::fill;
use crate::agent::digest::{Counts, hex};

/// How much is read at once.
const BLOCK: usize = 256 * 1024;

/// What came of reading content.
pub(super) struct Taken {
    /// What was read last.
    pub(super) window: Arc<Vec<u8>>,
    /// Its start.
    pub(super) head: Vec<u8>,
    /// Whether the window is all there is.
    pub(super) single: bool,
    /// How many bytes came.
    pub(super) size: u64,
    /// Of all that came.
    pub(super) hashes: Hashing,
    /// How often each byte occurs, and of how many.
    pub(super) counts: Option<(Counts, u64)>,
    /// What ended it before its end.
    pub(super) error: Option<io::Error>,
}

/// What content comes in.
pub(super) enum Piece {
    /// So many bytes more in the buffer.
    Data(usize),
    /// Something was passed over: what comes now begins at this byte.
    Gap(u64),
    /// Nothing more comes.
    End,
}

/// A file's bytes; of a large one only those that hold data.
pub(super) struct Extents<'a> {
    file: &'a File,
    at: u64,
    size: u64,
    left: u64,
    holes: bool,
    /// Whether data beyond the bound was left.
    pub(super) cut: bool,
}

impl<'a> Extents<'a> {
    /// The first `bound` bytes of a file of that size; with `holes` only those that hold data count.
    pub(super) fn new(file: &'a File, size: u64, bound: u64, holes: bool) -> Self {
        Self { file, at: 0, size, left: bound, holes, cut: false }
    }

    /// Appends what comes next.
    pub(super) fn next(&mut self, buffer: &mut Vec<u8>) -> io::Result<Piece> {
        if self.holes {
            match rustix::fs::seek(self.file, SeekFrom::Data(self.at)) {
                Ok(data) if data > self.at => {
                    self.at = data;
                    return Ok(Piece::Gap(data));
                }
                Err(rustix::io::Errno::NXIO) => return Ok(Piece::End),
                _ => {}
            }
        }
        let room = self.size.saturating_sub(self.at).min(self.left).min(BLOCK as u64);
        if room == 0 {
            self.cut = self.at < self.size;
            return Ok(Piece::End);
        }
        let before = buffer.len();
        buffer.resize(before + usize::try_from(room).unwrap_or(BLOCK), 0);
        let count = loop {
            match self.file.read_at(buffer.get_mut(before..).unwrap_or_default(), self.at) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break Ok(0),
                read => break read,
            }
        };
        buffer.truncate(before + count.as_ref().copied().unwrap_or(0));
        let count = count?;
        self.at += count as u64;
        self.left -= count as u64;
        Ok(if count == 0 { Piece::End } else { Piece::Data(count) })
    }
}

/// Appends what a stream gives next. What came before an error is looked at; the error comes again.
pub(super) fn streamed(content: &mut dyn Read, buffer: &mut Vec<u8>) -> io::Result<Piece> {
    let before = buffer.len();
    buffer.resize(before + BLOCK, 0);
    let (count, read) = fill(content, buffer.get_mut(before..).unwrap_or_default());
    buffer.truncate(before + count);
    match (count, read) {
        (0, read) => read.map(|()| Piece::End),
        (count, _) => Ok(Piece::Data(count)),
    }
}

/// The room of a window; a new one where an engine that was given up still has it.
pub(super) fn cleared(window: &mut Arc<Vec<u8>>) -> &mut Vec<u8> {
    if Arc::get_mut(window).is_none() {
        *window = Arc::new(window.as_ref().clone());
    }
    Arc::make_mut(window)
}

/// Whether every byte is zero: compared with itself one byte on, which the processor does in blocks.
pub(super) fn is_all_zeros(bytes: &[u8]) -> bool {
    bytes.first() == Some(&0) && bytes.get(1..) == bytes.get(..bytes.len() - 1)
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
