//! `remediate` and `undo`: what was seen goes, nothing else does, and it comes back as it was.

mod ending;
pub mod faults;
mod file;
mod kinds;
mod other_names;
mod overwrite;
mod places;
mod power;
mod power_of_types;
mod process;
mod refused;
mod retention;
mod reuse;
mod service;
mod session;
mod startup;
mod swaps;
mod sysv;
mod task;
mod units;
mod vital;
mod whole_way;

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use lrsh::protocol::{Body, Effect, Problem, Status};
use xattr::FileExt as _;

use crate::kit::device::{Answer, Device};

/// Everything below a folder: what each thing is, holds and carries, but for the times that reading and moving themselves set.
pub fn dump(folder: &Path) -> BTreeMap<PathBuf, String> {
    let mut all = BTreeMap::new();
    let mut waiting = vec![folder.to_path_buf()];
    while let Some(path) = waiting.pop() {
        let meta = path.symlink_metadata().unwrap();
        let mut told = format!(
            "{:o} {}:{} {} bytes {} names inode {} modified {}.{:09}",
            meta.mode(),
            meta.uid(),
            meta.gid(),
            if meta.is_dir() { 0 } else { meta.size() },
            if meta.is_dir() { 0 } else { meta.nlink() },
            meta.ino(),
            meta.mtime(),
            meta.mtime_nsec()
        );
        if meta.is_dir() {
            waiting.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if meta.is_symlink() {
            told.push_str(&format!(" -> {}", std::fs::read_link(&path).unwrap().display()));
        } else if meta.is_file() {
            let file = std::fs::File::open(&path).unwrap();
            let mut names: Vec<_> = file.list_xattr().unwrap().collect();
            names.sort();
            for name in names {
                told.push_str(&format!(" {}={:?}", name.display(), file.get_xattr(&name).unwrap()));
            }
            told.push_str(&format!(" {:?}", crc32fast::hash(&std::fs::read(&path).unwrap())));
        }
        all.insert(path, told);
    }
    all
}

/// A device whose session is one and the same for every command.
pub fn look(device: &mut Device, path: &Path) {
    let answer = device.run("fileinfo", &[("path", &typed(path))], &[]);
    assert_eq!(answer.completed.status, Status::Completed, "{:?}", answer.completed);
    device.seen = answer.seen();
}

/// A path as it is typed.
pub fn typed(path: &Path) -> String {
    let bytes = path.as_os_str().as_bytes();
    if lrsh::protocol::text::is_plain(bytes) { path.to_str().unwrap().into() } else { lrsh::protocol::text::file_uri(bytes) }
}

/// `remediate file`.
pub fn remediate(device: &Device, path: &Path, flags: &[&str]) -> Answer {
    device.run("remediate", &[("type", "file"), ("id", &typed(path))], flags)
}

/// The effects that an answer tells.
pub fn effects(answer: &Answer) -> Vec<Effect> {
    let effects = answer.events.iter().filter_map(|body| match body {
        Body::Effect(effect) => Some((**effect).clone()),
        _ => None,
    });
    effects.collect()
}

/// The one effect of a command that went well.
#[track_caller]
pub fn done(answer: &Answer) -> Effect {
    assert_eq!(answer.completed.status, Status::Completed, "{:?} {:?}", answer.completed, answer.events);
    let mut effects = effects(answer);
    assert_eq!(effects.len(), 1, "{effects:?}");
    assert_eq!(effects[0].state, "done");
    effects.remove(0)
}

/// Why a command was refused.
#[track_caller]
pub fn refused(answer: &Answer) -> Problem {
    assert_eq!(answer.completed.status, Status::Failed, "{:?} {:?}", answer.completed, answer.events);
    answer.completed.errors[0].clone()
}
