//! Opens files whose content somebody wants, and refuses those that have none that ends, each with its reason.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{FileType, SeekFrom};

use super::path::{lossy, problem, shown};
use super::platform::{Facts, Root, is_virtual};
use crate::protocol::Problem;

/// A file that is open for reading.
#[derive(Debug)]
pub struct Content {
    /// The descriptor, its position at the start.
    pub file: File,
    /// The facts of the very file that is open.
    pub facts: Facts,
    /// How many bytes there are, where that is known before they are read: not for the files of /proc and /sys.
    pub size: Option<u64>,
}

impl Content {
    /// Opens a file, links followed, without ever waiting for it. Block devices only where `raw` says that they are meant.
    ///
    /// # Errors
    /// When it cannot be opened, or has no content that can be read to its end.
    pub fn open(root: &Root, path: &Path, raw: bool) -> Result<Self, Problem> {
        // Looked at before it is opened: opening alone can do something to a device, or wake who waits at a FIFO.
        let before = root.facts(path).map_err(|error| problem(path, &error))?;
        refuse(path, before.kind, raw)?;
        let file = root.open_file(path).map_err(|error| problem(path, &error))?;
        let facts = Facts::of(file.as_fd(), c"").map_err(|error| problem(path, &error))?;
        refuse(path, facts.kind, raw)?;
        let size = match facts.kind {
            FileType::BlockDevice => {
                let end = rustix::fs::seek(&file, SeekFrom::End(0)).map_err(|error| problem(path, &error.into()))?;
                rustix::fs::seek(&file, SeekFrom::Start(0)).map_err(|error| problem(path, &error.into()))?;
                Some(end)
            }
            _ if is_virtual(file.as_fd()) => {
                refuse_what_reading_takes(root, path, &file)?;
                None
            }
            _ => Some(facts.size),
        };
        Ok(Self { file, facts, size })
    }
}

/// Reads until the buffer is full or nothing more comes. How much came, and what ended it before. What has nothing to give without
/// waiting is at its end.
pub fn fill(reader: &mut dyn Read, buffer: &mut [u8]) -> (usize, io::Result<()>) {
    let mut count = 0;
    while let Some(room) = buffer.get_mut(count..).filter(|room| !room.is_empty()) {
        match reader.read(room) {
            Ok(0) => break,
            Ok(read) => count += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => return (count, Err(error)),
        }
    }
    (count, Ok(()))
}

/// Files of the kernel that give each line once: who reads them takes it from whoever it was meant for (proc(5), ftrace).
fn refuse_what_reading_takes(root: &Root, path: &Path, file: &File) -> Result<(), Problem> {
    let real = root.path_of(file.as_fd());
    let why = match real.as_ref().and_then(|real| real.file_name()?.to_str()) {
        Some("kmsg") => "reading it takes the kernel's messages from who logs them; `run` a script with dmesg in it instead",
        Some("trace_pipe") => "reading it takes the trace from who reads it; `trace` beside it has the same, and stays",
        _ => return Ok(()),
    };
    Err(Problem::new("not_a_file", format!("{}: {why}", shown(path))).at(lossy(path)))
}

fn refuse(path: &Path, kind: FileType, raw: bool) -> Result<(), Problem> {
    let why = match kind {
        FileType::RegularFile => return Ok(()),
        FileType::BlockDevice if raw => return Ok(()),
        FileType::BlockDevice => "it is a block device; getfile -raw reads its bytes",
        FileType::Directory => "it is a folder; dir lists what is in it, scan judges it",
        FileType::Fifo => "it is a FIFO, which has no content of its own",
        FileType::Socket => "it is a socket, which has no content of its own",
        FileType::CharacterDevice => "it is a character device, whose content has no end",
        FileType::Symlink | FileType::Unknown => "it is no file that can be read",
    };
    Err(Problem::new("not_a_file", format!("{}: {why}", shown(path))).at(lossy(path)))
}
