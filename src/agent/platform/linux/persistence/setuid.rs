//! Files that give whoever runs them rights of others: setuid, setgid and capabilities, also where nobody installs any. Since this
//! look sees every name, it notes the scripts of web servers too.

use std::collections::HashSet;
use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::fs::FileType;

use super::Search;
use crate::agent::context::{Meter, Stop, VerbError, VerbResult};
use crate::agent::platform::linux::abreast::abreast;
use crate::agent::platform::linux::capabilities::capabilities;
use crate::agent::platform::linux::facts::Facts;
use crate::agent::platform::linux::folder::{EntryBuffer, Folder};
use crate::agent::platform::linux::homes::User;
use crate::agent::platform::linux::root::Root;
use crate::agent::platform::linux::unseen::Unseen;

/// Where the looks begin, each with room of its own: where programs are installed first, then where anything may lie. Other folders
/// of the top follow.
const STARTS: [&str; 21] = [
    "/usr/bin",
    "/usr/sbin",
    "/bin",
    "/sbin",
    "/usr/libexec",
    "/usr/local",
    "/usr",
    "/lib",
    "/etc",
    "/opt",
    "/srv",
    "/tmp",
    "/var/tmp",
    "/var/lib",
    "/var",
    "/root",
    "/home",
    "/boot",
    "/mnt",
    "/media",
    "/dev/shm",
];
/// What the kernel makes up.
const VIRTUAL: [&str; 3] = ["proc", "sys", "dev"];
/// Whole systems that containers run: what is setuid in their images is so in each of them.
const CONTAINERS: [&str; 4] =
    ["/var/lib/docker/overlay2", "/var/lib/containerd", "/var/lib/containers/storage", "/var/lib/lxc"];
/// How many files below one of these are looked at, those near its top first; and below another folder of the top.
const MAX_FILES: usize = 50_000;
const MAX_OTHERS: usize = 10_000;
const MAX_DEPTH: usize = 64;
/// Files to which packages are known to give such rights. The packages' lists say nothing of rights: a shell that was made setuid is
/// still the shell that was shipped.
const KNOWN: [&str; 72] = [
    "Xorg.wrap",
    "arping",
    "at",
    "authopen",
    "bsd-write",
    "bwrap",
    "chage",
    "chfn",
    "chrome-sandbox",
    "chsh",
    "clockdiff",
    "crontab",
    "dbus-daemon-launch-helper",
    "dma",
    "dma-mbox-create",
    "dotlockfile",
    "doas",
    "dumpcap",
    "exim4",
    "expiry",
    "firejail",
    "fping",
    "fusermount",
    "fusermount3",
    "gnome-keyring-daemon",
    "gpasswd",
    "gst-ptp-helper",
    "kismet_cap_linux_wifi",
    "ksu",
    "kwin_wayland",
    "lockfile",
    "login",
    "lxc-user-nic",
    "mail-lock",
    "mail-touchlock",
    "mail-unlock",
    "mlocate",
    "mount",
    "mount.cifs",
    "mount.ecryptfs_private",
    "mount.nfs",
    "mount.ntfs-3g",
    "mtr-packet",
    "newgidmap",
    "newgrp",
    "newuidmap",
    "ntfs-3g",
    "passwd",
    "ping",
    "pkexec",
    "plocate",
    "polkit-agent-helper-1",
    "postdrop",
    "postqueue",
    "pppd",
    "procmail",
    "qemu-bridge-helper",
    "sg",
    "snap-confine",
    "ssh-agent",
    "ssh-keysign",
    "su",
    "sudo",
    "sudoedit",
    "traceroute6.iputils",
    "umount",
    "unix_chkpwd",
    "userhelper",
    "usernetctl",
    "utempter",
    "wall",
    "write.ul",
];

/// Such a file, and its capabilities as `getcap` writes them.
pub(super) struct Privileged {
    file: PathBuf,
    capabilities: Option<String>,
}

/// A walk through the folders where such files may lie, which takes the longest of all and needs nothing of the rest.
pub(super) struct Walk<'a> {
    root: &'a Root,
    stop: &'a Stop,
    meter: &'a Meter,
    known: HashSet<(u64, u64)>,
    /// The files that give rights, in the order in which they were found.
    pub found: Vec<Privileged>,
    /// What may be a script of a web server.
    pub scripts: Vec<PathBuf>,
    /// What was not looked at.
    pub unseen: Unseen,
}

/// What is in a folder.
struct Inside {
    /// How many files: when there are more than are looked at, not all of them are counted.
    files: usize,
    /// Those of them that give rights: the how many-th file it is, and which.
    found: Vec<(usize, Privileged)>,
    /// Those of them that may be scripts of a web server.
    scripts: Vec<PathBuf>,
    /// Path, file system and number of the folders in it.
    folders: Vec<(PathBuf, (u64, u64))>,
}

