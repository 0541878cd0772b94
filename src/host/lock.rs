//! Locks that are waited for, and a holder that is waited for, without asking again and again.

use std::fs::{File, TryLockError};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::inotify;
use rustix::process::{Pid, PidfdFlags};

/// Locks a file, waiting so long at most; whether it is locked now.
///
/// # Errors
/// As flock says.
pub fn lock_within(file: &File, patience: Duration) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => return Ok(true),
        Err(TryLockError::WouldBlock) => {}
        Err(TryLockError::Error(error)) => return Err(error),
    }
    // The kernel waits without a limit of time: a thread can be left to it.
    let copy = file.try_clone()?;
    let (told, locked) = std::sync::mpsc::channel();
    std::thread::spawn(move || told.send(copy.lock()));
    match locked.recv_timeout(patience) {
        Ok(locked) => locked.map(|()| true),
        Err(_) => Ok(false),
    }
}

/// The process that holds a lock file, and what it writes there.
pub(super) struct Holder {
    process: Option<OwnedFd>,
    written: Option<OwnedFd>,
}

/// How long a holder is waited for that cannot be watched: one of another pid namespace, or where the system knows no way.
const PACE: Duration = Duration::from_millis(10);

impl Holder {
    /// Watches from now on.
    pub(super) fn watch(pid: u32, lock: &Path) -> Self {
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let written = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK).ok();
        let written = written.filter(|written| inotify::add_watch(written, lock, inotify::WatchFlags::MODIFY).is_ok());
        Self { process: pid.and_then(|pid| rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok()), written }
    }

    /// Returns when the process has ended or written, or the time is over.
    pub(super) fn wait(&mut self, patience: Duration) {
        let patience = if self.process.is_some() && self.written.is_some() { patience } else { patience.min(PACE) };
        let mut watched: Vec<PollFd<'_>> =
            self.process.iter().chain(&self.written).map(|watched| PollFd::new(watched, PollFlags::IN)).collect();
        let time =
            Timespec { tv_sec: i64::try_from(patience.as_secs()).unwrap_or(i64::MAX), tv_nsec: patience.subsec_nanos().into() };
        // Interrupted, whoever waits looks again.
        let _ = rustix::event::poll(&mut watched, Some(&time));
        let has_ended = self.process.is_some() && watched.first().is_some_and(|process| !process.revents().is_empty());
        drop(watched);
        if let Some(written) = &self.written {
            // What was written is read from the file itself.
            let mut events = [0; 4096];
            while rustix::io::read(written, &mut events).is_ok_and(|read| read > 0) {}
        }
        if has_ended {
            // Its end frees the lock; whoever still holds it is another, and unknown.
            self.process = None;
        }
    }
}

/// Tells whenever something in a folder goes away, and last when the folder itself does. By a thread, which ends then.
///
/// # Errors
/// When the folder is not there, or nothing can be watched.
pub fn on_removal(folder: &Path, tell: impl Fn() + Send + 'static) -> io::Result<()> {
    use inotify::WatchFlags;
    let watch = inotify::init(inotify::CreateFlags::CLOEXEC)?;
    let what = WatchFlags::DELETE | WatchFlags::MOVED_FROM | WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF;
    inotify::add_watch(&watch, folder, what)?;
    std::thread::Builder::new().name("removals".to_owned()).spawn(move || {
        let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(&watch, &mut buffer);
        while let Ok(event) = events.next() {
            let is_last = event.events().contains(inotify::ReadFlags::IGNORED);
            tell();
            if is_last {
                return;
            }
        }
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_waited_for_as_long_as_it_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let open = || File::options().create(true).append(true).open(folder.path().join("lock")).unwrap();
        let (holder, other) = (open(), open());
        holder.lock().unwrap();
        assert!(!lock_within(&other, Duration::ZERO).unwrap());
        drop(other);
        let other = open();
        let waits = std::thread::spawn(move || lock_within(&other, Duration::from_mins(10)).unwrap());
        holder.unlock().unwrap();
        assert!(waits.join().unwrap());
    }

    #[test]
    fn what_goes_away_is_heard_and_the_folder_last() {
        let folder = tempfile::tempdir().unwrap();
        let watched = folder.path().join("watched");
        std::fs::create_dir(&watched).unwrap();
        std::fs::write(watched.join("s"), "").unwrap();
        let (tell, told) = std::sync::mpsc::channel();
        on_removal(&watched, move || tell.send(()).unwrap()).unwrap();
        std::fs::write(watched.join("other"), "").unwrap();
        std::fs::remove_file(watched.join("s")).unwrap();
        told.recv().unwrap();
        std::fs::remove_dir_all(&watched).unwrap();
        assert!(told.iter().count() >= 2, "and then nobody tells any more");
        assert!(on_removal(&watched, || ()).is_err());
    }

    #[test]
    fn a_holder_is_heard_when_it_writes_and_when_it_ends() {
        use std::io::Write;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let mut file = File::create(&path).unwrap();
        let mut child = std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
        let mut holder = Holder::watch(child.id(), &path);
        file.write_all(b"x").unwrap();
        holder.wait(Duration::from_mins(10));
        assert!(holder.process.is_some(), "it wrote, and lives");
        drop(child.stdin.take());
        holder.wait(Duration::from_mins(10));
        assert!(holder.process.is_none() && child.try_wait().unwrap().is_some());
        // One that nobody knows is not waited for long.
        Holder::watch(u32::MAX, &path).wait(Duration::from_mins(10));
    }
}
