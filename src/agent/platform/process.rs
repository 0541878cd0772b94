//! What a device tells of a process.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::Time;

/// A process, as it was at one moment.
#[derive(Debug, Clone)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// The number of the process that it belongs below.
    pub parent_id: u32,
    /// Its name, as long as it really is.
    pub name: String,
    /// The name as the kernel keeps it, of at most 15 bytes.
    pub kernel_name: Vec<u8>,
    /// The number of the user that it acts as.
    pub uid: u32,
    /// What it does: its main thread, or another where that has exited.
    pub status: ProcessStatus,
    /// When it started.
    pub creation_time: Time,
    /// The same as the kernel counts it, which no change of the clock moves: what tells it from another of this number.
    pub start_ticks: u64,
    /// The memory it has at hand, in bytes.
    pub working_set: u64,
    /// The memory that is its own alone, swapped out or not, in bytes.
    pub private_bytes: u64,
    /// The session it belongs to.
    pub session_id: u32,
    /// The processor time it has used, in milliseconds.
    pub cpu_time_ms: u64,
    /// The file it runs; `None` for the kernel's own, for those that have ended, and where the agent may not ask.
    pub image: Option<Image>,
    /// Its arguments, each ended by a zero byte, as the process itself keeps them (and may have changed them). Cut where
    /// they are absurdly long.
    pub arguments: Vec<u8>,
    /// How many threads it has.
    pub threads: u32,
}

/// The file that a process runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Where it is or was.
    pub path: PathBuf,
    /// Whether it is no longer there: deleted, replaced, or never on a disk.
    pub deleted: bool,
}

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ProcessStatus {
    /// On a processor or about to be.
    Running,
    /// Waiting for something to happen.
    Sleeping,
    /// Waiting in the kernel, not to be interrupted.
    Waiting,
    /// Stopped by a signal.
    Stopped,
    /// Stopped by a debugger.
    Traced,
    /// Ended, and not yet asked for by its parent.
    Zombie,
    /// On its way out.
    Dead,
}

impl ProcessStatus {
    /// Whether it has ended, and only its parent has not yet asked for it.
    #[must_use]
    pub fn is_over(self) -> bool {
        matches!(self, Self::Zombie | Self::Dead)
    }
}

impl Process {
    /// Its arguments as one line, blanks between them, invalid bytes as U+FFFD; `None` where it has none.
    #[must_use]
    pub fn command_line(&self) -> Option<String> {
        let bytes = self.arguments.strip_suffix(b"\0").unwrap_or(&self.arguments);
        if bytes.is_empty() {
            return None;
        }
        let line: Vec<u8> = bytes.iter().map(|&byte| if byte == 0 { b' ' } else { byte }).collect();
        Some(String::from_utf8_lossy(&line).trim_end().to_owned())
    }

    /// The base name that its first argument gives it.
    #[must_use]
    pub fn called(&self) -> &[u8] {
        base_name(self.argument(0))
    }

    /// Everything that it is called: its names, that of its image, and its first argument whole, up to the first blank or colon, and
    /// without the brackets that the kernel's own threads are shown in. Programs write what they like there, a disguise too.
    #[must_use]
    pub fn names(&self) -> Vec<&[u8]> {
        let image = self.image.as_ref().and_then(|image| image.path.file_name()).map(OsStr::as_bytes);
        let first = self.argument(0);
        let word = first.split(|byte| matches!(byte, b' ' | b':')).next().unwrap_or_default();
        let bare = first.strip_prefix(b"[").and_then(|inside| inside.strip_suffix(b"]"));
        // A login shell has a dash before its name, a file that is only in memory its kind.
        let login = first.strip_prefix(b"-");
        let memory = image.and_then(|name| name.strip_prefix(b"memfd:"));
        let mut names = vec![self.name.as_bytes(), &self.kernel_name, self.called(), first, base_name(word)];
        names.extend([image, bare, login, memory].into_iter().flatten());
        names.retain(|name| !name.is_empty());
        names
    }

    /// One of its arguments; empty where it has fewer.
    #[must_use]
    pub fn argument(&self, at: usize) -> &[u8] {
        self.arguments.split(|&byte| byte == 0).nth(at).unwrap_or_default()
    }
}

/// What stands behind the last slash.
#[must_use]
pub fn base_name(path: &[u8]) -> &[u8] {
    path.rsplit(|&byte| byte == b'/').next().unwrap_or(path)
}
