//! Before a process is ended, what exists nowhere else goes to quarantine: a folder of its own for each process.

use std::ffi::CString;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Act, Acting, Effects, STOPPED};
use crate::agent::context::Stop;
use crate::agent::digest::Hashing;
use crate::agent::faults;
use crate::agent::journal::{Evidence, Outcome, Place, Step, StepState, private_folder};
use crate::agent::path::key;
use crate::agent::platform::{Trace, TraceSource, room};
use crate::agent::quarantine::{Quarantine, nearest};
use crate::protocol::Problem;

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
}

/// How much evidence there is room for.
#[derive(Debug)]
pub struct Room {
    all: u64,
    left: u64,
    wanted: u64,
}

impl Room {
    /// Under the quarantine's cap and on its disk.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn now(effects: &Effects) -> Result<Self, Problem> {
        let quarantine = &effects.quarantine;
        let on_disk = nearest(&quarantine.own_path()).map_or(u64::MAX, |folder| room(folder.as_fd()));
        let all = quarantine.cap.saturating_sub(effects.used()?).min(on_disk);
        Ok(Self { all, left: all, wanted: 0 })
    }

    /// Whether all that was wanted fits.
    ///
    /// # Errors
    /// When it does not: the refusal.
    pub fn check(&self) -> Result<(), Problem> {
        if self.wanted <= self.all {
            return Ok(());
        }
        let message = format!(
            "{} bytes of evidence do not fit into the {} that the quarantine has room for; -force ends it all the same",
            self.wanted, self.all
        );
        Err(Problem::new("no_evidence", message))
    }
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
    /// Of traces that are open, texts and small files first. With `force` those that find no room are left out, and named.
    #[must_use]
    pub fn new(mut traces: Vec<Trace>, room: &mut Room, force: bool) -> (Self, Option<String>) {
        traces.sort_by_key(|trace| (matches!(trace.source, TraceSource::File { .. }), trace.size()));
        let mut left_out = Vec::new();
        traces.retain(|trace| {
            let size = trace.size().min(MAX_FILE);
            room.wanted = room.wanted.saturating_add(size);
            let fits = size <= room.left || !force;
            if fits {
                room.left = room.left.saturating_sub(size);
            } else {
                left_out.push(format!("{} ({size} bytes)", trace.name));
            }
            fits
        });
        let note = format!("there is no room for all evidence, without which it is ended (-force): {}", left_out.join(", "));
        let step = Evidence { folder: Uuid::new_v4().simple().to_string() };
        (Self { traces, step, force }, (!left_out.is_empty()).then_some(note))
    }

    fn act(&self, on: &Acting<'_>) -> io::Result<Outcome> {
        let quarantine = &on.effects.quarantine;
        let own = quarantine.own()?;
        let name = CString::new(self.step.folder.as_str())?;
        let folder = private_folder(quarantine.disk.as_ref(), Place { folder: own.as_fd(), name: &name })?;
        faults::point("evidence.after_folder");
        let (mut kept, mut failed) = (Vec::new(), Vec::new());
        for trace in &self.traces {
            match keep(on, &folder, trace) {
                Ok(one) => kept.push(one),
                Err(error) if self.force && !on.stop.asked() => failed.push(format!("{}: {error}", trace.name)),
                Err(error) => return Err(error),
            }
            faults::point("evidence.after_file");
        }
        let bytes: u64 = kept.iter().map(|kept| kept.size).sum();
        let list = serde_json::to_vec_pretty(&kept).map_err(io::Error::other)?;
        let list = Trace { name: LIST.to_owned(), about: String::new(), source: TraceSource::Text(list) };
        keep(on, &folder, &list)?;
        quarantine.disk.sync_folder(folder.as_fd())?;
        faults::point("evidence.after_all");
        let reason = (!failed.is_empty()).then(|| format!("not all evidence was kept (-force): {}", failed.join(", ")));
        Ok(Outcome { reason, ..Outcome::done(found(quarantine, &self.step, bytes, &kept)) })
    }
}

fn found(quarantine: &Quarantine, step: &Evidence, bytes: u64, kept: &[Kept]) -> Value {
    let folder = key(&quarantine.own_path().join(&step.folder));
    json!({ "evidence": folder, "evidence_bytes": bytes, "evidence_files": kept })
}

fn keep(on: &Acting<'_>, folder: &OwnedFd, trace: &Trace) -> io::Result<Kept> {
    let whole = trace.size();
    let mut reader = Hashing::new(Heeding { reader: trace.reader(), stop: on.stop });
    let size = on.effects.quarantine.store_in(folder, &trace.name, &mut (&mut reader).take(MAX_FILE))?;
    on.meter.read(size);
    let sha256 = reader.sha256();
    let cut_from = (size < whole).then_some(whole);
    Ok(Kept { name: trace.name.clone(), about: trace.about.clone(), size, sha256, cut_from })
}

/// Fails once the command was asked to stop.
struct Heeding<'a> {
    reader: Box<dyn Read + 'a>,
    stop: &'a Stop,
}

impl Read for Heeding<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.stop.asked() { Err(io::Error::other(STOPPED)) } else { self.reader.read(buffer) }
    }
}

impl Act for Keep {
    fn step(&self) -> Step {
        Step::Evidence(self.step.clone())
    }

    fn run(&mut self, on: &Acting<'_>) -> Outcome {
        match self.act(on) {
            Ok(outcome) => outcome,
            Err(error) if self.force && !on.stop.asked() => Outcome {
                state: StepState::Done,
                reason: Some(format!("not all evidence was kept (-force): {error}")),
                found: left(&on.effects.quarantine, &self.step).unwrap_or_default(),
            },
            Err(error) => {
                on.effects.forget_evidence(&self.step);
                Outcome::not_done(if on.stop.asked() {
                    STOPPED.to_owned()
                } else {
                    format!("evidence could not be kept: {error}; -force ends it all the same")
                })
            }
        }
    }
}

impl Effects {
    /// Takes away what was kept of a process that goes on living: it needs no evidence, and nobody would look for half of it.
    pub(super) fn forget_evidence(&self, step: &Evidence) {
        match self.drop_evidence(step) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, "evidence of a process that goes on stays in quarantine");
            }
            _ => {}
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
