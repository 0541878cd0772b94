//! Users, what they may do as others, and what they typed.

use std::collections::{HashMap, HashSet};
use std::os::fd::AsFd;
use std::path::Path;

use jiff::Timestamp;
use serde_json::json;

use super::none;
use crate::agent::collect::{Gathered, Gatherer, is_secret};
use crate::agent::content::Content;
use crate::agent::path::{key, lossy, problem};
use crate::agent::platform::linux::homes::homes;
use crate::agent::platform::linux::passwd::{self, Entry};
use crate::agent::platform::linux::sudoers;
use crate::protocol::Problem;

const MAX: u64 = 16 * 1024 * 1024;
const MAX_NAMES: usize = 10_000;
/// What shells and the like keep in a home.
const HISTORIES: [&str; 14] = [
    ".bash_history",
    ".zsh_history",
    ".zhistory",
    ".histfile",
    ".sh_history",
    ".ash_history",
    ".ksh_history",
    ".history",
    ".local/share/fish/fish_history",
    ".python_history",
    ".mysql_history",
    ".psql_history",
    ".sqlite_history",
    ".lesshst",
];

fn text(to: &Gatherer, path: &str) -> String {
    String::from_utf8_lossy(&to.agent.root.read(Path::new(path), MAX).unwrap_or_default()).into_owned()
}

/// Users with what `/etc/shadow` says of their passwords: whether there is one and since when, never the password's hash.
pub(super) fn users(to: &mut Gatherer) -> Gathered {
    let (entries, group, shadow) = (passwd::entries(&to.agent.root), text(to, "/etc/group"), text(to, "/etc/shadow"));
    let mut groups: HashMap<&str, Vec<&str>> = HashMap::new();
    let mut by_number: HashMap<u32, &str> = HashMap::new();
    for line in group.lines() {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, gid, rest @ ..] = &fields[..] else { continue };
        let Ok(gid) = gid.parse() else { continue };
        by_number.entry(gid).or_insert(name);
        for member in rest.first().unwrap_or(&"").split(',').filter(|member| !member.is_empty()) {
            groups.entry(member).or_default().push(name);
        }
    }
    let shadow: HashMap<&str, Vec<&str>> =
        shadow.lines().filter_map(|line| Some((line.split(':').next()?, line.split(':').collect()))).collect();
    let day = |text: Option<&&str>| {
        let seconds = text?.parse::<i64>().ok()?.checked_mul(86400)?;
        Timestamp::from_second(seconds).ok().filter(|_| seconds > 0)
    };
    to.rows("users", |rows| {
        for Entry { name, password, uid, gid, about, home, shell } in &entries {
            let hidden = shadow.get(name.as_str());
            let state = match hidden.and_then(|hidden| hidden.get(1).copied()).unwrap_or(password) {
                "" => "none",
                "x" => "unknown",
                password if password.starts_with(['!', '*']) => "locked",
                _ => "set",
            };
            rows.row(&json!({
                "user_name": name, "uid": uid, "gid": gid, "group": by_number.get(gid),
                "groups": groups.get(name.as_str()).cloned().unwrap_or_default(), "full_name": about, "home": lossy(home),
                "shell": shell, "password": state, "password_in_passwd": !matches!(password.as_str(), "x" | "*" | "!"),
                "password_changed": day(hidden.and_then(|hidden| hidden.get(2))),
                "expires": day(hidden.and_then(|hidden| hidden.get(7))),
            }))?;
        }
        Ok(())
    })?;
    for path in ["/etc/passwd", "/etc/group", "/etc/login.defs"] {
        to.raw(Path::new(path))?;
    }
    none(!entries.is_empty(), "/etc/passwd")
}

