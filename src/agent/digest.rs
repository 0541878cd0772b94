//! Hashes of a file's content, all in one pass over its bytes.
//!
//! MD5 is the slowest and gains nothing from the processor, so it has a thread of its own: the reading thread hands it each
//! block and computes everything else meanwhile. Blocks are few, fixed and used over and over.

use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc;

use md5::Md5;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use super::content::fill;
use super::context::{Meter, Stop, VerbError};
use super::platform::{thread_cpu_since, thread_cpu_time};

/// A file no longer than this is hashed where it is read.
const SMALL: usize = 64 * 1024;
/// What is read at once: it stays in the processor's cache while every hash looks at it.
const BLOCK: usize = 64 * 1024;
/// How many blocks may wait for MD5. So many that a block has left the other processor's cache by the time it is used again:
/// with a few that both hold, the copying alone took three times as long. A stop is heard at each block all the same.
const WAITING: usize = 64;
/// How much of a file's start is kept to tell what it is.
const HEAD: usize = SMALL;

/// What was computed of a file's content.
#[derive(Debug, Clone, PartialEq)]
pub struct Digests {
    /// How many bytes were read.
    pub size: u64,
    /// SHA-256 in lower-case hexadecimal.
    pub sha256: String,
    /// SHA-1 in lower-case hexadecimal.
    pub sha1: String,
    /// MD5 in lower-case hexadecimal.
    pub md5: String,
    /// Shannon entropy of its bytes, 0 to 8 bits a byte.
    pub entropy: f64,
    /// Its first bytes.
    pub head: Vec<u8>,
}

/// Reads at most `bound` bytes from a file's position and computes everything of them. `progress` is told after each block
/// how many bytes were read.
///
/// # Errors
/// Outside: when the command was asked to stop. Inside: when the file could not be read.
pub fn digests(
    file: &File,
    bound: u64,
    stop: &Stop,
    meter: &Meter,
    mut progress: impl FnMut(u64) -> Result<(), VerbError>,
) -> Result<io::Result<Digests>, VerbError> {
    let mut reader = file.take(bound);
    let mut first = vec![0; SMALL.min(usize::try_from(bound).unwrap_or(SMALL)) + 1];
    let count = match filled(&mut reader, &mut first) {
        Ok(count) => count,
        Err(error) => return Ok(Err(error)),
    };
    meter.read(count as u64);
    let mut work = Work::default();
    if count < first.len() {
        first.truncate(count);
        work.take(&first);
        let md5 = Md5::digest(&first);
        return Ok(Ok(work.end(&md5, first)));
    }

    std::thread::scope(|scope| {
        let (sender, blocks) = mpsc::sync_channel::<Arc<Vec<u8>>>(WAITING);
        let beside = scope.spawn(move || {
            let begun = thread_cpu_time();
            let mut md5 = Md5::new();
            while let Ok(block) = blocks.recv() {
                if stop.asked() {
                    break;
                }
                md5.update(block.as_slice());
            }
            let micros = thread_cpu_since(begun).as_micros();
            meter.cpu_us.fetch_add(u64::try_from(micros).unwrap_or(u64::MAX), Ordering::Relaxed);
            md5.finalize()
        });

        let mut ring: Vec<Arc<Vec<u8>>> = Vec::new();
        let mut block = Arc::new(first.clone());
        let mut turn = 0;
        let read = loop {
            stop.check()?;
            // The other end is gone only when it was asked to stop.
            if sender.send(Arc::clone(&block)).is_err() {
                break stop.check().map(|()| Err(io::Error::other("hashing ended early")));
            }
            work.take(&block);
            progress(work.size)?;
            // By now the other thread holds at most the blocks that wait and the one it is at, so the oldest is free.
            if ring.len() < WAITING + 2 {
                ring.push(Arc::new(Vec::new()));
            }
            let Some(slot) = ring.get_mut(turn) else { break Ok(Err(io::Error::other("no block"))) };
            turn = (turn + 1) % (WAITING + 2);
            if Arc::get_mut(slot).is_none() {
                *slot = Arc::new(Vec::new());
            }
            let Some(next) = Arc::get_mut(slot) else { break Ok(Err(io::Error::other("no block"))) };
            next.resize(BLOCK, 0);
            match filled(&mut reader, next) {
                Ok(0) => break Ok(Ok(())),
                Ok(count) => {
                    next.truncate(count);
                    meter.read(count as u64);
                }
                Err(error) => break Ok(Err(error)),
            }
            block = Arc::clone(slot);
        };
        drop(sender);
        let md5 = beside.join().map_err(|_| VerbError::failed("internal", "hashing failed inside the agent"))?;
        stop.check()?;
        Ok(read?.map(|()| {
            first.truncate(HEAD);
            work.end(&md5, first)
        }))
    })
}

