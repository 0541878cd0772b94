//! File systems of a test's own: small ones, read-only ones, ones that let nothing be run.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::need::skip;

/// A file system of its own, of so many kilobytes.
pub struct Mount(PathBuf);

impl Mount {
    /// Mounts it on a folder; `None`, said loudly, where that cannot be done.
    pub fn new(folder: &Path, kilobytes: u32) -> Option<Self> {
        Self::with(folder, &format!("size={kilobytes}k,mode=700"))
    }

    /// Mounts it with options of its own.
    pub fn with(folder: &Path, options: &str) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            skip("only root mounts a tmpfs");
            return None;
        }
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(folder).status();
        if !mounted.is_ok_and(|status| status.success()) {
            skip("this machine mounts no tmpfs");
            return None;
        }
        Some(Self(folder.to_owned()))
    }

    /// Changes an option of it.
    pub fn remount(&self, option: &str) {
        let option = format!("remount,{option}");
        let begun = Instant::now();
        // A process on its way out still has its log open.
        while !Command::new("mount").args(["-o", &option]).arg(&self.0).stderr(Stdio::null()).status().unwrap().success() {
            assert!(begun.elapsed() < Duration::from_mins(1), "{option} {}", self.0.display());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