/// The lines of sudoers as sudo reads them, and those of doas. Files of its folder that it does not read are taken all the same.
pub(super) fn sudoers(to: &mut Gatherer) -> Gathered {
    let agent = std::sync::Arc::clone(&to.agent);
    let (mut files, problems) = sudoers::read(&agent.root);
    problems.into_iter().try_for_each(|problem| to.problem(problem))?;
    let doas = Path::new("/etc/doas.conf");
    match agent.root.read(doas, MAX) {
        Ok(bytes) => {
            let lines = sudoers::lines(&String::from_utf8_lossy(&bytes));
            files.push(sudoers::File { path: doas.to_owned(), lines });
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => to.problem(problem(doas, &error))?,
    }
    to.rows("sudoers", |rows| {
        for sudoers::File { path, lines } in &files {
            for sudoers::Line { number, text } in lines {
                rows.row(&json!({ "file": key(path), "line": number, "text": text }))?;
            }
        }
        Ok(())
    })?;
    let folder = Path::new("/etc/sudoers.d");
    let mut taken: Vec<_> = files.into_iter().map(|file| file.path).collect();
    for name in agent.root.names(folder, MAX_NAMES).unwrap_or_default() {
        let path = folder.join(name);
        if !taken.contains(&path) {
            taken.push(path);
        }
    }
    for path in &taken {
        to.raw(path)?;
    }
    none(!taken.is_empty(), "sudoers")
}

/// What users typed, with the time where their shell kept it.
pub(super) fn history(to: &mut Gatherer) -> Gathered {
    let agent = std::sync::Arc::clone(&to.agent);
    let mut found = Vec::new();
    for user in homes(&agent.root) {
        for name in HISTORIES {
            let path = user.home.join(name);
            let Ok(facts) = agent.root.link_facts(&path) else { continue };
            if facts.is_link() {
                // A history that leads to /dev/null tells something too.
                let target = agent.root.read_link(&path).unwrap_or_default();
                let message = format!("{}: it is a link to {}", key(&path), key(&target));
                to.problem(Problem::new("link", message).at(key(&path)))?;
            }
            let found_there = Content::open(&agent.root, &path, false);
            match found_there {
                Ok(content) if facts.is_link() => {
                    // Only what is the user's own: a link may lead to what nobody should be given, as a password's hash.
                    let real = agent.root.path_of(content.file.as_fd()).filter(|real| !is_secret(real));
                    if content.facts.is_file() && content.facts.uid == user.uid {
                        found.extend(real.map(|real| (user.name.clone(), real)));
                    }
                }
                Ok(_) => found.push((user.name.clone(), path)),
                Err(_) if facts.is_link() => {}
                Err(problem) => to.problem(problem)?,
            }
        }
    }
    let mut known = HashSet::new();
    found.retain(|(_, path)| known.insert(path.clone()));
    to.rows("shell_history", |rows| {
        for (user, path) in &found {
            let bytes = agent.root.read(path, MAX).unwrap_or_default();
            let text = String::from_utf8_lossy(&bytes);
            for (line, time, command) in typed(&text) {
                rows.row(&json!({ "time": time, "user_name": user, "command": command, "file": key(path), "line": line }))?;
            }
        }
        Ok(())
    })?;
    for (_, path) in &found {
        to.raw(path)?;
    }
    Ok(())
}

/// Line, time and command: bash writes `#1700000000` above a command, zsh `: 1700000000:0;` before it, fish `- cmd: …` and
/// `when: 1700000000` behind it.
fn typed(text: &str) -> Vec<(usize, Option<Timestamp>, String)> {
    let at = |digits: &str| digits.parse::<i64>().ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    let mut all: Vec<(usize, Option<Timestamp>, String)> = Vec::new();
    let mut above = None;
    for (number, line) in text.lines().enumerate() {
        if let Some(time) = line.strip_prefix('#').and_then(at) {
            above = Some(time);
            continue;
        }
        if let (Some(time), Some(last)) = (line.strip_prefix("  when: ").and_then(at), all.last_mut()) {
            last.1 = Some(time);
            continue;
        }
        if let Some((time, command)) = line.strip_prefix(": ").and_then(|rest| rest.split_once(';'))
            && let Some(time) = time.split(':').next().and_then(at)
        {
            all.push((number + 1, Some(time), command.to_owned()));
            continue;
        }
        if !line.trim().is_empty() {
            let command = line.strip_prefix("- cmd: ").unwrap_or(line);
            all.push((number + 1, above.take(), command.to_owned()));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_typed_has_its_time() {
        let check = |text: &str, expected: &[(usize, Option<&str>, &str)]| {
            let found = typed(text);
            let found: Vec<(usize, Option<String>, &str)> = found
                .iter()
                .map(|(line, time, command)| (*line, time.map(|time| time.to_string()), command.as_str()))
                .collect();
            let expected: Vec<_> =
                expected.iter().map(|(line, time, command)| (*line, time.map(ToOwned::to_owned), *command)).collect();
            assert_eq!(found, expected, "{text}");
        };
        check("ls\n\n#not a time\n", &[(1, None, "ls"), (3, None, "#not a time")]);
        check("#1700000000\ncurl x\nid\n", &[(2, Some("2023-11-14T22:13:20Z"), "curl x"), (3, None, "id")]);
        check(": 1700000000:5;make; ls\n", &[(1, Some("2023-11-14T22:13:20Z"), "make; ls")]);
        check("- cmd: wget y\n  when: 1700000000\n", &[(1, Some("2023-11-14T22:13:20Z"), "wget y")]);
        check("#99999999999999999999\n", &[(1, None, "#99999999999999999999")]);
    }
}
