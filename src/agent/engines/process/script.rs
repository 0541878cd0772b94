//! The scripts that an interpreter runs: by its arguments, the descriptor it reads one from, or its standard input.

use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::{MAX_PARTS, Part, named_part};
use crate::agent::content::Content;
use crate::agent::dispatch::Shared;
use crate::agent::path::shown;
use crate::agent::platform::{Process, base_name};

/// Programs that run the file they are given, by how their names begin.
struct Interpreter {
    names: &'static [&'static str],
    /// Letters of options behind which a value comes.
    valued: &'static str,
    /// Long options behind which a value comes.
    long: &'static [&'static str],
    /// Letters of options behind which the program itself comes, or the name of a module: there is no script then.
    code: &'static str,
    /// The letter of the option behind which the script comes.
    file: Option<char>,
    /// Shells: their letters may stand together before the values come, `+` begins an option too, the program is the first argument
    /// that is none, and the script is open at one of [`SHELL_SCRIPTS`].
    is_shell: bool,
}

const INTERPRETERS: [Interpreter; 6] = [
    Interpreter {
        names: &["sh", "bash", "dash", "zsh", "ksh", "ash"],
        valued: "oO",
        long: &["--rcfile", "--init-file"],
        code: "c",
        file: None,
        is_shell: true,
    },
    Interpreter {
        names: &["python"],
        valued: "WXQ",
        long: &["--check-hash-based-pycs"],
        code: "cm",
        file: None,
        is_shell: false,
    },
    Interpreter { names: &["perl"], valued: "I", long: &[], code: "eE", file: None, is_shell: false },
    Interpreter {
        names: &["ruby"],
        valued: "IrCE",
        long: &["--encoding", "--external-encoding", "--internal-encoding"],
        code: "e",
        file: None,
        is_shell: false,
    },
    Interpreter {
        names: &["php"],
        valued: "cdztS",
        long: &["--define", "--php-ini"],
        code: "rBRE",
        file: Some('f'),
        is_shell: false,
    },
    Interpreter {
        names: &["node"],
        valued: "rC",
        long: &["--require", "--import", "--loader", "--experimental-loader", "--conditions"],
        code: "ep",
        file: None,
        is_shell: false,
    },
];
/// The descriptors at which bash and dash keep the script open that they read.
const SHELL_SCRIPTS: [u32; 2] = [255, 10];

/// What an interpreter was told to run.
#[derive(Debug, PartialEq, Eq)]
enum Given<'a> {
    /// The script of that path.
    File(&'a [u8]),
    /// Those words.
    Code(&'a [u8]),
    /// What comes on its standard input.
    Input,
}

impl Interpreter {
    fn of(image: &Path) -> Option<&'static Self> {
        let name = base_name(image.as_os_str().as_bytes());
        let is_it = |wanted: &&str| {
            name.strip_prefix(wanted.as_bytes()).is_some_and(|rest| !rest.first().is_some_and(u8::is_ascii_alphabetic))
        };
        INTERPRETERS.iter().find(|interpreter| interpreter.names.iter().any(&is_it))
    }

    fn given<'a>(&self, mut arguments: impl Iterator<Item = &'a [u8]>) -> Given<'a> {
        let mut is_code = false;
        while let Some(argument) = arguments.next() {
            let long = argument.strip_prefix(b"--");
            let short = argument.strip_prefix(b"-").or_else(|| argument.strip_prefix(b"+").filter(|_| self.is_shell));
            match (long, short) {
                (Some(b""), _) => match arguments.next() {
                    Some(next) if is_code => return Given::Code(next),
                    Some(next) => return Given::File(next),
                    None => return Given::Input,
                },
                (Some(_), _) => {
                    if self.long.iter().any(|long| long.as_bytes() == argument) {
                        let _ = arguments.next();
                    }
                }
                (None, Some(b"")) => return Given::Input,
                (None, Some(letters)) => {
                    for (at, &letter) in letters.iter().enumerate() {
                        let letter = char::from(letter);
                        let rest = letters.get(at + 1..).filter(|rest| !rest.is_empty());
                        if self.code.contains(letter) && self.is_shell {
                            is_code = true;
                        } else if self.code.contains(letter) {
                            return Given::Code(rest.or_else(|| arguments.next()).unwrap_or_default());
                        } else if self.file == Some(letter) {
                            return rest.or_else(|| arguments.next()).map_or(Given::Input, Given::File);
                        } else if self.valued.contains(letter) {
                            if self.is_shell || rest.is_none() {
                                let _ = arguments.next();
                            }
                            if !self.is_shell {
                                break;
                            }
                        } else if letter == 's' && self.is_shell && !is_code {
                            return Given::Input;
                        }
                    }
                }
                (None, None) if is_code => return Given::Code(argument),
                (None, None) => return Given::File(argument),
            }
        }
        Given::Input
    }
}

