//! The library: files that can be put on a device or run there. Names and facts are in the store, content beside it.
//!
//! A name is taken by one upload at a time, and changed only if it still is what whoever changes it has seen.

mod content;
mod delivery;

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::StatusCode;
use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::StreamExt;

use content::{Contents, Piece};

use super::error::{Answer, Refusal};
use super::state::{Command, Service, locked};
use super::store::StoredFile;
use crate::protocol::signature::{Signed, check_form};
use crate::protocol::{CommandId, LibraryFile, Problem, check_library_name};

/// Who sends content may be silent for so long.
const PATIENCE: Duration = Duration::from_mins(1);
/// Pieces that may wait for the disk.
const WAITING: usize = 8;
/// The longest text that describes a file, in bytes.
const MAX_TEXT: usize = 4096;

/// The library of a service.
#[derive(Debug)]
pub(super) struct Library {
    contents: Contents,
    /// Held while names and content are brought into agreement.
    changing: tokio::sync::Mutex<()>,
    /// Names whose content is on its way, and who sends it.
    arriving: Mutex<HashMap<String, String>>,
    /// `library add` commands whose content has not begun to come.
    awaited: Mutex<HashMap<CommandId, Awaited>>,
}

/// What an analyst says of a file.
#[derive(Debug, Default)]
pub(super) struct NewFile {
    pub(super) name: String,
    /// Not said: as that of the one it takes the place of. Empty: none.
    pub(super) description: Option<String>,
    /// As `description`.
    pub(super) parameters_description: Option<String>,
    pub(super) overwrite: bool,
    /// The one it takes the place of must be in this state ([`etag`]).
    pub(super) if_match: Option<String>,
}

/// A file whose name is taken for content that is on its way.
#[derive(Debug)]
pub(super) struct Arrival {
    new: NewFile,
    analyst: String,
    /// When the file was last changed that it takes the place of.
    replaces: Option<Timestamp>,
    _name: Taken,
}

/// A `library add` that waits for its content.
struct Awaited {
    arrival: Arrival,
    command: Arc<Command>,
    done: oneshot::Sender<Answer<LibraryFile>>,
}

impl std::fmt::Debug for Awaited {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Awaited").field("arrival", &self.arrival).finish_non_exhaustive()
    }
}

/// What is sent with the content.
#[derive(Debug, Default)]
pub(super) struct Sent {
    /// In bytes, where the sender says it beforehand.
    pub(super) size: Option<u64>,
    /// What the sender read.
    pub(super) sha256: Option<String>,
    /// A detached minisign signature.
    pub(super) signature: Option<String>,
}

/// A name that is taken until this is dropped.
#[derive(Debug)]
struct Taken {
    library: Arc<Library>,
    name: String,
}

impl Drop for Taken {
    fn drop(&mut self) {
        locked(&self.library.arriving).remove(&self.name);
    }
}

impl Library {
    pub(super) fn open(folder: PathBuf) -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            contents: Contents::open(folder)?,
            changing: tokio::sync::Mutex::default(),
            arriving: Mutex::default(),
            awaited: Mutex::default(),
        }))
    }

    /// Takes a name for one upload.
    fn take(self: &Arc<Self>, name: &str, analyst: &str) -> Answer<Taken> {
        let mut arriving = locked(&self.arriving);
        if let Some(who) = arriving.get(name) {
            let message = format!("{name} is being uploaded by {who} right now; nothing of yours was kept");
            return Err(Refusal::conflict("busy", message).about(name));
        }
        arriving.insert(name.to_owned(), analyst.to_owned());
        Ok(Taken { library: Arc::clone(self), name: name.to_owned() })
    }

    /// A command waits for the content of its file from now on.
    pub(super) fn wait_for(&self, arrival: Arrival, command: &Arc<Command>) -> oneshot::Receiver<Answer<LibraryFile>> {
        let (done, result) = oneshot::channel();
        let id = command.record().command_id;
        locked(&self.awaited).insert(id, Awaited { arrival, command: Arc::clone(command), done });
        result
    }

    /// A command waits no longer; `false` when its content has begun to come.
    pub(super) fn forget(&self, command: CommandId) -> bool {
        locked(&self.awaited).remove(&command).is_some()
    }
}

impl Service {
    /// Removes content that no name stands for: what a service left that was ended between the two.
    pub(super) async fn tidy_library(&self) -> Result<(), sqlx::Error> {
        let library = &self.inner.library;
        for sha256 in library.contents.all().unwrap_or_default() {
            if !self.inner.store.is_content_used(&sha256).await? {
                library.contents.remove(&sha256);
            }
        }
        Ok(())
    }

    /// Every file, by name.
    pub(super) async fn library_files(&self) -> Answer<Vec<LibraryFile>> {
        Ok(self.inner.store.library().await?.into_iter().map(|stored| stored.file).collect())
    }

