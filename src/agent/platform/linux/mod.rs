//! Linux devices: the running system, or a Linux tree below `--root`.

mod abreast;
mod accounts;
pub mod capabilities;
pub mod connections;
pub mod dpkg;
mod ending;
mod facts;
mod folder;
mod handle;
mod held;
mod homes;
pub mod isolation;
mod listing;
pub mod modules;
mod mountinfo;
mod netlink;
mod parts;
pub mod passwd;
pub mod persistence;
mod pidfd;
mod processes;
mod root;
pub mod services;
pub mod startup;
pub mod sudoers;
mod supervise;
pub mod systemd;
pub mod tasks;
mod threads;
mod traces;
mod unseen;
mod users;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use sha2::{Digest, Sha256};

pub use accounts::{Accounts, Names};
pub use facts::{Facts, Mode, Time};
pub use folder::{Entries, Entry, EntryBuffer, Folder};
pub use handle::{handle_of, is_written_to, open_by_handle};
pub use held::{
    Held, Replaced, is_mounted_read_only, is_overlay, is_volatile, mount_of, mount_root, open_content, room, set_times,
};
pub use homes::homes;
pub use isolation::release as release_this_machine;
pub use parts::login_record;
pub use pidfd::HeldProcess;
pub use root::{LinkOnTheWay, Root, is_virtual};
pub use supervise::{end_remains, supervise};
pub use threads::{folder_of, stands_still};

use dpkg::Packages;
use processes::ProcessReader;

use super::isolation::{Isolating, Isolation};
use super::{
    Connections, Driver, Origin, PackageOwner, Persistent, Platform, Process, Service, StartupItem, Task, Told, Trace,
};
use crate::agent::collect::Part;
use crate::agent::context::{Meter, Stop, VerbError};
use crate::agent::path::problem;
use crate::protocol::{Hello, PROTOCOL_VERSION, PlatformName, Problem};

/// The largest image whose content is compared with what its package shipped.
const MAX_IMAGE: u64 = 4 * 1024 * 1024 * 1024;

/// How much of a process's environment is read.
const MAX_ENVIRONMENT: u64 = 1024 * 1024;

/// A Linux device.
#[derive(Debug)]
pub struct Linux {
    root: Arc<Root>,
    packages: Packages,
}

impl Linux {
    /// The device whose files these are.
    #[must_use]
    pub fn new(root: Arc<Root>) -> Self {
        Self { root, packages: Packages::default() }
    }

    /// The packages that are installed on it.
    #[must_use]
    pub fn packages(&self) -> &Packages {
        &self.packages
    }

    /// Refuses what only a running system can tell.
    fn live(&self, what: &str) -> Result<(), VerbError> {
        let Some(folder) = self.root.folder() else { return Ok(()) };
        let message =
            format!("{what}: only a running system tells this, and this device is the tree below {}", folder.display());
        Err(VerbError::failed("not_on_platform", message))
    }

    /// Refuses what needs a network.
    fn network(&self, what: &str) -> Result<(), Problem> {
        let Some(folder) = self.root.folder() else { return Ok(()) };
        let message = format!("{what}: the tree below {} is no running system and has no network", folder.display());
        Err(Problem::new("not_on_platform", message))
    }

    /// A small file of configuration as trimmed text.
    fn line(&self, path: &str) -> Option<String> {
        let bytes = self.root.read(Path::new(path), 64 * 1024).ok()?;
        let text = String::from_utf8_lossy(&bytes).trim().to_owned();
        (!text.is_empty()).then_some(text)
    }

    fn device_id(&self) -> String {
        // As machine-id(5) asks, the id itself never leaves the machine: only a hash that is this program's own.
        let seed = self.line("/etc/machine-id").or_else(|| self.root.folder().map(|folder| folder.display().to_string()));
        let seed = seed.unwrap_or_else(|| self.host_name());
        let digest = Sha256::digest(format!("lrsh device\n{seed}"));
        digest.iter().take(20).fold(String::with_capacity(40), |mut id, byte| {
            use std::fmt::Write as _;
            let _ = write!(id, "{byte:02x}");
            id
        })
    }

    fn host_name(&self) -> String {
        let live = self.root.is_live().then(|| rustix::system::uname().nodename().to_string_lossy().into_owned());
        live.or_else(|| self.line("/etc/hostname")).unwrap_or_else(|| "device".to_owned())
    }

    /// What the distribution calls itself: os-release(5).
    fn os(&self) -> Option<String> {
        let release = ["/etc/os-release", "/usr/lib/os-release"].into_iter().find_map(|path| self.line(path))?;
        let name = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
        Some(name.trim_matches(['"', '\'']).to_owned()).filter(|name| !name.is_empty())
    }

    fn is_server(&self) -> bool {
        let default = [
            "/etc/systemd/system/default.target",
            "/usr/lib/systemd/system/default.target",
            "/lib/systemd/system/default.target",
        ]
        .into_iter()
        .find_map(|path| self.root.read_link(Path::new(path)).ok());
        default.is_none_or(|target| target.file_name().is_none_or(|name| name != "graphical.target"))
    }
}

impl Platform for Linux {
    fn name(&self) -> PlatformName {
        PlatformName::Linux
    }

