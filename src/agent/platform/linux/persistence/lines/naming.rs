//! Settings that name a program, of whatever is configured line by line: the table of places has the words that begin them.

use super::{MAX_TOLD, Told, short};

/// Values that name nothing.
const NOTHING: [&str; 10] = ["", "none", "no", "off", "false", "null", "0", "/bin/false", "/bin/true", ";"];
/// Values whose list follows.
const OPENS: [&str; 6] = ["", "[", "{", "(", "|", ">"];
/// How many lines of a list are told with the line that opens it.
const MAX_LIST: usize = 20;

/// Lines that set one of these words, in lower case; `*word` may stand anywhere in a line.
#[must_use]
pub fn naming(text: &str, words: &[&str]) -> Told {
    let mut told = Told::new();
    let lines: Vec<&str> = text.trim_start_matches('\u{feff}').lines().collect();
    for (at, (number, line)) in (1..).zip(&lines).enumerate() {
        let bare = line.trim();
        if bare.is_empty() || bare.starts_with(['#', ';']) || bare.starts_with("//") {
            continue;
        }
        let lower = bare.to_ascii_lowercase();
        let value = words.iter().find_map(|word| match word.strip_prefix('*') {
            Some(word) => within(&lower, word).then_some("set"),
            None => behind(lower.trim_start_matches(['"', '\'']), word),
        });
        let Some(value) = value else { continue };
        let bare_value = value.trim_matches(|letter: char| letter.is_whitespace() || "=:+\"',".contains(letter));
        let list = if OPENS.contains(&bare_value) { list(line, lines.get(at + 1..).unwrap_or_default()) } else { Vec::new() };
        if list.is_empty() && NOTHING.contains(&bare_value.trim_end_matches(';')) {
            continue;
        }
        let whole = std::iter::once(bare).chain(list).collect::<Vec<_>>().join(" ");
        told.push((number, short(&whole)));
        if told.len() > MAX_TOLD {
            break;
        }
    }
    told
}

/// What stands behind a word that a line begins with.
fn behind<'a>(line: &'a str, word: &str) -> Option<&'a str> {
    let rest = line.strip_prefix(word)?;
    (ends(word) || !rest.starts_with(is_part)).then_some(rest)
}

/// Whether a word stands anywhere in a line, as a word of its own.
fn within(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line.get(..at).and_then(|before| before.chars().next_back());
        let is_start = !word.starts_with(|letter: char| letter.is_ascii_alphanumeric()) || !before.is_some_and(is_part);
        is_start && line.get(at..).and_then(|rest| behind(rest, word)).is_some()
    })
}

/// Whether nothing can go on with a word.
fn ends(word: &str) -> bool {
    !word.ends_with(is_part)
}

fn is_part(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-')
}

/// The lines of a list below the line that opens it: those that stand deeper, and the items of one that does not.
fn list<'a>(head: &str, below: &[&'a str]) -> Vec<&'a str> {
    let depth = |line: &str| line.len() - line.trim_start().len();
    let is_of = |line: &&&str| depth(line) > depth(head) || line.trim_start().starts_with("- ");
    let lines = below.iter().filter(|line| !line.trim().is_empty()).take_while(is_of).map(|line| line.trim());
    lines.take(MAX_LIST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_told_however_they_are_written() {
        let check = |words: &[&str], text: &str, expected: &[(u32, &str)]| {
            let told = naming(text, words);
            let told: Vec<(u32, &str)> = told.iter().map(|(number, line)| (*number, line.as_str())).collect();
            assert_eq!(told, expected, "{text}");
        };
        check(&["postup"], "[Interface]\nPostUp = /x\nPostUpper = /y\n# PostUp = /z", &[(2, "PostUp = /x")]);
        check(&["command["], "command[e]=/x\ncommand_timeout=60", &[(1, "command[e]=/x")]);
        check(&["root preexec"], "; root preexec = /y\n root preexec = /x", &[(2, "root preexec = /x")]);
        check(
            &["bootcmd"],
            "cloud_init_modules:\n - bootcmd\n - x\nbootcmd:\n - /x\n - [/y]\nother: z",
            &[(4, "bootcmd: - /x - [/y]")],
        );
        check(&["bootcmd"], "bootcmd:\n- /x\nother: z", &[(1, "bootcmd: - /x")]);
        check(&["runtimes"], "{\n \"runtimes\": {\n  \"r\": \"/x\"\n }\n}", &[(2, "\"runtimes\": { \"r\": \"/x\"")]);
        check(&["*runtimes"], "{\"a\":1,\"runtimes\":{\"r\":\"/x\"}}", &[(1, "{\"a\":1,\"runtimes\":{\"r\":\"/x\"}}")]);
        check(&["*exec"], "bindsym x exec /x\nexecute y\nan-exec z\nreexec", &[(1, "bindsym x exec /x")]);
        check(&["*_by_lua"], "location / { content_by_lua 'x'; }", &[(1, "location / { content_by_lua 'x'; }")]);
        check(&["*#("], "set -g status-right '#(/x)'", &[(1, "set -g status-right '#(/x)'")]);
        check(
            &["archive_command", "plugin"],
            "archive_command = ''\nplugin = none;\nplugin:\narchive_command = 'x'",
            &[(4, "archive_command = 'x'")],
        );
        check(&["x"], &"x y\n".repeat(3), &[(1, "x y"), (2, "x y"), (3, "x y")]);
        assert_eq!(naming(&"x y\n".repeat(3 * MAX_TOLD), &["x"]).len(), MAX_TOLD + 1);
    }
}
