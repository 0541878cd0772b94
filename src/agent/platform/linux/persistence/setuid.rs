//! Files that give whoever runs them rights of others: setuid, setgid and capabilities, also where nobody installs any. Since this
//! look sees every name, it notes the scripts of web servers too.

use std::collections::{HashSet, VecDeque};
use std::ffi::{CString, OsStr};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::FileType;

use super::Search;
use crate::agent::context::{Stop, VerbError, VerbResult};
use crate::agent::platform::linux::capabilities::capabilities;
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
/// How many files and folders below one of these are looked at, those near its top first; and below another folder of the top.
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

/// What is seen.
#[derive(Default)]
pub(super) struct Seen {
    pub privileged: Vec<Privileged>,
    /// What may be a script of a web server.
    pub scripts: Vec<PathBuf>,
    pub unseen: Unseen,
}

/// Looks for such files in all of the device, on the file systems that its folders begin on.
pub(super) fn privileged(root: &Root, homes: &[User], stop: &Stop) -> Result<Seen, VerbError> {
    let mut look = Look { root, stop, known: HashSet::new(), seen: Seen::default() };
    for start in STARTS {
        look.below(Path::new(start), MAX_FILES)?;
    }
    for name in look.seen.unseen.names(root, Path::new("/")) {
        if VIRTUAL.iter().all(|made_up| name != *made_up) {
            look.below(&Path::new("/").join(name), MAX_OTHERS)?;
        }
    }
    // Some users have folders of the system as their home.
    for user in homes.iter().filter(|user| user.home.components().count() > 2 && !user.home.starts_with("/usr")) {
        look.below(&user.home, MAX_OTHERS)?;
    }
    Ok(look.seen)
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

struct Look<'a> {
    root: &'a Root,
    stop: &'a Stop,
    known: HashSet<(u64, u64)>,
    seen: Seen,
}

impl Look<'_> {
    /// Looks through a folder level by level, on its own file system: that of its folders, for in an overlay files are of others.
    fn below(&mut self, start: &Path, mut room: usize) -> VerbResult {
        let Ok(facts) = self.root.facts(start) else { return Ok(()) };
        if !facts.is_folder() || !self.known.insert((facts.dev, facts.inode)) {
            return Ok(());
        }
        let device = facts.dev;
        let mut buffer = EntryBuffer::default();
        let mut next = VecDeque::from([(start.to_owned(), 0)]);
        while let Some((path, level)) = next.pop_front() {
            self.stop.check()?;
            let folder = match self.root.open_folder(&path) {
                Ok(folder) => folder,
                Err(error) => {
                    self.seen.unseen.closed(self.root, &path, &error);
                    continue;
                }
            };
            let (mut files, mut folders) = (Vec::new(), Vec::new());
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
            }
            let is_cut = files.len() > room;
            files.truncate(room);
            room -= files.len();
            for name in files {
                if is_page(name.to_bytes()) && self.seen.scripts.len() < MAX_FILES {
                    self.seen.scripts.push(path.join(OsStr::from_bytes(name.to_bytes())));
                }
                self.file(&folder, &path, &name);
            }
            if is_cut {
                self.seen.unseen.cut(start);
                return Ok(());
            }
            room = room.saturating_sub(folders.len());
            for name in folders {
                let Ok(facts) = folder.facts(&name) else { continue };
                let path = path.join(OsStr::from_bytes(name.to_bytes()));
                let is_new = facts.is_folder() && facts.dev == device && self.known.insert((facts.dev, facts.inode));
                if is_new && level < MAX_DEPTH && !CONTAINERS.iter().any(|folder| path == Path::new(folder)) {
                    next.push_back((path, level + 1));
                }
            }
        }
        Ok(())
    }

    fn file(&mut self, folder: &Folder, path: &Path, name: &CString) {
        let Ok(facts) = folder.facts(name) else { return };
        if !facts.is_file() {
            return;
        }
        let capabilities = (facts.permissions & 0o111 != 0).then(|| of_file(folder, name)).flatten();
        if facts.permissions & 0o6000 != 0 || capabilities.is_some() {
            self.seen.privileged.push(Privileged { file: path.join(OsStr::from_bytes(name.to_bytes())), capabilities });
        }
    }
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
