//! The power is cut after every single call that journal and quarantine make: what was not synced is gone, names in folders too.
//! Nothing is lost, and the next start tells the truth.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use lrsh::agent::journal::{Disk, Place, RealDisk};
use rustix::fs::{AtFlags, Mode, fstat};
use sha2::{Digest, Sha256};

use super::faults::files;
use super::file::{Mounted, rich};
use super::remediate;
use crate::kit::device::{Answer, Device};

/// A disk whose power is cut after so many calls. It keeps what was synced, and takes everything else back.
#[derive(Debug)]
pub struct Cutting {
    left: AtomicUsize,
    calls: AtomicUsize,
    pending: Mutex<Vec<Pending>>,
    /// Where removed names live on until their removal is on the disk.
    graves: tempfile::TempDir,
}

/// What is not on the disk yet.
#[derive(Debug)]
enum Pending {
    /// A name.
    Added(Name),
    /// A name that moved: of each folder whether it is on the disk.
    Moved { from: Name, to: Name, from_synced: bool, to_synced: bool },
    /// Two names of one folder that were swapped.
    Swapped { one: Name, other: Name },
    /// A name that was removed, and where its file lives on.
    Removed { name: Name, grave: CString },
    /// A folder that was removed.
    RemovedFolder(Name),
    /// The end of a file, and how much of it is on the disk.
    Length { file: File, synced: u64 },
    /// Permissions, and those that are on the disk.
    Mode { file: OwnedFd, synced: u32 },
}

#[derive(Debug)]
struct Name {
    folder: OwnedFd,
    name: CString,
}

impl Name {
    fn of(place: Place<'_>) -> Self {
        Self { folder: place.folder.try_clone_to_owned().unwrap(), name: place.name.to_owned() }
    }

    fn is_in(&self, folder: BorrowedFd<'_>) -> bool {
        same(self.folder.as_fd(), folder)
    }
}

