//! The content of library files, each kept once, in a file that is called by its SHA-256.
//!
//! What arrives is written to a part beside it, and gets its name only once it is whole and on the disk: an upload that
//! breaks off leaves nothing, and one that is there is there after a power cut too.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::host::{private_file, private_folder};
use crate::service::error::{Answer, Refusal};

/// The folder of contents.
#[derive(Debug)]
pub(super) struct Contents {
    folder: PathBuf,
}

/// Content that has arrived whole, under no name yet. Dropping it removes it.
#[derive(Debug)]
pub(super) struct Whole {
    part: Part,
    pub(super) size: u64,
    pub(super) sha256: String,
}

/// A file that is removed with its holder.
#[derive(Debug)]
struct Part(PathBuf);

impl Drop for Part {
    fn drop(&mut self) {
        // Given its name, it is not there any more.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A piece of what arrives.
pub(super) enum Piece {
    Bytes(Bytes),
    /// That was all.
    End,
}

impl Whole {
    /// Reads it again, piece by piece.
    pub(super) fn each(&self, mut take: impl FnMut(&[u8])) -> io::Result<()> {
        let mut file = File::open(&self.part.0)?;
        let mut piece = vec![0; 256 * 1024];
        loop {
            match file.read(&mut piece)? {
                0 => return Ok(()),
                count => take(piece.get(..count).unwrap_or_default()),
            }
        }
    }
}

impl Contents {
    /// The contents in a folder, without the parts that an earlier service left.
    pub(super) fn open(folder: PathBuf) -> io::Result<Self> {
        private_folder(&folder)?;
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "part") {
                std::fs::remove_file(path)?;
            }
        }
        Ok(Self { folder })
    }

    /// The SHA-256 of every content.
    pub(super) fn all(&self) -> io::Result<Vec<String>> {
        let names = std::fs::read_dir(&self.folder)?.map(|entry| entry.map(|entry| entry.file_name().into_string()));
        Ok(names.collect::<io::Result<Vec<_>>>()?.into_iter().flatten().filter(|name| name.len() == 64).collect())
    }

    /// Takes in what arrives; blocks for as long as that takes.
    pub(super) fn take(&self, mut pieces: mpsc::Receiver<Piece>, limit: u64) -> Answer<Whole> {
        let path = self.folder.join(format!("{}.part", Uuid::now_v7().simple()));
        let mut file = private_file().write(true).create_new(true).open(&path).map_err(|error| unwritable(&error))?;
        let part = Part(path);
        let (mut hash, mut size) = (Sha256::new(), 0);
        loop {
            match pieces.blocking_recv() {
                Some(Piece::Bytes(bytes)) => {
                    size += bytes.len() as u64;
                    if size > limit {
                        return Err(too_large(limit));
                    }
                    hash.update(&bytes);
                    file.write_all(&bytes).map_err(|error| unwritable(&error))?;
                }
                Some(Piece::End) => break,
                None => return Err(Refusal::bad("cut_off", "the upload broke off; nothing of it was kept")),
            }
        }
        file.sync_all().map_err(|error| unwritable(&error))?;
        Ok(Whole { part, size, sha256: hex(&hash.finalize()) })
    }

    /// Gives content its name.
    pub(super) fn keep(&self, whole: &Whole) -> Answer<()> {
        let kept = std::fs::rename(&whole.part.0, self.path(&whole.sha256));
        kept.and_then(|()| File::open(&self.folder)?.sync_all()).map_err(|error| unwritable(&error))
    }

    /// Removes what no name stands for any more.
    pub(super) fn remove(&self, sha256: &str) {
        if let Err(error) = std::fs::remove_file(self.path(sha256)) {
            tracing::warn!(%error, sha256, "content that is not used any more stays");
        }
    }

    /// Opens content. Who has it open reads it to its end, whatever becomes of the name.
    pub(super) fn read(&self, sha256: &str) -> io::Result<File> {
        File::open(self.path(sha256))
    }

    fn path(&self, sha256: &str) -> PathBuf {
        self.folder.join(Path::new(sha256))
    }
}

pub(super) fn too_large(limit: u64) -> Refusal {
    let message = format!("a library file has at most {limit} bytes ({} MB)", limit >> 20);
    Refusal::new(axum::http::StatusCode::PAYLOAD_TOO_LARGE, "limit", message).about("library_bytes")
}

fn unwritable(error: &io::Error) -> Refusal {
    tracing::error!(%error, "the library cannot be written");
    let message = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "the disk of the service is full".to_owned(),
        _ => format!("the library of the service cannot be written: {error}"),
    };
    Refusal::new(axum::http::StatusCode::INSUFFICIENT_STORAGE, "store", message)
}

/// Lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        text.push_str(&format!("{byte:02x}"));
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    fn arrive(contents: &Contents, pieces: Vec<Piece>, limit: u64) -> Answer<Whole> {
        let (sender, receiver) = mpsc::channel(16);
        for piece in pieces {
            sender.try_send(piece).ok().unwrap();
        }
        drop(sender);
        contents.take(receiver, limit)
    }

    fn bytes(bytes: &'static str) -> Piece {
        Piece::Bytes(Bytes::from_static(bytes.as_bytes()))
    }

    #[test]
    fn only_what_is_whole_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let contents = Contents::open(folder.path().join("library")).unwrap();
        let folder = folder.path().join("library");
        let code = |answer: Answer<Whole>| answer.unwrap_err().into_problem().code;
        assert_eq!(code(arrive(&contents, vec![bytes("half")], 10)), "cut_off");
        assert_eq!(code(arrive(&contents, vec![bytes("01234"), bytes("567890"), Piece::End], 10)), "limit");
        drop(arrive(&contents, vec![bytes("whole"), Piece::End], 10).unwrap());
        assert!(names(&folder).is_empty(), "{:?}", names(&folder));
        let whole = arrive(&contents, vec![bytes("ab"), bytes("c"), Piece::End], 3).unwrap();
        contents.keep(&whole).unwrap();
        let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!((whole.size, whole.sha256.as_str()), (3, sha256));
        drop(whole);
        assert_eq!((names(&folder), contents.all().unwrap()), (vec![sha256.to_owned()], vec![sha256.to_owned()]));
    }

    #[test]
    fn what_an_ended_service_left_half_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["0198d0a0.part", &"a".repeat(64)] {
            std::fs::write(folder.path().join(name), "x").unwrap();
        }
        Contents::open(folder.path().to_owned()).unwrap();
        assert_eq!(names(folder.path()), ["a".repeat(64)]);
    }
}
