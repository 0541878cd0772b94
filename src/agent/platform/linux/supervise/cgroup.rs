//! A control group for one script, where the kernel lets one be made: it ends all of its processes at one word
//! (cgroup.kill, Linux 5.14), however fast they start new ones.

use std::fs;
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};

use crate::agent::platform::linux::ending::{left, timespec};

/// How the groups are called, before the command's id.
const NAME: &str = "lrsh-run-";
/// How long the kernel is given to end what is in a group.
const PATIENCE: Duration = Duration::from_secs(2);

/// A group that this program made.
#[derive(Debug)]
pub(super) struct Cgroup {
    folder: PathBuf,
    parent: PathBuf,
}

impl Cgroup {
    /// Makes a group below this process's own.
    pub(super) fn make(id: &str) -> Option<Self> {
        let parent = own()?;
        let folder = parent.join(format!("{NAME}{id}"));
        fs::create_dir(&folder).ok()?;
        let group = Self { folder, parent };
        if group.folder.join("cgroup.kill").exists() {
            return Some(group);
        }
        group.remove();
        None
    }

    /// Its folder.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Moves this process in: what it starts from now on is in it from its first moment.
    pub(super) fn enter(&self) -> io::Result<()> {
        fs::write(self.folder.join("cgroup.procs"), std::process::id().to_string())
    }

    /// Moves this process out again.
    pub(super) fn leave(&self) -> io::Result<()> {
        fs::write(self.parent.join("cgroup.procs"), std::process::id().to_string())
    }

    /// Ends every process in it.
    pub(super) fn kill(&self) {
        kill(&self.folder);
    }

    /// Removes it, once nobody is in it.
    pub(super) fn remove(&self) {
        remove(&self.folder);
    }
}

/// Ends what a dead supervisor left in a group, and removes that.
pub(super) fn end_remains(folder: &Path) {
    let is_ours = folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with(NAME));
    // Nothing is written to that only says it is a group.
    if is_ours && folder.starts_with("/sys/fs/cgroup") && folder.join("cgroup.kill").exists() {
        kill(folder);
        remove(folder);
    }
}

fn kill(folder: &Path) {
    // A group that is gone has nobody in it.
    let _ = fs::write(folder.join("cgroup.kill"), "1");
}

fn remove(folder: &Path) {
    let until = Instant::now() + PATIENCE;
    wait_until_empty(folder, until);
    // Groups that the script made within its own go first.
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_below(&entry.path(), 0);
        }
    }
    // One that something still hangs in stays.
    let _ = fs::remove_dir(folder);
}

/// Waits until no process is in a group or below it: `cgroup.events` says when that changes (cgroup-v2, "Basic Operations").
fn wait_until_empty(folder: &Path, until: Instant) {
    let Ok(mut events) = fs::File::open(folder.join("cgroup.events")) else { return };
    let mut text = String::new();
    loop {
        text.clear();
        let read = events.rewind().and_then(|()| events.read_to_string(&mut text));
        if read.is_err() || text.lines().any(|line| line == "populated 0") || Instant::now() >= until {
            return;
        }
        let mut watched = [PollFd::new(&events, PollFlags::PRI)];
        let _ = rustix::event::poll(&mut watched, Some(&timespec(left(until))));
    }
}

fn remove_below(folder: &Path, depth: u32) {
    if depth > 32 {
        return;
    }
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_below(&entry.path(), depth + 1);
        }
    }
    let _ = fs::remove_dir(folder);
}

/// The folder of this process's own group in the unified hierarchy.
fn own() -> Option<PathBuf> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    // A group outside what this process can see begins with `/..`.
    if path.split('/').any(|part| part == "..") {
        return None;
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    Some(mount_of(&mounts)?.join(path.trim_start_matches('/')))
}

/// Where the unified hierarchy is mounted whole: proc(5), `mountinfo`.
fn mount_of(mounts: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let (place, kind) = line.split_once(" - ")?;
        let mut fields = place.split(' ').skip(3);
        let (root, mount) = (fields.next()?, fields.next()?);
        (kind.starts_with("cgroup2 ") && root == "/" && mount.starts_with("/sys/fs/cgroup")).then(|| PathBuf::from(mount))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unified_hierarchy_is_found() {
        let hybrid = "30 29 0:25 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
                      31 30 0:26 / /sys/fs/cgroup/unified rw,nosuid shared:9 - cgroup2 cgroup2 rw\n";
        assert_eq!(mount_of(hybrid), Some(PathBuf::from("/sys/fs/cgroup/unified")));
        let unified = "35 24 0:30 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";
        assert_eq!(mount_of(unified), Some(PathBuf::from("/sys/fs/cgroup")));
        assert_eq!(mount_of("35 24 0:30 /a /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"), None);
        assert_eq!(mount_of("31 30 0:26 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n"), None);
    }
}
