//! Content on its way out: to a device, to a shell, to any other client. Hashed as it is read, so that content that was
//! altered in the service's folder is never taken for what was uploaded.

use std::fs::File;
use std::io::Read;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use super::content::hex;
use crate::grammar::Invocation;
use crate::protocol::link::{DeliveredFile, Delivery, MAX_RULES, RuleKind};
use crate::protocol::signature::Signed;
use crate::protocol::{LibraryFile, Problem};
use crate::service::error::{Answer, Refusal};
use crate::service::state::Service;
use crate::service::store::StoredFile;

/// How much is read at once.
const PIECE: usize = 256 * 1024;
/// Pieces that may wait for who takes them.
const WAITING: usize = 4;

/// A library file on its way to a device.
pub(in crate::service) struct Delivered {
    pub(in crate::service) file: DeliveredFile,
    pub(in crate::service) content: Delivery,
    /// The keys that it must be signed with.
    pub(in crate::service) keys: Option<Vec<String>>,
}

impl Service {
    /// The library file that a command takes to the device, and its content. Where only signed scripts may run, what is not
    /// signed is refused here; the device is told the keys, and checks again.
    pub(in crate::service) async fn delivery_for(
        &self,
        invocation: &Invocation,
        limit: Option<u64>,
    ) -> Answer<Option<Delivered>> {
        let param = match invocation.row.name.as_str() {
            "run" => "script",
            "putfile" => "file",
            _ => return Ok(None),
        };
        let StoredFile { file, signature } = self.library_file(invocation.params.get(param).map_or("", String::as_str)).await?;
        if let Some(limit) = limit.filter(|&limit| file.size > limit) {
            let message = format!("{} has {} bytes, and this device takes at most {limit}", file.file_name, file.size);
            return Err(Refusal::forbidden("limit", message).about(invocation.row.name.clone()));
        }
        let signed_only = invocation.row.name == "run" && !self.settings().unsigned_scripts;
        let keys = signed_only.then(|| self.inner.policy.signing_keys.clone());
        if let Some(keys) = &keys {
            let signed = Signed::by(&file.file_name, signature.as_deref(), keys).map_err(refused)?;
            let content = self.deliver(&file)?;
            let checked = tokio::task::spawn_blocking(move || check(&signed, content)).await;
            checked.map_err(|error| Refusal::bad("internal", error.to_string()))?.map_err(refused)?;
        }
        let content = self.deliver(&file)?;
        let file = DeliveredFile { name: file.file_name, size: file.size, sha256: file.sha256, signature };
        Ok(Some(Delivered { file, content, keys }))
    }

    /// The rule files of the library for a command that looks with them, and their content one behind the other.
    pub(in crate::service) async fn rules_for(
        &self,
        invocation: &Invocation,
    ) -> Answer<Option<(Vec<DeliveredFile>, Delivery)>> {
        if !matches!(invocation.row.name.as_str(), "analyze" | "scan") {
            return Ok(None);
        }
        let mut files = self.library_files().await?;
        files.retain(|file| RuleKind::of(&file.file_name).is_some());
        let size = files.iter().map(|file| file.size).sum::<u64>();
        if size > MAX_RULES {
            let message = format!(
                "the rule files of the library have {size} bytes together, and a device takes at most {MAX_RULES}; \
                 `library -match .yar -sort -size` shows the largest"
            );
            return Err(Refusal::forbidden("limit", message).about(invocation.row.name.clone()));
        }
        if files.is_empty() {
            return Ok(None);
        }
        let mut opened = Vec::with_capacity(files.len());
        for file in &files {
            opened.push(self.open_content(file)?);
        }
        let told = files.iter().map(|file| DeliveredFile {
            name: file.file_name.clone(),
            size: file.size,
            sha256: file.sha256.clone(),
            signature: None,
        });
        let told = told.collect();
        let (sender, pieces) = mpsc::channel(WAITING);
        tokio::task::spawn_blocking(move || {
            for (opened, file) in opened.into_iter().zip(&files) {
                if let Err(problem) = send(opened, file, 0, &sender) {
                    // Who does not take it any more need not know.
                    let _ = sender.blocking_send(Err(problem));
                    return;
                }
            }
        });
        Ok(Some((told, pieces)))
    }

    /// The content of a file, piece by piece; the last item is an error when it is not what was uploaded.
    pub(in crate::service) fn deliver(&self, file: &LibraryFile) -> Answer<Delivery> {
        self.deliver_from(file, 0)
    }

    /// The same without the first bytes, which are read and hashed all the same.
    pub(in crate::service) fn deliver_from(&self, file: &LibraryFile, offset: u64) -> Answer<Delivery> {
        let opened = self.open_content(file)?;
        let (sender, pieces) = mpsc::channel(WAITING);
        let file = file.clone();
        tokio::task::spawn_blocking(move || {
            if let Err(problem) = send(opened, &file, offset, &sender) {
                // Who does not take it any more need not know.
                let _ = sender.blocking_send(Err(problem));
            }
        });
        Ok(pieces)
    }

    /// Opens the content of a file, which has to have the size of what was uploaded.
    pub(in crate::service) fn open_content(&self, file: &LibraryFile) -> Answer<File> {
        let lost = |error: std::io::Error| {
            tracing::error!(%error, file = file.file_name, "content is missing");
            let message = format!("the content of {} is lost: {error}; add it again with -overwrite", file.file_name);
            Refusal::new(axum::http::StatusCode::INTERNAL_SERVER_ERROR, "content_lost", message).about(file.file_name.clone())
        };
        let opened = self.inner.library.contents.read(&file.sha256).map_err(lost)?;
        if opened.metadata().map_err(lost)?.len() == file.size {
            Ok(opened)
        } else {
            Err(Refusal::of(altered(&file.file_name)))
        }
    }
}

fn refused(problem: Problem) -> Refusal {
    Refusal::forbidden(&problem.code, problem.message)
}

/// Reads content to its end and checks its signature.
fn check(signed: &Signed, mut content: Delivery) -> Result<(), Problem> {
    let mut checking = signed.check()?;
    while let Some(piece) = content.blocking_recv() {
        checking.take(&piece?);
    }
    checking.end()
}

fn send(mut from: File, file: &LibraryFile, offset: u64, to: &mpsc::Sender<Result<Bytes, Problem>>) -> Result<(), Problem> {
    let name = &file.file_name;
    let mut hash = Sha256::new();
    let (mut left, mut ahead) = (file.size, usize::try_from(offset).unwrap_or(usize::MAX));
    loop {
        let mut piece = Vec::with_capacity(PIECE);
        from.by_ref()
            .take(PIECE as u64)
            .read_to_end(&mut piece)
            .map_err(|error| Problem::new("io_error", format!("the content of {name} cannot be read: {error}")))?;
        if piece.is_empty() {
            break;
        }
        hash.update(&piece);
        left = left.checked_sub(piece.len() as u64).ok_or_else(|| altered(name))?;
        let passed = ahead.min(piece.len());
        ahead -= passed;
        let piece = Bytes::from(piece).slice(passed..);
        if !piece.is_empty() && to.blocking_send(Ok(piece)).is_err() {
            return Ok(());
        }
    }
    if left > 0 || hex(&hash.finalize()) != file.sha256 { Err(altered(name)) } else { Ok(()) }
}

fn altered(name: &str) -> Problem {
    let message = format!("{name}: its content in the service's folder is not what was uploaded; add it again with -overwrite");
    Problem::new("hash_differs", message).about(name)
}
