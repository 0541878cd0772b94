//! What nobody wants to be without. Such a file may be removed, for that may be just what an intruder replaced; but not without a
//! word. From facts alone: essential packages, programs that run, login shells, and a short table.

use std::path::Path;

use rustix::fs::FileType;

use super::context::{Context, VerbError};
use super::platform::{Held, Root};

/// Files without which somebody stands before a closed door, or nothing starts: what does not happen without them.
const FILES: [(&str, &str); 24] = [
    ("/etc/passwd", "nobody logs in"),
    ("/etc/shadow", "nobody logs in"),
    ("/etc/group", "nobody logs in as before"),
    ("/etc/nsswitch.conf", "nobody logs in as before"),
    ("/etc/pam.d/common-auth", "nobody logs in"),
    ("/etc/pam.d/common-account", "nobody logs in"),
    ("/etc/pam.d/common-session", "nobody logs in"),
    ("/etc/pam.d/system-auth", "nobody logs in"),
    ("/etc/pam.d/password-auth", "nobody logs in"),
    ("/etc/pam.d/login", "nobody logs in at the console"),
    ("/etc/pam.d/sshd", "nobody logs in over ssh"),
    ("/etc/pam.d/sudo", "sudo lets nobody in"),
    ("/etc/pam.d/su", "su lets nobody in"),
    ("/etc/ssh/sshd_config", "nobody logs in over ssh"),
    ("/usr/sbin/sshd", "nobody logs in over ssh"),
    ("/usr/bin/login", "nobody logs in at the console"),
    ("/bin/login", "nobody logs in at the console"),
    ("/usr/bin/su", "nobody becomes another user by su"),
    ("/usr/bin/sudo", "nobody becomes root by sudo"),
    ("/etc/sudoers", "nobody becomes root by sudo"),
    ("/bin/sh", "no script runs, and little starts"),
    ("/usr/bin/env", "few scripts run"),
    ("/etc/fstab", "the next start mounts no disks"),
    ("/etc/ld.so.cache", "programs find their libraries more slowly, or not at all"),
];

/// Units of which the same is true, without what follows the last dot.
const UNITS: [(&str, &str); 7] = [
    ("ssh", "nobody logs in over ssh"),
    ("sshd", "nobody logs in over ssh"),
    ("systemd-logind", "nobody logs in as before"),
    ("getty@", "nobody logs in at the console"),
    ("systemd-networkd", "the device may lose its network"),
    ("NetworkManager", "the device may lose its network"),
    ("networking", "the device may lose its network"),
];

/// Shells that let nobody in.
const NO_SHELLS: [&str; 4] = ["nologin", "false", "true", "sync"];

/// A word on a file that is about to go, where it is one that is hardly done without.
///
/// # Errors
/// When the command was asked to stop.
pub fn warning(ctx: &Context, held: &Held) -> Result<Option<String>, VerbError> {
    let (root, platform) = (&ctx.agent.root, &ctx.agent.platform);
    let mut all = Vec::new();
    let known = FILES.iter().find(|(path, _)| is_at(root, held, Path::new(path))).map(|(_, what)| *what);
    all.extend(known.or_else(|| of_unit_file(&held.path)).map(|what| format!("without it {what}")));
    all.extend(login_shell(ctx, held));
    if held.facts.is_file() || held.facts.is_link() {
        let origin = platform.origin(&held.path, &ctx.stop);
        let essential = origin.package.filter(|package| platform.is_essential(package));
        all.extend(essential.map(|package| match origin.shipped {
            Some(true) => format!("package {package}, which is essential, owns it as shipped"),
            Some(false) => format!("package {package}, which is essential, owns it, and shipped another"),
            None => format!("package {package}, which is essential, owns it"),
        }));
    }
    if matches!(held.facts.kind, FileType::BlockDevice | FileType::CharacterDevice) {
        all.push("what asks for this device by its name finds none".to_owned());
    }
    if held.facts.is_file() {
        let users = platform.users(&held.path, &held.facts, &ctx.stop)?.unwrap_or_default();
        all.extend(match users.as_slice() {
            [] => None,
            [one] => Some(format!("process {one} uses it")),
            several => Some(format!("{} running processes use it", several.len())),
        });
    }
    Ok((!all.is_empty()).then(|| format!("warning: {}", all.join(", "))))
}

/// What does not happen without a unit.
#[must_use]
pub fn of_unit(name: &str) -> Option<&'static str> {
    let (stem, _) = name.rsplit_once('.')?;
    // An instance is as its template.
    let stem = stem.split_once('@').map_or(stem, |(template, _)| stem.get(..=template.len()).unwrap_or(stem));
    UNITS.iter().find(|(unit, _)| stem.trim_end_matches('@') == unit.trim_end_matches('@')).map(|(_, what)| *what)
}

/// A unit's file, or a link that has one start.
fn of_unit_file(path: &Path) -> Option<&'static str> {
    let is_units = path.ancestors().skip(1).any(|folder| folder.ends_with("systemd/system"));
    is_units.then(|| of_unit(path.file_name()?.to_str()?)).flatten()
}

/// Whether what is held is what lies at a path, or what the link there leads to.
fn is_at(root: &Root, held: &Held, path: &Path) -> bool {
    let Ok(there) = root.hold(path) else { return false };
    let leads_here = || root.facts(path).is_ok_and(|facts| (facts.dev, facts.inode) == (held.facts.dev, held.facts.inode));
    there.path == held.path || (there.facts.is_link() && leads_here())
}

fn login_shell(ctx: &Context, held: &Held) -> Option<String> {
    let logins = ctx.agent.platform.logins();
    let mut shells: Vec<&Path> = logins.iter().map(|(_, shell)| shell.as_path()).collect();
    shells.sort_unstable();
    shells.dedup();
    let lets_in = |shell: &&Path| shell.file_name().is_some_and(|name| !NO_SHELLS.iter().any(|none| name == *none));
    shells.retain(|shell| lets_in(shell) && is_at(&ctx.agent.root, held, shell));
    let mut users = logins.iter().filter(|(_, shell)| shells.contains(&shell.as_path())).map(|(user, _)| user);
    let first = users.next()?;
    Some(match users.count() {
        0 => format!("it is the login shell of {first}"),
        1 => format!("it is the login shell of {first} and another user"),
        others => format!("it is the login shell of {first} and {others} others"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_known_by_name() {
        let check = |name: &str, wanted: Option<&str>| assert_eq!(of_unit(name), wanted, "{name}");
        check("ssh.service", Some("nobody logs in over ssh"));
        check("ssh@7.service", Some("nobody logs in over ssh"));
        check("sshd.socket", Some("nobody logs in over ssh"));
        check("getty@tty1.service", Some("nobody logs in at the console"));
        check("sshguard.service", None);
        check("ssh", None);
        let file = |path: &str| of_unit_file(Path::new(path));
        assert!(file("/etc/systemd/system/multi-user.target.wants/ssh.service").is_some());
        assert!(file("/usr/lib/systemd/system/ssh.service").is_some());
        assert!(file("/tmp/ssh.service").is_none());
    }
}