fn same(one: BorrowedFd<'_>, other: BorrowedFd<'_>) -> bool {
    let (one, other) = (fstat(one).unwrap(), fstat(other).unwrap());
    (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
}

/// A file has another length now: what it was is remembered, unless an older one is.
fn grows(pending: &mut Vec<Pending>, file: &File, synced: u64) -> io::Result<()> {
    let is_known = |one: &Pending| matches!(one, Pending::Length { file: other, .. } if same(other.as_fd(), file.as_fd()));
    if !pending.iter().any(is_known) {
        pending.push(Pending::Length { file: file.try_clone()?, synced });
    }
    Ok(())
}

impl Cutting {
    pub fn after(calls: usize) -> Arc<Self> {
        Arc::new(Self {
            left: AtomicUsize::new(calls),
            calls: AtomicUsize::default(),
            pending: Mutex::default(),
            graves: tempfile::tempdir().unwrap(),
        })
    }

    fn call<T>(&self, work: impl FnOnce(&mut Vec<Pending>) -> io::Result<T>) -> io::Result<T> {
        let left = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if left.is_err() {
            return Err(io::Error::other("the power is out"));
        }
        self.calls.fetch_add(1, Ordering::SeqCst);
        work(&mut self.pending.lock().unwrap())
    }

    pub fn was_cut(&self) -> bool {
        self.left.load(Ordering::SeqCst) == 0
    }

    /// The power is out: everything that is not on the disk is gone.
    pub fn cut(&self) {
        let no_flags = AtFlags::empty();
        let link = |from: &OwnedFd, name: &CStr, to: &OwnedFd, new: &CStr| rustix::fs::linkat(from, name, to, new, no_flags);
        for pending in self.pending.lock().unwrap().drain(..).rev() {
            match pending {
                Pending::Added(at) => {
                    let folder = rustix::fs::unlinkat(&at.folder, &at.name, AtFlags::REMOVEDIR);
                    let _ = folder.or_else(|_| rustix::fs::unlinkat(&at.folder, &at.name, no_flags));
                }
                Pending::Moved { from, to, from_synced, to_synced } => match (from_synced, to_synced) {
                    (true, true) => {}
                    (false, false) => rustix::fs::renameat(&to.folder, &to.name, &from.folder, &from.name).unwrap(),
                    (false, true) => link(&to.folder, &to.name, &from.folder, &from.name).unwrap(),
                    // The one place that knew it never reached the disk.
                    (true, false) => rustix::fs::unlinkat(&to.folder, &to.name, no_flags).unwrap(),
                },
                Pending::Swapped { one, other } => {
                    RealDisk
                        .exchange(
                            Place { folder: one.folder.as_fd(), name: &one.name },
                            Place { folder: other.folder.as_fd(), name: &other.name },
                        )
                        .unwrap();
                }
                Pending::Removed { name, grave } => {
                    let graves = File::open(self.graves.path()).unwrap().into();
                    link(&graves, &grave, &name.folder, &name.name).unwrap();
                    rustix::fs::unlinkat(&graves, &grave, no_flags).unwrap();
                }
                Pending::RemovedFolder(at) => rustix::fs::mkdirat(&at.folder, &at.name, Mode::RWXU).unwrap(),
                Pending::Length { file, synced } => file.set_len(synced).unwrap(),
                Pending::Mode { file, synced } => rustix::fs::fchmod(&file, Mode::from_raw_mode(synced)).unwrap(),
            }
        }
    }
}

impl Disk for Cutting {
    fn private_folder(&self, at: Place<'_>) -> io::Result<()> {
        self.call(|pending| {
            RealDisk.private_folder(at)?;
            pending.push(Pending::Added(Name::of(at)));
            Ok(())
        })
    }

    fn create(&self, at: Place<'_>) -> io::Result<File> {
        self.call(|pending| {
            let file = RealDisk.create(at)?;
            pending.push(Pending::Added(Name::of(at)));
            Ok(file)
        })
    }

    fn append(&self, file: &File, bytes: &[u8]) -> io::Result<()> {
        self.call(|pending| {
            let synced = file.metadata()?.len();
            RealDisk.append(file, bytes)?;
            grows(pending, file, synced)
        })
    }

    fn set_length(&self, file: &File, length: u64) -> io::Result<()> {
        self.call(|pending| {
            let synced = file.metadata()?.len();
            RealDisk.set_length(file, length)?;
            grows(pending, file, synced)
        })
    }

    fn set_mode(&self, file: BorrowedFd<'_>, mode: u32) -> io::Result<()> {
        self.call(|pending| {
            let synced = fstat(file)?.st_mode & 0o7777;
            RealDisk.set_mode(file, mode)?;
            pending.push(Pending::Mode { file: file.try_clone_to_owned()?, synced });
            Ok(())
        })
    }

    fn sync(&self, file: BorrowedFd<'_>) -> io::Result<()> {
        self.call(|pending| {
            pending.retain(|one| match one {
                Pending::Length { file: other, .. } => !same(other.as_fd(), file),
                Pending::Mode { file: other, .. } => !same(other.as_fd(), file),
                _ => true,
            });
            Ok(())
        })
    }

    fn sync_folder(&self, folder: BorrowedFd<'_>) -> io::Result<()> {
        self.call(|pending| {
            pending.retain_mut(|one| match one {
                Pending::Removed { name, grave } => {
                    let stays = !name.is_in(folder);
                    if !stays {
                        // A grave is a name too: files that are gone do not count it.
                        std::fs::remove_file(self.graves.path().join(grave.to_str().unwrap())).unwrap();
                    }
                    stays
                }
                Pending::Added(at) | Pending::RemovedFolder(at) | Pending::Swapped { one: at, .. } => !at.is_in(folder),
                Pending::Moved { from, to, from_synced, to_synced } => {
                    *from_synced |= from.is_in(folder);
                    *to_synced |= to.is_in(folder);
                    !(*from_synced && *to_synced)
                }
                _ => true,
            });
            Ok(())
        })
    }

    fn rename_no_replace(&self, from: Place<'_>, to: Place<'_>) -> io::Result<()> {
        self.call(|pending| {
            RealDisk.rename_no_replace(from, to)?;
            pending.push(Pending::Moved { from: Name::of(from), to: Name::of(to), from_synced: false, to_synced: false });
            Ok(())
        })
    }

    fn exchange(&self, one: Place<'_>, other: Place<'_>) -> io::Result<()> {
        self.call(|pending| {
            RealDisk.exchange(one, other)?;
            pending.push(Pending::Swapped { one: Name::of(one), other: Name::of(other) });
            Ok(())
        })
    }

    fn remove(&self, at: Place<'_>) -> io::Result<()> {
        self.call(|pending| {
            let grave = CString::new(self.calls.load(Ordering::SeqCst).to_string())?;
            let graves: OwnedFd = File::open(self.graves.path())?.into();
            let kept = rustix::fs::linkat(at.folder, at.name, &graves, &grave, AtFlags::empty()).is_ok();
            RealDisk.remove(at)?;
            if kept {
                pending.push(Pending::Removed { name: Name::of(at), grave });
            }
            Ok(())
        })
    }

    fn remove_folder(&self, at: Place<'_>) -> io::Result<()> {
        self.call(|pending| {
            RealDisk.remove_folder(at)?;
            pending.push(Pending::RemovedFolder(Name::of(at)));
            Ok(())
        })
    }

    fn link_to(&self, target: &Path, at: Place<'_>) -> io::Result<()> {
        self.call(|pending| {
            RealDisk.link_to(target, at)?;
            pending.push(Pending::Added(Name::of(at)));
            Ok(())
        })
    }

    fn name_again(&self, file: BorrowedFd<'_>, at: Place<'_>) -> io::Result<()> {
        self.call(|pending| {
            RealDisk.name_again(file, at)?;
            pending.push(Pending::Added(Name::of(at)));
            Ok(())
        })
    }
}

/// What `fileinfo` would have told as seen.
fn look(device: &mut Device, path: &Path) {
    let meta = path.symlink_metadata().unwrap();
    let sha256 = Sha256::digest(std::fs::read(path).unwrap()).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let time = |seconds: i64, ns: i64| seconds * 1_000_000_000 + ns;
    let identity = serde_json::json!({
        "dev": meta.dev(), "inode": meta.ino(), "size": meta.size(), "mtime_ns": time(meta.mtime(), meta.mtime_nsec()),
        "ctime_ns": time(meta.ctime(), meta.ctime_nsec()), "sha256": sha256,
    });
    device.seen = vec![lrsh::protocol::SeenItem { key: path.to_str().unwrap().into(), identity }];
}

/// The states of all effects; none may be open after a start.
fn states(device: &Device) -> Vec<String> {
    let rows = device.run("remediate", &[("type", "list")], &[]).rows();
    rows.iter().map(|row| row["state"].as_str().unwrap().to_owned()).collect()
}

fn undo(device: &Device) -> Answer {
    device.run("undo", &[("number", "1")], &[])
}

/// Cuts the power after each call of a removal, and then of an undo. `folder` is what is dumped.
fn every_cut(folder: &Path, path: &Path) {
    let mut cuts = 0;
    for calls in 0.. {
        let before = files(folder);
        let mut device = Device::live();
        look(&mut device, path);
        let disk = Cutting::after(calls);
        device.restart_with(disk.clone());
        let answer = remediate(&device, path, &[]);
        let over = !disk.was_cut();
        disk.cut();
        device.restart();
        let found = states(&device);
        match found.first().map(String::as_str) {
            None | Some("not_done") => assert_eq!(files(folder), before, "cut after {calls} calls: {found:?}"),
            Some("done") => {
                assert!(!path.exists(), "cut after {calls} calls");
                super::done(&undo(&device));
                assert_eq!(files(folder), before, "cut after {calls} calls");
            }
            other => panic!("cut after {calls} calls: {other:?}"),
        }
        if over {
            super::done(&answer);
            break;
        }
        cuts += 1;
    }
    assert!(cuts > 8, "{cuts}");
    for calls in 0.. {
        let before = files(folder);
        let mut device = Device::live();
        look(&mut device, path);
        super::done(&remediate(&device, path, &[]));
        let disk = Cutting::after(calls);
        device.restart_with(disk.clone());
        undo(&device);
        let over = !disk.was_cut();
        disk.cut();
        device.restart();
        let found = states(&device);
        if found[0] != "undone" {
            assert_eq!(found[0], "done", "cut after {calls} calls: {found:?}");
            assert!(!path.exists());
            super::done(&undo(&device));
        }
        assert_eq!(files(folder), before, "cut after {calls} calls: {found:?}");
        if over {
            break;
        }
    }
}

#[test]
fn every_cut_leaves_the_file_where_it_was_or_in_quarantine() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("evil");
    rich(&path);
    std::fs::write(folder.path().join("innocent"), "x").unwrap();
    every_cut(folder.path(), &path);
}

#[test]
fn every_cut_on_a_file_system_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let Some(_mount) = Mounted::tmpfs(folder.path()) else { return };
    let sub = folder.path().join("sub");
    std::fs::create_dir(&sub).unwrap();
    let path = sub.join("evil");
    rich(&path);
    every_cut(&sub, &path);
}

#[test]
fn every_cut_on_one_of_several_names() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("evil");
    rich(&path);
    std::fs::hard_link(&path, folder.path().join("other")).unwrap();
    every_cut(folder.path(), &path);
}
