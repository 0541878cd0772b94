//! What differs between kinds of device: facts and actions behind [`Platform`], files behind [`Root`].
//!
//! The only place in the agent with `cfg(target_os)` and `unsafe`.

mod connection;
pub mod drive;
mod driver;
pub mod isolation;
#[cfg(target_os = "linux")]
mod linux;
mod process;
mod registry;
mod service;
pub mod startup_item;
mod task;
mod trace;
pub mod windows_root;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

#[cfg(target_os = "linux")]
pub use linux::{
    Accounts, Entries, Entry, EntryBuffer, Facts, Folder, Held, HeldProcess, LinkOnTheWay, Linux, Mode, Names, Replaced, Root,
    Time, capabilities, connections, dpkg, end_remains, folder_of, handle_of, homes, is_mounted_read_only, is_overlay,
    is_virtual, is_volatile, is_written_to, login_record, modules, mount_of, mount_root, open_by_handle, open_content,
    own_program, persistence, release_this_machine, room, services, set_times, stands_still, startup, supervise, systemd,
    tasks, thread_cpu_time,
};

pub use connection::{Connections, Protocol, Socket, SocketState};
pub use driver::{Driver, ModuleInfo};
pub use process::{Image, Process, ProcessStatus, base_name};
pub use registry::RegistryItem;
pub use service::{Service, StartType};
pub use startup_item::{Persistent, StartupItem, StartupKind};
pub use task::Task;
pub use trace::{Trace, TraceSource};

use self::isolation::{Isolating, Isolation};
use crate::agent::collect::Part;
use crate::agent::context::{Meter, Stop, VerbError, VerbResult};
use crate::protocol::{Hello, PlatformName, Problem};

/// The device whose files these are.
#[must_use]
pub fn platform_of(root: &Arc<Root>) -> Box<dyn Platform> {
    if root.is_windows() {
        Box::new(windows_root::WindowsRoot::new(Arc::clone(root)))
    } else {
        Box::new(Linux::new(Arc::clone(root)))
    }
}

/// All that a device has of one kind.
#[derive(Debug)]
pub struct Told<T> {
    /// Every one.
    pub all: Vec<T>,
    /// What must be known of them: what could not be read or asked, so that some may be missing or not as they are told.
    pub doubts: Vec<Problem>,
}

impl<T> From<Vec<T>> for Told<T> {
    fn from(all: Vec<T>) -> Self {
        Self { all, doubts: Vec::new() }
    }
}

/// What a kind of device can tell and do. What it cannot says so: that is what the provided methods do.
pub trait Platform: Send + Sync {
    /// The kind.
    fn name(&self) -> PlatformName;

    /// What the agent says of the device when it joins.
    fn hello(&self) -> Hello;

    /// All processes.
    ///
    /// # Errors
    /// When they cannot be told, or the command was asked to stop.
    fn processes(&self, _stop: &Stop) -> Result<Vec<Process>, VerbError> {
        Err(not_on_platform(self.name(), "processes"))
    }

    /// All TCP and UDP sockets, and the processes that hold them.
    ///
    /// # Errors
    /// When they cannot be told, or the command was asked to stop.
    fn connections(&self, _stop: &Stop) -> Result<Connections, VerbError> {
        Err(not_on_platform(self.name(), "connections"))
    }

    /// The package that owns a path, where there are packages and one does.
    fn package(&self, _path: &Path) -> Option<PackageOwner> {
        None
    }

    /// Where a program comes from: the package that owns it, and whether it is what that shipped.
    fn origin(&self, _path: &Path, _stop: &Stop) -> Origin {
        Origin::default()
    }

    /// Whether a package says of itself that no system is without it.
    fn is_essential(&self, _package: &str) -> bool {
        false
    }

    /// Who may log in, and the shell that is run then.
    fn logins(&self) -> Vec<(String, PathBuf)> {
        Vec::new()
    }

    /// What of a process exists nowhere else, opened.
    ///
    /// # Errors
    /// When it is gone, or may not be looked at.
    fn traces(&self, _pid: u32) -> Result<Vec<Trace>, VerbError> {
        Err(not_on_platform(self.name(), "evidence of a process"))
    }

    /// The processes that run a file or have it in their memory; `None` where that cannot be told.
    ///
    /// # Errors
    /// When they cannot be looked at, or the command was asked to stop.
    fn users(&self, _path: &Path, _facts: &Facts, _stop: &Stop) -> Result<Option<Vec<u32>>, VerbError> {
        Ok(None)
    }

