//! What a process is judged by: its image, the files it executes or has that lie nowhere else, the libraries it was made to load,
//! and how it presents itself.

mod maps;
mod script;

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::heuristics::{TEMPORARY, is_writable};
use super::{Finding, Judge, Judgement};
use crate::agent::content::Content;
use crate::agent::context::VerbError;
use crate::agent::dispatch::Shared;
use crate::agent::identity::FileIdentity;
use crate::agent::path::{lossy, shown};
use crate::agent::platform::{Facts, Process, ProcessStatus, Trace, TraceSource};
use crate::protocol::Problem;
use maps::{Mapped, foreign, is_dotnet, mapped, vouching};

/// The most files of a process that are looked at.
const MAX_PARTS: usize = 64;
/// The most of its environment that is read, in bytes.
const MAX_ENVIRONMENT: usize = 1024 * 1024;
/// Variables that make the loader load something (ld.so(8)).
const PRELOADS: [&[u8]; 2] = [b"LD_PRELOAD", b"LD_AUDIT"];
/// The most files of processes whose judgement is remembered.
const MAX_KNOWN: usize = 2000;

/// A file of a process, open.
pub struct Part {
    /// What it is to the process; nothing for its image.
    pub role: String,
    /// Its content.
    pub content: Content,
    /// Where it is or was.
    pub path: PathBuf,
    /// Whether the path leads to it.
    pub named: bool,
}

/// A process as it was at one moment.
pub struct Looked {
    /// What it shows of itself.
    pub findings: Vec<Finding>,
    /// Its files, the image first.
    pub parts: Vec<Part>,
    /// What of it is not to be had, and why.
    pub cut: Vec<String>,
}

/// What was made of the files that several processes have.
#[derive(Default)]
pub struct KnownParts(HashMap<FileIdentity, Judgement>);

/// Looks at a process.
///
/// # Errors
/// When it is gone, is another by now, or may not be looked at.
pub fn look(agent: &Shared, process: &Process) -> Result<Looked, VerbError> {
    let pid = process.pid;
    let traces = agent.platform.traces(pid).map_err(|error| closed(pid, error))?;
    if start_ticks(text(&traces, "stat")).is_some_and(|ticks| ticks != process.start_ticks) {
        return Err(Problem::new("not_found", format!("process {pid} ended, and another has its number by now"))
            .about("id")
            .into());
    }
    let mapped = mapped(text(&traces, "maps"));
    let preloaded = preloaded(text(&traces, "environment"));
    let mut findings = own(agent, process);
    let image = process.image.as_ref().map(|image| image.path.as_path());
    findings.extend(lost(agent, image, &mapped));
    let (scripts, mut cut) = script::scripts(agent, process, text(&traces, "open_files"));
    let (foreign, not_had) = foreign(agent, pid, image, &mapped);
    cut.extend(not_had);
    let mut parts = parts(agent, traces);
    for (variable, library) in preloaded {
        let name = shown(Path::new(OsStr::from_bytes(&library)));
        let (weight, whose) = match vouching(agent, &library, &mapped) {
            Some(package) => (0, format!("of the package {package}")),
            None => (60, "which no package owns".to_owned()),
        };
        findings.push(finding("preload", weight, format!("{variable} has it load {name}, {whose}")));
        parts.extend(named_part(agent, &library, &format!("{variable} {name}")));
    }
    parts.extend(scripts.into_iter().chain(foreign));
    let mut known = HashSet::new();
    parts.retain(|part| known.insert((part.content.facts.dev, part.content.facts.inode)));
    Ok(Looked { findings, parts, cut })
}

/// What to do where it may not be looked at.
fn closed(pid: u32, error: VerbError) -> VerbError {
    match error {
        VerbError::Failed(problem) if problem.code == "permission_denied" => {
            let message =
                format!("process {pid} is another user's: an agent that runs as root, as by `sudo lrsh`, may look at it");
            Problem { message, ..problem }.into()
        }
        error => error,
    }
}

