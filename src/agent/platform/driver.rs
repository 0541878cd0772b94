//! What a device tells of its drivers.

use std::path::PathBuf;

use super::StartType;

/// A driver: on Linux a module of the kernel, on Windows a key below `Services`.
#[derive(Debug, Clone, Default)]
pub struct Driver {
    /// What it is called.
    pub name: String,
    /// What it does: `Live`, `Loading`, `Unloading`; `None` where it is not loaded or that is not told.
    pub state: Option<String>,
    /// Whether it is loaded; `None` where only files can be looked at.
    pub loaded: Option<bool>,
    /// Whether one of the kernel's own lists keeps silent about it.
    pub hidden: Option<bool>,
    /// Its file.
    pub path: Option<PathBuf>,
    /// In bytes, as loaded; of one that is not, its file's.
    pub size: Option<u64>,
    /// What uses it.
    pub used_by: Vec<String>,
    /// What it needs.
    pub dependencies: Vec<String>,
    /// How it taints the kernel: letters as in Documentation/admin-guide/tainted-kernels.rst.
    pub taint: Option<String>,
    /// What its file says of itself.
    pub info: ModuleInfo,
    /// Its type, where there are several.
    pub kind: Option<String>,
    /// Whether it starts by itself, where something says so.
    pub start: Option<StartType>,
    /// The key of the registry that describes it, where one does.
    pub reg_path: Option<String>,
    /// What is wrong with it.
    pub error: Option<String>,
}

/// What a module's file says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModuleInfo {
    /// What it is.
    pub description: Option<String>,
    /// Who wrote it; several in one text.
    pub author: Option<String>,
    /// Its licence.
    pub license: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// The kernel it was built for.
    pub vermagic: Option<String>,
    /// What it needs.
    pub depends: Vec<String>,
    /// Who signed it: as the signature says, which is not checked.
    pub signer: Option<String>,
}
