//! What a device tells of its start-up items and of everything that starts by itself.

use std::path::PathBuf;

use super::{RegistryItem, Task, Time};

/// A file that is run or read when the device starts or somebody logs in.
#[derive(Debug, Clone, Default)]
pub struct StartupItem {
    /// The file.
    pub file: PathBuf,
    /// The program that it starts; of a script the file itself.
    pub program: Option<String>,
    /// The whole command line, where it has one.
    pub command: Option<String>,
    /// What kind of item it is.
    pub category: StartupKind,
    /// Whose; `None` for everybody's.
    pub user: Option<String>,
    /// Whether it would be started.
    pub enabled: bool,
    /// The desktops that it is for, where it names them.
    pub only_show_in: Vec<String>,
    /// When the file last changed.
    pub modified: Option<Time>,
    /// Of its content, in hexadecimal.
    pub sha256: Option<String>,
    /// What is wrong with it.
    pub error: Option<String>,
}

/// Kinds of start-up items.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum StartupKind {
    /// An entry of XDG autostart.
    Desktop,
    /// A script in `profile.d`.
    ProfileD,
    /// `rc.local`.
    RcLocal,
    /// A script of System V's init.
    Init,
    /// What a shell reads for everybody.
    ShellProfile,
    /// What a shell reads for one user.
    #[default]
    ShellFile,
    /// A script of a graphical session.
    Session,
    /// A file in a start-up folder of Windows: what its ending makes it.
    File(&'static str),
}

impl StartupKind {
    /// What it is called in rows.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Desktop => ".desktop file",
            Self::ProfileD => "profile.d script",
            Self::RcLocal => "rc.local",
            Self::Init => "init.d script",
            Self::ShellProfile => "shell profile",
            Self::ShellFile => "shell start-up file",
            Self::Session => "X session script",
            Self::File(kind) => kind,
        }
    }
}

/// Something that starts by itself.
#[derive(Debug, Clone, Default)]
pub struct Persistent {
    /// The list that it stands in.
    pub category: &'static str,
    /// The file.
    pub file: PathBuf,
    /// Where it is, when that is no file.
    pub place: Option<String>,
    /// The line in it, from 1.
    pub line: Option<u32>,
    /// What is run.
    pub runs: Option<String>,
    /// When the file last changed.
    pub modified: Option<Time>,
    /// The package that owns the file.
    pub package: Option<String>,
    /// Whether the file, and what it runs, is as a package shipped it; `None` where that cannot be told.
    pub shipped: Option<bool>,
    /// The technique of MITRE ATT&CK.
    pub technique: &'static str,
    /// Whose, or as whom it runs.
    pub user: Option<String>,
    /// Whether it would be started; `None` where that is not looked at.
    pub enabled: Option<bool>,
    /// Of a file that a generator writes at each boot: the generator.
    pub made_by: Option<PathBuf>,
    /// What is wrong with it.
    pub error: Option<String>,
    /// What its own command would tell of it.
    pub about: About,
}

/// What the command for its kind tells of something that starts by itself, where that is known.
#[derive(Debug, Clone, Default)]
pub enum About {
    /// Nothing more.
    #[default]
    Nothing,
    /// A start-up item.
    Startup(Box<StartupItem>),
    /// A value of the registry.
    Value(Box<RegistryItem>),
    /// A scheduled task.
    Task(Box<Task>),
}