/// What it executes of files that are gone or never were on a disk, beside its image.
fn lost(agent: &Shared, image: Option<&Path>, mapped: &[Mapped]) -> Vec<Finding> {
    let is_dotnet = is_dotnet(mapped);
    let files = mapped.iter().filter(|file| file.executed && file.is_lost());
    let told = files.filter_map(|file| {
        let path = Path::new(OsStr::from_bytes(file.path()));
        let in_memory = file.path().starts_with(b"/memfd:");
        if image == Some(path) || (is_dotnet && file.path().starts_with(b"/memfd:doublemapper")) {
            return None;
        }
        let (weight, what) = match () {
            () if in_memory => (40, "which never was on a disk"),
            () if is_there(agent, &lossy(path)) => (10, "which was replaced since"),
            () => (40, "which is gone"),
        };
        Some(finding("mapped", weight, format!("it executes memory of {}, {what}", shown(path))))
    });
    told.take(MAX_PARTS).collect()
}

impl Judge {
    /// Judges a process. The identity is that of its image's file. What others had too is known already.
    ///
    /// # Errors
    /// When it cannot be looked at, or the command was asked to stop.
    pub fn process(&mut self, agent: &Shared, process: &Process, known: &mut KnownParts) -> Result<Judgement, VerbError> {
        let mut judgement = Judgement::default();
        if let Some(why) = without_file(process) {
            judgement.cut.push(why.to_owned());
            return Ok(judgement);
        }
        let looked = look(agent, process)?;
        if looked.parts.is_empty() {
            judgement.cut.push("it runs no file: it is the kernel's own, has ended, or may not be looked at".to_owned());
        }
        judgement.cut.extend(looked.cut);
        for part in looked.parts {
            let judged = self.part(&part, known)?;
            if part.role.is_empty() {
                judgement.cut.extend(judged.cut);
                judgement = Judgement { cut: judgement.cut, ..judged };
            } else {
                judgement.add(judged, &part.role);
            }
        }
        // Where its image lies is one fact, whoever tells it.
        if looked.findings.iter().any(|finding| finding.rule == TEMPORARY) {
            judgement.findings.retain(|finding| finding.rule != TEMPORARY || finding.place.is_some());
        }
        judgement.findings.extend(looked.findings);
        judgement.sort();
        Ok(judgement)
    }

    fn part(&mut self, part: &Part, known: &mut KnownParts) -> Result<Judgement, VerbError> {
        let identity = part.named.then(|| FileIdentity::new(&part.content.facts, None));
        if let Some(judged) = identity.as_ref().and_then(|identity| known.0.get(identity)) {
            return Ok(judged.clone());
        }
        let judged = self.file(&part.content, &[], &part.path, part.named, None, false)?;
        if let Some(identity) = identity.filter(|_| known.0.len() < MAX_KNOWN) {
            known.0.insert(identity, judged.clone());
        }
        Ok(judged)
    }
}

/// Why there is nothing of it to look at. What the kernel itself runs hangs below its process 2.
fn without_file(process: &Process) -> Option<&'static str> {
    match process.status {
        _ if process.image.is_some() => None,
        ProcessStatus::Zombie | ProcessStatus::Dead => {
            Some("it has ended, and only its number is left until its parent asks for it")
        }
        _ if process.parent_id == 2 || (process.pid == 2 && process.parent_id == 0) => {
            Some("it is a thread of the kernel, which runs no file: there is nothing to judge")
        }
        _ => None,
    }
}

fn finding(rule: &str, weight: u32, what: String) -> Finding {
    Finding { engine: "process", rule: rule.to_owned(), weight, what, place: None }
}

/// What a process shows of itself.
fn own(agent: &Shared, process: &Process) -> Vec<Finding> {
    let mut findings = Vec::new();
    let Some(image) = &process.image else { return findings };
    let path = shown(&image.path);
    if image.path.as_os_str().as_bytes().starts_with(b"/memfd:") {
        findings.push(finding("memfd", 60, format!("its image never was on a disk: {path}")));
    } else if image.deleted {
        let (weight, what) = if is_there(agent, &lossy(&image.path)) {
            (10, "and another is there now")
        } else {
            (40, "and nothing is there now")
        };
        findings.push(finding("deleted", weight, format!("its image {path} was deleted {what}")));
    }
    if is_writable(&image.path) {
        findings.push(finding(TEMPORARY, 40, format!("its image {path} lies in a folder in which everybody may make files")));
    }
    let first = process.argument(0);
    let bracketed = |name: &[u8]| name.starts_with(b"[") && name.ends_with(b"]");
    if process.parent_id != 2 && (bracketed(first) || bracketed(process.name.as_bytes())) {
        let called = String::from_utf8_lossy(if bracketed(first) { first } else { process.name.as_bytes() }).into_owned();
        findings.push(finding(
            "disguise",
            60,
            format!("it calls itself {called}, as threads of the kernel are, and runs {path}"),
        ));
    }
    findings
}

