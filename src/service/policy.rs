//! Who may do what: analysts, roles and limits, from `service.toml`.

use std::io;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use super::error::{Answer, Refusal};
use crate::grammar::{Invocation, Role};
use crate::protocol::signature::check_key;
use crate::protocol::{PlatformName, SessionLimits};

/// Who is at the other end of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Analyst {
    /// Their name, for log and messages.
    pub name: String,
    /// What they may do.
    pub roles: Vec<Role>,
    /// The process at the other end, where the transport tells.
    pub pid: Option<u32>,
}

impl Analyst {
    /// Whether they hold a role; `advanced` includes `basic`.
    #[must_use]
    pub fn may(&self, role: Role) -> bool {
        self.roles.contains(&role) || role == Role::Basic && self.roles.contains(&Role::Advanced)
    }

    pub(super) fn check(&self, role: Role, what: &str) -> Answer<()> {
        if self.may(role) {
            return Ok(());
        }
        let message = format!("{what} needs the role `{}`, which {} does not have", role.as_str(), self.name);
        Err(Refusal::forbidden("role", message).about(role.as_str()))
    }
}

/// The numbers that hold; the defaults are the reference's.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Sessions at once, in all.
    pub sessions: usize,
    /// Sessions at once of one analyst.
    pub sessions_per_analyst: usize,
    /// A session ends after so many seconds without activity.
    pub idle_seconds: u64,
    /// A command ends after so many seconds.
    pub command_seconds: u64,
    /// Commands with a limit of their own (`getfile`, `findfile`, `run`, `scan -full`) end after so many.
    pub long_command_seconds: u64,
    /// Heavy commands at once on a device.
    pub heavy_per_device: usize,
    /// Light commands at once on a device.
    pub light_per_device: usize,
    /// The largest library file, in bytes.
    pub library_bytes: u64,
    /// The largest spool of one command, in bytes.
    pub spool_bytes: u64,
    /// Spools are kept for so many days.
    pub spool_days: u64,
    /// Spools take so many bytes in all; beyond it the oldest go.
    pub spool_total_bytes: u64,
    /// An event stream without events says so often that it is alive.
    pub keep_alive_seconds: u64,
    /// An event stream is ended after so many seconds; its reader asks for the rest.
    pub stream_seconds: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sessions: 25,
            sessions_per_analyst: 10,
            idle_seconds: 30 * 60,
            command_seconds: 10 * 60,
            long_command_seconds: 30 * 60,
            heavy_per_device: 4,
            light_per_device: 32,
            library_bytes: 250 << 20,
            spool_bytes: 1 << 30,
            spool_days: 90,
            spool_total_bytes: 10 << 30,
            keep_alive_seconds: 15,
            stream_seconds: 60 * 60,
        }
    }
}

impl Limits {
    /// How long a command may take from its start.
    #[must_use]
    pub fn command(&self, invocation: &Invocation) -> Duration {
        Duration::from_secs(if invocation.time_limit().is_some() { self.long_command_seconds } else { self.command_seconds })
    }

    /// What a session is told.
    #[must_use]
    pub fn of_session(&self, platform: PlatformName) -> SessionLimits {
        SessionLimits {
            idle_seconds: self.idle_seconds,
            command_seconds: self.command_seconds,
            long_command_seconds: self.long_command_seconds,
            getfile_bytes: size_limit("getfile", platform),
            fileinfo_bytes: size_limit("fileinfo", platform),
            library_bytes: self.library_bytes,
            putfile_bytes: size_limit("putfile", platform),
        }
    }
}

/// The largest file that a command takes on a platform, from the table.
pub(super) fn size_limit(command: &str, platform: PlatformName) -> u64 {
    let limits = crate::grammar::table().find(command).map(|row| &row.size_limit);
    limits.and_then(|limits| limits.get(platform.as_str()).or_else(|| limits.get("*"))).copied().unwrap_or(u64::MAX)
}

/// `service.toml`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Those who are known; without any, the owner of the service alone, with every role.
    #[serde(rename = "analyst")]
    pub analysts: Vec<Known>,
    /// The keys that scripts are signed with (minisign public keys), where `unsigned_scripts` is off.
    pub signing_keys: Vec<String>,
    /// What holds.
    pub limits: Limits,
}

/// An analyst of `service.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Known {
    /// The user's name on this machine.
    pub name: String,
    /// What they may do.
    pub roles: Vec<Role>,
}

impl Policy {
    /// Reads `service.toml`; without one, the defaults.
    ///
    /// # Errors
    /// When it cannot be read or is not understood.
    pub fn load(file: &Path) -> io::Result<Self> {
        match std::fs::read_to_string(file) {
            Ok(text) => {
                let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {what}", file.display()));
                let policy: Self = toml::from_str(&text).map_err(|error| wrong(error.message()))?;
                for key in &policy.signing_keys {
                    check_key(key).map_err(|problem| wrong(&problem.message))?;
                }
                Ok(policy)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(io::Error::new(error.kind(), format!("{}: {error}", file.display()))),
        }
    }

    /// The roles of an analyst; the owner has all unless `service.toml` says otherwise.
    #[must_use]
    pub fn roles(&self, name: &str, owner: bool) -> Option<Vec<Role>> {
        let known = self.analysts.iter().find(|known| known.name == name).map(|known| known.roles.clone());
        known.or_else(|| owner.then(|| vec![Role::Basic, Role::Advanced, Role::Library, Role::Settings]))
    }
}