/// The SHA-256 of at most `bound` bytes from a file's position, and how many there were.
///
/// # Errors
/// Outside: when the command was asked to stop. Inside: when the file could not be read.
pub fn sha256(file: &File, bound: u64, stop: &Stop, meter: &Meter) -> Result<io::Result<(u64, String)>, VerbError> {
    let mut reader = file.take(bound);
    let mut block = vec![0; BLOCK];
    let mut hash = Sha256::new();
    let mut size = 0;
    loop {
        stop.check()?;
        match filled(&mut reader, &mut block) {
            Ok(0) => return Ok(Ok((size, hex(&hash.finalize())))),
            Ok(count) => {
                meter.read(count as u64);
                size += count as u64;
                hash.update(block.get(..count).unwrap_or_default());
            }
            Err(error) => return Ok(Err(error)),
        }
    }
}

/// Lower-case hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |value: u8| DIGITS.get(usize::from(value & 15)).map_or('0', |&digit| char::from(digit));
    bytes.iter().flat_map(|&byte| [digit(byte >> 4), digit(byte)]).collect()
}

/// What is read through it is hashed on the way.
pub struct Hashing<R> {
    inner: R,
    hash: Sha256,
}

impl<R: Read> Hashing<R> {
    /// A reader around another.
    pub fn new(inner: R) -> Self {
        Self { inner, hash: Sha256::new() }
    }

    /// The SHA-256 of all that was read, in hexadecimal.
    pub fn sha256(self) -> String {
        hex(&self.hash.finalize())
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hash.update(buffer.get(..read).unwrap_or_default());
        Ok(read)
    }
}

/// Everything but MD5.
#[derive(Default)]
struct Work {
    size: u64,
    sha256: Sha256,
    sha1: Sha1,
    counts: Counts,
}

impl Work {
    fn take(&mut self, bytes: &[u8]) {
        self.size += bytes.len() as u64;
        self.sha256.update(bytes);
        self.sha1.update(bytes);
        self.counts.take(bytes);
    }

    fn end(self, md5: &[u8], head: Vec<u8>) -> Digests {
        Digests {
            size: self.size,
            sha256: hex(&self.sha256.finalize()),
            sha1: hex(&self.sha1.finalize()),
            md5: hex(md5),
            entropy: self.counts.entropy(self.size),
            head,
        }
    }
}

/// How often each byte occurs: four tables, so that equal bytes in a row do not wait for each other.
pub struct Counts([[u64; 256]; 4]);

impl Default for Counts {
    fn default() -> Self {
        Self([[0; 256]; 4])
    }
}

impl Counts {
    /// Counts these too.
    pub fn take(&mut self, bytes: &[u8]) {
        let [a, b, c, d] = &mut self.0;
        let (fours, rest) = bytes.as_chunks::<4>();
        for &[one, two, three, four] in fours {
            a[usize::from(one)] += 1;
            b[usize::from(two)] += 1;
            c[usize::from(three)] += 1;
            d[usize::from(four)] += 1;
        }
        for &byte in rest {
            a[usize::from(byte)] += 1;
        }
    }

    /// Shannon entropy of `size` bytes, to four places: more would only be noise.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn entropy(&self, size: u64) -> f64 {
        let [a, b, c, d] = &self.0;
        let counts = a.iter().zip(b).zip(c).zip(d).map(|(((a, b), c), d)| a + b + c + d);
        let bits = counts.filter(|&count| count > 0).fold(0.0, |bits, count| {
            let share = count as f64 / size as f64;
            bits - share * share.log2()
        });
        (bits * 10_000.0).round() / 10_000.0 + 0.0
    }
}

/// Fills the buffer; an error counts, whatever came before it.
fn filled(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let (count, read) = fill(reader, buffer);
    read.map(|()| count)
}
