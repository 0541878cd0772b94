//! What a process is judged by: its image, the files it executes or has that lie nowhere else, the libraries it was made to load,
//! and how it presents itself.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::heuristics::{is_writable, owner};
use super::{Finding, Judge, Judgement};
use crate::agent::content::Content;
use crate::agent::context::VerbError;
use crate::agent::dispatch::Shared;
use crate::agent::path::{lossy, shown};
use crate::agent::platform::{Facts, Origin, Process, ProcessStatus, Trace, TraceSource, base_name};
use crate::protocol::Problem;

/// The most files of a process that are looked at.
const MAX_PARTS: usize = 64;
/// The most of its environment that is read, in bytes.
const MAX_ENVIRONMENT: usize = 1024 * 1024;
/// Variables that make the loader load something (ld.so(8)).
const PRELOADS: [&[u8]; 2] = [b"LD_PRELOAD", b"LD_AUDIT"];
/// Programs that run the file they are given.
const INTERPRETERS: [&[u8]; 10] = [b"sh", b"bash", b"dash", b"zsh", b"ksh", b"python", b"perl", b"ruby", b"php", b"node"];

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
}

/// Looks at a process.
///
/// # Errors
/// When it is gone, is another by now, or may not be looked at.
pub fn look(agent: &Shared, process: &Process) -> Result<Looked, VerbError> {
    let pid = process.pid;
    let traces = agent.platform.traces(pid)?;
    if start_ticks(text(&traces, "stat")).is_some_and(|ticks| ticks != process.start_ticks) {
        return Err(Problem::new("not_found", format!("process {pid} ended, and another has its number by now"))
            .about("id")
            .into());
    }
    let executed = executed(text(&traces, "maps"));
    let preloaded = preloaded(text(&traces, "environment"));
    let mut findings = own(agent, process);
    for target in executed.iter().filter(|target| is_no_image(process, target)) {
        let lost = target.strip_suffix(" (deleted)").unwrap_or(target);
        let replaced = !lost.starts_with("/memfd:") && is_there(agent, lost);
        let (weight, what) = match () {
            // What .NET maps twice, once to write and once to execute, belongs to its way of compiling.
            () if lost.starts_with("/memfd:doublemapper") => continue,
            () if lost.starts_with("/memfd:") => (40, "which never was on a disk"),
            () if replaced => (10, "which was replaced since"),
            () => (40, "which is gone"),
        };
        findings.push(finding("mapped", weight, format!("it executes memory of {}, {what}", shown(Path::new(lost)))));
    }
    let mut parts = parts(agent, traces);
    for (variable, library) in preloaded {
        let name = shown(Path::new(OsStr::from_bytes(&library)));
        let (weight, whose) = match owner(agent, &library) {
            Some(package) => (0, format!("of the package {package}")),
            None => (60, "which no package owns".to_owned()),
        };
        findings.push(finding("preload", weight, format!("{variable} has it load {name}, {whose}")));
        parts.extend(named_part(agent, &library, &format!("{variable} {name}")));
    }
    parts.extend(script(agent, process));
    Ok(Looked { findings, parts })
}

impl Judge {
    /// Judges a process. The identity is that of its image's file.
    ///
    /// # Errors
    /// When it cannot be looked at, or the command was asked to stop.
    pub fn process(&mut self, agent: &Shared, process: &Process) -> Result<Judgement, VerbError> {
        let mut judgement = Judgement::default();
        if let Some(why) = without_file(process) {
            judgement.cut.push(why.to_owned());
            return Ok(judgement);
        }
        let looked = look(agent, process)?;
        if looked.parts.is_empty() {
            judgement.cut.push("it runs no file: it is the kernel's own, has ended, or may not be looked at".to_owned());
        }
        for part in looked.parts {
            let origin: Option<&Origin> = None;
            let judged = self.file(&part.content, &part.path, part.named, origin, false)?;
            if part.role.is_empty() {
                judgement = Judgement { cut: judgement.cut, ..judged };
            } else {
                judgement.add(judged, &part.role);
            }
        }
        judgement.findings.extend(looked.findings);
        judgement.sort();
        Ok(judgement)
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
        findings.push(finding("temporary", 40, format!("its image {path} lies in a folder in which everybody may make files")));
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

fn is_no_image(process: &Process, target: &str) -> bool {
    let lost = target.strip_suffix(" (deleted)").unwrap_or(target);
    process.image.as_ref().is_none_or(|image| lossy(&image.path) != lost)
}

fn text<'a>(traces: &'a [Trace], name: &str) -> &'a [u8] {
    let found = traces.iter().find(|trace| trace.name == name);
    match found.map(|trace| &trace.source) {
        Some(TraceSource::Text(text)) => text,
        _ => &[],
    }
}

/// The files without a name whose memory is executed, from `/proc/PID/maps`: `address perms offset dev inode   path`.
fn executed(maps: &[u8]) -> Vec<String> {
    let mut known = HashSet::new();
    let lines = maps.split(|&byte| byte == b'\n').filter_map(|line| {
        let mut fields = line.splitn(6, |&byte| byte == b' ');
        let executable = fields.nth(1)?.get(2) == Some(&b'x');
        let path = String::from_utf8_lossy(fields.nth(3)?.trim_ascii()).into_owned();
        let lost = path.starts_with("/memfd:") || (path.starts_with('/') && path.ends_with(" (deleted)"));
        (executable && lost).then_some(path)
    });
    lines.filter(|path| known.insert(path.clone())).take(MAX_PARTS).collect()
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

/// The script that an interpreter runs: its first argument that is no option.
fn script(agent: &Shared, process: &Process) -> Option<Part> {
    let image = process.image.as_ref()?;
    let name = base_name(image.path.as_os_str().as_bytes());
    if !INTERPRETERS.iter().any(|interpreter| name.starts_with(interpreter)) {
        return None;
    }
    let mut arguments = process.arguments.split(|&byte| byte == 0).skip(1).take_while(|argument| !argument.is_empty());
    let given = arguments.find(|argument| !argument.starts_with(b"-"))?;
    let given = Path::new(OsStr::from_bytes(given));
    let whole = if given.is_absolute() {
        given.to_path_buf()
    } else {
        let folder = agent.root.open(&Path::new("/proc").join(process.pid.to_string()).join("cwd"), OFlags::PATH).ok()?;
        agent.root.path_of(folder.as_fd())?.join(given)
    };
    named_part(agent, whole.as_os_str().as_bytes(), &format!("script {}", shown(&whole)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_executed_without_a_name_is_read_from_maps() {
        let maps = b"7f00-7f01 r-xp 00000000 08:01 12                     /usr/lib/libc.so.6\n\
            7f01-7f02 rw-p 00000000 00:01 13                     /memfd:data (deleted)\n\
            7f02-7f03 r-xp 00000000 00:01 14                     /memfd:a b (deleted)\n\
            7f02-7f03 r-xp 00001000 00:01 14                     /memfd:a b (deleted)\n\
            7f03-7f04 r-xp 00000000 08:01 15                     /tmp/x.so (deleted)\n\
            7f04-7f05 r-xp 00000000 00:00 0                      [vdso]\nbroken\n";
        assert_eq!(executed(maps), ["/memfd:a b (deleted)", "/tmp/x.so (deleted)"]);
    }

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
