//! What files of configuration run: each function takes a file's text and tells the lines that run something, and what.
//!
//! Pure.

mod access;
mod accounts;
mod git;
mod hooks;
mod logs;
mod mounts;
mod naming;
mod sessions;
mod system;
mod udev;
mod web;

pub use access::{authorized_keys, key_files, ssh_commands, ssh_includes, sshd_directives};
pub use accounts::{
    accounts, is_login, name_services, pam_commands, pam_includes, passwordless, powerful_groups, sudo_grants, sudo_includes,
    sudo_plugins,
};
pub use git::{git_commands, git_includes};
pub use hooks::{apt_hooks, apt_includes, dpkg_hooks};
pub use logs::{logrotate_scripts, rsyslog_includes, rsyslog_programs};
pub use mounts::{container_restarts, mounts_over};
pub use naming::naming;
pub use sessions::{converter_modules, key_macros, programs_elsewhere};
pub use system::{
    boot_parameters, display_scripts, editor_commands, kernel_programs, mail_pipes, module_aliases, named_programs,
    procmail_pipes, shell_commands, written_at_boot,
};
pub use udev::udev_commands;
pub use web::{php_settings, server_commands};

/// The most lines that are told of one file; a function returns one more where there are more.
pub const MAX_TOLD: usize = 10_000;
/// The most of a line that is told.
const MAX_LINE: usize = 2_000;

/// Lines, from 1, and what they run.
pub type Told = Vec<(u32, String)>;

/// The lines of a text, from 1, without the blanks around them, and without the mark that some editors put in front of UTF-8.
fn numbered(text: &str) -> impl Iterator<Item = (u32, &str)> {
    (1..).zip(text.trim_start_matches('\u{feff}').lines().map(str::trim))
}

/// The same where a backslash at its end continues a line: each by the number of its first. A comment is not continued, and where
/// one may stand behind something, neither is what stands before it.
fn joined(text: &str, comments_behind: bool) -> Vec<(u32, String)> {
    let mut all: Vec<(u32, String)> = Vec::new();
    let mut open = false;
    for (number, line) in numbered(text) {
        if line.starts_with('#') {
            if !open {
                all.push((number, line.to_owned()));
            }
            continue;
        }
        let is_cut = comments_behind && line.contains(" #");
        let (line, goes_on) = line.strip_suffix('\\').filter(|_| !is_cut).map_or((line, false), |line| (line, true));
        match all.last_mut().filter(|_| open) {
            Some((_, whole)) => whole.push_str(line),
            None => all.push((number, line.to_owned())),
        }
        open = goes_on;
    }
    all
}

/// What some lines run: empty ones and comments left out.
fn each_of(lines: impl Iterator<Item = (u32, impl AsRef<str>)>, runs: impl FnMut(&str) -> Option<String>) -> Told {
    let says = |line: &str| !line.is_empty() && !line.starts_with('#');
    all_of(lines.filter(|(_, line)| says(line.as_ref())), runs)
}

/// What some lines run, whatever they begin with.
fn all_of(lines: impl Iterator<Item = (u32, impl AsRef<str>)>, mut runs: impl FnMut(&str) -> Option<String>) -> Told {
    let mut told = Told::new();
    for (number, line) in lines {
        told.extend(runs(line.as_ref()).map(|runs| (number, short(&runs))));
        if told.len() > MAX_TOLD {
            break;
        }
    }
    told
}

fn each(text: &str, runs: impl FnMut(&str) -> Option<String>) -> Told {
    each_of(numbered(text), runs)
}

/// As much of a line as is told.
fn short(line: &str) -> String {
    line.chars().take(MAX_LINE).collect()
}

/// A key and its value, with blanks or `=` between them, quotes around the value left out.
fn directive(line: &str) -> Option<(String, &str)> {
    let (key, value) = line.split_once(|letter: char| letter.is_whitespace() || letter == '=')?;
    Some((key.to_ascii_lowercase(), value.trim_start_matches([' ', '\t', '=']).trim().trim_matches('"')))
}

/// What directives of some names include.
fn included(text: &str, names: &[&str]) -> Vec<String> {
    let lines = numbered(text).filter_map(|(_, line)| directive(line));
    let values = lines.filter(|(key, _)| names.contains(&key.as_str())).flat_map(|(_, value)| value.split_whitespace());
    values.map(|value| value.trim_matches('"').to_owned()).take(MAX_INCLUDES).collect()
}

