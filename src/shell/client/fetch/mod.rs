//! `getfile` and `collect`, the analyst's side: a file's bytes from the device through the service into a local part,
//! hashed on the way, and given its name once size and SHA-256 agree. What breaks goes on from the last byte.

mod name;
mod part;
mod sink;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Deserialize;
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};
use tokio::task::JoinHandle;

use self::part::{Part, PartFacts};
use self::sink::{Shape, Sink, Taken};
use super::Client;
use crate::error::{Exit, Failure, Outcome};
use crate::grammar::Invocation;
use crate::protocol::text::file_uri;
use crate::protocol::{Body, CommandId, FileFacts, SessionId, Status};

/// A transfer that breaks this often without a byte between is given up.
const BREAKS: u32 = 5;

/// Where a fetched file is to go.
#[derive(Debug, Clone)]
pub struct Destination {
    folder: PathBuf,
    /// The name that `-to` gave.
    name: Option<String>,
    zip: bool,
}

impl Destination {
    /// What a line says; `downloads` is where files go without `-to`.
    ///
    /// # Errors
    /// When the folder is not there.
    pub fn of(invocation: &Invocation, downloads: Option<&Path>) -> Outcome<Self> {
        let zip = invocation.flags.contains("zip");
        let (folder, name) = match invocation.params.get("to") {
            None => (downloads.unwrap_or(Path::new(".")).to_owned(), None),
            Some(to) if to.ends_with('/') || Path::new(to).is_dir() => (PathBuf::from(to), None),
            Some(to) => {
                let path = Path::new(to);
                let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
                (folder.to_owned(), path.file_name().map(|name| name.to_string_lossy().into_owned()))
            }
        };
        if folder.is_dir() {
            return Ok(Self { folder, name, zip });
        }
        Err(Failure::here("local_file", format!("{} is no folder here", folder.display())))
    }
}

/// What the device offers: the first object of a `getfile`.
#[derive(Debug, Clone, Deserialize)]
struct Offer {
    name: String,
    path: String,
    path_uri: Option<String>,
    etag: String,
    #[serde(default)]
    notes: Vec<String>,
}

/// A file that a pattern matched; fetched by a command of its own.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Matched {
    /// Its path on the device, invalid UTF-8 as U+FFFD.
    pub path: String,
    /// The exact one, where that differs.
    pub path_uri: Option<String>,
    /// In bytes.
    pub size: u64,
}

#[derive(Deserialize)]
struct Match {
    #[serde(rename = "match")]
    file: Matched,
}

/// A file that comes, from the command's first event to its last.
pub struct Fetch {
    destination: Destination,
    /// The device's id.
    device: String,
    offer: Option<Offer>,
    matches: Arc<Mutex<Vec<Matched>>>,
    transfer: Option<JoinHandle<Outcome<Arrived>>>,
    told: Option<FileFacts>,
}

/// A transfer that came to its end.
struct Arrived {
    part: Part,
    taken: Taken,
    resumed_from: u64,
}

impl Fetch {
    /// A file that is to go there.
    #[must_use]
    pub fn new(destination: Destination, device: String) -> Self {
        Self { destination, device, offer: None, matches: Arc::default(), transfer: None, told: None }
    }

    /// The files that a pattern matched, once the command has completed.
    #[must_use]
    pub fn matches(&self) -> Arc<Mutex<Vec<Matched>>> {
        self.matches.clone()
    }

    /// Takes in what the command says; answers with what the analyst should know.
    ///
    /// # Errors
    /// When nothing can be written here.
    pub fn hear(&mut self, client: &Client, session: &SessionId, command: CommandId, body: &Body) -> Outcome<Vec<String>> {
        match body {
            Body::Object { value } => self.hear_object(client, session, command, value),
            Body::File(facts) => {
                self.told = Some(facts.clone());
                Ok(Vec::new())
            }
            _ => Ok(Vec::new()),
        }
    }

    fn hear_object(
        &mut self,
        client: &Client,
        session: &SessionId,
        command: CommandId,
        value: &RawValue,
    ) -> Outcome<Vec<String>> {
        if let Ok(found) = serde_json::from_str::<Match>(value.get()) {
            self.matches.lock().unwrap_or_else(PoisonError::into_inner).push(found.file);
            return Ok(Vec::new());
        }
        let offer: Offer = serde_json::from_str(value.get())
            .map_err(|error| Failure::internal(format!("the device's offer is not understood: {error}")))?;
        let kept = self.destination.name.clone().unwrap_or_else(|| name::safe(&offer.name));
        let (wanted, shape) = if self.destination.zip {
            (format!("{kept}.zip"), Shape::Zip(name::safe(&offer.name)))
        } else {
            (kept, Shape::Plain)
        };
        let path_uri = offer.path_uri.clone().unwrap_or_else(|| file_uri(offer.path.as_bytes()));
        let facts = PartFacts { device: self.device.clone(), path_uri, etag: offer.etag.clone(), bytes: 0 };
        let part = Part::open(&self.destination.folder, &wanted, facts)?;
        let mut notes = offer.notes.clone();
        if part.have > 0 && shape == Shape::Plain {
            notes.push(format!("goes on behind the {} bytes in {}", part.have, part.path().display()));
        }
        self.offer = Some(offer);
        let transfer = Transfer { client: client.clone(), session: session.clone(), command, part, shape };
        self.transfer = Some(tokio::spawn(transfer.run()));
        Ok(notes)
    }

