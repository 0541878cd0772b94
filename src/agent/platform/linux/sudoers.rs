//! sudoers(5) as sudo reads it: lines that a backslash continues as one, comments left out, a number behind `#` taken for a user, and
//! whatever other files it includes.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::root::Root;
use crate::agent::path::{key, problem};
use crate::protocol::Problem;

/// Where it begins.
pub const SUDOERS: &str = "/etc/sudoers";
/// The largest file that is read, the most files, and how deep they may include each other (sudo's own bound).
const MAX_FILE: u64 = 16 * 1024 * 1024;
const MAX_FILES: usize = 1_000;
const MAX_DEPTH: usize = 128;
/// The most names of an included folder.
const MAX_NAMES: usize = 10_000;

/// A line, and what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Which line of the file it begins in, from 1.
    pub number: u32,
    /// Its text, comments left out and continued lines joined.
    pub text: String,
}

/// A file that sudo reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Where it is.
    pub path: PathBuf,
    /// What it says.
    pub lines: Vec<Line>,
}

/// Another file, or all files of a folder, that a line includes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Include<'a> {
    /// A file.
    File(&'a str),
    /// A folder.
    Folder(&'a str),
}

/// What a line includes, when it is one that does.
#[must_use]
pub fn include(line: &str) -> Option<Include<'_>> {
    let rest = line.strip_prefix(['@', '#'])?;
    let (word, path) = rest.split_once([' ', '\t'])?;
    let path = path.trim().trim_matches('"');
    match word {
        "include" => Some(Include::File(path)),
        "includedir" => Some(Include::Folder(path)),
        _ => None,
    }
}

/// Every file that sudo reads, in the order in which it does, and what cannot be read of them.
#[must_use]
pub fn read(root: &Root) -> (Vec<File>, Vec<Problem>) {
    let mut reading = Reading { root, files: Vec::new(), problems: Vec::new(), known: HashSet::new() };
    reading.file(PathBuf::from(SUDOERS), 0, false);
    (reading.files, reading.problems)
}

struct Reading<'a> {
    root: &'a Root,
    files: Vec<File>,
    problems: Vec<Problem>,
    known: HashSet<PathBuf>,
}

impl Reading<'_> {
    /// Reads a file and what it includes; one that is `wanted` has to be there.
    fn file(&mut self, path: PathBuf, depth: usize, wanted: bool) {
        if !self.known.insert(path.clone()) {
            return;
        }
        if depth > MAX_DEPTH || self.files.len() >= MAX_FILES {
            let message = format!("{}: it is not looked at: too many files of sudoers include each other", key(&path));
            self.problems.push(Problem::new("limit", message).at(key(&path)));
            return;
        }
        let bytes = match self.root.read(&path, MAX_FILE) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !wanted => return,
            Err(error) => {
                self.problems.push(problem(&path, &error));
                return;
            }
        };
        let lines = lines(&String::from_utf8_lossy(&bytes));
        let beside = path.parent().unwrap_or(Path::new("/")).to_owned();
        self.files.push(File { path, lines: lines.clone() });
        for line in &lines {
            match include(&line.text) {
                Some(Include::File(path)) => self.file(beside.join(path), depth + 1, true),
                Some(Include::Folder(path)) => self.folder(&beside.join(path), depth + 1),
                None => {}
            }
        }
    }

    fn folder(&mut self, folder: &Path, depth: usize) {
        let listing = match self.root.listing(folder, MAX_NAMES) {
            Ok(listing) => listing,
            // sudo goes on without it, too.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
            Err(error) => {
                self.problems.push(problem(folder, &error));
                return;
            }
        };
        if !listing.whole {
            let message = format!("{}: it holds so much that not all of it was looked at", key(folder));
            self.problems.push(Problem::new("too_many", message).at(key(folder)));
        }
        for name in listing.names {
            let path = folder.join(&name);
            let name = name.to_string_lossy();
            // What an editor or a package left behind.
            let is_read = !name.contains('.') && !name.ends_with('~');
            if is_read && !self.root.facts(&path).is_ok_and(|facts| facts.is_folder()) {
                self.file(path, depth, true);
            }
        }
    }
}

/// The lines of a file's text that say something.
#[must_use]
pub fn lines(text: &str) -> Vec<Line> {
    let mut all = Vec::new();
    let mut open: Option<Line> = None;
    for (number, line) in (1..).zip(text.lines()) {
        let mut whole = open.take().unwrap_or(Line { number, text: String::new() });
        let begins = whole.text.is_empty();
        let (kept, commented) = without_comment(line, begins);
        // A comment ends with its line, whatever it ends with.
        let continued = if commented { None } else { kept.trim_end().strip_suffix('\\') };
        whole.text.push_str(if begins { continued.unwrap_or(kept).trim_start() } else { continued.unwrap_or(kept) });
        if continued.is_some() {
            // It goes on even where nothing stands before the backslash.
            if whole.text.is_empty() {
                whole.text.push(' ');
            }
            open = Some(whole);
        } else {
            all.push(whole);
        }
    }
    all.extend(open);
    for line in &mut all {
        line.text = line.text.trim().to_owned();
    }
    all.retain(|line| !line.text.is_empty());
    all
}

