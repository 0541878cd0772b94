//! What the service holds: devices, open sessions, commands that are under way or were asked for, settings.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use jiff::Timestamp;

use super::library::Library;
use super::policy::Policy;
use super::queue::Queue;
use super::retention::Spools;
use super::serve::Activity;
use super::sessions::OpenSession;
use super::store::{Store, Trouble};
use super::stream::{Stream, Weight};
use crate::protocol::link::AgentLink;
use crate::protocol::{AgentEvent, Body, CommandId, CommandRecord, Completed, Device, DeviceState, SessionId, Settings};

/// What a service is started with.
pub struct ServiceOptions {
    /// The service's folder: store, spool and library.
    pub folder: PathBuf,
    /// Who may do what.
    pub policy: Policy,
    /// The devices.
    pub links: Vec<Arc<dyn AgentLink>>,
    /// What keeps the service from ending by itself.
    pub activity: Arc<Activity>,
}

/// Why a service does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store cannot be opened.
    #[error("the store {file} cannot be opened: {error}; {remedy}", file = .file.display(), remedy = remedy(.file, *.why))]
    Store {
        /// The database.
        file: PathBuf,
        /// What it said.
        error: String,
        /// What that means.
        why: Trouble,
    },
    /// The folder cannot be made.
    #[error("the folder {folder} cannot be made: {error}", folder = .folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
}

/// What an analyst can do about a store that fails.
fn remedy(file: &Path, why: Trouble) -> String {
    let file = file.display();
    match why {
        Trouble::Damaged => format!(
            "it is damaged: `sqlite3 {file} .recover` may yet read what was in it; with {file}, {file}-wal and {file}-shm moved \
             away, lrsh begins with an empty log and library"
        ),
        Trouble::Newer => "a newer lrsh has written it: use that one, or another LRSH_HOME".to_owned(),
        Trouble::Full => "the disk is full: make room on it".to_owned(),
        Trouble::ReadOnly => format!("{file} and its folder have to be writable for this user"),
        Trouble::Other => "LRSH_HOME names another place".to_owned(),
    }
}

/// A running service; clones are the same.
#[derive(Clone)]
pub struct Service {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) policy: Policy,
    pub(super) store: Store,
    pub(super) spools: Arc<Spools>,
    pub(super) library: Arc<Library>,
    pub(super) devices: Vec<Attached>,
    pub(super) sessions: Mutex<HashMap<SessionId, Arc<OpenSession>>>,
    /// Held while a session is opened, so that limits hold.
    pub(super) opening: tokio::sync::Mutex<()>,
    pub(super) commands: Mutex<HashMap<CommandId, Arc<Command>>>,
    /// Told when a command comes into memory.
    pub(super) accepted: tokio::sync::Notify,
    pub(super) settings: RwLock<Settings>,
    pub(super) activity: Arc<Activity>,
}

/// A device with its link and its queue.
pub(super) struct Attached {
    pub(super) link: Arc<dyn AgentLink>,
    pub(super) queue: Arc<Queue>,
}

/// A command in memory.
pub(super) struct Command {
    pub(super) record: Mutex<CommandRecord>,
    pub(super) stream: Stream,
    /// Told when somebody asks it to stop before the device has it.
    pub(super) stop: tokio_util::sync::CancellationToken,
    /// The device that carries it out.
    pub(super) device: String,
}

impl Service {
    /// Opens store and spool, and ends what an earlier service left running.
    ///
    /// # Errors
    /// When folder or store cannot be used.
    pub async fn start(options: ServiceOptions) -> Result<Self, StartError> {
        let folder = options.folder;
        crate::host::private_folder(&folder).map_err(|error| StartError::Folder { folder: folder.clone(), error })?;
        let file = folder.join("store.db");
        let failed =
            |error: sqlx::Error| StartError::Store { file: file.clone(), error: error.to_string(), why: Trouble::of(&error) };
        let store = Store::open(&file).await.map_err(failed)?;
        let settings = store.settings().await.map_err(failed)?;
        let library = folder.join("library");
        let library = Library::open(library.clone()).map_err(|error| StartError::Folder { folder: library, error })?;
        let limits = &options.policy.limits;
        let devices = options
            .links
            .into_iter()
            .map(|link| Attached { link, queue: Queue::new(limits.heavy_per_device, limits.light_per_device) })
            .collect();
        let spools = Spools::new(&folder, limits);
        let service = Self {
            inner: Arc::new(Inner {
                policy: options.policy,
                store,
                spools,
                library,
                devices,
                sessions: Mutex::default(),
                opening: tokio::sync::Mutex::default(),
                commands: Mutex::default(),
                accepted: tokio::sync::Notify::new(),
                settings: RwLock::new(settings),
                activity: options.activity,
            }),
        };
        service.tidy_library().await.map_err(failed)?;
        service.end_interrupted().await.map_err(failed)?;
        service.inner.spools.prune();
        service.reopen_sessions().await.map_err(failed)?;
        Ok(service)
    }

    /// Writes everything that is still to be written.
    pub async fn close(&self) {
        self.inner.store.close().await;
    }

    /// The devices, as they are told.
    pub(super) fn devices(&self) -> impl Iterator<Item = (Device, &Attached)> {
        self.inner.devices.iter().map(|attached| (device_of(attached.link.as_ref()), attached))
    }

    pub(super) fn attached(&self, device_id: &str) -> Option<&Attached> {
        self.inner.devices.iter().find(|attached| attached.link.hello().device_id == device_id)
    }

    pub(super) fn settings(&self) -> Settings {
        *self.inner.settings.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the service tells of a device.
fn device_of(link: &dyn AgentLink) -> Device {
    let hello = link.hello();
    let mut tags = Vec::new();
    if hello.server {
        tags.push("server".to_owned());
    }
    if hello.root.is_some() {
        tags.push("root".to_owned());
    }
    Device {
        id: hello.device_id.clone(),
        name: hello.name.clone(),
        platform: hello.platform,
        version: hello.version.clone(),
        os: hello.os.clone(),
        last_seen: Timestamp::now(),
        state: DeviceState::Online,
        tags,
        root: hello.root.clone(),
    }
}

impl Command {
    pub(super) fn record(&self) -> MutexGuard<'_, CommandRecord> {
        locked(&self.record)
    }
}

/// Notes the end of a command in its record.
pub(super) fn end(record: &mut CommandRecord, completed: &Completed, at: Timestamp) {
    record.status = completed.status;
    record.place = None;
    record.completed = Some(at);
    record.duration_ms = Some(completed.duration_ms);
    record.errors.clone_from(&completed.errors);
}

/// Adds an event to a stream.
pub(super) fn push(stream: &Stream, body: &Body) -> u64 {
    match body.to_json() {
        Ok(json) => stream.push(&json, Weight::of(body)),
        Err(error) => {
            tracing::error!(%error, kind = body.kind(), "an event cannot be written");
            stream.count()
        }
    }
}

/// Adds an agent's event to a stream.
pub(super) fn push_agent(stream: &Stream, event: &AgentEvent) -> u64 {
    match event {
        AgentEvent::Pass { json, .. } => stream.push(json, Weight::Bulk),
        AgentEvent::Read(body) => push(stream, body),
    }
}

pub(super) fn millis_between(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from(to.duration_since(from).as_millis()).unwrap_or(0)
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