    /// The command has ended: checks what came, and gives it its name. Answers with the row that is shown; `None` where
    /// there is no file to show.
    ///
    /// # Errors
    /// When what came is not what the device sent, or cannot be kept.
    pub async fn finish(self, status: Status, duration_ms: u64) -> Outcome<Option<Box<RawValue>>> {
        let (Some(transfer), Some(offer)) = (self.transfer, self.offer) else { return Ok(None) };
        if status != Status::Completed {
            // What came stays, for the next try.
            transfer.abort();
            return Ok(None);
        }
        let Arrived { part, taken, resumed_from } =
            transfer.await.map_err(|error| Failure::internal(format!("the transfer ended: {error}")))??;
        let Some(told) = self.told else {
            return Err(Failure::internal("the device ended the transfer without saying what it sent"));
        };
        if (taken.size, &taken.sha256) != (told.size, &told.sha256) {
            let message = format!(
                "{}: {} bytes came with SHA-256 {}, and the device read {} bytes with {}; what came was dropped, try again",
                offer.path, taken.size, taken.sha256, told.size, told.sha256
            );
            part.drop_bytes();
            return Err(Failure::here("hash_differs", message));
        }
        let saved_as = part.keep()?;
        let mut row = json!({
            "path": offer.path,
            "path_uri": offer.path_uri,
            "saved_as": saved_as.to_string_lossy(),
            "size": told.size,
            "sha256": told.sha256,
            "duration_ms": duration_ms,
            "resumed_from": resumed_from,
            "changed": told.changed,
            "notes": offer.notes,
        });
        if let (None, Some(row)) = (&offer.path_uri, row.as_object_mut()) {
            row.shift_remove("path_uri");
        }
        to_raw_value(&row).map(Some).map_err(|error| Failure::internal(error.to_string()))
    }
}

/// Bytes on their way.
struct Transfer {
    client: Client,
    session: SessionId,
    command: CommandId,
    part: Part,
    shape: Shape,
}

impl Transfer {
    async fn run(mut self) -> Outcome<Arrived> {
        if self.shape != Shape::Plain && self.part.have > 0 {
            // The key of an archive is not kept: it cannot be gone on with.
            self.part.begin_again(None)?;
        }
        let resumed_from = self.part.have;
        let mut at = resumed_from;
        let mut sink = Sink::begin(self.part.handle()?, at, self.shape.clone())?;
        let mut breaks = 0;
        loop {
            let before = at;
            match self.read_on(&mut sink, &mut at).await {
                Ok(Came::All) => {
                    let taken = sink.end().await?;
                    return Ok(Arrived { part: self.part, taken, resumed_from });
                }
                Ok(Came::Another(etag)) => {
                    // What comes now is another file: nothing that is here belongs to it.
                    sink.end().await?;
                    self.part.begin_again(Some(&etag))?;
                    at = 0;
                    sink = Sink::begin(self.part.handle()?, 0, self.shape.clone())?;
                    breaks += 1;
                }
                Ok(Came::Stuck) => {
                    let ended = sink.end().await;
                    return Err(ended.err().unwrap_or_else(|| Failure::internal("the file's writer ended early")));
                }
                Err(failure) if failure.exit == Exit::Unreachable => {
                    breaks = if at > before { 1 } else { breaks + 1 };
                    if breaks >= BREAKS {
                        sink.end().await?;
                        self.part.note(at)?;
                        return Err(failure);
                    }
                }
                Err(failure) => {
                    sink.end().await?;
                    self.part.note(at)?;
                    return Err(failure);
                }
            }
            if breaks >= BREAKS {
                return Err(Failure::here("changed", "the file on the device changes faster than it can be read"));
            }
        }
    }

    /// Reads until the connection ends.
    async fn read_on(&self, sink: &mut Sink, at: &mut u64) -> Outcome<Came> {
        let etag = Some(self.part.etag());
        let mut bytes = match self.client.file(&self.session, self.command, *at, etag).await {
            Ok(bytes) => bytes,
            Err(failure) if failure.code() == "changed" => {
                let now = self.client.file(&self.session, self.command, 0, None).await?;
                return Ok(Came::Another(now.etag));
            }
            Err(failure) => return Err(failure),
        };
        if bytes.offset != *at {
            return Ok(Came::Another(bytes.etag));
        }
        while let Some(piece) = bytes.next().await? {
            *at += piece.len() as u64;
            if sink.take(piece).await.is_err() {
                return Ok(Came::Stuck);
            }
        }
        Ok(Came::All)
    }
}

/// How a connection ended.
enum Came {
    /// With the last byte.
    All,
    /// The device has another file there now, with this tag.
    Another(String),
    /// The sink does not take any more.
    Stuck,
}

/// Lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        text.push_str(&format!("{byte:02x}"));
        text
    })
}
