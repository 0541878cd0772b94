//! What the editor asks of the shell: the session as it is known, and what device, service and disk tell while a line is typed.
//! Nothing here waits; questions are tasks, and their answers come when they come.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::runtime::Handle;

use super::Shell;
use super::client::Client;
use super::editor::{Answer, Candidate, Facts, Found, Surroundings, Wanted};
use super::jobs::Jobs;
use super::local::help_text;
use super::session::Now;
use crate::error::Outcome;
use crate::grammar::Row;
use crate::protocol::{CommandRecord, Device, LibraryFile, Peek, PeekAt, Session};

/// The time left is told when it is less than this, or than a fifth of what there is.
const SHORT: Duration = Duration::from_mins(5);
/// While it is short the service is asked this often: other shells may have done something that this one does not hear of.
const ASKED: Duration = Duration::from_secs(20);
/// More entries of a local folder nobody looks through.
const MOST: usize = 5000;
/// Commands of the log that are offered.
const COMMANDS: usize = 200;

/// The shell, as its editor sees it.
pub(super) struct Around {
    runtime: Handle,
    client: Client,
    now: Now,
    jobs: Jobs,
    directory: Arc<Mutex<String>>,
}

impl Around {
    pub(super) fn new(runtime: Handle, shell: &Shell) -> Self {
        Self {
            runtime,
            client: shell.client.clone(),
            now: shell.now.clone(),
            jobs: shell.jobs.clone(),
            directory: shell.directory.clone(),
        }
    }
}

impl Surroundings for Around {
    fn facts(&self) -> Facts {
        let session = self.now.session();
        let directory = self.directory.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Facts {
            platform: session.as_ref().map(|session| session.device.platform),
            device: session.as_ref().map(|session| session.device.title()),
            directory,
            roles: session.map(|session| session.roles).unwrap_or_default(),
        }
    }

    fn ask(&self, wanted: &Wanted, answer: Answer) {
        let (client, session, wanted) = (self.client.clone(), self.now.session(), wanted.clone());
        if let Wanted::LocalFolder(folder) = wanted {
            self.runtime.spawn_blocking(move || answer(local_folder(&folder)));
            return;
        }
        self.runtime.spawn(async move {
            let told = told(&client, session.as_ref(), &wanted).await;
            answer(told.unwrap_or_else(|| Err("no device is connected: connect, or any command for it".to_owned())));
        });
    }

    fn jobs(&self) -> usize {
        self.jobs.running().len()
    }

    fn idle_left(&self) -> Option<Duration> {
        // What runs is activity.
        if self.jobs() > 0 {
            return None;
        }
        let limit = Duration::from_secs(self.now.session()?.limits.idle_seconds);
        let short = SHORT.min(limit / 5);
        let left = self.now.idle_left().filter(|left| *left < short)?;
        // The service's word counts: it is asked beside, and what it says is seen at the next turn.
        if let Some(session) = self.now.ask_idle(ASKED.min(short / 4)) {
            let (client, now) = (self.client.clone(), self.now.clone());
            self.runtime.spawn(async move {
                if let Ok(session) = client.session(&session).await {
                    now.hear_idle(&session);
                }
            });
        }
        Some(left)
    }

    fn help(&self, row: Option<&'static Row>) -> String {
        help_text(self.now.session().as_ref(), row)
    }
}