impl<'a> Walk<'a> {
    /// Goes through all of them.
    ///
    /// # Errors
    /// Only when told to stop.
    pub(super) fn through(root: &'a Root, homes: &[User], stop: &'a Stop, meter: &'a Meter) -> Result<Self, VerbError> {
        let mut walk = Self::new(root, stop, meter);
        for start in STARTS {
            walk.below(Path::new(start), MAX_DEPTH, MAX_FILES)?;
        }
        for name in walk.unseen.names(root, Path::new("/")) {
            if VIRTUAL.iter().all(|made_up| name != *made_up) {
                walk.below(&Path::new("/").join(name), MAX_DEPTH, MAX_OTHERS)?;
            }
        }
        // Some users have folders of the system as their home.
        for User { home, .. } in
            homes.iter().filter(|user| user.home.components().count() > 2 && !user.home.starts_with("/usr"))
        {
            walk.below(home, MAX_DEPTH, MAX_OTHERS)?;
        }
        Ok(walk)
    }

    fn new(root: &'a Root, stop: &'a Stop, meter: &'a Meter) -> Self {
        let (found, scripts, unseen) = (Vec::new(), Vec::new(), Unseen::default());
        Self { root, stop, meter, known: HashSet::new(), found, scripts, unseen }
    }

    /// Looks through a folder level by level, on its own file system, until there is no more room; the folders of a level are read by
    /// several threads. The file system is that of the folders: in an overlay files are of others.
    fn below(&mut self, start: &Path, depth: usize, mut room: usize) -> VerbResult {
        let Ok(facts) = self.root.facts(start) else { return Ok(()) };
        if !facts.is_folder() || !self.known.insert((facts.dev, facts.inode)) {
            return Ok(());
        }
        let (root, stop, device) = (self.root, self.stop, facts.dev);
        let mut level = vec![start.to_owned()];
        for deep in 0..=depth {
            let counted = AtomicUsize::new(0);
            let read = abreast(&level, self.meter, |path| {
                // Folders are begun in their order: by now those before this one hold more than there is room for.
                if stop.asked() || counted.load(Ordering::Relaxed) > room {
                    return None;
                }
                let inside = read(root, path, room);
                counted.fetch_add(inside.as_ref().map_or(0, |inside| inside.files), Ordering::Relaxed);
                Some(inside)
            });
            stop.check()?;
            let mut next = Vec::new();
            for (path, inside) in level.iter().zip(read) {
                let inside = match inside {
                    Some(Ok(inside)) => inside,
                    Some(Err(error)) => {
                        self.unseen.closed(root, path, &error);
                        continue;
                    }
                    None => {
                        self.unseen.cut(start);
                        return Ok(());
                    }
                };
                self.found.extend(inside.found.into_iter().filter(|(at, _)| *at < room).map(|(_, file)| file));
                self.scripts.extend(inside.scripts);
                if inside.files > room {
                    self.unseen.cut(start);
                    return Ok(());
                }
                room -= inside.files;
                for (path, id) in inside.folders {
                    let is_new = id.0 == device && self.known.insert(id);
                    if is_new && deep < depth && !CONTAINERS.iter().any(|folder| path == Path::new(folder)) {
                        next.push(path);
                    }
                }
            }
            level = next;
        }
        Ok(())
    }
}

/// Reads a folder: of its files those that give rights among the first that there is room for.
fn read(root: &Root, path: &Path, room: usize) -> io::Result<Inside> {
    let folder = root.open_folder(path)?;
    let (mut files, mut folders) = (Vec::new(), Vec::new());
    let mut buffer = EntryBuffer::default();
    let mut entries = folder.entries(&mut buffer);
    while let Some(Ok(entry)) = entries.next() {
        match entry.kind() {
            _ if entry.is_dots() => {}
            FileType::Directory => folders.push(entry.name().to_owned()),
            FileType::RegularFile => files.push(entry.name().to_owned()),
            FileType::Unknown => {
                folders.push(entry.name().to_owned());
                files.push(entry.name().to_owned());
            }
            _ => {}
        }
        if files.len() > room {
            break;
        }
    }
    let at = |name: &CString| path.join(OsStr::from_bytes(name.to_bytes()));
    let gives = |name: &CString| {
        let facts = folder.facts(name).ok().filter(Facts::is_file)?;
        let capabilities = (facts.permissions & 0o111 != 0).then(|| of_file(&folder, name)).flatten();
        let has_rights = facts.permissions & 0o6000 != 0 || capabilities.is_some();
        has_rights.then(|| Privileged { file: at(name), capabilities })
    };
    let found = files.iter().enumerate().take(room).filter_map(|(place, name)| Some((place, gives(name)?))).collect();
    let scripts = files.iter().take(room).filter(|name| is_page(name.to_bytes())).map(at).collect();
    let id = |name: &CString| {
        let facts = folder.facts(name).ok().filter(Facts::is_folder)?;
        Some((at(name), (facts.dev, facts.inode)))
    };
    Ok(Inside { files: files.len(), found, scripts, folders: folders.iter().filter_map(id).collect() })
}

