//! Which cron a device has: they look in different places, and are not equally strict with what they find there.

use std::path::Path;

use crate::agent::platform::linux::facts::Facts;
use crate::agent::platform::linux::root::Root;

/// A cron.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// Debian's (cron 3.0pl1). Also what a device without any is judged by.
    Debian,
    /// cronie, of Fedora, SUSE and Arch.
    Cronie,
    /// That of busybox, of Alpine.
    Busybox,
}

use Dialect::{Busybox, Cronie, Debian};

/// Where users' crontabs lie, and who looks there.
pub(super) const SPOOLS: [(&str, &[Dialect]); 4] = [
    ("/var/spool/cron/crontabs", &[Debian, Busybox]),
    ("/var/spool/cron", &[Cronie]),
    ("/var/spool/cron/tabs", &[Cronie]),
    ("/etc/crontabs", &[Busybox]),
];

impl Dialect {
    /// The cron that is installed; `None` where none is.
    pub(super) fn of(root: &Root) -> Option<Self> {
        let there = |path: &str| root.facts(Path::new(path)).is_ok();
        // SUSE calls cronie's daemon as Debian calls its own.
        if there("/usr/sbin/cron") {
            return Some(if there("/var/spool/cron/tabs") { Cronie } else { Debian });
        }
        let path = ["/usr/sbin/crond", "/usr/bin/crond", "/sbin/crond"].into_iter().find(|path| there(path))?;
        let target = root.read_link(Path::new(path)).ok();
        let is_busybox = target.as_deref().and_then(Path::file_name).is_some_and(|name| name == "busybox");
        Some(if is_busybox { Busybox } else { Cronie })
    }

    /// What it is called.
    pub(super) fn name(self) -> &'static str {
        match self {
            Debian => "Debian's cron",
            Cronie => "cronie",
            Busybox => "busybox's crond",
        }
    }

    /// Whether one line that it does not understand makes it ignore the whole file.
    pub(super) fn is_strict(self) -> bool {
        self == Debian
    }

    /// Whether it reads a file of `cron.d` that is called so.
    pub(super) fn takes_name(self, name: &[u8]) -> bool {
        match self {
            Debian => is_plain_name(name),
            Cronie => !name.starts_with(b".") && !name.starts_with(b"#") && !is_left_over(name),
            Busybox => false,
        }
    }

    /// Whether its run-parts runs a script that is called so.
    pub(super) fn runs_name(self, name: &[u8]) -> bool {
        match self {
            Debian | Busybox => is_plain_name(name),
            Cronie => !name.starts_with(b".") && !is_left_over(name) && !name.ends_with(b","),
        }
    }

    /// Why it refuses a user's crontab for its owner or its rights.
    pub(super) fn refuses_user(self, file: &Facts, uid: u32) -> Option<&'static str> {
        let owned = match self {
            Debian | Cronie => file.uid == uid || file.uid == 0,
            Busybox => file.uid == 0,
        };
        match self {
            _ if !owned => Some("another user owns it"),
            Debian if file.permissions != 0o600 => Some("others may read or write it"),
            Cronie => refused_by_cronie(file),
            _ => None,
        }
    }

    /// Why it refuses one of the system's crontabs.
    pub(super) fn refuses_system(self, file: &Facts) -> Option<&'static str> {
        match self {
            _ if file.uid != 0 => Some("another user owns it"),
            Debian if file.permissions & 0o022 != 0 => Some("others may write it"),
            Cronie => refused_by_cronie(file),
            _ => None,
        }
    }
}

/// To be read by its owner, and neither written by others nor run by anybody.
fn refused_by_cronie(file: &Facts) -> Option<&'static str> {
    (file.permissions & 0o7533 != 0o400).then_some("others may write it, or it may be run")
}

/// What run-parts(8) of Debian, and its cron, take for a name.
fn is_plain_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// What editors and rpm leave behind.
fn is_left_over(name: &[u8]) -> bool {
    [&b"~"[..], b".rpmsave", b".rpmorig", b".rpmnew", b".swp"].iter().any(|end| name.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_daemon_tells_which_cron_it_is() {
        let check = |files: &[&str], busybox: bool, expected: Option<Dialect>| {
            let tree = tempfile::tempdir().unwrap();
            for file in files {
                let path = tree.path().join(file);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                if busybox {
                    std::os::unix::fs::symlink("/bin/busybox", &path).unwrap();
                } else {
                    std::fs::write(&path, "x").unwrap();
                }
            }
            std::fs::create_dir_all(tree.path().join("bin")).unwrap();
            std::fs::write(tree.path().join("bin/busybox"), "x").unwrap();
            assert_eq!(Dialect::of(&Root::at(tree.path()).unwrap()), expected, "{files:?}");
        };
        check(&["usr/sbin/cron"], false, Some(Debian));
        check(&["usr/sbin/cron", "var/spool/cron/tabs/root"], false, Some(Cronie));
        check(&["usr/sbin/crond"], false, Some(Cronie));
        check(&["usr/sbin/crond"], true, Some(Busybox));
        check(&[], false, None);
    }

    #[test]
    fn names_are_taken_by_rules_of_their_own() {
        let check = |name: &str, debian: bool, cronie: bool| {
            assert_eq!((Debian.takes_name(name.as_bytes()), Cronie.takes_name(name.as_bytes())), (debian, cronie), "{name}");
        };
        check("0hourly", true, true);
        check("a.b", false, true);
        check("a.rpmsave", false, false);
        check("a~", false, false);
        check("", false, true);
        assert!(Cronie.runs_name(b"tidy.sh") && !Busybox.runs_name(b"tidy.sh"));
    }
}
