//! Where bytes go as they come: one thread writes, another hashes beside it. Both are slower than nothing and faster than
//! the two after each other.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use zip::write::SimpleFileOptions;

use crate::error::{Failure, Outcome};

/// What the sandboxes of this field expect an archive to be locked with.
const ZIP_PASSWORD: &str = "infected";
/// Pieces that may wait for a thread.
const WAITING: usize = 16;
/// Zeros at least this long are left out of the local file as a hole.
const HOLE: usize = 64 * 1024;
/// Zeros are looked for in blocks of this.
const BLOCK: usize = 4096;

/// How the bytes are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shape {
    /// As they are.
    Plain,
    /// As the one entry of an encrypted ZIP, under this name.
    Zip(String),
}

/// What came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// Bytes, with those that were there before.
    pub size: u64,
    /// Of all of them, lower-case hexadecimal.
    pub sha256: String,
}

/// Takes bytes in.
pub struct Sink {
    to_writer: mpsc::Sender<Bytes>,
    to_hasher: mpsc::Sender<Bytes>,
    writer: JoinHandle<io::Result<()>>,
    hasher: JoinHandle<io::Result<(u64, String)>>,
}

impl Sink {
    /// Goes on behind the first `have` bytes of a file, which are hashed again first.
    ///
    /// # Errors
    /// When the file cannot be opened once more.
    pub fn begin(file: File, have: u64, shape: Shape) -> Outcome<Self> {
        let again = file.try_clone().map_err(|error| failed(&error))?;
        let (to_writer, written) = mpsc::channel(WAITING);
        let (to_hasher, hashed) = mpsc::channel(WAITING);
        let writer = tokio::task::spawn_blocking(move || match shape {
            Shape::Plain => write_plain(file, have, written),
            Shape::Zip(name) => write_zip(file, &name, written),
        });
        let hasher = tokio::task::spawn_blocking(move || hash(&again, have, hashed));
        Ok(Self { to_writer, to_hasher, writer, hasher })
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// When a thread has ended: [`Sink::end`] tells why.
    pub async fn take(&mut self, bytes: Bytes) -> Result<(), SinkEnded> {
        self.to_writer.send(bytes.clone()).await.map_err(|_| SinkEnded)?;
        self.to_hasher.send(bytes).await.map_err(|_| SinkEnded)
    }

    /// No bytes follow.
    ///
    /// # Errors
    /// When something could not be written or read.
    pub async fn end(self) -> Outcome<Taken> {
        drop((self.to_writer, self.to_hasher));
        let gone = |error: tokio::task::JoinError| Failure::internal(format!("a thread of the transfer ended: {error}"));
        self.writer.await.map_err(gone)?.map_err(|error| failed(&error))?;
        let (size, sha256) = self.hasher.await.map_err(gone)?.map_err(|error| failed(&error))?;
        Ok(Taken { size, sha256 })
    }
}

/// A thread of the sink has ended early.
#[derive(Debug)]
pub struct SinkEnded;

/// The code of what the sink's file system says.
pub const UNWRITTEN: &str = "unwritten";

fn failed(error: &io::Error) -> Failure {
    let why = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "the disk here is full".to_owned(),
        _ => format!("it cannot be written here: {error}"),
    };
    Failure::here(UNWRITTEN, why)
}

fn write_plain(mut file: File, have: u64, mut bytes: mpsc::Receiver<Bytes>) -> io::Result<()> {
    file.set_len(have)?;
    let mut at = file.seek(SeekFrom::Start(have))?;
    // Zeros that came and are not written: how many there are decides whether they become a hole.
    let mut zeros = 0;
    while let Some(piece) = bytes.blocking_recv() {
        at += piece.len() as u64;
        let mut rest = piece.as_ref();
        while !rest.is_empty() {
            let (quiet, behind) = rest.split_at(run_of(rest, true));
            zeros += quiet.len();
            let (loud, behind) = behind.split_at(run_of(behind, false));
            if !loud.is_empty() {
                settle(&mut file, std::mem::take(&mut zeros))?;
                file.write_all(loud)?;
            }
            rest = behind;
        }
    }
    file.set_len(at)
}

/// How many bytes at the beginning are blocks of zeros, or blocks of anything else.
fn run_of(bytes: &[u8], zero: bool) -> usize {
    bytes.chunks(BLOCK).take_while(|block| is_zero(block) == zero).map(<[u8]>::len).sum()
}