/// What the service or the device tells; `None` where there is no session to ask in.
async fn told(client: &Client, session: Option<&Session>, wanted: &Wanted) -> Option<Result<Found, String>> {
    Some(match wanted {
        Wanted::Devices => found(client.devices().await, |device| Some(of_device(device))),
        Wanted::Library => found(client.library().await, |file| Some(of_file(file))),
        Wanted::Commands => {
            let records = client.commands(&session?.session_id).await;
            let newest = records.map(|records| records.into_iter().rev().take(COMMANDS).collect());
            found(newest, |record| Some(of_command(&record)))
        }
        Wanted::Folder { directory, path, begins } => {
            let rows = client.peek(&session?.session_id, PeekAt::Folder, directory, path, begins).await;
            let mut entries = rows_of(rows, of_entry);
            if let Ok(found) = &mut entries {
                found.candidates.sort_by(|one, other| one.value.cmp(&other.value));
            }
            entries
        }
        Wanted::Processes => rows_of(peek(client, session?, PeekAt::Processes).await, |row| Some(of_process(row))),
        Wanted::ProcessNames => {
            let mut names = rows_of(peek(client, session?, PeekAt::Processes).await, name_of);
            if let Ok(found) = &mut names {
                found.candidates.sort_by(|one, other| one.value.cmp(&other.value));
                found.candidates.dedup_by(|one, other| one.value == other.value);
            }
            names
        }
        Wanted::Registry(key) => {
            let session = session?;
            let at = session.device.platform.start_directory();
            rows_of(client.peek(&session.session_id, PeekAt::Registry, at, key, "").await, |row| Some(of_registry(row)))
        }
        Wanted::Services => rows_of(peek(client, session?, PeekAt::Services).await, |row| Some(of_service(row))),
        Wanted::Tasks => rows_of(peek(client, session?, PeekAt::ScheduledTasks).await, |row| Some(of_task(row))),
        Wanted::StartupItems => rows_of(peek(client, session?, PeekAt::StartupFolders).await, |row| Some(of_item(row))),
        Wanted::Effects => rows_of(peek(client, session?, PeekAt::Effects).await, |row: EffectRow| row.by_number()),
        Wanted::Targets(entity) => {
            rows_of(peek(client, session?, PeekAt::Effects).await, |row: EffectRow| row.by_target(entity))
        }
        Wanted::LocalFolder(folder) => local_folder(folder),
    })
}

async fn peek(client: &Client, session: &Session, at: PeekAt) -> Outcome<Peek> {
    client.peek(&session.session_id, at, session.device.platform.start_directory(), "", "").await
}

fn found<T>(told: Outcome<Vec<T>>, candidate: impl Fn(T) -> Option<Candidate>) -> Result<Found, String> {
    let list = told.map_err(|failure| failure.problem.message)?;
    Ok(Found { candidates: list.into_iter().filter_map(candidate).collect(), more: false })
}

fn rows_of<T: DeserializeOwned>(told: Outcome<Peek>, candidate: impl Fn(T) -> Option<Candidate>) -> Result<Found, String> {
    let peek = told.map_err(|failure| failure.problem.message)?;
    // A row that says something else than the table has nothing to offer.
    let rows = peek.rows.iter().filter_map(|row| serde_json::from_str::<T>(row.get()).ok());
    Ok(Found { candidates: rows.filter_map(candidate).collect(), more: peek.more })
}

fn candidate(value: impl Into<String>, parts: &[Option<&str>]) -> Candidate {
    let parts: Vec<&str> = parts.iter().copied().flatten().filter(|part| !part.is_empty()).collect();
    Candidate { value: value.into(), description: parts.join("  "), ..Candidate::default() }
}

fn of_device(device: Device) -> Candidate {
    candidate(device.name, &[Some(device.platform.as_str()), Some(&device.id)])
}

fn of_file(file: LibraryFile) -> Candidate {
    let size = format!("{} bytes", file.size);
    let parts = [file.description.as_deref(), Some(&size), Some(&format!("by {}", file.created_by))];
    Candidate { usage: file.parameters_description, ..candidate(file.file_name, &parts) }
}

fn of_command(record: &CommandRecord) -> Candidate {
    let status = record.status.as_str();
    let parts = [Some(record.raw_command_line.as_str()), Some(status)];
    Candidate { is_running: !record.status.is_final(), ..candidate(record.number.to_string(), &parts) }
}

#[derive(Deserialize)]
struct EntryRow {
    path: String,
    #[serde(rename = "isDirectory")]
    is_directory: Option<bool>,
    size: Option<u64>,
    modified: Option<String>,
    link_target: Option<String>,
    path_uri: Option<String>,
    error: Option<String>,
}

fn of_entry(row: EntryRow) -> Option<Candidate> {
    // What a pattern matches lies elsewhere.
    if row.path.contains('/') {
        return None;
    }
    let is_folder = row.is_directory.unwrap_or(false);
    let link = row.link_target.map(|target| format!("-> {target}"));
    let size = row.size.map(|size| format!("{size} bytes"));
    let what = if is_folder { Some("folder") } else { link.as_deref().or(row.error.as_deref()).or(size.as_deref()) };
    let minute = row.modified.as_deref().and_then(|time| time.get(..16)).map(|time| time.replace('T', " ") + "Z");
    Some(Candidate {
        exact: row.path_uri,
        is_folder,
        is_open: is_folder || link.is_some(),
        ..candidate(row.path, &[what, minute.as_deref()])
    })
}

