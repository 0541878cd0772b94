//! What git runs by itself: git-config(1).

use super::{MAX_INCLUDES, MAX_TOLD, Told, numbered, short};

/// Keys that name a command or a library of them.
const COMMANDS: [&str; 17] = [
    "hookspath",
    "fsmonitor",
    "sshcommand",
    "pager",
    "editor",
    "askpass",
    "gitproxy",
    "clean",
    "smudge",
    "process",
    "external",
    "textconv",
    "driver",
    "templatedir",
    "program",
    "packobjectshook",
    "difffilter",
];

/// What git runs by itself, and what it reads that may.
#[must_use]
pub fn git_commands(text: &str) -> Told {
    let mut told = Told::new();
    for (number, section, line) in settings(text) {
        let Some((key, value)) = line.split_once('=') else { continue };
        let (key, value) = (key.trim().to_ascii_lowercase(), value.trim());
        let is_command = COMMANDS.contains(&key.as_str()) && !matches!(value, "true" | "false");
        let runs = match key.as_str() {
            "path" => section.starts_with("include"),
            // The usual helpers are named without a folder.
            "helper" => value.contains(['/', '!']),
            "command" | "cmd" => true,
            _ => is_command || value.trim_start_matches('"').starts_with('!'),
        };
        if runs && !value.is_empty() {
            told.push((number, short(line)));
        }
        if told.len() > MAX_TOLD {
            break;
        }
    }
    told
}

/// The files that a configuration of git takes in.
#[must_use]
pub fn git_includes(text: &str) -> Vec<String> {
    let paths = settings(text).filter(|(_, section, _)| section.starts_with("include")).filter_map(|(_, _, line)| {
        let (key, value) = line.split_once('=')?;
        key.trim().eq_ignore_ascii_case("path").then(|| value.trim().trim_matches('"').to_owned())
    });
    paths.take(MAX_INCLUDES).collect()
}

/// Lines that set something, with the section that they stand in, in lower case; one may stand behind its section's head.
fn settings(text: &str) -> impl Iterator<Item = (u32, String, &str)> {
    let mut section = String::new();
    numbered(text).filter_map(move |(number, line)| {
        let mut line = line;
        if let Some((head, rest)) = line.strip_prefix('[').and_then(|line| line.split_once(']')) {
            section = head.trim().to_ascii_lowercase();
            line = rest.trim();
        }
        (!line.is_empty() && !line.starts_with(['#', ';'])).then(|| (number, section.clone(), line))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::platform::linux::persistence::lines::tests::check;

    #[test]
    fn commands_are_told_by_their_keys() {
        check(
            git_commands,
            "[core]\n hooksPath = /x\n fsmonitor = true\n[alias]\n s = status\n x = !sh\n[user] name = path",
            &[(2, "hooksPath = /x"), (6, "x = !sh")],
        );
        check(
            git_commands,
            "[filter \"x\"]\n clean=/tmp/a\n[include]\n path = ~/b\n[credential]\n helper = store\n helper = /tmp/c\n[diff]\nexternal=/d\n[init] templateDir = /e",
            &[(2, "clean=/tmp/a"), (4, "path = ~/b"), (7, "helper = /tmp/c"), (9, "external=/d"), (10, "templateDir = /e")],
        );
        assert_eq!(git_includes("[includeIf \"gitdir:/\"]\n path = \"~/b\"\n[user]\n path = c"), ["~/b"]);
    }
}