/// Whether something is at the path of a deleted file now; dpkg deletes under names of its own.
fn is_there(agent: &Shared, path: &str) -> bool {
    let plain = path.split(".dpkg-").next().unwrap_or(path);
    agent.root.facts(Path::new(plain)).is_ok_and(|facts| facts.is_file())
}

fn text<'a>(traces: &'a [Trace], name: &str) -> &'a [u8] {
    let found = traces.iter().find(|trace| trace.name == name);
    match found.map(|trace| &trace.source) {
        Some(TraceSource::Text(text)) => text,
        _ => &[],
    }
}

/// What the loader was made to load, and by which variable.
fn preloaded(environment: &[u8]) -> Vec<(String, Vec<u8>)> {
    let environment = environment.get(..environment.len().min(MAX_ENVIRONMENT)).unwrap_or_default();
    let mut all = Vec::new();
    for entry in environment.split(|&byte| byte == 0) {
        let Some(equals) = entry.iter().position(|&byte| byte == b'=') else { continue };
        let (name, value) = entry.split_at(equals);
        if PRELOADS.contains(&name) {
            let names = value.get(1..).unwrap_or_default().split(|byte| matches!(byte, b' ' | b':'));
            let name = String::from_utf8_lossy(name).into_owned();
            all.extend(names.filter(|library| !library.is_empty()).map(|library| (name.clone(), library.to_vec())));
        }
    }
    all.truncate(MAX_PARTS);
    all
}

/// When it started: field 22, the 20th behind the name in brackets (proc(5)).
fn start_ticks(stat: &[u8]) -> Option<u64> {
    let behind = stat.iter().rposition(|&byte| byte == b')')?;
    let mut fields = stat.get(behind + 1..)?.split(|&byte| byte == b' ').filter(|field| !field.is_empty());
    std::str::from_utf8(fields.nth(19)?).ok()?.parse().ok()
}

/// The files among the traces: the image, memory without a name, what was deleted while it was open.
fn parts(agent: &Shared, traces: Vec<Trace>) -> Vec<Part> {
    let files = traces.into_iter().filter_map(|trace| match trace.source {
        TraceSource::File { file, .. } => Some((trace.name, trace.about, file)),
        TraceSource::Text(_) => None,
    });
    let part = |(name, about, file): (String, String, File)| {
        let facts = Facts::of(file.as_fd(), c"").ok()?;
        let real = agent.root.path_of(file.as_fd());
        let role = if name == "image" { String::new() } else { format!("{name} ({about})") };
        let (named, path) = (real.is_some(), real.unwrap_or_else(|| PathBuf::from(about)));
        Some(Part { role, content: Content { file, facts, size: Some(facts.size) }, path, named })
    };
    files.filter_map(part).take(MAX_PARTS).collect()
}

/// A file that a process was given, by its path.
fn named_part(agent: &Shared, path: &[u8], role: &str) -> Option<Part> {
    let path = Path::new(OsStr::from_bytes(path));
    if !path.is_absolute() {
        return None;
    }
    let content = Content::open(&agent.root, path, false).ok()?;
    let path = agent.root.path_of(content.file.as_fd())?;
    Some(Part { role: role.to_owned(), content, path, named: true })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preloads_and_start_times_are_read() {
        let found = preloaded(b"A=1\0LD_PRELOAD=/a.so:/b.so\0LD_AUDIT=c.so\0LD_PRELOAD\0X_LD_PRELOAD=/d\0");
        let found: Vec<String> =
            found.iter().map(|(name, library)| format!("{name} {}", String::from_utf8_lossy(library))).collect();
        assert_eq!(found, ["LD_PRELOAD /a.so", "LD_PRELOAD /b.so", "LD_AUDIT c.so"]);
        assert_eq!(start_ticks(b"1 (a ) b) S 0 1 1 0 -1 4 5 6 7 8 9 10 11 12 20 0 1 0 4711 9"), Some(4711));
        assert_eq!(start_ticks(b"broken"), None);
    }
}