/// What `include` or `source` at the start of a line names.
#[must_use]
pub fn plain_includes(text: &str) -> Vec<String> {
    let folders = included(text, &["include", "source", "source-directory"]);
    folders.into_iter().flat_map(|path| [format!("{}/*", path.trim_end_matches('/')), path]).collect()
}

/// The most files that one file includes.
const MAX_INCLUDES: usize = 1_000;

/// Every line that says something.
#[must_use]
pub fn every_line(text: &str) -> Told {
    each(text, |line| Some(line.to_owned()))
}

/// `LD_PRELOAD=` and the like, however they are set, and a search path with folders where programs are not installed.
#[must_use]
pub fn preload_variables(text: &str) -> Told {
    each(text, |line| (PRELOADS.iter().any(|name| line.contains(name)) || has_odd_path(line)).then(|| line.to_owned()))
}

/// Variables that have programs load or run something.
const PRELOADS: [&str; 14] = [
    "LD_PRELOAD",
    "LD_AUDIT",
    "LD_LIBRARY_PATH",
    "GCONV_PATH",
    "PROMPT_COMMAND",
    "BASH_ENV",
    "PYTHONPATH",
    "PYTHONSTARTUP",
    "PYTHONINSPECT",
    "PERL5LIB",
    "PERL5OPT",
    "RUBYOPT",
    "NODE_OPTIONS",
    "LESSOPEN",
];

/// Whether a line sets the search path to something else than the usual folders.
fn has_odd_path(line: &str) -> bool {
    const USUAL: [&str; 11] = [
        "/usr/local/sbin",
        "/usr/local/bin",
        "/usr/sbin",
        "/usr/bin",
        "/sbin",
        "/bin",
        "/usr/games",
        "/usr/local/games",
        "/snap/bin",
        "$PATH",
        "${PATH}",
    ];
    let starts = line.match_indices("PATH").filter(|(at, _)| {
        let before = line.get(..*at).and_then(|before| before.chars().next_back());
        before.is_none_or(|letter| letter.is_whitespace() || matches!(letter, '"' | '\'' | ';' | '='))
    });
    let values = starts.filter_map(|(at, _)| {
        let rest = line.get(at + 4..)?.trim_start();
        let rest = rest.strip_prefix("OVERRIDE").or(rest.strip_prefix("DEFAULT")).unwrap_or(rest);
        let value = rest.strip_prefix('=')?.trim_start_matches(['"', '\'']);
        value.split(|letter: char| letter.is_whitespace() || matches!(letter, '"' | '\'' | ';')).next()
    });
    values.flat_map(|value| value.split(':')).any(|folder| !USUAL.contains(&folder.trim_end_matches('/')))
}

/// Folders of libraries in `ld.so.conf`.
#[must_use]
pub fn library_folders(text: &str) -> Told {
    each(text, |line| line.starts_with('/').then(|| line.to_owned()))
}

/// Commands of modprobe.d(5).
#[must_use]
pub fn modprobe_commands(text: &str) -> Told {
    each(text, |line| {
        let mut words = line.split_whitespace();
        let is_command = matches!(words.next(), Some("install" | "remove"));
        let command = words.skip(1).collect::<Vec<_>>().join(" ");
        // `install x /bin/false` only keeps a module from being loaded.
        let blocks = matches!(command.as_str(), "" | "/bin/true" | "/bin/false" | "/usr/bin/true" | "/usr/bin/false" | ":");
        (is_command && !blocks).then_some(command)
    })
}

/// Commands of interfaces(5).
#[must_use]
pub fn interface_commands(text: &str) -> Told {
    each(text, |line| {
        let (key, command) = line.split_once(char::is_whitespace)?;
        matches!(key, "up" | "down" | "pre-up" | "post-up" | "pre-down" | "post-down" | "script")
            .then(|| command.trim().to_owned())
    })
}

/// What setuptools and virtualenv leave in every environment.
const USUAL_PYTHON: [&str; 3] = [
    "import os; var = 'SETUPTOOLS_USE_DISTUTILS'; enabled = os.environ.get(var, 'local') == 'local'; enabled and __import__('_distutils_hack').add_shim();",
    "import os; var = 'SETUPTOOLS_USE_DISTUTILS'; enabled = os.environ.get(var, 'stdlib') == 'local'; enabled and __import__('_distutils_hack').add_shim();",
    "import _virtualenv",
];

/// Lines of a `.pth` file that Python runs.
#[must_use]
pub fn python_lines(text: &str) -> Told {
    each(text, |line| {
        let is_usual = || USUAL_PYTHON.contains(&line);
        ((line.starts_with("import ") || line.starts_with("import\t")) && !is_usual()).then(|| line.to_owned())
    })
}

