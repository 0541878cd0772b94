//! `library add`, the analyst's side: a local file's content to the service, once the command says that it may come.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::StreamExt;
use sha2::{Digest, Sha256};
use tokio::io::AsyncReadExt;
use tokio::task::JoinHandle;
use tokio_util::io::ReaderStream;

use super::Client;
use crate::error::{Exit, Failure, Outcome};
use crate::grammar::Invocation;
use crate::host::local_path;
use crate::protocol::{Body, CommandId, SessionId, check_library_name};

/// A detached signature is at most this long, in bytes.
const MAX_SIGNATURE: u64 = 4096;
/// The code of what goes wrong with the file here.
const LOCAL: &str = "local_file";
/// How much is read at once.
const PIECE: usize = 256 * 1024;

/// A file on its way to the library.
pub struct Upload {
    file: PathBuf,
    size: u64,
    name: String,
    signature: Option<String>,
    transfer: Option<JoinHandle<Outcome<()>>>,
}

impl Upload {
    /// What a `library add` names; `limit` is the largest file that the library takes.
    ///
    /// # Errors
    /// When the file is not there or no file, is too large, or may not be called so.
    pub fn of(invocation: &Invocation, limit: u64) -> Outcome<Self> {
        let typed = invocation.params.get("file").map_or("", String::as_str);
        let file = local_path(typed);
        let facts = std::fs::metadata(&file).map_err(|error| unreadable(&file, &error))?;
        if !facts.is_file() {
            return Err(Failure::here(LOCAL, format!("{typed} is no file")));
        }
        let name = invocation.params.get("name").map_or_else(|| typed.rsplit('/').next().unwrap_or(typed), String::as_str);
        check_library_name(name).map_err(|problem| Failure { exit: Exit::NotUnderstood, problem })?;
        if facts.len() > limit {
            let message = format!("{typed} has {} bytes; a library file has at most {limit}", facts.len());
            return Err(Failure::new(Exit::Refused, "limit", message));
        }
        if facts.len() == 0 && hash(&file, 0).map_err(|error| unreadable(&file, &error))?.is_none() {
            return Err(changed(&file, 0));
        }
        let signature = invocation.params.get("signature").map(|file| read_signature(&local_path(file))).transpose()?;
        Ok(Self { file, size: facts.len(), name: name.to_owned(), signature, transfer: None })
    }

    /// Takes in what the command says: its first progress asks for the content.
    pub fn hear(&mut self, client: &Client, session: &SessionId, command: CommandId, body: &Body) {
        if matches!(body, Body::Progress(_)) && self.transfer.is_none() {
            let transfer = Transfer {
                client: client.clone(),
                command,
                file: self.file.clone(),
                size: self.size,
                name: self.name.clone(),
                signature: self.signature.take(),
            };
            let (client, session) = (client.clone(), session.clone());
            self.transfer = Some(tokio::spawn(async move {
                let sent = transfer.run().await;
                if sent.as_ref().is_err_and(|failure| failure.code() == LOCAL) {
                    // The command would wait for what does not come.
                    let _ = client.cancel(&session, command).await;
                }
                sent
            }));
        }
    }

    /// The command has ended. Answers with what went wrong here, where that is why it failed.
    pub async fn finish(self, succeeded: bool) -> Option<Failure> {
        let transfer = self.transfer?;
        if succeeded {
            return None;
        }
        if !transfer.is_finished() {
            transfer.abort();
        }
        let failure = transfer.await.ok()?.err()?;
        // What the service says of it, the command's own end says too.
        (failure.code() == LOCAL).then_some(failure)
    }
}

struct Transfer {
    client: Client,
    command: CommandId,
    file: PathBuf,
    size: u64,
    name: String,
    signature: Option<String>,
}

impl Transfer {
    async fn run(self) -> Outcome<()> {
        let (file, size) = (self.file.clone(), self.size);
        let hashed = tokio::task::spawn_blocking(move || hash(&file, size)).await;
        let hashed = hashed
            .map_err(|error| Failure::internal(format!("the file could not be hashed: {error}")))?
            .map_err(|error| unreadable(&self.file, &error))?;
        let sha256 = hashed.ok_or_else(|| changed(&self.file, self.size))?;
        let mut query = vec![("sha256", sha256)];
        query.extend(self.signature.clone().map(|signature| ("signature", signature)));
        let became_shorter = Arc::new(AtomicBool::new(false));
        let content = || {
            let file = File::open(&self.file).map_err(|error| unreadable(&self.file, &error))?;
            // What grew since it was measured is not what was hashed either: the service says so.
            let pieces = ReaderStream::with_capacity(tokio::fs::File::from_std(file).take(self.size), PIECE);
            let (mut left, shorter) = (self.size, became_shorter.clone());
            let counted = pieces.map(Some).chain(futures_util::stream::iter([None])).filter_map(move |piece| {
                match &piece {
                    Some(Ok(bytes)) => left = left.saturating_sub(bytes.len() as u64),
                    Some(Err(_)) => {}
                    None => shorter.store(left > 0, Ordering::SeqCst),
                }
                std::future::ready(piece)
            });
            Ok(reqwest::Body::wrap_stream(counted))
        };
        let sent = self.client.upload(&self.name, self.command, &query, self.size, content).await;
        if became_shorter.load(Ordering::SeqCst) { Err(changed(&self.file, self.size)) } else { sent }
    }
}

/// The SHA-256 of a file's bytes; `None` when they are more or fewer than `size`.
fn hash(file: &Path, size: u64) -> io::Result<Option<String>> {
    // A file that grows without an end is not read to it.
    let mut file = File::open(file)?.take(size.saturating_add(1));
    let (mut hash, mut read) = (Sha256::new(), 0);
    let mut piece = vec![0; PIECE];
    loop {
        match file.read(&mut piece) {
            Ok(0) => return Ok((read == size).then(|| super::fetch::hex(&hash.finalize()))),
            Ok(count) => {
                read += count as u64;
                hash.update(piece.get(..count).unwrap_or_default());
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Why a file that has another size than it said cannot be sent.
fn changed(file: &Path, size: u64) -> Failure {
    let file = file.display();
    let message = if size == 0 {
        format!("{file} says that it is empty, and is not, as the files of /proc; copy it to a file and add that")
    } else {
        format!("{file} changed while it was read; nothing was added: add it again, or a copy of it")
    };
    Failure::here(LOCAL, message)
}

fn read_signature(file: &Path) -> Outcome<String> {
    let mut text = String::new();
    let read = File::open(file).and_then(|opened| opened.take(MAX_SIGNATURE + 1).read_to_string(&mut text));
    read.map_err(|error| unreadable(file, &error))?;
    if text.len() as u64 > MAX_SIGNATURE {
        return Err(Failure::here(LOCAL, format!("{} is too long for a signature", file.display())));
    }
    Ok(text)
}

fn unreadable(file: &Path, error: &io::Error) -> Failure {
    Failure::here(LOCAL, format!("{} cannot be read: {error}", file.display()))
}