    /// All drivers.
    ///
    /// # Errors
    /// When they cannot be told, or the command was asked to stop.
    fn drivers(&self, _stop: &Stop) -> Result<Told<Driver>, VerbError> {
        Err(not_on_platform(self.name(), "drivers"))
    }

    /// All services.
    ///
    /// # Errors
    /// When they cannot be told, or the command was asked to stop.
    fn services(&self, _stop: &Stop) -> Result<Told<Service>, VerbError> {
        Err(not_on_platform(self.name(), "services"))
    }

    /// All start-up items.
    ///
    /// # Errors
    /// When they cannot be told, or the command was asked to stop.
    fn startup_items(&self, _stop: &Stop) -> Result<Told<StartupItem>, VerbError> {
        Err(not_on_platform(self.name(), "start-up items"))
    }

    /// Everything that starts by itself.
    ///
    /// # Errors
    /// When it cannot be told, or the command was asked to stop.
    fn persistent(&self, _stop: &Stop, _meter: &Meter) -> Result<Told<Persistent>, VerbError> {
        Err(not_on_platform(self.name(), "persistence"))
    }

    /// What must be known of the files that the device's set-up is read from: those that cannot be read.
    fn doubts(&self) -> Vec<Problem> {
        Vec::new()
    }

    /// All scheduled tasks.
    ///
    /// # Errors
    /// When they cannot be told, or the command was asked to stop.
    fn tasks(&self, _stop: &Stop) -> Result<Told<Task>, VerbError> {
        Err(not_on_platform(self.name(), "scheduled tasks"))
    }

    /// The isolation that the device is in, or its remains.
    ///
    /// # Errors
    /// When that cannot be told.
    fn isolation(&self) -> Result<Option<Isolation>, Problem> {
        Err(no_isolation(self.name()))
    }

    /// Cuts the device off the network, in place of any isolation there is. Answers with what ought to be known of it.
    ///
    /// # Errors
    /// When it cannot be: nothing has changed then.
    fn isolate(&self, _isolating: &Isolating, _stop: &Stop) -> Result<Vec<String>, Problem> {
        Err(no_isolation(self.name()))
    }

    /// Ends an isolation and takes away what is left of one; whether there was one.
    ///
    /// # Errors
    /// When it cannot be.
    fn release(&self) -> Result<bool, Problem> {
        Err(no_isolation(self.name()))
    }

    /// What a package of evidence is made of, in order; none where there is no `collect` yet.
    fn parts(&self) -> Vec<Part> {
        Vec::new()
    }

    /// The environment of a process, each variable ended by a zero byte; `None` where it cannot be read.
    fn environment(&self, _pid: u32) -> Option<Vec<u8>> {
        None
    }

    /// What is at a path of the registry, piece by piece; then what must be known of the files that it was read from.
    ///
    /// # Errors
    /// When there is no such key or value, or it cannot be read, or the command was asked to stop.
    fn registry(
        &self,
        _path: &str,
        _stop: &Stop,
        _tell: &mut dyn FnMut(RegistryItem) -> VerbResult,
    ) -> Result<Vec<Problem>, VerbError> {
        Err(not_on_platform(self.name(), "the registry"))
    }

    /// The process of that number, if there is one.
    ///
    /// # Errors
    /// When it cannot be told.
    fn process(&self, _pid: u32) -> Result<Option<Process>, VerbError> {
        Err(not_on_platform(self.name(), "processes"))
    }
}

/// Where a program comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// The package that owns it; `None` when none does.
    pub package: Option<String>,
    /// Whether its content is what that package shipped; `None` when that cannot be told.
    pub shipped: Option<bool>,
}

/// What a device's packages say of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageOwner {
    /// The package that owns it.
    pub name: String,
    /// The MD5 sum of what it shipped, in lower-case hexadecimal; `None` where none is kept.
    pub md5: Option<String>,
    /// Whether it is configuration, which an administrator may change.
    pub configuration: bool,
}

/// The error of a method that a platform does not have.
#[must_use]
pub fn not_on_platform(platform: PlatformName, what: &str) -> VerbError {
    VerbError::failed("not_on_platform", format!("{what} is not to be had on {platform} yet"))
}

fn no_isolation(platform: PlatformName) -> Problem {
    Problem::new("not_on_platform", format!("isolation is not to be had on {platform} yet"))
}

/// How much processor time `since` an earlier reading on this thread.
#[must_use]
pub fn thread_cpu_since(earlier: Duration) -> Duration {
    thread_cpu_time().saturating_sub(earlier)
}
