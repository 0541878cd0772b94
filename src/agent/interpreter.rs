//! Programs that run what others wrote: known by their names, with what their command lines say they were given.

/// What an interpreter was given to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Given<'a> {
    /// A file.
    Script(&'a [u8]),
    /// What it finds by a name of its own: a module, a class.
    Named(&'a [u8]),
    /// Code among its arguments.
    Code,
    /// Nothing that its arguments tell: it reads its input, or waits for somebody.
    Untold,
}

/// What an option means.
#[derive(Clone, Copy)]
enum Means {
    Code,
    Named,
    Script,
    Value,
}

/// Interpreters whose options are read alike.
struct Kind {
    names: &'static [&'static str],
    /// Letters of options, which may stand together (`-Bc`), each with what follows it.
    letters: &'static [(char, Means)],
    /// Options that are words, whole.
    words: &'static [(&'static str, Means)],
    /// What the first argument is that is no option.
    first: Means,
}

use Means::{Code, Named, Script, Value};

/// Every interpreter that is known, by python(1), perlrun(1), ruby(1), node(1), php(1), dash(1), lua(1), java(1), pwsh(1), gawk(1).
const KINDS: &[Kind] = &[
    Kind {
        names: &["python", "pypy", "ipython", "micropython", "jython"],
        letters: &[('c', Code), ('m', Named), ('W', Value), ('X', Value), ('Q', Value)],
        words: &[("--check-hash-based-pycs", Value)],
        first: Script,
    },
    Kind {
        names: &["perl"],
        letters: &[('e', Code), ('E', Code), ('I', Value), ('M', Value), ('m', Value), ('F', Value), ('i', Value)],
        words: &[],
        first: Script,
    },
    Kind {
        names: &["ruby", "jruby"],
        letters: &[('e', Code), ('r', Value), ('I', Value), ('C', Value), ('E', Value), ('K', Value), ('W', Value)],
        words: &[("--encoding", Value)],
        first: Script,
    },
    Kind {
        names: &["node", "nodejs", "deno", "bun", "iojs"],
        letters: &[('e', Code), ('p', Code), ('r', Value), ('C', Value)],
        words: &[
            ("--eval", Code),
            ("--print", Code),
            ("--require", Value),
            ("--import", Value),
            ("--loader", Value),
            ("--experimental-loader", Value),
            ("--conditions", Value),
        ],
        first: Script,
    },
    Kind {
        names: &["php", "php-cgi", "php-fpm"],
        letters: &[
            ('r', Code),
            ('B', Code),
            ('R', Code),
            ('E', Code),
            ('f', Script),
            ('F', Script),
            ('c', Value),
            ('d', Value),
            ('S', Value),
            ('t', Value),
            ('z', Value),
        ],
        words: &[],
        first: Script,
    },
    Kind {
        names: &["sh", "ash", "bash", "rbash", "dash", "zsh", "ksh", "mksh", "yash", "fish", "csh", "tcsh"],
        letters: &[('c', Code), ('o', Value), ('O', Value)],
        words: &[("--rcfile", Value), ("--init-file", Value)],
        first: Script,
    },
    Kind { names: &["lua", "luajit"], letters: &[('e', Code), ('l', Value)], words: &[], first: Script },
    Kind {
        names: &["java"],
        letters: &[],
        words: &[
            ("-jar", Script),
            ("-m", Named),
            ("--module", Named),
            ("-cp", Value),
            ("-classpath", Value),
            ("--class-path", Value),
            ("-p", Value),
            ("--module-path", Value),
            ("--add-modules", Value),
            ("--add-opens", Value),
        ],
        first: Named,
    },
    Kind {
        names: &["pwsh", "powershell"],
        letters: &[],
        words: &[
            ("-File", Script),
            ("-f", Script),
            ("-Command", Code),
            ("-c", Code),
            ("-EncodedCommand", Code),
            ("-e", Code),
            ("-ExecutionPolicy", Value),
            ("-WorkingDirectory", Value),
        ],
        first: Script,
    },
    Kind {
        names: &["awk", "gawk", "mawk", "nawk"],
        letters: &[('f', Script), ('v', Value), ('F', Value)],
        words: &[],
        first: Code,
    },
    Kind { names: &["expect"], letters: &[('c', Code), ('f', Script)], words: &[], first: Script },
    Kind {
        names: &["tclsh", "wish", "Rscript", "guile", "julia", "groovy", "mono", "dotnet", "escript", "wine"],
        letters: &[('e', Code), ('c', Code)],
        words: &[],
        first: Script,
    },
    // Several programs in one file: which is meant stands in front of what that is given.
    Kind { names: &["busybox", "toybox"], letters: &[], words: &[], first: Named },
];

/// Whether a program of that name runs what others wrote. Its version does not count: `python3.11`, `perl5.36.0`, `php-fpm8.2`.
#[must_use]
pub fn is_interpreter(name: &[u8]) -> bool {
    kind(name).is_some()
}

fn kind(name: &[u8]) -> Option<&'static Kind> {
    let bare = name.iter().position(u8::is_ascii_digit).and_then(|digit| name.get(..digit)).unwrap_or(name);
    let bare = bare.strip_suffix(b"-").unwrap_or(bare);
    KINDS.iter().find(|kind| kind.names.iter().any(|known| known.as_bytes() == bare))
}