#[derive(Deserialize)]
struct ProcessRow {
    pid: u64,
    name: Option<String>,
    user_name: Option<String>,
    command_line: Option<String>,
}

fn of_process(row: ProcessRow) -> Candidate {
    // What a name does not say, its command line may.
    let command = row.command_line.filter(|command| Some(command) != row.name.as_ref());
    candidate(row.pid.to_string(), &[row.name.as_deref(), row.user_name.as_deref(), command.as_deref()])
}

fn name_of(row: ProcessRow) -> Option<Candidate> {
    row.name.map(|name| candidate(name, &[row.user_name.as_deref(), row.command_line.as_deref()]))
}

#[derive(Deserialize)]
struct RegistryRow {
    reg_path: String,
    value_name: Option<String>,
    value_type: Option<String>,
    value: serde_json::Value,
}

fn of_registry(row: RegistryRow) -> Candidate {
    let RegistryRow { reg_path, value_name, value_type, value } = row;
    let text = match value {
        serde_json::Value::Null => None,
        serde_json::Value::String(text) => Some(text),
        other => Some(other.to_string()),
    };
    let parts = [value_type.as_deref(), text.as_deref()];
    match value_name {
        Some(name) => candidate(name, &parts),
        None => {
            let name = reg_path.rsplit('\\').next().unwrap_or_default();
            Candidate { is_folder: true, is_open: true, ..candidate(name, &parts) }
        }
    }
}

#[derive(Deserialize)]
struct ServiceRow {
    service_name: String,
    display_name: Option<String>,
    current_state: Option<String>,
}

fn of_service(row: ServiceRow) -> Candidate {
    candidate(row.service_name, &[row.current_state.as_deref(), row.display_name.as_deref()])
}

#[derive(Deserialize)]
struct TaskRow {
    id: String,
    schedule: Option<String>,
    command: Option<String>,
}

fn of_task(row: TaskRow) -> Candidate {
    candidate(row.id, &[row.schedule.as_deref(), row.command.as_deref()])
}

#[derive(Deserialize)]
struct ItemRow {
    #[serde(rename = "filePath")]
    file_path: String,
    #[serde(rename = "executablePath")]
    executable_path: Option<String>,
    category: Option<String>,
}

fn of_item(row: ItemRow) -> Candidate {
    candidate(row.file_path, &[row.category.as_deref(), row.executable_path.as_deref()])
}

#[derive(Deserialize)]
struct EffectRow {
    id: u64,
    #[serde(rename = "type")]
    entity: String,
    target: String,
    action: Option<String>,
    undoable: Option<bool>,
}

impl EffectRow {
    fn by_number(self) -> Option<Candidate> {
        let parts = [Some(self.entity.as_str()), Some(self.target.as_str()), self.action.as_deref()];
        self.undoable.unwrap_or(false).then(|| candidate(self.id.to_string(), &parts))
    }

    fn by_target(self, entity: &str) -> Option<Candidate> {
        let number = format!("effect {}", self.id);
        let is_it = self.undoable.unwrap_or(false) && (entity.is_empty() || entity == self.entity);
        is_it.then(|| candidate(self.target, &[self.action.as_deref(), Some(&number)]))
    }
}

/// The entries of a folder of this machine.
fn local_folder(folder: &str) -> Result<Found, String> {
    let path = if folder.is_empty() { PathBuf::from(".") } else { PathBuf::from(folder) };
    let entries = std::fs::read_dir(&path).map_err(|error| format!("{folder}: {error}"))?;
    let entry = |entry: std::fs::DirEntry| {
        let name = entry.file_name().into_string().ok()?;
        // Where a link leads is what counts.
        let facts = std::fs::metadata(entry.path()).ok();
        let is_folder = facts.as_ref().is_some_and(std::fs::Metadata::is_dir);
        let size = facts.filter(std::fs::Metadata::is_file).map(|facts| format!("{} bytes", facts.len()));
        let what = if is_folder { Some("folder") } else { size.as_deref() };
        Some(Candidate { is_folder, is_open: is_folder, ..candidate(name, &[what]) })
    };
    let mut candidates: Vec<Candidate> = entries.flatten().filter_map(entry).take(MOST).collect();
    candidates.sort_by(|one, other| one.value.cmp(&other.value));
    Ok(Found { candidates, more: false })
}