    /// The file of that name.
    pub(super) async fn library_file(&self, name: &str) -> Answer<StoredFile> {
        check_name(name)?;
        let found = self.inner.store.library_file(name).await?;
        found.ok_or_else(|| {
            Refusal::not_found(format!("there is no library file {name}; `library` lists those there are")).about(name)
        })
    }

    /// Takes a name for an upload, before its content comes.
    pub(super) async fn expect_file(&self, analyst: &str, new: NewFile) -> Answer<Arrival> {
        check_name(&new.name)?;
        for (field, text) in [("description", &new.description), ("parameters_description", &new.parameters_description)] {
            if text.as_ref().is_some_and(|text| text.len() > MAX_TEXT) {
                return Err(Refusal::bad("bad_value", format!("-{field} is at most {MAX_TEXT} bytes long")).about(field));
            }
        }
        let taken = self.inner.library.take(&new.name, analyst)?;
        let existing = self.inner.store.library_file(&new.name).await?.map(|stored| stored.file);
        if let Some(wanted) = &new.if_match {
            check_match(&new.name, wanted, existing.as_ref())?;
        } else if let (Some(existing), false) = (&existing, new.overwrite) {
            return Err(exists(existing));
        }
        let replaces = existing.as_ref().map(|existing| existing.updated);
        let said = |text: Option<String>, before: Option<String>| text.or(before).filter(|text| !text.is_empty());
        let (description, parameters) = existing.map_or((None, None), |file| (file.description, file.parameters_description));
        let new = NewFile {
            description: said(new.description, description),
            parameters_description: said(new.parameters_description, parameters),
            ..new
        };
        Ok(Arrival { new, analyst: analyst.to_owned(), replaces, _name: taken })
    }

    /// Takes in the content that a `library add` waits for, and tells that command how it went.
    pub(super) async fn receive_for(
        &self,
        id: CommandId,
        name: &str,
        analyst: &str,
        sent: Sent,
        body: axum::body::Body,
    ) -> Answer<LibraryFile> {
        let mut awaited = {
            let mut all = locked(&self.inner.library.awaited);
            let fits = all
                .get(&id)
                .is_some_and(|awaited| awaited.arrival.new.name == name && awaited.command.record().analyst == analyst);
            let awaited = if fits { all.remove(&id) } else { None };
            awaited.ok_or_else(|| {
                Refusal::conflict("ended", format!("no `library add` with this id waits for the content of {name}"))
                    .about("command_id")
            })?
        };
        let stop = awaited.command.stop.clone();
        let total = sent.size;
        let told = awaited.command.clone();
        let mut paced: Option<std::time::Instant> = None;
        let progress = move |done: u64| {
            if paced.is_none_or(|told| told.elapsed() >= Duration::from_millis(100)) {
                paced = Some(std::time::Instant::now());
                super::commands::tell_progress(&told, done, total);
            }
        };
        // Who sends may go away: then this is dropped, and with it the word that the command waits for.
        let answer = tokio::select! {
            answer = self.receive(&mut awaited.arrival, sent, body, progress) => answer,
            () = stop.cancelled() => Err(Refusal::conflict("cancelled", format!("the upload of {name} was cancelled"))),
        };
        // A command that has ended meanwhile hears nothing.
        let _ = awaited.done.send(answer.clone());
        answer
    }

    /// Takes content in, and gives it its name.
    pub(super) async fn receive(
        &self,
        arrival: &mut Arrival,
        sent: Sent,
        body: axum::body::Body,
        mut progress: impl FnMut(u64),
    ) -> Answer<LibraryFile> {
        let limit = self.inner.policy.limits.library_bytes;
        if sent.size.is_some_and(|size| size > limit) {
            return Err(content::too_large(limit));
        }
        let (pieces, waiting) = mpsc::channel(WAITING);
        let library = Arc::clone(&self.inner.library);
        let taking = tokio::task::spawn_blocking(move || library.contents.take(waiting, limit));
        let mut body = body.into_data_stream();
        let mut done = 0;
        loop {
            match tokio::time::timeout(PATIENCE, body.next()).await {
                Ok(Some(Ok(bytes))) => {
                    done += bytes.len() as u64;
                    progress(done);
                    if pieces.send(Piece::Bytes(bytes)).await.is_err() {
                        break;
                    }
                }
                Ok(None) => {
                    // Whoever takes them has failed if this does, and says why.
                    let _ = pieces.send(Piece::End).await;
                    break;
                }
                // Broken off, or silent: without its end it is not kept.
                Ok(Some(Err(_))) | Err(_) => break,
            }
        }
        drop(pieces);
        let whole = taking.await.map_err(|error| {
            tracing::error!(%error, "an upload was lost");
            Refusal::internal("an upload was lost")
        })??;
        if sent.sha256.as_ref().is_some_and(|told| !told.eq_ignore_ascii_case(&whole.sha256)) {
            let message = format!(
                "{}: what came is not what its SHA-256 was taken of: the file changed meanwhile; nothing was kept, add it again",
                arrival.new.name
            );
            return Err(Refusal::bad("hash_differs", message).about(arrival.new.name.clone()));
        }
        let whole = match sent.signature.clone() {
            Some(signature) => self.check_signature(&arrival.new.name, whole, signature).await?,
            None => whole,
        };
        self.put(arrival, whole, sent.signature).await
    }

