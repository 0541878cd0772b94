//! Scheduled tasks: definitions below `System32\Tasks`, and what the scheduler's own list in the registry says of them. A task
//! that is in one of the two only, or that was hidden from the scheduler's own tools, says so.

use std::collections::HashMap;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::job_file;
use super::registry::{Found, Registry};
use super::task_file::{TaskFile, parse};
use super::text::{command_line, filetime};
use crate::agent::context::{Stop, VerbError};
use crate::agent::digest::hex;
use crate::agent::path::{lossy, problem, reason, shown};
use crate::agent::platform::{Task, Told, drive};
use crate::protocol::Problem;

/// The largest definition that is read.
const MAX_FILE: u64 = 256 * 1024;
/// How much is read of all of them.
const MAX_ALL: u64 = 64 * 1024 * 1024;
/// The most tasks, the most names of one folder, and how deep folders are looked into.
const MAX_TASKS: usize = 50_000;
const MAX_NAMES: usize = 20_000;
const MAX_DEPTH: usize = 32;
/// The most tasks of the scheduler's list.
const MAX_LISTED: usize = 200_000;
/// The scheduler's own list.
const CACHE: &str = r"SOFTWARE\Microsoft\Windows NT\CurrentVersion\Schedule\TaskCache";

/// What the scheduler's list says of a task.
struct Listed {
    id: String,
    /// Whether it has a security descriptor: the scheduler's tools show none that has not.
    shown: bool,
    last_run: Option<jiff::Timestamp>,
}

