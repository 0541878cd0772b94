//! What a device tells of its services.

use std::path::PathBuf;

use super::Time;

/// A service: on Linux a unit of systemd or a script of System V's init, on Windows a key below `Services`.
#[derive(Debug, Clone, Default)]
pub struct Service {
    /// What it is called: a unit with its suffix, a script without.
    pub name: String,
    /// What it says it is.
    pub description: Option<String>,
    /// What it does: `running`, `exited`, `dead`, `failed`, `listening`, …; `None` where that cannot be told.
    pub state: Option<String>,
    /// The same more coarsely: `active`, `inactive`, `failed`, …
    pub active: Option<String>,
    /// Whether its files could be loaded, where a manager says so.
    pub load: Option<String>,
    /// Whether it starts by itself.
    pub start: StartType,
    /// Its kind: of units with a program `simple`, `oneshot`, `notify`, …; else the kind of unit; `sysv`.
    pub kind: String,
    /// The user it runs as.
    pub user: Option<String>,
    /// What it runs, whole.
    pub command: Option<String>,
    /// The program of that.
    pub program: Option<String>,
    /// Its arguments.
    pub arguments: Option<String>,
    /// Its main process.
    pub process_id: Option<u32>,
    /// What it needs or wants.
    pub dependencies: Vec<String>,
    /// What starts it: sockets, timers, paths, D-Bus names.
    pub triggered_by: Vec<String>,
    /// Where it is described.
    pub file: Option<PathBuf>,
    /// Files that change the description, and their SHA-256.
    pub drop_ins: Vec<(PathBuf, Option<String>)>,
    /// As the manager calls it: `enabled`, `disabled`, `static`, `masked`, `alias`, …
    pub enabled: Option<String>,
    /// Of another name: the real one.
    pub alias_of: Option<String>,
    /// Of a template: the instances that something pulls in.
    pub instances: Vec<String>,
    /// Of a script: the runlevels it is started in.
    pub runlevels: Vec<String>,
    /// When the file last changed.
    pub modified: Option<Time>,
    /// The SHA-256 of the file.
    pub sha256: Option<String>,
    /// The key of the registry that describes it, where one does.
    pub reg_path: Option<String>,
    /// The library that a shared process loads for it.
    pub service_dll: Option<String>,
    /// The user whose own manager it belongs to; `None` for the system's.
    pub of_user: Option<String>,
    /// What is wrong with it.
    pub error: Option<String>,
}

/// Whether a service starts by itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StartType {
    /// By what loads the kernel: drivers alone.
    Boot,
    /// By the kernel as it starts: drivers alone.
    System,
    /// At boot.
    Auto,
    /// When something asks for it: a connection, a time, a file, a message.
    Triggered,
    /// When somebody starts it.
    #[default]
    Manual,
    /// Never: it is masked.
    Disabled,
}