    /// A signature that is given must be one; where keys are named, one of this content by one of them.
    async fn check_signature(&self, name: &str, whole: content::Whole, signature: String) -> Answer<content::Whole> {
        let (name, keys) = (name.to_owned(), self.inner.policy.signing_keys.clone());
        let checked = tokio::task::spawn_blocking(move || {
            if keys.is_empty() {
                return check_form(&name, &signature).map(|()| whole);
            }
            let signed = Signed::by(&name, Some(&signature), &keys)?;
            let mut checking = signed.check()?;
            whole.each(|piece| checking.take(piece)).map_err(|error| Problem::new("io_error", format!("{name}: {error}")))?;
            checking.end().map(|()| whole)
        });
        let checked = checked.await.map_err(|error| Refusal::bad("internal", error.to_string()))?;
        checked.map_err(|problem| Refusal::bad(&problem.code, problem.message).about("signature"))
    }

    async fn put(&self, arrival: &Arrival, whole: content::Whole, signature: Option<String>) -> Answer<LibraryFile> {
        let library = &self.inner.library;
        let new = &arrival.new;
        // Microseconds are what the store keeps; a change in the same one as the last must still be told from it.
        let now = Timestamp::from_microsecond(Timestamp::now().as_microsecond()).unwrap_or_default();
        let updated = arrival.replaces.map_or(now, |before| now.max(before + Duration::from_micros(1)));
        let file = LibraryFile {
            file_name: new.name.clone(),
            size: whole.size,
            description: new.description.clone(),
            created_by: arrival.analyst.clone(),
            updated,
            sha256: whole.sha256.clone(),
            has_parameters: new.parameters_description.as_ref().is_some_and(|text| !text.is_empty()),
            parameters_description: new.parameters_description.clone(),
            signed: signature.is_some(),
        };
        let _changing = library.changing.lock().await;
        let before = self.inner.store.library_file(&new.name).await?.map(|stored| stored.file);
        library.contents.keep(&whole)?;
        let stored = StoredFile { file, signature };
        let put = self.inner.store.put_library_file(&stored, arrival.replaces).await;
        if !matches!(put, Ok(true)) {
            self.remove_unused(&whole.sha256).await?;
        }
        if !put? {
            return Err(match before {
                Some(before) if arrival.replaces.is_none() => exists(&before),
                before => changed(&new.name, before.as_ref()),
            });
        }
        if let Some(before) = before.filter(|before| before.sha256 != whole.sha256) {
            self.remove_unused(&before.sha256).await?;
        }
        Ok(stored.file)
    }

    /// Deletes a file, if it is in the state that whoever deletes it has seen; `*` is any.
    pub(super) async fn delete_file(&self, name: &str, if_match: &str) -> Answer<LibraryFile> {
        let file = self.library_file(name).await?.file;
        check_match(name, if_match, Some(&file))?;
        let _changing = self.inner.library.changing.lock().await;
        if !self.inner.store.delete_library_file(name, file.updated).await? {
            let now = self.inner.store.library_file(name).await?.map(|stored| stored.file);
            return Err(changed(name, now.as_ref()));
        }
        self.remove_unused(&file.sha256).await?;
        Ok(file)
    }

    async fn remove_unused(&self, sha256: &str) -> Answer<()> {
        if !self.inner.store.is_content_used(sha256).await? {
            self.inner.library.contents.remove(sha256);
        }
        Ok(())
    }
}

/// Tells one state of a file from every other.
pub(super) fn etag(file: &LibraryFile) -> String {
    format!("{}-{}", file.updated.as_microsecond(), file.sha256.get(..16).unwrap_or_default())
}

fn check_name(name: &str) -> Answer<()> {
    check_library_name(name).map_err(|problem| Refusal::bad(&problem.code, problem.message).about("name"))
}

/// Whether a file is in the state that somebody has seen; `*` is any.
pub(super) fn check_match(name: &str, wanted: &str, there: Option<&LibraryFile>) -> Answer<()> {
    match there {
        Some(there) if wanted == "*" || wanted == etag(there) => Ok(()),
        there => Err(changed(name, there)),
    }
}

fn exists(there: &LibraryFile) -> Refusal {
    let LibraryFile { file_name, created_by, updated, .. } = there;
    let message = format!("{file_name} is there already, by {created_by} since {updated:.0}; -overwrite takes its place");
    Refusal::conflict("exists", message).about(file_name.clone())
}

fn changed(name: &str, there: Option<&LibraryFile>) -> Refusal {
    let how = match there {
        Some(there) => format!("was changed by {} at {:.0}", there.created_by, there.updated),
        None => "was deleted".to_owned(),
    };
    let message = format!("{name} {how}; look at it again (`library`) before you change it");
    Refusal::new(StatusCode::PRECONDITION_FAILED, "changed", message).about(name)
}
