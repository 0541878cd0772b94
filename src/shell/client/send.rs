//! `library add`, the analyst's side: a local file's content to the service, once the command says that it may come.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tokio::io::AsyncReadExt;
use tokio::task::JoinHandle;
use tokio_util::io::ReaderStream;

use super::Client;
use crate::error::{Exit, Failure, Outcome};
use crate::grammar::Invocation;
use crate::host::local_path;
use crate::protocol::{Body, CommandId, check_library_name};

/// A detached signature is at most this long, in bytes.
const MAX_SIGNATURE: u64 = 4096;
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
            return Err(Failure::here("local_file", format!("{typed} is no file")));
        }
        let name = invocation.params.get("name").map_or_else(|| typed.rsplit('/').next().unwrap_or(typed), String::as_str);
        check_library_name(name).map_err(|problem| Failure { exit: Exit::NotUnderstood, problem })?;
        if facts.len() > limit {
            let message = format!("{typed} has {} bytes; a library file has at most {limit}", facts.len());
            return Err(Failure::new(Exit::Refused, "limit", message));
        }
        let signature = invocation.params.get("signature").map(|file| read_signature(&local_path(file))).transpose()?;
        Ok(Self { file, size: facts.len(), name: name.to_owned(), signature, transfer: None })
    }

    /// Takes in what the command says: its first progress asks for the content.
    pub fn hear(&mut self, client: &Client, command: CommandId, body: &Body) {
        if matches!(body, Body::Progress(_)) && self.transfer.is_none() {
            let transfer = Transfer {
                client: client.clone(),
                command,
                file: self.file.clone(),
                size: self.size,
                name: self.name.clone(),
                signature: self.signature.take(),
            };
            self.transfer = Some(tokio::spawn(transfer.run()));
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
        (failure.code() == "local_file").then_some(failure)
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
        let file = self.file.clone();
        let hashed = tokio::task::spawn_blocking(move || hash(&file)).await;
        let sha256 = hashed
            .map_err(|error| Failure::internal(format!("the file could not be hashed: {error}")))?
            .map_err(|error| unreadable(&self.file, &error))?;
        let mut query = vec![("sha256", sha256)];
        query.extend(self.signature.clone().map(|signature| ("signature", signature)));
        let content = || {
            let file = File::open(&self.file).map_err(|error| unreadable(&self.file, &error))?;
            // What grew since it was measured is not what was hashed either: the service says so.
            let bytes = tokio::fs::File::from_std(file).take(self.size);
            Ok(reqwest::Body::wrap_stream(ReaderStream::with_capacity(bytes, PIECE)))
        };
        self.client.upload(&self.name, self.command, &query, self.size, content).await
    }
}

fn hash(file: &Path) -> io::Result<String> {
    let mut file = File::open(file)?;
    let mut hash = Sha256::new();
    let mut piece = vec![0; PIECE];
    loop {
        match file.read(&mut piece) {
            Ok(0) => return Ok(super::fetch::hex(&hash.finalize())),
            Ok(count) => hash.update(piece.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn read_signature(file: &Path) -> Outcome<String> {
    let mut text = String::new();
    let read = File::open(file).and_then(|opened| opened.take(MAX_SIGNATURE + 1).read_to_string(&mut text));
    read.map_err(|error| unreadable(file, &error))?;
    if text.len() as u64 > MAX_SIGNATURE {
        return Err(Failure::here("local_file", format!("{} is too long for a signature", file.display())));
    }
    Ok(text)
}

fn unreadable(file: &Path, error: &io::Error) -> Failure {
    Failure::here("local_file", format!("{} cannot be read: {error}", file.display()))
}
