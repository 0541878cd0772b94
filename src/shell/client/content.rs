//! `library show`, the analyst's side. The command says which file it is; the content comes by the library's own route to
//! whoever looks at the answer, and is no part of what the service keeps of the command.

use bytes::Bytes;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::fetch::hex;
use super::{Client, FilePart};
use crate::error::{Exit, Failure, Outcome};
use crate::grammar::Invocation;

/// A transfer that breaks this often without a byte between is given up.
const BREAKS: u32 = 5;

/// Whether a command's answer is the content of a library file.
#[must_use]
pub fn is_shown(invocation: &Invocation) -> bool {
    invocation.row.name == "library" && invocation.params.get("action").is_some_and(|action| action == "show")
}

/// What the command says of the file.
#[derive(Debug, Deserialize)]
struct Facts {
    file_name: String,
    size: u64,
    sha256: String,
}

/// The content of a library file on its way.
pub(super) struct Content {
    client: Client,
    facts: Facts,
    part: Option<FilePart>,
    etag: Option<String>,
    at: u64,
    hash: Sha256,
    breaks: u32,
}

impl Content {
    /// Of the file that a command's object tells of; `None` when it tells of none.
    pub(super) fn of(client: &Client, object: &str) -> Option<Self> {
        let facts = serde_json::from_str(object).ok()?;
        let client = client.clone();
        Some(Self { client, facts, part: None, etag: None, at: 0, hash: Sha256::new(), breaks: 0 })
    }

    /// How far it is, in words.
    pub(super) fn so_far(&self) -> String {
        let Facts { file_name, size, .. } = &self.facts;
        format!("{} of {size} bytes of {file_name} came", self.at)
    }

    /// The next piece; `None` behind the last one. Dropping the future loses none.
    ///
    /// # Errors
    /// When the file is another one by now, what comes is not what was added to the library, or the service is gone.
    pub(super) async fn next(&mut self) -> Outcome<Option<Bytes>> {
        loop {
            let Some(part) = &mut self.part else {
                self.part = Some(self.ask().await?);
                continue;
            };
            match part.next().await {
                Ok(Some(piece)) => {
                    self.breaks = 0;
                    self.at += piece.len() as u64;
                    self.hash.update(&piece);
                    return Ok(Some(piece));
                }
                Ok(None) => {
                    return if hex(&self.hash.finalize_reset()) == self.facts.sha256 { Ok(None) } else { Err(self.altered()) };
                }
                Err(failure) => {
                    self.breaks += 1;
                    self.part = None;
                    if self.breaks >= BREAKS {
                        return Err(failure);
                    }
                }
            }
        }
    }

    /// Asks for what has not come yet.
    async fn ask(&mut self) -> Outcome<FilePart> {
        let part = self.client.library_content(&self.facts.file_name, self.at, self.etag.as_deref()).await?;
        if part.offset != self.at || part.sha256.as_ref().is_some_and(|sha256| *sha256 != self.facts.sha256) {
            return Err(self.changed());
        }
        self.etag = Some(part.etag.clone());
        Ok(part)
    }

    fn changed(&self) -> Failure {
        let message = format!("{} was overwritten since the command was sent; show it again", self.facts.file_name);
        Failure::new(Exit::Failed, "changed", message)
    }

    fn altered(&self) -> Failure {
        let name = &self.facts.file_name;
        let message = format!("{name}: its content is not what was uploaded; add it again with -overwrite");
        Failure::here("hash_differs", message)
    }
}