/// Adds such files.
pub(super) fn tell(search: &mut Search<'_>, found: Vec<Privileged>) -> VerbResult {
    for Privileged { file, capabilities } in found {
        search.stop.check()?;
        let technique = if capabilities.is_some() { "T1548" } else { "T1548.001" };
        let mut entry = search.entry("privileges", technique, &file);
        let shown = file.to_string_lossy();
        entry.runs = Some(match &capabilities {
            Some(capabilities) => format!("{shown} with {capabilities}"),
            None => shown.into_owned(),
        });
        if entry.shipped == Some(true) && !KNOWN.iter().any(|known| file.file_name() == Some(OsStr::new(known))) {
            entry.shipped = Some(false);
            let package = entry.package.as_deref().unwrap_or_default();
            entry.error =
                Some(format!("its content is as {package} shipped it, but no package is known to give it such rights"));
        }
        search.found.push(entry);
    }
    Ok(())
}

/// Whether a name is that of a page that a server runs; what others run too is looked at below servers' roots alone.
fn is_page(name: &[u8]) -> bool {
    let end = name.rsplit(|&byte| byte == b'.').next().unwrap_or_default();
    let starts = |known: &[u8]| end.get(..known.len()).is_some_and(|start| start.eq_ignore_ascii_case(known));
    name.len() > end.len() && [&b"php"[..], b"phtml", b"phar", b"jsp", b"asp", b"ashx"].iter().any(|known| starts(known))
}

/// The capabilities of a file in an open folder: only a path names it without opening it.
fn of_file(folder: &Folder, name: &CString) -> Option<String> {
    let mut path = format!("/proc/self/fd/{}/", folder.fd().as_raw_fd()).into_bytes();
    path.extend(name.to_bytes());
    let mut attribute = [0_u8; 64];
    let length = rustix::fs::lgetxattr(path, "security.capability", &mut attribute).ok()?;
    capabilities(attribute.get(..length)?)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn files_near_the_top_come_first_and_what_there_is_no_room_for_is_said() {
        let folder = tempfile::tempdir().unwrap();
        for (path, mode) in [
            ("top/one", 0o4755),
            ("top/a/two", 0o2755),
            ("top/a/plain", 0o755),
            ("top/b/three", 0o4755),
            ("top/a/deep/four", 0o4755),
            ("top/a/deep/deeper/five", 0o4755),
            ("closed/six", 0o4755),
        ] {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
        std::os::unix::fs::symlink("../../closed", folder.path().join("top/b/link")).unwrap();
        let root = Root::at(folder.path()).unwrap();
        let (stop, meter) = (Stop::default(), Meter::default());
        let check = |depth: usize, room: usize, mut expected: Vec<&str>, cut: bool| {
            let mut walk = Walk::new(&root, &stop, &meter);
            walk.below(Path::new("/top"), depth, room).unwrap();
            let mut found: Vec<&str> = walk.found.iter().map(|one| one.file.to_str().unwrap()).collect();
            assert_eq!(walk.unseen.problems().len(), usize::from(cut), "{depth} {room}");
            let levels: Vec<usize> = found.iter().map(|path| path.split('/').count()).collect();
            assert!(levels.is_sorted(), "{found:?}");
            found.sort_unstable();
            expected.sort_unstable();
            assert_eq!(found, expected, "{depth} {room}");
        };
        check(9, 1, vec!["/top/one"], true);
        check(9, 4, vec!["/top/one", "/top/a/two", "/top/b/three"], true);
        let all = ["/top/one", "/top/a/two", "/top/b/three", "/top/a/deep/four", "/top/a/deep/deeper/five"];
        check(9, 6, all.to_vec(), false);
        check(2, 6, all[..4].to_vec(), false);
        check(0, 6, all[..1].to_vec(), false);
        stop.ask(crate::protocol::link::StopReason::Enough);
        assert!(Walk::new(&root, &stop, &meter).below(Path::new("/top"), 9, 6).is_err());
    }
}
