//! A Windows that is switched off: its disk, mounted below `--root`. All is read from files: hives of the registry, task
//! definitions, shortcuts.

mod bytes;
mod doubts;
mod found;
pub mod hive;
mod job_file;
mod keys;
mod parts;
mod persistence;
mod places;
pub mod registry;
mod services;
mod shell_item;
pub mod shortcut;
mod startup;
pub mod task_file;
mod tasks;
pub mod text;

use std::path::Path;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::{Connections, Driver, Persistent, Platform, Process, RegistryItem, Root, Service, StartupItem, Task, Told};
use crate::agent::collect::Part;
use crate::agent::context::{Meter, Stop, VerbError, VerbResult};
use crate::agent::digest::hex;
use crate::protocol::{Hello, PROTOCOL_VERSION, PlatformName, Problem};
pub use places::expand;
use registry::Registry;

/// Where it says which Windows it is, and how it is called.
const VERSION: &str = r"SOFTWARE\Microsoft\Windows NT\CurrentVersion";
const CONTROL: &str = r"SYSTEM\CurrentControlSet\Control";

/// A mounted Windows disk.
#[derive(Debug)]
pub struct WindowsRoot {
    root: Arc<Root>,
}

impl WindowsRoot {
    /// The device whose disk this is.
    #[must_use]
    pub fn new(root: Arc<Root>) -> Self {
        Self { root }
    }

    fn live(&self, what: &str) -> VerbError {
        let folder = self.root.folder().unwrap_or(Path::new("/")).display();
        let message = format!("{what}: only a running system tells this, and this device is the disk below {folder}");
        VerbError::failed("not_on_platform", message)
    }
}

impl Platform for WindowsRoot {
    fn name(&self) -> PlatformName {
        PlatformName::Windows
    }

    fn hello(&self) -> Hello {
        let registry = Registry::new(&self.root);
        let text = |path: &str, name: &str| {
            let found = registry.machine(path)?;
            found.text(name)
        };
        let folder = self.root.folder().map(|folder| folder.display().to_string());
        // The machine's own identifier never leaves it: only a hash that is this program's own.
        let seed = text(r"SOFTWARE\Microsoft\Cryptography", "MachineGuid").or_else(|| folder.clone()).unwrap_or_default();
        let product = text(VERSION, "ProductName");
        let build = text(VERSION, "CurrentBuild").map(|build| format!("build {build}"));
        let os = [product.clone(), text(VERSION, "DisplayVersion"), build].into_iter().flatten().collect::<Vec<_>>().join(", ");
        let kind = text(&format!(r"{CONTROL}\ProductOptions"), "ProductType");
        let is_server = |product: String| product.contains("Server");
        Hello {
            protocol: PROTOCOL_VERSION,
            device_id: hex(&Sha256::digest(format!("lrsh device\n{seed}"))).chars().take(40).collect(),
            name: text(&format!(r"{CONTROL}\ComputerName\ComputerName"), "ComputerName").unwrap_or_else(|| "device".to_owned()),
            platform: PlatformName::Windows,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            os: Some(os).filter(|os| !os.is_empty()),
            boot_id: None,
            server: kind.map_or_else(|| product.is_some_and(is_server), |kind| kind != "WinNT"),
            root: folder,
        }
    }

    fn processes(&self, _stop: &Stop) -> Result<Vec<Process>, VerbError> {
        Err(self.live("processes"))
    }

    fn process(&self, _pid: u32) -> Result<Option<Process>, VerbError> {
        Err(self.live("processes"))
    }

    fn connections(&self, _stop: &Stop) -> Result<Connections, VerbError> {
        Err(self.live("connections"))
    }

    fn services(&self, stop: &Stop) -> Result<Told<Service>, VerbError> {
        services::services(&Registry::new(&self.root), stop)
    }

    fn drivers(&self, stop: &Stop) -> Result<Told<Driver>, VerbError> {
        services::drivers(&Registry::new(&self.root), stop)
    }

    fn tasks(&self, stop: &Stop) -> Result<Told<Task>, VerbError> {
        tasks::tasks(&Registry::new(&self.root), stop)
    }

    fn startup_items(&self, stop: &Stop) -> Result<Told<StartupItem>, VerbError> {
        startup::startup_items(&Registry::new(&self.root), stop)
    }

    fn persistent(&self, stop: &Stop, _meter: &Meter) -> Result<Told<Persistent>, VerbError> {
        persistence::persistent(&Registry::new(&self.root), stop)
    }

    fn parts(&self) -> Vec<Part> {
        parts::PARTS.to_vec()
    }

    fn registry(
        &self,
        path: &str,
        stop: &Stop,
        tell: &mut dyn FnMut(RegistryItem) -> VerbResult,
    ) -> Result<Vec<Problem>, VerbError> {
        let registry = Registry::new(&self.root);
        keys::tell(&registry, path, stop, tell)?;
        Ok(registry.doubts())
    }
}
