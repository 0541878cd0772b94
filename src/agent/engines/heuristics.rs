//! What a file's place, mode and shape say of it, without any signature.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::packages::AS_SHIPPED;
use super::{Answer, Engine, Finding, OnDevice, Subject, Whole};
use crate::agent::dispatch::Shared;
use crate::agent::filetype::{executable_type, has_packer_mark};
use crate::agent::path::shown;
use crate::agent::platform::base_name;

/// Folders in which everybody may make files.
const WRITABLE: [&str; 5] = ["/tmp", "/var/tmp", "/dev/shm", "/run/shm", "/run/user"];
/// Folders of the system, where nothing hides behind a dot.
const SYSTEM: [&str; 9] = ["/bin", "/sbin", "/lib", "/lib64", "/usr", "/boot", "/etc", "/dev", "/var/lib"];
/// Programs that Debian and its like ship with the setuid bit.
const SETUID: &[&str] = &[
    "Xorg.wrap",
    "at",
    "bwrap",
    "cdrecord",
    "chfn",
    "chrome-sandbox",
    "chsh",
    "crontab",
    "dbus-daemon-launch-helper",
    "dma",
    "exim4",
    "fusermount",
    "fusermount3",
    "gpasswd",
    "ksu",
    "mount",
    "mount.cifs",
    "mount.nfs",
    "newgidmap",
    "newgrp",
    "newuidmap",
    "ntfs-3g",
    "passwd",
    "ping",
    "ping6",
    "pkexec",
    "polkit-agent-helper-1",
    "pppd",
    "sendmail",
    "sg",
    "snap-confine",
    "ssh-keysign",
    "staprun",
    "su",
    "sudo",
    "sudoedit",
    "suexec",
    "traceroute6.iputils",
    "umount",
    "umount.nfs",
    "unix_chkpwd",
    "vmware-user-suid-wrapper",
    "xscreensaver-auth",
];
/// The rule of a program that lies where everybody may make files.
pub const TEMPORARY: &str = "temporary";
/// Machine code whose bytes are that even is compressed or encrypted.
const PACKED_ENTROPY: f64 = 7.2;
/// The most of `/etc/ld.so.preload` that is read.
const MAX_PRELOADED: usize = 64;

/// The engine.
pub struct Static {
    agent: Arc<Shared>,
}

impl Static {
    /// For the files of a device.
    #[must_use]
    pub fn new(agent: Arc<Shared>) -> Self {
        Self { agent }
    }
}

impl Engine for Static {
    fn name(&self) -> &'static str {
        "static"
    }

    fn look(&mut self, subject: &Subject<'_>, whole: &Whole<'_>, found: &[Finding]) -> Answer {
        let Some(file) = subject.file else { return Ok(Vec::new()) };
        let shipped = found.iter().any(|found| found.rule == AS_SHIPPED);
        let mut findings = Vec::new();
        let mut tell = |rule: &str, weight, what: String| {
            findings.push(Finding { engine: "static", rule: rule.to_owned(), weight, what, place: None });
        };
        if file.named && file.path == Path::new("/etc/ld.so.preload") {
            for library in preloaded(whole.head()) {
                let name = shown(Path::new(std::ffi::OsStr::from_bytes(library)));
                match owner(&self.agent, library) {
                    Some(package) => tell("ld_so_preload", 0, format!("every program loads {name}, of the package {package}")),
                    None => tell("ld_so_preload", 60, format!("every program loads {name}, which no package owns")),
                }
            }
        }
        let kind = executable_type(whole.head());
        let code = kind.as_ref().is_some_and(|kind| !kind.starts_with("script"));
        if let Some(what) = setuid(&file, shipped) {
            tell("setuid", if file.named && is_writable(file.path) { 70 } else { 50 }, what);
        }
        let Some(kind) = kind.filter(|_| !shipped) else { return Ok(findings) };
        if code && whole.entropy.is_some_and(|entropy| entropy >= PACKED_ENTROPY) {
            let entropy = whole.entropy.unwrap_or_default();
            tell("entropy", 30, format!("machine code that is packed or encrypted: {entropy:.2} of 8 bits a byte"));
        } else if code && has_packer_mark(whole.head()) {
            tell("entropy", 30, "machine code with the mark of a packer".to_owned());
        }
        if !file.named {
            return Ok(findings);
        }
        let runs = code || file.facts.permissions & 0o111 != 0;
        if is_writable(file.path) && runs {
            let weight = if file.autostart { 60 } else { 20 };
            tell(TEMPORARY, weight, format!("a program ({kind}) in a folder in which everybody may make files"));
        } else if file.path.starts_with("/dev") && runs {
            tell("device_folder", 60, format!("a program ({kind}) among the devices"));
        }
        if runs && is_hidden(file.path) {
            tell("hidden", 20, format!("a program ({kind}) behind a dot, where none has a reason to be"));
        }
        Ok(findings)
    }
}