/// The files that words of a shell have it read: what follows `.` and `source`.
fn sourced(code: &[u8]) -> Vec<&[u8]> {
    let words = code.split(|byte| byte.is_ascii_whitespace() || b";&|(){}".contains(byte)).filter(|word| !word.is_empty());
    let words: Vec<&[u8]> = words.collect();
    let pairs = words.windows(2).filter(|pair| matches!(pair, [b"." | b"source", _]));
    // What a name is made of is known to the shell alone.
    let is_made = |word: &[u8]| word.iter().any(|byte| b"$`*?".contains(byte));
    let files = pairs.filter_map(|pair| pair.get(1).copied()).filter(|file| !is_made(file));
    let unquoted = |file| strip(file, b'"').or_else(|| strip(file, b'\'')).unwrap_or(file);
    files.map(unquoted).take(MAX_PARTS).collect()
}

fn strip(word: &[u8], mark: u8) -> Option<&[u8]> {
    word.strip_prefix(&[mark])?.strip_suffix(&[mark])
}

/// The scripts of a process, open; and those that are not to be had. `open_files` tells each descriptor and what it is.
pub(super) fn scripts(agent: &Shared, process: &Process, open_files: &[u8]) -> (Vec<Part>, Vec<String>) {
    let Some(interpreter) = process.image.as_ref().and_then(|image| Interpreter::of(&image.path)) else {
        return (Vec::new(), Vec::new());
    };
    let arguments = process.arguments.split(|&byte| byte == 0).skip(1).take_while(|argument| !argument.is_empty());
    let given = interpreter.given(arguments);
    let mut parts = Vec::new();
    let mut cut = Vec::new();
    match given {
        Given::File(path) => {
            let kept = SHELL_SCRIPTS.iter().filter(|_| interpreter.is_shell);
            let mut kept = kept.filter_map(|&fd| opened(agent, process, open_files, fd)).peekable();
            let path = beside(agent, process, path);
            if kept.peek().is_some() {
                parts.extend(kept);
            } else if let Some(part) = script(agent, &path) {
                parts.push(part);
            } else {
                cut.push(format!("the script that it was started with is not there (any more): {}", shown(&path)));
            }
        }
        Given::Code(code) if interpreter.is_shell => {
            for file in sourced(code) {
                let path = beside(agent, process, file);
                match script(agent, &path) {
                    Some(part) => parts.push(part),
                    None => cut.push(format!("a script that it reads is not there (any more): {}", shown(&path))),
                }
            }
        }
        Given::Code(_) => {}
        Given::Input => match target(open_files, 0) {
            Some(input) if input.starts_with(b"pipe:") || input.starts_with(b"socket:") => {
                let kind = if input.starts_with(b"pipe:") { "a pipe" } else { "a socket" };
                cut.push(format!("what it runs comes to it through {kind}, and is nowhere to be read"));
            }
            _ => parts.extend(opened(agent, process, open_files, 0)),
        },
    }
    (parts, cut)
}

/// The script of a path.
fn script(agent: &Shared, path: &Path) -> Option<Part> {
    let part = named_part(agent, path.as_os_str().as_bytes(), "")?;
    Some(Part { role: format!("script {}", shown(&part.path)), ..part })
}