/// `server =` of xinetd, and lines of inetd.conf with their program.
#[must_use]
pub fn inetd_servers(text: &str) -> Told {
    each(text, |line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let xinetd = line.strip_prefix("server").filter(|rest| rest.trim_start().starts_with('='));
        let inetd = (words.len() >= 6).then(|| words.get(5..).unwrap_or_default().join(" "));
        xinetd.map(|rest| rest.trim_start_matches([' ', '\t', '=']).to_owned()).or(inetd)
    })
}

/// The program of a D-Bus service, or the unit that stands for it.
#[must_use]
pub fn bus_program(text: &str) -> Told {
    let value = |key: &str| {
        let mut lines = (1..).zip(text.lines());
        lines.find_map(|(number, line)| {
            Some((number, line.trim().strip_prefix(key)?.trim_start().strip_prefix('=')?.trim().to_owned()))
        })
    };
    let unit = value("SystemdService");
    let exec = value("Exec").filter(|(_, exec)| exec != "/bin/false" && exec != "/usr/bin/false");
    exec.or(unit).into_iter().collect()
}

/// Interpreters of binfmt.d(5).
#[must_use]
pub fn binfmt_interpreters(text: &str) -> Told {
    each(text, |line| {
        let mut letters = line.chars();
        let mark = letters.next()?;
        letters.as_str().split(mark).nth(5).map(ToOwned::to_owned)
    })
}

/// What inittab(5) starts.
#[must_use]
pub fn inittab_commands(text: &str) -> Told {
    each(text, |line| line.splitn(4, ':').nth(3).filter(|command| !command.is_empty()).map(ToOwned::to_owned))
}

/// `action=` of acpid, `exec=` of the like.
#[must_use]
pub fn actions(text: &str) -> Told {
    each(text, |line| {
        let (key, value) = line.split_once('=')?;
        matches!(key.trim(), "action" | "exec" | "Exec").then(|| value.trim().to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn check(finder: fn(&str) -> Told, text: &str, expected: &[(u32, &str)]) {
        let told = finder(text);
        let told: Vec<(u32, &str)> = told.iter().map(|(number, runs)| (*number, runs.as_str())).collect();
        assert_eq!(told, expected, "{text}");
    }

    #[test]
    fn lines_that_run_something_are_told_and_others_are_not() {
        check(
            modprobe_commands,
            "options a b=c\ninstall a /bin/false\ninstall b /tmp/x; true\n# install c y",
            &[(3, "/tmp/x; true")],
        );
        check(python_lines, "/path\nimport os; os.system('x')", &[(2, "import os; os.system('x')")]);
        check(bus_program, "[D-BUS Service]\nName=a\nExec=/bin/false\nSystemdService=a.service", &[(4, "a.service")]);
        check(binfmt_interpreters, ":x:M::MZ::/usr/bin/wine:", &[(1, "/usr/bin/wine")]);
        check(interface_commands, "iface eth0 inet dhcp\n post-up /x y\nmapping eth0\n script /z", &[(2, "/x y"), (4, "/z")]);
        check(inetd_servers, "ftp stream tcp nowait root /x y\nserver = /z", &[(1, "/x y"), (2, "/z")]);
        check(inittab_commands, "1:2345:respawn:/x", &[(1, "/x")]);
        check(preload_variables, "LANG=C\nexport LD_PRELOAD=/x", &[(2, "export LD_PRELOAD=/x")]);
        check(
            preload_variables,
            "PATH=\"/usr/bin:/bin\"\nPATH=/tmp/x:/usr/bin\nMANPATH=/x\nPATH OVERRIDE=/tmp",
            &[(2, "PATH=/tmp/x:/usr/bin"), (4, "PATH OVERRIDE=/tmp")],
        );
        check(python_lines, "\u{feff}import os\nimportant", &[(1, "import os")]);
    }

    #[test]
    fn neither_a_comment_nor_what_is_behind_it_goes_on() {
        let lines =
            |text: &str| joined(text, true).into_iter().map(|(number, line)| format!("{number}:{line}")).collect::<Vec<_>>();
        assert_eq!(lines("a \\\n# x\n b\n# c \\\nd\ne # \\\nf"), ["1:a b", "4:# c \\", "5:d", "6:e # \\", "7:f"]);
        assert_eq!(joined("a # \\\nb", false).len(), 1);
    }

    #[test]
    fn one_line_more_says_that_there_are_more() {
        assert_eq!(every_line(&"x\n".repeat(3 * MAX_TOLD)).len(), MAX_TOLD + 1);
    }
}
