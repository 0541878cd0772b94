//! Scripts of System V's init: `/etc/init.d`, the runlevels' links to them, and what their LSB headers say (init-d-script(5), insserv(8)).

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::agent::context::{Stop, VerbError};
use crate::agent::digest::hex;
use crate::agent::path::reason;
use crate::agent::platform::linux::listing::MAX_NAMES;
use crate::agent::platform::linux::root::Root;
use crate::agent::platform::linux::systemd::plain;
use crate::agent::platform::service::{Service, StartType};

const FOLDER: &str = "/etc/init.d";
const LEVELS: [char; 8] = ['0', '1', '2', '3', '4', '5', '6', 'S'];
/// The largest script that is read.
const MAX_SCRIPT: u64 = 4 * 1024 * 1024;
/// What `service --status-all` leaves out.
const NOT_SERVICES: [&str; 11] =
    ["README", "bootclean.sh", "functions", "halt", "killall", "kudzu", "linuxconf", "rc", "rcS", "reboot", "single"];

/// Every script, with the pid file that it names.
pub(in crate::agent::platform::linux) fn scripts(
    root: &Root,
    stop: &Stop,
) -> Result<Vec<(Service, Option<PathBuf>)>, VerbError> {
    let levels = runlevels(root);
    let mut scripts = Vec::new();
    for name in root.names(Path::new(FOLDER), MAX_NAMES).unwrap_or_default() {
        stop.check()?;
        let (path, Some(name)) = (Path::new(FOLDER).join(&name), name.to_str()) else { continue };
        let backup = name.rsplit_once('.').is_some_and(|(_, end)| end.starts_with("dpkg-"));
        if backup || name == "skeleton" || NOT_SERVICES.contains(&name) {
            continue;
        }
        let facts = root.facts(&path);
        if facts.as_ref().is_ok_and(|facts| !facts.is_file() || facts.permissions & 0o111 == 0) {
            continue;
        }
        let mut script = Service {
            name: name.to_owned(),
            kind: "sysv".to_owned(),
            user: Some("root".to_owned()),
            command: Some(path.display().to_string()),
            modified: facts.ok().map(|facts| facts.modified),
            runlevels: levels.get(name).cloned().unwrap_or_default().into_iter().map(String::from).collect(),
            ..Service::default()
        };
        let starts = script.runlevels.iter().any(|level| matches!(level.as_str(), "2" | "3" | "4" | "5" | "S"));
        script.start = if starts { StartType::Auto } else { StartType::Manual };
        script.enabled = Some(if starts { "enabled" } else { "disabled" }.to_owned());
        let mut pid = None;
        match root.read(&path, MAX_SCRIPT) {
            Ok(text) => {
                script.sha256 = Some(hex(&Sha256::digest(&text)));
                let text = String::from_utf8_lossy(&text);
                let header = parse_header(&text);
                let word = |key: &str| header.get(key).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
                script.description = word("short-description").or_else(|| word("description"));
                let needs = word("required-start").unwrap_or_default();
                script.dependencies = needs.split_whitespace().map(ToOwned::to_owned).collect();
                pid = pid_file(&text).map(PathBuf::from);
            }
            Err(error) => script.error = Some(reason(&error).1),
        }
        script.file = Some(path);
        scripts.push((script, pid));
    }
    Ok(scripts)
}

/// What a runlevel starts.
struct Start {
    level: char,
    /// Where it stands: `/etc/rc2.d/S01ssh`.
    path: PathBuf,
    /// The script in `/etc/init.d` that it leads to; `None` where it is something else.
    script: Option<OsString>,
}

