//! The threads of a process. The main one may have exited while others go on: then the kernel calls the process a zombie and tells
//! little of it under its own number, but all of it under that of a thread.

use std::ffi::CString;

use rustix::fs::{CWD, Mode, OFlags};

use super::folder::{EntryBuffer, Folder};
use super::processes::{Stat, read};
use crate::agent::platform::process::ProcessStatus;

/// Calls with each thread of a process and what that does; stops where the answer is `false`.
fn each(proc: &Folder, pid: u32, mut look: impl FnMut(u32, ProcessStatus) -> bool) {
    let Ok(tasks) = proc.below(format!("{pid}/task").as_bytes()) else { return };
    let mut names = EntryBuffer::default();
    let mut entries = tasks.entries(&mut names);
    let mut text = Vec::new();
    while let Some(Ok(entry)) = entries.next() {
        let Some(number) = entry.name().to_str().ok().and_then(|name| name.parse().ok()) else { continue };
        let Ok(path) = CString::new(format!("{number}/stat")) else { continue };
        if read(tasks.fd(), &path, usize::MAX, &mut text).is_err() {
            continue;
        }
        if let Some(stat) = Stat::of(&text)
            && !look(number, stat.status)
        {
            return;
        }
    }
}

/// The number below /proc under which all of a process is told: its own, or, where its main thread has exited, that of another
/// of its threads.
pub(super) fn spokesman(proc: &Folder, pid: u32) -> u32 {
    let mut living = None;
    each(proc, pid, |number, status| {
        if !status.is_over() {
            living = Some(number);
        }
        // The main thread comes first.
        living.is_none()
    });
    living.unwrap_or(pid)
}

/// The folder below /proc that tells all of a process, its main thread gone or not.
#[must_use]
pub fn folder_of(pid: u32) -> String {
    let number = all_of_proc().map_or(pid, |proc| spokesman(&proc, pid));
    format!("/proc/{number}")
}

/// Whether a process stands still: each of its threads was stopped by a signal. Those that wait in the kernel for something that
/// is not to be interrupted count too where `waiting` says so: they stop before they run again.
#[must_use]
pub fn stands_still(pid: u32, waiting: bool) -> bool {
    let mut still = true;
    let Ok(proc) = all_of_proc() else { return false };
    each(&proc, pid, |_, status| {
        still = match status {
            ProcessStatus::Stopped | ProcessStatus::Zombie | ProcessStatus::Dead => true,
            ProcessStatus::Waiting | ProcessStatus::Traced => waiting,
            ProcessStatus::Running | ProcessStatus::Sleeping => false,
        };
        still
    });
    still
}

fn all_of_proc() -> std::io::Result<Folder> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(Folder::new(rustix::fs::openat(CWD, c"/proc", flags, Mode::empty())?))
}
