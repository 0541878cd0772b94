//! `getfile` and `collect`, the analyst's side: a file's bytes from the device through the service into a local part,
//! hashed on the way, and given its name once size and SHA-256 agree. What breaks goes on from the last byte.

mod name;
mod part;
mod sink;
mod transfer;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Deserialize;
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::part::{Part, PartFacts};
use self::sink::Shape;
use self::transfer::{Arrived, Transfer};
use super::Client;
use crate::error::{Failure, Outcome};
use crate::grammar::Invocation;
use crate::host::local_path;
use crate::protocol::text::file_uri;
use crate::protocol::{Body, CommandId, FileFacts, SessionId, Status};

/// A file is sent for again this often without a byte between.
const TRIES: u32 = 5;

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
            Some(to) if to.ends_with('/') || local_path(to).is_dir() => (local_path(to), None),
            Some(to) => {
                let path = local_path(to);
                if path.metadata().is_ok_and(|facts| !facts.is_file()) {
                    let message = format!("{} is no plain file: what is fetched goes into one", path.display());
                    return Err(Failure::here("local_file", message));
                }
                let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
                (folder.to_owned(), path.file_name().map(|name| name.to_string_lossy().into_owned()))
            }
        };
        if folder.is_dir() {
            return Ok(Self { folder, name, zip });
        }
        Err(Failure::here("local_file", format!("{} is no folder here", folder.display())))
    }

    /// That several files can go there.
    ///
    /// # Errors
    /// When `-to` gave the name of a file.
    pub fn takes_several(&self) -> Outcome<()> {
        match &self.name {
            Some(name) => {
                let path = self.folder.join(name);
                let message = format!("{} is no folder here, and several files match: make it first", path.display());
                Err(Failure::here("local_file", message))
            }
            None => Ok(()),
        }
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
    /// Of a `collect`: how many parts there are.
    parts: Option<u64>,
    /// The names of those that failed.
    failed: Option<Vec<String>>,
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

/// A file that comes, from the command's first event to the last of whichever command brings its end.
pub struct Fetch {
    destination: Destination,
    /// The device's id.
    device: String,
    offer: Option<Offer>,
    matches: Arc<Mutex<Vec<Matched>>>,
    transfer: Option<Under>,
    told: Option<FileFacts>,
    /// The part of a command that ended early, for the next one to go on with.
    part: Option<Part>,
    /// What the analyst was told of the transfer.
    said: Vec<String>,
    /// How often in a row a command brought nothing.
    tries: u32,
}

/// A transfer under way, or at its end.
struct Under {
    task: JoinHandle<Arrived>,
    stop: CancellationToken,
    notes: mpsc::UnboundedReceiver<String>,
    arrived: Option<Arrived>,
}

/// What is heard of a transfer beside the command's events.
#[derive(Debug)]
pub enum Word {
    /// What the analyst should know.
    Note(String),
    /// It cannot succeed any more.
    Broke(Failure),
}

/// What a fetch came to when its command ended.
#[derive(Debug)]
pub enum Fetched {
    /// It is over. The row that is shown; `None` where there is no file to show.
    Row(Option<Box<RawValue>>),
    /// What carried it went away before the file was whole: the command is to be sent again.
    Again,
}

impl Fetch {
    /// A file that is to go there.
    #[must_use]
    pub fn new(destination: Destination, device: String) -> Self {
        Self {
            destination,
            device,
            offer: None,
            matches: Arc::default(),
            transfer: None,
            told: None,
            part: None,
            said: Vec::new(),
            tries: 0,
        }
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
        let mut notes = offer.notes.clone();
        let shape = if self.destination.zip { Shape::Zip(name::safe(&offer.name)) } else { Shape::Plain };
        let part = self.part_for(&offer, &shape, &mut notes)?;
        self.offer = Some(offer);
        let (say, heard) = mpsc::unbounded_channel();
        let stop = CancellationToken::new();
        let transfer =
            Transfer { client: client.clone(), session: session.clone(), command, part, shape, stop: stop.clone(), notes: say };
        self.transfer = Some(Under { task: tokio::spawn(transfer.run()), stop, notes: heard, arrived: None });
        Ok(notes)
    }

    /// The part that the bytes go into, with what is there of this state of the file already.
    fn part_for(&mut self, offer: &Offer, shape: &Shape, notes: &mut Vec<String>) -> Outcome<Part> {
        let part = if let Some(mut part) = self.part.take() {
            if part.etag() != offer.etag {
                part.begin_again(Some(&offer.etag))?;
            }
            part
        } else {
            let mut wanted = self.destination.name.clone().unwrap_or_else(|| name::safe(&offer.name));
            if matches!(shape, Shape::Zip(_)) {
                wanted.push_str(".zip");
            }
            let path_uri = offer.path_uri.clone().unwrap_or_else(|| file_uri(offer.path.as_bytes()));
            let facts = PartFacts { device: self.device.clone(), path_uri, etag: offer.etag.clone(), bytes: 0 };
            let part = Part::open(&self.destination.folder, &wanted, facts)?;
            self.said.extend(part.passed_over.iter().cloned());
            notes.extend(part.passed_over.iter().cloned());
            part
        };
        if part.dropped > 0 && *shape == Shape::Plain {
            let told = format!(
                "{} is another file now, or was changed, since {} bytes of it came: begins again",
                offer.path, part.dropped
            );
            self.said.push(told.clone());
            notes.push(told);
        }
        if part.have > 0 && *shape == Shape::Plain {
            notes.push(format!("goes on behind the {} bytes in {}", part.have, part.path().display()));
        }
        Ok(part)
    }

    /// Waits for what is to be heard of the transfer beside the command's events. Dropping the future loses nothing.
    pub async fn word(&mut self) -> Word {
        let Some(Under { task, notes, arrived, .. }) = &mut self.transfer else { return std::future::pending().await };
        if let Some(note) = notes.recv().await {
            self.said.push(note.clone());
            return Word::Note(note);
        }
        // Nothing more is said: the transfer is at its end.
        if arrived.is_none() {
            match task.await {
                Ok(ended) => *arrived = Some(ended),
                Err(error) => return Word::Broke(Failure::internal(format!("the transfer ended: {error}"))),
            }
        }
        match arrived.as_mut().map(|ended| &mut ended.outcome) {
            // A command that ended before its file was whole is sent again, once its end is heard too.
            Some(Err(failure)) if failure.code() != "ended" => Word::Broke(failure.clone()),
            _ => std::future::pending().await,
        }
    }

    /// The command has ended: checks what came, and gives it its name.
    ///
    /// # Errors
    /// When what came is not what the device sent, or cannot be kept.
    pub async fn finish(&mut self, status: Status, duration_ms: u64) -> Outcome<Fetched> {
        let (Some(mut under), Some(offer)) = (self.transfer.take(), self.offer.take()) else {
            // What waited for its turn, or had not said yet what it has, when the service died.
            let untold = self.matches.lock().unwrap_or_else(PoisonError::into_inner).is_empty();
            self.tries += u32::from(status == Status::Interrupted);
            let again = status == Status::Interrupted && untold && self.tries < TRIES;
            return Ok(if again { Fetched::Again } else { Fetched::Row(None) });
        };
        if status != Status::Completed {
            // What came stays, for the next try.
            under.stop.cancel();
        }
        let arrived = match under.arrived.take() {
            Some(arrived) => arrived,
            None => under.task.await.map_err(|error| Failure::internal(format!("the transfer ended: {error}")))?,
        };
        while let Ok(note) = under.notes.try_recv() {
            self.said.push(note);
        }
        let Arrived { mut part, resumed_from, came, outcome } = arrived;
        let taken = match (status, outcome) {
            (Status::Completed, Ok(taken)) => taken,
            (Status::Completed, Err(failure)) if failure.code() != "ended" => return Err(failure),
            (Status::Completed | Status::Interrupted, _) => {
                self.tries = if came { 1 } else { self.tries + 1 };
                part.have = part.length()?;
                part.dropped = 0;
                self.part = Some(part);
                return if self.tries < TRIES { Ok(Fetched::Again) } else { Ok(Fetched::Row(None)) };
            }
            _ => return Ok(Fetched::Row(None)),
        };
        let Some(told) = self.told.take() else {
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
        let notes: Vec<&String> = offer.notes.iter().chain(&self.said).collect();
        let mut row = json!({
            "path": offer.path,
            "path_uri": offer.path_uri,
            "saved_as": saved_as.to_string_lossy(),
            "size": told.size,
            "sha256": told.sha256,
            "duration_ms": duration_ms,
            "resumed_from": resumed_from,
            "changed": told.changed,
            "notes": notes,
        });
        if let Some(row) = row.as_object_mut() {
            if offer.path_uri.is_none() {
                row.shift_remove("path_uri");
            }
            if let Some(parts) = offer.parts {
                row.insert("parts".to_owned(), json!(parts));
                row.insert("failed".to_owned(), json!(offer.failed));
            }
        }
        let row = to_raw_value(&row).map_err(|error| Failure::internal(error.to_string()))?;
        Ok(Fetched::Row(Some(row)))
    }
}

/// Lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        text.push_str(&format!("{byte:02x}"));
        text
    })
}
