//! Before a process is ended, what exists nowhere else goes to quarantine: a folder of its own for each process.

use std::ffi::CString;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Act, Acting};
use crate::agent::digest::Hashing;
use crate::agent::faults;
use crate::agent::journal::{Evidence, Outcome, Place, Step, StepState, private_folder};
use crate::agent::path::key;
use crate::agent::platform::{Trace, TraceSource, room};
use crate::agent::quarantine::Quarantine;

/// The most that is kept of one file of a process.
const MAX_FILE: u64 = 256 * 1024 * 1024;

/// The list of what was kept: it is written last.
const LIST: &str = "evidence.json";

/// What is about to be kept of a process.
#[derive(Debug)]
pub struct Keep {
    traces: Vec<Trace>,
    step: Evidence,
    /// The process is ended though not all can be kept.
    force: bool,
    /// How much there is room for under the cap.
    left: u64,
}

/// A file that was kept.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    name: String,
    about: String,
    size: u64,
    sha256: String,
    /// How large it really was, if not all of it was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cut_from: Option<u64>,
}

impl Keep {
    /// Of traces that are open.
    #[must_use]
    pub fn new(traces: Vec<Trace>, force: bool, left: u64) -> Self {
        Self { traces, step: Evidence { folder: Uuid::new_v4().simple().to_string() }, force, left }
    }

    fn act(&mut self, quarantine: &Quarantine) -> io::Result<Outcome> {
        let wanted: u64 = self.traces.iter().map(|trace| trace.size().min(MAX_FILE)).sum();
        let own = quarantine.own()?;
        let left = self.left.min(room(own.as_fd()));
        if wanted > left {
            let why = format!("{wanted} bytes of evidence do not fit into the {left} that the quarantine has room for");
            return Err(io::Error::new(io::ErrorKind::StorageFull, why));
        }
        let name = CString::new(self.step.folder.as_str())?;
        let folder = private_folder(quarantine.disk.as_ref(), Place { folder: own.as_fd(), name: &name })?;
        faults::point("evidence.after_folder");
        let mut kept = Vec::new();
        for trace in &mut self.traces {
            kept.push(keep(quarantine, &folder, trace)?);
            faults::point("evidence.after_file");
        }
        let bytes: u64 = kept.iter().map(|kept| kept.size).sum();
        let list = serde_json::to_vec_pretty(&kept).map_err(io::Error::other)?;
        let mut list = Trace { name: LIST.to_owned(), about: String::new(), source: TraceSource::Text(list) };
        keep(quarantine, &folder, &mut list)?;
        quarantine.disk.sync_folder(folder.as_fd())?;
        faults::point("evidence.after_all");
        Ok(Outcome::done(found(quarantine, &self.step, bytes, &kept)))
    }
}

fn found(quarantine: &Quarantine, step: &Evidence, bytes: u64, kept: &[Kept]) -> Value {
    let folder = key(&quarantine.own_path().join(&step.folder));
    json!({ "evidence": folder, "evidence_bytes": bytes, "evidence_files": kept })
}

fn keep(quarantine: &Quarantine, folder: &OwnedFd, trace: &mut Trace) -> io::Result<Kept> {
    let whole = trace.size();
    let mut reader = Hashing::new(trace.reader());
    let size = quarantine.store_in(folder, &trace.name, &mut (&mut reader).take(MAX_FILE))?;
    let sha256 = reader.sha256();
    let cut_from = (size < whole).then_some(whole);
    Ok(Kept { name: trace.name.clone(), about: trace.about.clone(), size, sha256, cut_from })
}

impl Act for Keep {
    fn step(&self) -> Step {
        Step::Evidence(self.step.clone())
    }

    fn run(&mut self, on: &Acting<'_>) -> Outcome {
        match self.act(&on.effects.quarantine) {
            Ok(outcome) => outcome,
            Err(error) if self.force => Outcome {
                state: StepState::Done,
                reason: Some(format!("not all evidence was kept: {error} (-force)")),
                found: left(&on.effects.quarantine, &self.step).unwrap_or_default(),
            },
            Err(error) => {
                // What goes on living needs no evidence, and nobody would look for half of it.
                match on.effects.drop_evidence(&self.step) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        tracing::warn!(%error, "a half of evidence stays in quarantine");
                    }
                    _ => {}
                }
                Outcome::not_done(format!("evidence could not be kept: {error}; -force ends it all the same"))
            }
        }
    }
}

/// What lies in a folder of evidence, if there is one: its list where that was written, and how many bytes in any case.
fn left(quarantine: &Quarantine, step: &Evidence) -> Option<Value> {
    let folder = quarantine.own_path().join(&step.folder);
    let entries = std::fs::read_dir(&folder).ok()?.flatten().filter(|entry| entry.file_name() != LIST);
    let bytes: u64 = entries.filter_map(|entry| Some(entry.metadata().ok()?.len())).sum();
    let list = std::fs::read(folder.join(LIST)).ok();
    let kept: Option<Vec<Kept>> = list.and_then(|list| serde_json::from_slice(&list).ok());
    let mut told = json!({ "evidence": key(&folder), "evidence_bytes": bytes });
    if let (Some(kept), Some(told)) = (kept, told.as_object_mut()) {
        told.insert("evidence_files".to_owned(), json!(kept));
    }
    Some(told)
}

/// What became of evidence that was being kept when the agent died: what is there stays.
#[must_use]
pub fn look(quarantine: &Quarantine, step: &Evidence) -> Outcome {
    match left(quarantine, step) {
        Some(found) if found.get("evidence_files").is_some() => Outcome::done(found),
        Some(found) => Outcome { found, ..Outcome::not_done("not all evidence was kept") },
        None => Outcome::not_done("no evidence was kept"),
    }
}