/// Whether everybody may make files where this one lies.
#[must_use]
pub fn is_writable(path: &Path) -> bool {
    WRITABLE.iter().any(|folder| path.starts_with(folder))
}

fn is_hidden(path: &Path) -> bool {
    let dot = |name: &std::ffi::OsStr| name.as_bytes().starts_with(b".");
    // Source trees keep programs in `.git/hooks` and the like wherever they are unpacked; three dots and blanks are no such.
    let own = path.file_name().is_some_and(dot);
    let parent = path.parent().and_then(Path::file_name).is_some_and(|name| {
        dot(name) && !matches!(name.as_bytes(), b".git" | b".libs" | b".bin" | b".cargo" | b".cache" | b".venv")
    });
    (own || parent) && (is_writable(path) || SYSTEM.iter().any(|folder| path.starts_with(folder)))
}

/// What is odd of a file that runs as its owner.
fn setuid(file: &OnDevice<'_>, shipped: bool) -> Option<String> {
    let facts = file.facts;
    if facts.permissions & 0o4000 == 0 || facts.permissions & 0o111 == 0 || facts.uid != 0 {
        return None;
    }
    let name = String::from_utf8_lossy(base_name(file.path.as_os_str().as_bytes())).into_owned();
    if shipped && SETUID.contains(&name.as_str()) {
        return None;
    }
    let why = if shipped { "which its package does not ship so" } else { "which no package vouches for" };
    Some(format!("whoever starts it acts as root: {} on a file {why}", file.facts.mode().as_str()))
}

/// The libraries that `/etc/ld.so.preload` names: blanks, colons and lines apart (ld.so(8)).
#[must_use]
pub fn preloaded(text: &[u8]) -> Vec<&[u8]> {
    let line = |line: &'_ [u8]| line.iter().position(|&byte| byte == b'#').unwrap_or(line.len());
    let lines = text.split(|&byte| byte == b'\n').map(|text| text.get(..line(text)).unwrap_or_default());
    let names = lines.flat_map(|line| line.split(|byte| byte.is_ascii_whitespace() || *byte == b':'));
    names.filter(|name| !name.is_empty()).take(MAX_PRELOADED).collect()
}

/// The package that owns a library, by its path or, of a bare name, in the folders that the loader looks in.
#[must_use]
pub fn owner(agent: &Shared, library: &[u8]) -> Option<String> {
    let path = Path::new(std::ffi::OsStr::from_bytes(library));
    if path.is_absolute() {
        let real = agent.root.open(path, rustix::fs::OFlags::PATH).ok();
        let real = real.and_then(|fd| agent.root.path_of(std::os::fd::AsFd::as_fd(&fd)));
        return agent.platform.package(&real.unwrap_or_else(|| path.to_path_buf())).map(|owner| owner.name);
    }
    loaded_from(agent, library).into_iter().find_map(|path| agent.platform.package(&path).map(|owner| owner.name))
}

/// The files of a bare name in the folders that the loader looks in unless it is told otherwise, links resolved.
#[must_use]
pub fn loaded_from(agent: &Shared, library: &[u8]) -> Vec<PathBuf> {
    let folders = ["/lib", "/usr/lib", "/lib64", "/usr/local/lib", "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu"];
    let name = Path::new(std::ffi::OsStr::from_bytes(library));
    let real = |folder: &&str| {
        let file = agent.root.open(&Path::new(folder).join(name), rustix::fs::OFlags::PATH).ok()?;
        agent.root.path_of(std::os::fd::AsFd::as_fd(&file))
    };
    folders.iter().filter_map(real).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preloaded_libraries_are_read_as_the_loader_reads_them() {
        assert_eq!(preloaded(b"/a.so /b.so:/c.so\n# /d.so\n\t/e.so # x\n"), [&b"/a.so"[..], b"/b.so", b"/c.so", b"/e.so"]);
        assert_eq!(preloaded(b""), Vec::<&[u8]>::new());
    }

    #[test]
    fn places_where_nothing_should_hide() {
        let check = |path: &str, hidden: bool| assert_eq!(is_hidden(Path::new(path)), hidden, "{path}");
        check("/tmp/.x", true);
        check("/usr/lib/.x/y", true);
        check("/dev/shm/.../y", true);
        check("/home/a/.cargo/bin/cargo", false);
        check("/tmp/x/.git/hooks/sample", false);
        check("/usr/bin/ls", false);
    }
}