/// What a descriptor of a process is.
fn target(open_files: &[u8], fd: u32) -> Option<&[u8]> {
    let number = fd.to_string();
    open_files.split(|&byte| byte == b'\n').find_map(|line| {
        let mut fields = line.split(|&byte| byte == b'\t');
        (fields.next()? == number.as_bytes()).then(|| fields.next()).flatten()
    })
}

/// The file with content that a descriptor of a process is.
fn opened(agent: &Shared, process: &Process, open_files: &[u8], fd: u32) -> Option<Part> {
    let told = target(open_files, fd)?;
    if !told.starts_with(b"/") || told.starts_with(b"/dev/") {
        return None;
    }
    let path = Path::new("/proc").join(process.pid.to_string()).join("fd").join(fd.to_string());
    let content = Content::open(&agent.root, &path, false).ok()?;
    let real = agent.root.path_of(content.file.as_fd());
    let named = real.is_some();
    let path = real.unwrap_or_else(|| PathBuf::from(OsStr::from_bytes(told)));
    Some(Part { role: format!("script {}", shown(&path)), content, path, named })
}

/// A path as the process means it.
fn beside(agent: &Shared, process: &Process, path: &[u8]) -> PathBuf {
    let path = Path::new(OsStr::from_bytes(path));
    if path.is_absolute() {
        return path.to_path_buf();
    }
    let folder = agent.root.open(&Path::new("/proc").join(process.pid.to_string()).join("cwd"), OFlags::PATH).ok();
    let folder = folder.and_then(|folder| agent.root.path_of(folder.as_fd()));
    folder.unwrap_or_else(|| PathBuf::from("/")).join(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_is_told_from_options_and_their_values() {
        let check = |line: &str, wanted: Option<Given<'_>>| {
            let mut words = line.split(' ').map(str::as_bytes);
            let image = Path::new(OsStr::from_bytes(words.next().unwrap()));
            assert_eq!(Interpreter::of(image).map(|interpreter| interpreter.given(words)), wanted, "{line}");
        };
        check("/bin/bash", Some(Given::Input));
        check("/bin/bash -i", Some(Given::Input));
        check("/bin/bash a.sh b.sh", Some(Given::File(b"a.sh")));
        check("/bin/bash -o errexit a.sh", Some(Given::File(b"a.sh")));
        check("/bin/bash +O extglob -eu -- -a.sh", Some(Given::File(b"-a.sh")));
        check("/bin/bash --rcfile /etc/rc --norc a.sh", Some(Given::File(b"a.sh")));
        check("/bin/bash -eo pipefail -c code name", Some(Given::Code(b"code")));
        check("/bin/bash -ceuo pipefail code", Some(Given::Code(b"code")));
        check("/bin/bash -s a b", Some(Given::Input));
        check("/bin/dash -", Some(Given::Input));
        check("/usr/bin/python3.11 -u -W ignore a.py", Some(Given::File(b"a.py")));
        check("/usr/bin/python3 -Wignore -c code a.py", Some(Given::Code(b"code")));
        check("/usr/bin/python3 -m http.server 80", Some(Given::Code(b"http.server")));
        check("/usr/bin/perl -I lib -w a.pl", Some(Given::File(b"a.pl")));
        check("/usr/bin/perl -ne code a", Some(Given::Code(b"code")));
        check("/usr/bin/php8.2 -d a=b -f a.php", Some(Given::File(b"a.php")));
        check("/usr/bin/node --require x a.js", Some(Given::File(b"a.js")));
        check("/usr/bin/shred a", None);
        check("/usr/bin/sleep 1", None);
    }

    #[test]
    fn what_words_of_a_shell_read_is_found() {
        let check = |code: &str, wanted: &[&str]| {
            let found: Vec<String> =
                sourced(code.as_bytes()).into_iter().map(|file| String::from_utf8_lossy(file).into_owned()).collect();
            assert_eq!(found, wanted, "{code}");
        };
        check(". ./rs.sh", &["./rs.sh"]);
        check("cd /; source '/a' && . \"/b\";. /c", &["/a", "/b", "/c"]);
        check("echo a; . $x", &[]);
        check(".", &[]);
    }
}