/// A line without its comment, and whether it had one. `#` begins one unless it stands before a number, in quotes or behind a
/// backslash, or at the beginning before `include`.
fn without_comment(line: &str, begins: bool) -> (&str, bool) {
    let includes = |rest: &str| {
        ["include", "includedir"].iter().any(|word| rest.strip_prefix(word).is_some_and(|rest| rest.starts_with([' ', '\t'])))
    };
    let (mut quoted, mut escaped) = (false, false);
    for (at, letter) in line.char_indices() {
        let (before, rest) = line.split_at_checked(at).unwrap_or((line, ""));
        let rest = rest.get(1..).unwrap_or_default();
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            '#' if !quoted => {
                let is_number = rest.strip_prefix('-').unwrap_or(rest).starts_with(|letter: char| letter.is_ascii_digit());
                let is_include = begins && before.trim().is_empty() && includes(rest);
                if !is_number && !is_include {
                    return (before, true);
                }
            }
            _ => {}
        }
    }
    (line, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_sudo_reads_them() {
        let check = |text: &str, wanted: &[(u32, &str)]| {
            let found = lines(text);
            let found: Vec<(u32, &str)> = found.iter().map(|line| (line.number, line.text.as_str())).collect();
            assert_eq!(found, wanted, "{text:?}");
        };
        check("# c\n\n  eve ALL=(ALL) ALL # why\n", &[(3, "eve ALL=(ALL) ALL")]);
        check("#1001 ALL=(ALL) NOPASSWD: ALL\n%#27 ALL=ALL\n", &[(1, "#1001 ALL=(ALL) NOPASSWD: ALL"), (2, "%#27 ALL=ALL")]);
        check("a ALL=(#0) /x, \\\n  /y # z \\\nb ALL=/z", &[(1, "a ALL=(#0) /x,   /y"), (3, "b ALL=/z")]);
        check("# a comment does not go on \\\neve ALL=ALL", &[(2, "eve ALL=ALL")]);
        check("\\\n# x\neve ALL=ALL \\", &[(3, "eve ALL=ALL")]);
        check("eve ALL=/x \\#1, /y \"#z\" #w", &[(1, "eve ALL=/x \\#1, /y \"#z\"")]);
        check(
            "#include /a\n#includedir /b\n@include c d\n#included\n#includes",
            &[(1, "#include /a"), (2, "#includedir /b"), (3, "@include c d")],
        );
        check("eve \\\n#1001 ALL=ALL", &[(1, "eve #1001 ALL=ALL")]);
        let includes: Vec<Option<(bool, String)>> = lines("#include /a\n@includedir \"/b c\"\n@other x\nroot ALL=ALL")
            .iter()
            .map(|line| match include(&line.text)? {
                Include::File(path) => Some((true, path.to_owned())),
                Include::Folder(path) => Some((false, path.to_owned())),
            })
            .collect();
        assert_eq!(includes, [Some((true, "/a".into())), Some((false, "/b c".into())), None, None]);
    }

    #[test]
    fn files_that_include_each_other_are_read_once_each() {
        let folder = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let file = folder.path().join(path);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text).unwrap();
        };
        write("etc/sudoers", "@include local\n#includedir /etc/sudoers.d\n@include /etc/gone\n");
        write("etc/local", "@include /etc/sudoers\n#0 ALL=ALL\n");
        write("etc/sudoers.d/b", "b ALL=ALL\n");
        write("etc/sudoers.d/a", "a ALL=ALL\n");
        write("etc/sudoers.d/a.bak", "c ALL=ALL\n");
        write("etc/sudoers.d/d~", "d ALL=ALL\n");
        let (files, problems) = read(&Root::at(folder.path()).unwrap());
        let paths: Vec<&str> = files.iter().map(|file| file.path.to_str().unwrap()).collect();
        assert_eq!(paths, ["/etc/sudoers", "/etc/local", "/etc/sudoers.d/a", "/etc/sudoers.d/b"]);
        assert_eq!(files[1].lines[1], Line { number: 2, text: "#0 ALL=ALL".into() });
        assert!(problems.len() == 1 && problems[0].message.contains("/etc/gone"), "{problems:?}");
    }
}