/// Passes over zeros that came: many as a hole, few as they are.
fn settle(file: &mut File, zeros: usize) -> io::Result<()> {
    if zeros >= HOLE {
        file.seek_relative(i64::try_from(zeros).map_err(io::Error::other)?)
    } else {
        io::copy(&mut io::Read::take(io::repeat(0), zeros as u64), file).map(|_| ())
    }
}

/// Whether a block holds nothing but zeros.
fn is_zero(block: &[u8]) -> bool {
    let (words, rest) = block.as_chunks::<16>();
    words.iter().all(|word| u128::from_ne_bytes(*word) == 0) && rest.iter().all(|&byte| byte == 0)
}

fn write_zip(mut file: File, name: &str, mut bytes: mpsc::Receiver<Bytes>) -> io::Result<()> {
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    let mut archive = zip::ZipWriter::new(io::BufWriter::with_capacity(1 << 20, file));
    let options = SimpleFileOptions::default().large_file(true);
    archive.start_file(name, options.with_aes_encryption(zip::AesMode::Aes256, ZIP_PASSWORD))?;
    while let Some(piece) = bytes.blocking_recv() {
        archive.write_all(&piece)?;
    }
    archive.finish()?.flush()
}

fn hash(file: &File, have: u64, mut bytes: mpsc::Receiver<Bytes>) -> io::Result<(u64, String)> {
    let mut hash = Sha256::new();
    let mut size = 0;
    if have > 0 {
        // A handle of its own position would need another open; reading at places does not move the writer's.
        let mut buffer = vec![0; 1 << 20];
        while size < have {
            let wanted = usize::try_from(have - size).unwrap_or(buffer.len()).min(buffer.len());
            let read = crate::host::read_at(file, size, buffer.get_mut(..wanted).unwrap_or_default())?;
            if read == 0 {
                return Err(io::Error::other("the part that was there has become shorter"));
            }
            hash.update(buffer.get(..read).unwrap_or_default());
            size += read as u64;
        }
    }
    while let Some(piece) = bytes.blocking_recv() {
        hash.update(&piece);
        size += piece.len() as u64;
    }
    Ok((size, crate::shell::client::fetch::hex(&hash.finalize())))
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn take(file: &File, have: u64, shape: Shape, pieces: &[&[u8]]) -> Taken {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut sink = Sink::begin(file.try_clone().unwrap(), have, shape).unwrap();
            for piece in pieces {
                sink.take(Bytes::copy_from_slice(piece)).await.unwrap();
            }
            sink.end().await.unwrap()
        })
    }

    fn sha256(bytes: &[u8]) -> String {
        super::super::hex(&Sha256::digest(bytes))
    }

    #[test]
    fn what_was_there_counts_too() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"hello ").unwrap();
        let taken = take(&file, 6, Shape::Plain, &[b"wor", b"ld"]);
        assert_eq!(taken, Taken { size: 11, sha256: sha256(b"hello world") });
        let mut text = String::new();
        file.rewind().unwrap();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello world");
    }

    #[test]
    fn holes_stay_holes_and_the_length_is_kept() {
        use std::os::unix::fs::MetadataExt as _;
        let mut file = tempfile::tempfile().unwrap();
        let zeros = vec![0; 4 << 20];
        let taken = take(&file, 0, Shape::Plain, &[b"x", &zeros, &zeros]);
        let whole = [b"x".as_slice(), &zeros, &zeros].concat();
        assert_eq!(taken, Taken { size: whole.len() as u64, sha256: sha256(&whole) });
        assert_eq!(file.metadata().unwrap().len(), whole.len() as u64);
        assert!(file.metadata().unwrap().blocks() * 512 < 1 << 20);
        let mut read = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut read).unwrap();
        assert!(read == whole);
    }

    #[test]
    fn an_archive_opens_with_the_known_password_alone() {
        let file = tempfile::tempfile().unwrap();
        let taken = take(&file, 0, Shape::Zip("evil.exe".into()), &[b"MZ", b"..."]);
        assert_eq!(taken, Taken { size: 5, sha256: sha256(b"MZ...") });
        let mut archive = zip::ZipArchive::new(file).unwrap();
        assert!(archive.by_index(0).is_err());
        let mut text = String::new();
        archive.by_index_decrypt(0, ZIP_PASSWORD.as_bytes()).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "MZ...");
        assert_eq!(archive.index_for_name("evil.exe"), Some(0));
    }
}