/// What the interpreter of that name was given by its arguments, the first of which is what it is called.
#[must_use]
pub fn given<'a>(name: &[u8], arguments: &[&'a [u8]]) -> Given<'a> {
    let Some(kind) = kind(name) else { return Given::Untold };
    let Some((called, rest)) = arguments.split_first() else { return Given::Untold };
    if kind.names.contains(&"busybox") {
        let called = base(called);
        return match (kind.names.iter().any(|own| own.as_bytes() == called), rest.first()) {
            (true, Some(applet)) => given(base(applet), rest),
            (true, None) => Given::Untold,
            (false, _) => given(called, arguments),
        };
    }
    kind.read(rest)
}

fn base(path: &[u8]) -> &[u8] {
    let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or(path);
    // As a login shell is called.
    name.strip_prefix(b"-").unwrap_or(name)
}

impl Kind {
    fn read<'a>(&self, arguments: &[&'a [u8]]) -> Given<'a> {
        let mut rest = arguments.iter().copied();
        while let Some(argument) = rest.next() {
            let (means, attached) = match argument {
                b"-" => return Given::Untold,
                b"--" => return rest.next().map_or(Given::Untold, |first| told(self.first, first)),
                _ if !matches!(argument.first(), Some(b'-' | b'+')) => return told(self.first, argument),
                _ => match self.option(argument) {
                    Some(found) => found,
                    None => continue,
                },
            };
            let value = if attached.is_empty() { rest.next() } else { Some(attached) };
            match (means, value) {
                (Value, _) => {}
                (means, Some(value)) => return told(means, value),
                (_, None) => return Given::Untold,
            }
        }
        Given::Untold
    }

    /// The option of an argument that something follows, and what of that stands in the same argument.
    fn option<'a>(&self, argument: &'a [u8]) -> Option<(Means, &'a [u8])> {
        if let Some((_, means)) = self.words.iter().find(|(word, _)| word.as_bytes() == argument) {
            return Some((*means, b""));
        }
        let letters = argument.get(1..).filter(|letters| !letters.starts_with(b"-"))?;
        letters.iter().enumerate().find_map(|(at, letter)| {
            let (_, means) = self.letters.iter().find(|(known, _)| *known == char::from(*letter))?;
            Some((*means, letters.get(at + 1..).unwrap_or_default()))
        })
    }
}

fn told(means: Means, value: &[u8]) -> Given<'_> {
    match means {
        Script => Given::Script(value),
        Named => Given::Named(value),
        Code => Given::Code,
        Value => Given::Untold,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interpreters_are_known_by_name_whatever_their_version() {
        for name in
            ["python3.11", "python", "perl5.36.0", "php-fpm8.2", "sh", "lua5.4", "busybox", "tclsh8.6", "node", "java", "pwsh"]
        {
            assert!(is_interpreter(name.as_bytes()), "{name}");
        }
        for name in ["evil", "shell", "node_exporter", "pythonic", "", "7z", "sh-evil", "java.evil"] {
            assert!(!is_interpreter(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn command_lines_tell_what_is_run() {
        let check = |name: &str, line: &str, expected: Given<'_>| {
            let arguments: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            assert_eq!(given(name.as_bytes(), &arguments), expected, "{line}");
        };
        let script = |name: &'static str| Given::Script(name.as_bytes());
        check("python3", "python3 s.py -c x", script("s.py"));
        check("python3", "python3 -W ignore s.py", script("s.py"));
        check("python3", "python3 -Wignore -u s.py", script("s.py"));
        check("python3", "python3 -m http.server", Given::Named(b"http.server"));
        check("python3", "python3 -Im http.server", Given::Named(b"http.server"));
        check("python3", "python3 -c pass s.py", Given::Code);
        check("python3", "python3 -uc pass", Given::Code);
        check("python3", "python3", Given::Untold);
        check("python3", "python3 - s.py", Given::Untold);
        check("python3", "python3 -W", Given::Untold);
        check("python3", "python3 -- s.py", script("s.py"));
        check("perl5.36", "perl -w -I lib s.pl", script("s.pl"));
        check("perl", "perl -Mstrict -e 1", Given::Code);
        check("bash", "bash -eo pipefail s.sh", script("s.sh"));
        check("bash", "-bash", Given::Untold);
        check("dash", "sh -xc ls", Given::Code);
        check("node", "node --require x s.js", script("s.js"));
        check("node", "node --max-old-space-size=5 s.js", script("s.js"));
        check("php8.2", "php -f s.php", script("s.php"));
        check("java", "java -Xmx1g -cp a.jar com.Main", Given::Named(b"com.Main"));
        check("java", "java -jar a.jar", script("a.jar"));
        check("gawk", "awk -F : {print}", Given::Code);
        check("busybox", "busybox sh -x s.sh", script("s.sh"));
        check("busybox", "/bin/sh s.sh", script("s.sh"));
        check("busybox", "busybox httpd -f", Given::Untold);
        check("evil", "evil s.sh", Given::Untold);
        assert_eq!(given(b"python3", &[b"python3", b"\xff.py"]), Given::Script(b"\xff.py"));
        assert_eq!(given(b"python3", &[]), Given::Untold);
    }
}
