//! What the package tools run: apt.conf(5), dpkg.cfg(5).

use super::{MAX_INCLUDES, MAX_TOLD, Told, each, short};

/// The last parts of keys that name a command, in lower case.
const HOOKS: [&str; 9] = [
    "pre-invoke",
    "post-invoke",
    "pre-install-pkgs",
    "pre-install-packages",
    "post-invoke-success",
    "post-invoke-stats",
    "auto-detect",
    "proxy-auto-detect",
    "proxyautodetect",
];
/// Keys below which programs, or what they are given, are named.
const PROGRAMS: [&str; 8] = [
    "dir::bin",
    "dpkg::path",
    "dpkg::chroot-directory",
    "apt::compressor",
    "dpkg::tools",
    "aptcli::hooks",
    "apt::solver",
    "apt::planner",
];
/// What of dpkg's own options runs something.
const OPTIONS: [&str; 5] = ["pre-invoke", "post-invoke", "status-logger", "--root", "--admindir"];

/// Hooks of apt.conf(5), and programs that are set to be others.
#[must_use]
pub fn apt_hooks(text: &str) -> Told {
    let mut told = Told::new();
    values(text, |number, key, value| {
        let lower = key.to_ascii_lowercase();
        // What holds for one of apt's programs alone stands below its name.
        let own =
            lower.strip_prefix("binary::").and_then(|rest| rest.split_once("::")).map_or(lower.as_str(), |(_, rest)| rest);
        let is_hook = lower.split("::").any(|part| HOOKS.contains(&part));
        let is_option = own.starts_with("dpkg::options") && OPTIONS.iter().any(|option| value.contains(option));
        let is_program = PROGRAMS.iter().any(|program| own.starts_with(program));
        if (is_hook || is_option || is_program) && told.len() <= MAX_TOLD {
            told.push((number, short(&format!("{key} \"{value}\""))));
        }
    });
    told
}

/// The files that a configuration of apt takes in.
#[must_use]
pub fn apt_includes(text: &str) -> Vec<String> {
    let lines = text.lines().filter_map(|line| line.trim().strip_prefix("#include"));
    let files = lines.map(|rest| rest.trim().trim_end_matches(';').trim_matches('"').to_owned());
    files.filter(|file| !file.is_empty()).take(MAX_INCLUDES).collect()
}

/// Hands over the values of a configuration of apt: the line, the whole key, the value.
fn values(text: &str, mut tell: impl FnMut(u32, &str, &str)) {
    let mut scopes: Vec<String> = Vec::new();
    let mut words: Vec<(String, bool)> = Vec::new();
    let mut number = 1;
    let mut letters = text.chars().peekable();
    let mut at_start = true;
    let mut give = |number: u32, scopes: &[String], words: &mut Vec<(String, bool)>| {
        let mut name = scopes.join("::");
        if let Some((value, _)) = words.last().filter(|(_, quoted)| *quoted || words.len() > 1) {
            if let Some((key, _)) = words.first().filter(|(_, quoted)| !quoted) {
                name = if name.is_empty() { key.clone() } else { format!("{name}::{key}") };
            }
            tell(number, name.trim_end_matches("::"), value);
        }
        words.clear();
    };
    while let Some(letter) = letters.next() {
        let starts_line = at_start;
        at_start = letter == '\n' || (at_start && letter.is_whitespace());
        match letter {
            '\n' => number += 1,
            '#' if starts_line => while letters.next_if(|letter| *letter != '\n').is_some() {},
            '/' if letters.peek() == Some(&'/') => while letters.next_if(|letter| *letter != '\n').is_some() {},
            '/' if letters.peek() == Some(&'*') => {
                letters.next();
                let mut last = ' ';
                for letter in letters.by_ref() {
                    number += u32::from(letter == '\n');
                    if last == '*' && letter == '/' {
                        break;
                    }
                    last = letter;
                }
            }
            '"' => {
                let mut value = String::new();
                for letter in letters.by_ref().take_while(|letter| *letter != '"') {
                    number += u32::from(letter == '\n');
                    value.push(letter);
                }
                words.push((value, true));
            }
            '{' => {
                // A value in front of a block is a value too.
                let name = words.first().map(|(word, _)| word.clone()).unwrap_or_default();
                if words.len() > 1 {
                    give(number, &scopes, &mut words);
                }
                words.clear();
                scopes.push(name);
            }
            '}' => {
                give(number, &scopes, &mut words);
                scopes.pop();
            }
            ';' => give(number, &scopes, &mut words),
            letter if letter.is_whitespace() => {}
            letter => {
                let mut word = String::from(letter);
                while let Some(letter) =
                    letters.next_if(|letter| !letter.is_whitespace() && !matches!(letter, '"' | '{' | '}' | ';'))
                {
                    word.push(letter);
                }
                words.push((word, false));
            }
        }
    }
    give(number, &scopes, &mut words);
}

/// Hooks of dpkg.cfg(5).
#[must_use]
pub fn dpkg_hooks(text: &str) -> Told {
    each(text, |line| {
        let bare = line.trim_start_matches("--");
        ["pre-invoke", "post-invoke", "status-logger"].iter().any(|hook| bare.starts_with(hook)).then(|| line.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::platform::linux::persistence::lines::tests::check;

    #[test]
    fn hooks_are_told_however_they_are_written() {
        check(
            apt_hooks,
            "APT::Update::Pre-Invoke {\"/tmp/x\";};\nDPkg::Post-Invoke {\n\"/y\";\n}\nA \"b\";",
            &[(1, "APT::Update::Pre-Invoke \"/tmp/x\""), (3, "DPkg::Post-Invoke \"/y\"")],
        );
        check(
            apt_hooks,
            "DPkg::Post-Invoke { // }\n\"/tmp/x\"; // c\n};\n/* \"a\"\n */ apt { update { pre-invoke\n{\n \"/y\";\n};};};",
            &[(2, "DPkg::Post-Invoke \"/tmp/x\""), (7, "apt::update::pre-invoke \"/y\"")],
        );
        check(
            apt_hooks,
            "Dir::Bin::dpkg \"/tmp/x\";\nDPkg::Pre-Invoke:: \"/y\";\n#clear A;\nDir { Bin \"/z\"; };\nAPT::Periodic::x \"1\";",
            &[(1, "Dir::Bin::dpkg \"/tmp/x\""), (2, "DPkg::Pre-Invoke \"/y\""), (4, "Dir::Bin \"/z\"")],
        );
        check(
            apt_hooks,
            "DPkg::Options:: \"--post-invoke=/tmp/2\";\nDPkg::Options:: \"--force-confold\";\nAptCli::Hooks::Upgrade:: \"/tmp/3\";\nAcquire::http::ProxyAutoDetect \"/tmp/4\";\nBinary::apt::DPkg::Path \"/tmp\";",
            &[
                (1, "DPkg::Options \"--post-invoke=/tmp/2\""),
                (3, "AptCli::Hooks::Upgrade \"/tmp/3\""),
                (4, "Acquire::http::ProxyAutoDetect \"/tmp/4\""),
                (5, "Binary::apt::DPkg::Path \"/tmp\""),
            ],
        );
        check(apt_hooks, "// DPkg::Pre-Invoke {\"/x\";};\n/* open", &[]);
        check(apt_hooks, "}}}{\"", &[]);
        assert_eq!(apt_includes("#include \"/tmp/x\";\n# include y\n#clear a;"), ["/tmp/x"]);
        check(dpkg_hooks, "post-invoke=/x\nno-debsig", &[(1, "post-invoke=/x")]);
    }
}