/// Everything that the runlevels start.
fn starts(root: &Root) -> Vec<Start> {
    let folder_of = |path: &Path| root.facts(path).ok().map(|facts| (facts.dev, facts.inode));
    let scripts = folder_of(Path::new(FOLDER));
    let mut found = Vec::new();
    for level in LEVELS {
        let folder = PathBuf::from(format!("/etc/rc{level}.d"));
        for name in root.names(&folder, MAX_NAMES).unwrap_or_default() {
            if !matches!(name.as_bytes(), [b'S', one, two, ..] if one.is_ascii_digit() && two.is_ascii_digit()) {
                continue;
            }
            let path = folder.join(&name);
            let target = root.read_link(&path).ok().map(|link| plain(&folder.join(link)));
            let script = target.filter(|target| {
                let parent = target.parent().unwrap_or(Path::new("/"));
                parent == Path::new(FOLDER) || (scripts.is_some() && folder_of(parent) == scripts)
            });
            let script = script.and_then(|script| script.file_name().map(ToOwned::to_owned));
            found.push(Start { level, path, script });
        }
    }
    found
}

/// The links that start a script.
pub(super) fn start_links(root: &Root, script: &str) -> Vec<PathBuf> {
    let of_script = |start: &Start| start.script.as_ref().is_some_and(|name| name == script);
    starts(root).into_iter().filter(of_script).map(|start| start.path).collect()
}

/// What the runlevels start that is no script of `/etc/init.d`.
pub(in crate::agent::platform::linux) fn strays(root: &Root) -> Vec<PathBuf> {
    starts(root).into_iter().filter(|start| start.script.is_none()).map(|start| start.path).collect()
}

/// In which runlevels a script is started: by its `S` links.
fn runlevels(root: &Root) -> BTreeMap<String, BTreeSet<char>> {
    let mut found: BTreeMap<String, BTreeSet<char>> = BTreeMap::new();
    for start in starts(root) {
        if let Some(script) = start.script {
            found.entry(script.to_string_lossy().into_owned()).or_default().insert(start.level);
        }
    }
    found
}

/// The LSB header of a script: keys in lower case, continued lines joined.
#[must_use]
pub fn parse_header(text: &str) -> BTreeMap<String, String> {
    let mut header: BTreeMap<String, String> = BTreeMap::new();
    let mut last: Option<String> = None;
    let inside = text.lines().skip_while(|line| line.trim_end() != "### BEGIN INIT INFO").skip(1);
    for line in inside.take_while(|line| line.trim_end() != "### END INIT INFO").take(200) {
        let Some(rest) = line.strip_prefix('#') else { break };
        if let (true, Some(key)) = (rest.starts_with("  ") || rest.starts_with('\t'), &last) {
            if let Some(value) = header.get_mut(key) {
                value.push(' ');
                value.push_str(rest.trim());
            }
            continue;
        }
        if let Some((key, value)) = rest.split_once(':') {
            let key = key.trim().to_ascii_lowercase();
            last = Some(key.clone());
            header.insert(key, value.trim().to_owned());
        }
    }
    header
}

/// The pid file that a script names, where it names it plainly.
fn pid_file(text: &str) -> Option<String> {
    let value = text.lines().find_map(|line| {
        let line = line.trim_start();
        let line = line.strip_prefix("export ").unwrap_or(line);
        line.strip_prefix("PIDFILE=").or_else(|| line.strip_prefix("# pidfile:"))
    })?;
    let value = value.split('#').next().unwrap_or_default().trim().trim_matches(['"', '\'']);
    (value.starts_with('/') && !value.contains(['$', '`', ' '])).then(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_with_their_continued_lines() {
        let text = "#!/bin/sh\n### BEGIN INIT INFO\n# Provides:   x\n# Description: one\n#   two\n#\tthree\n### END INIT INFO\n# Provides: y\n";
        let header = parse_header(text);
        assert_eq!((header["provides"].as_str(), header["description"].as_str()), ("x", "one two three"));
        assert!(parse_header("### BEGIN INIT INFO\nProvides: x").is_empty());
        assert!(parse_header("").is_empty());
    }

    #[test]
    fn only_plain_pid_files_count() {
        assert_eq!(pid_file("x\n PIDFILE=\"/run/a.pid\" # c\n").as_deref(), Some("/run/a.pid"));
        assert_eq!(pid_file("PIDFILE=/run/$NAME.pid"), None);
        assert_eq!(pid_file(""), None);
    }
}