/// All tasks, sorted.
///
/// # Errors
/// Only when told to stop: what cannot be read is said with the task it is about, or in the doubts.
pub fn tasks(registry: &Registry<'_>, stop: &Stop) -> Result<Told<Task>, VerbError> {
    let mut listed = listed(registry, stop)?;
    let known = listed.is_some();
    let mut all = Vec::new();
    let mut left = MAX_ALL;
    let top = registry.root().spelled(&drive::resolve(r"C:\", r"Windows\System32\Tasks"));
    let limit = |file: &Path, why: String| {
        registry.note(&lossy(file), Problem::new("limit", format!("{}: {why}", shown(file))).at(lossy(file)));
    };
    let mut folders = vec![(top, String::new(), 0)];
    while let Some((folder, path, depth)) = folders.pop() {
        for name in registry.names(&folder, MAX_NAMES) {
            stop.check()?;
            let file = folder.join(&name);
            let id = format!(r"{path}\{}", name.to_string_lossy());
            let facts = match registry.root().link_facts(&file) {
                Ok(facts) => facts,
                Err(error) => {
                    registry.note(&lossy(&file), problem(&file, &error));
                    continue;
                }
            };
            if facts.is_folder() && depth < MAX_DEPTH {
                folders.push((file, id, depth + 1));
            } else if facts.is_folder() {
                limit(&file, format!("tasks more than {MAX_DEPTH} folders deep are not looked for"));
            } else if all.len() >= MAX_TASKS {
                limit(&folder, format!("only the first {MAX_TASKS} tasks are told"));
                break;
            } else if facts.is_file() {
                let listed = listed.as_mut().and_then(|listed| listed.remove(&id.to_lowercase()));
                let most = MAX_FILE.min(left);
                left = left.saturating_sub(facts.size);
                let mut task = task(registry, &file, id, most);
                task.modified = Some(facts.modified);
                match listed {
                    Some(listed) => {
                        task.last_run = listed.last_run;
                        if !listed.shown {
                            let hidden = "hidden: its security descriptor (SD) is missing in the scheduler's list (TaskCache)";
                            task.error.get_or_insert_with(|| hidden.to_owned());
                        }
                    }
                    None if known => {
                        task.error.get_or_insert_with(|| "it is not in the scheduler's list (TaskCache)".to_owned());
                    }
                    None => {}
                }
                all.push(task);
            }
        }
    }
    for listed in listed.into_iter().flat_map(HashMap::into_values) {
        let error = Some("it is in the scheduler's list (TaskCache) only: its definition is not there".to_owned());
        all.push(Task { id: listed.id, kind: "task", last_run: listed.last_run, error, ..Task::default() });
    }
    all.extend(jobs(registry, stop)?);
    all.sort_by(|one, other| one.id.cmp(&other.id));
    Ok(Told { all, doubts: registry.doubts() })
}

/// Tasks as Windows kept them before Vista, and still runs where `at` made them.
fn jobs(registry: &Registry<'_>, stop: &Stop) -> Result<Vec<Task>, VerbError> {
    let folder = registry.root().spelled(&drive::resolve(r"C:\", r"Windows\Tasks"));
    let mut jobs = Vec::new();
    for name in registry.names(&folder, MAX_NAMES) {
        stop.check()?;
        let file = folder.join(&name);
        if !file.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("job")) {
            continue;
        }
        let bare =
            Task { id: format!(r"\{}", name.to_string_lossy()), kind: "job", file: Some(file.clone()), ..Task::default() };
        let modified = registry.root().link_facts(&file).ok().map(|facts| facts.modified);
        let bytes = match registry.root().read(&file, MAX_FILE) {
            Ok(bytes) => bytes,
            Err(error) => {
                jobs.push(Task { modified, error: Some(reason(&error).1), ..bare });
                continue;
            }
        };
        let bare = Task { modified, sha256: Some(hex(&Sha256::digest(&bytes))), ..bare };
        jobs.push(match job_file::parse(&bytes) {
            Some(read) => filled(bare, read),
            None => Task { error: Some("it describes no task, or is damaged".to_owned()), ..bare },
        });
    }
    Ok(jobs)
}

fn task(registry: &Registry<'_>, file: &Path, id: String, most: u64) -> Task {
    let bare = Task { id, kind: "task", file: Some(file.to_owned()), ..Task::default() };
    let bytes = match registry.root().read(file, most) {
        Ok(bytes) => bytes,
        Err(_) if most < MAX_FILE => {
            let error = format!("it was not read: the definitions before it are more than {} MB", MAX_ALL >> 20);
            return Task { error: Some(error), ..bare };
        }
        Err(error) => return Task { error: Some(reason(&error).1), ..bare },
    };
    let sha256 = Some(hex(&Sha256::digest(&bytes)));
    let read = match parse(&bytes) {
        Ok(read) => read,
        Err(error) => return Task { sha256, error: Some(error), ..bare },
    };
    filled(Task { sha256, ..bare }, read)
}

/// A task with what its definition says.
fn filled(bare: Task, read: TaskFile) -> Task {
    let mut commands: Vec<String> =
        read.programs.iter().map(|(program, arguments)| command_line(program, arguments.as_deref())).collect();
    commands.extend(read.handler.as_ref().map(|(class, _)| format!("COM {class}")));
    let one = |texts: Vec<String>| (!texts.is_empty()).then(|| texts.join("; "));
    Task {
        enabled: read.enabled,
        author: read.author,
        uri: read.uri,
        description: read.description,
        schedule: one(read.triggers),
        user: read.user,
        principal: read.principal,
        context: read.context,
        command: one(commands),
        programs: read.programs,
        handler: read.handler,
        ..bare
    }
}

/// The scheduler's own list, by path in small letters; `None` where there is none, as before Windows Vista.
fn listed(registry: &Registry<'_>, stop: &Stop) -> Result<Option<HashMap<String, Listed>>, VerbError> {
    let (Some(tree), details) = (registry.machine(&format!(r"{CACHE}\Tree")), registry.machine(&format!(r"{CACHE}\Tasks")))
    else {
        return Ok(None);
    };
    let details: HashMap<String, Found> =
        details.iter().flat_map(|all| registry.below(all)).map(|one| (one.key.name.clone(), one)).collect();
    let mut all = HashMap::new();
    let mut keys = vec![(tree, String::new(), 0)];
    while let Some((key, path, depth)) = keys.pop() {
        stop.check()?;
        for child in registry.below(&key) {
            let path = format!(r"{path}\{}", child.key.name);
            if all.len() >= MAX_LISTED {
                let message = format!(r"{CACHE}\Tree: only the first {MAX_LISTED} tasks of the scheduler's list are looked at");
                registry.note(CACHE, Problem::new("limit", message));
                return Ok(Some(all));
            }
            if let Some(id) = child.text("Id") {
                let last_run = details.get(&id).and_then(last_run);
                all.insert(path.to_lowercase(), Listed { id: path.clone(), shown: child.data("SD").is_some(), last_run });
            }
            if depth < MAX_DEPTH {
                keys.push((child, path, depth + 1));
            }
        }
    }
    Ok(Some(all))
}

/// When a task last ran: the second time of `DynamicInfo`.
fn last_run(found: &Found) -> Option<jiff::Timestamp> {
    let super::hive::Data::Bytes(info) = found.data("DynamicInfo")? else { return None };
    let ticks = u64::from_le_bytes(info.get(12..20)?.try_into().ok()?);
    (ticks != 0).then(|| filetime(ticks).timestamp()).flatten()
}