    fn hello(&self) -> Hello {
        let live = self.root.is_live();
        Hello {
            protocol: PROTOCOL_VERSION,
            device_id: self.device_id(),
            name: self.host_name(),
            platform: PlatformName::Linux,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            os: self.os(),
            boot_id: live.then(|| self.line("/proc/sys/kernel/random/boot_id")).flatten(),
            server: self.is_server(),
            root: self.root.folder().map(|folder| folder.display().to_string()),
        }
    }

    fn processes(&self, stop: &Stop) -> Result<Vec<Process>, VerbError> {
        self.live("processes")?;
        let read = ProcessReader::new().and_then(|mut reader| reader.all(stop));
        read.map_err(|error| if stop.asked() { VerbError::stopped() } else { unreadable(&error) })
    }

    fn connections(&self, stop: &Stop) -> Result<Connections, VerbError> {
        self.live("connections")?;
        let found = connections::connections(stop);
        found.map_err(|error| if stop.asked() { VerbError::stopped() } else { unreadable(&error) })
    }

    fn package(&self, path: &Path) -> Option<PackageOwner> {
        let index = self.packages.index(&self.root);
        index.owner(&self.root, path).map(|owner| PackageOwner {
            name: owner.package.to_owned(),
            md5: owner.checksum.map(|sum| dpkg::hex(&sum)),
            configuration: owner.conffile,
        })
    }

    fn origin(&self, path: &Path, stop: &Stop) -> Origin {
        let found = self.packages.origin(&self.root, path, MAX_IMAGE, stop);
        Origin { package: found.package, shipped: found.shipped }
    }

    fn is_essential(&self, package: &str) -> bool {
        self.packages.index(&self.root).is_essential(package)
    }

    fn logins(&self) -> Vec<(String, PathBuf)> {
        let shell = |shell: String| if shell.is_empty() { "/bin/sh".to_owned() } else { shell };
        passwd::entries(&self.root).into_iter().map(|entry| (entry.name, shell(entry.shell).into())).collect()
    }

    fn traces(&self, pid: u32) -> Result<Vec<Trace>, VerbError> {
        self.live("processes")?;
        traces::traces(pid).map_err(|error| problem(&Path::new("/proc").join(pid.to_string()), &error).into())
    }

    fn users(&self, path: &Path, facts: &Facts, stop: &Stop) -> Result<Option<Vec<u32>>, VerbError> {
        if !self.root.is_live() {
            return Ok(None);
        }
        let users = users::users(path, facts, stop);
        users.map(Some).map_err(|error| if stop.asked() { VerbError::stopped() } else { unreadable(&error) })
    }

    fn drivers(&self, stop: &Stop) -> Result<Told<Driver>, VerbError> {
        Ok(modules::drivers(&self.root, stop)?.into())
    }

    fn services(&self, stop: &Stop) -> Result<Told<Service>, VerbError> {
        services::services(&self.root, stop)
    }

    fn startup_items(&self, stop: &Stop) -> Result<Told<StartupItem>, VerbError> {
        let (all, unseen) = startup::startup_items(&self.root, stop)?;
        Ok(Told { all, doubts: unseen.problems() })
    }

    fn persistent(&self, stop: &Stop, meter: &Meter) -> Result<Told<Persistent>, VerbError> {
        let (all, unseen) = persistence::persistent(&self.root, &self.packages, stop, meter)?;
        Ok(Told { all, doubts: unseen.problems() })
    }

    fn doubts(&self) -> Vec<Problem> {
        let index = self.packages.index(&self.root);
        let unread = index.unread().iter();
        unread.map(|what| Problem::new("package_database", format!("what packages own is not known for all: {what}"))).collect()
    }

    fn tasks(&self, stop: &Stop) -> Result<Told<Task>, VerbError> {
        let (mut tasks, unseen) = tasks::tasks(&self.root, stop)?;
        tasks.doubts.extend(unseen.problems());
        Ok(tasks)
    }

    fn isolation(&self) -> Result<Option<Isolation>, Problem> {
        self.network("isolation")?;
        isolation::isolation()
    }

    fn isolate(&self, isolating: &Isolating, stop: &Stop) -> Result<Vec<String>, Problem> {
        self.network("isolate")?;
        isolation::isolate(self, isolating, stop)
    }

    fn release(&self) -> Result<bool, Problem> {
        self.network("release")?;
        isolation::release()
    }

    fn parts(&self) -> Vec<Part> {
        parts::PARTS.to_vec()
    }

    fn environment(&self, pid: u32) -> Option<Vec<u8>> {
        let file = std::fs::File::open(format!("{}/environ", folder_of(pid))).ok().filter(|_| self.root.is_live())?;
        let mut all = Vec::new();
        std::io::Read::read_to_end(&mut std::io::Read::take(file, MAX_ENVIRONMENT), &mut all).ok()?;
        Some(all)
    }

    fn process(&self, pid: u32) -> Result<Option<Process>, VerbError> {
        self.live("processes")?;
        ProcessReader::new().and_then(|mut reader| reader.one(pid)).map_err(|error| unreadable(&error))
    }
}

fn unreadable(error: &io::Error) -> VerbError {
    problem(Path::new("/proc"), error).into()
}

/// The processor time that this thread has used.
#[must_use]
pub fn thread_cpu_time() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// The file of the running program: also when another one has taken its name meanwhile.
#[must_use]
pub fn own_program() -> PathBuf {
    PathBuf::from("/proc/self/exe")
}
