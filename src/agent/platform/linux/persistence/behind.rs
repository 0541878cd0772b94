//! What stands behind a file: the programs that it runs. A unit, a task or a line of configuration is only as its package shipped it
//! when what it runs is too, for whoever replaces the program need not touch the file.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::Search;
use crate::agent::context::VerbResult;
use crate::agent::interpreter::is_interpreter;
use crate::agent::platform::linux::facts::Facts;
use crate::agent::platform::linux::systemd::CommandLine;
use crate::agent::platform::startup_item::Persistent;

/// The largest program that is compared with what was shipped.
const MAX_PROGRAM: u64 = 512 * 1024 * 1024;
/// The most files that are looked at behind one entry.
const MAX_NAMED: usize = 64;
/// Where systemd looks for a program that is named without its folder.
const FOLDERS: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// A file that a command names.
pub(super) struct Named {
    path: PathBuf,
    /// Whether it is what the command runs; else it is a word among others, which counts only where it is a program.
    run: bool,
}

/// What is wrong with a file behind an entry, and whether that makes the entry foreign (`false`) or not to be told (`None`).
pub(super) type Wrong = (Option<bool>, String);

impl Search<'_> {
    /// Takes an entry's `shipped` back where what it runs is not as shipped, and says why.
    pub(super) fn judge(&mut self, entry: &mut Persistent, named: Vec<Named>) -> VerbResult {
        if entry.shipped != Some(true) || self.index().is_empty() {
            return Ok(());
        }
        let mut doubt = None;
        for named in named.into_iter().take(MAX_NAMED).filter(|named| named.path != entry.file) {
            self.stop.check()?;
            match self.behind(&named) {
                Some((Some(_), why)) => {
                    (entry.shipped, entry.error) = (Some(false), Some(why));
                    return Ok(());
                }
                Some((None, why)) => doubt = doubt.or(Some(why)),
                None => {}
            }
        }
        if let Some(why) = doubt {
            entry.shipped = None;
            entry.error.get_or_insert(why);
        }
        Ok(())
    }

    /// What is wrong with a file that a command names; nothing where it is not there.
    fn behind(&mut self, named: &Named) -> Option<Wrong> {
        let key = (named.path.clone(), named.run);
        if let Some(known) = self.behind.get(&key) {
            return known.clone();
        }
        let wrong = self.look_behind(named);
        self.behind.insert(key, wrong.clone());
        wrong
    }

    fn look_behind(&self, named: &Named) -> Option<Wrong> {
        let facts = self.root.facts(&named.path).ok().filter(Facts::is_file)?;
        let index = self.index();
        let shown = named.path.display();
        // A link that a package ships, or that alternatives made, is as good as what it leads to; also one among its folders.
        let own = index.owner(self.root, &named.path).filter(|owner| owner.checksum.is_some());
        let real = if own.is_some() { named.path.clone() } else { self.real(&named.path)? };
        let Some(owner) = own.or_else(|| index.owner(self.root, &real)) else {
            let is_program = facts.size > 0 && (named.run || facts.permissions & 0o111 != 0);
            return is_program.then(|| (Some(false), format!("it runs {shown}, which belongs to no package")));
        };
        // What an administrator may change is no program that was replaced.
        if owner.conffile && !named.run {
            return None;
        }
        let package = owner.package.to_owned();
        match index.origin(self.root, &real, MAX_PROGRAM, self.stop).shipped {
            Some(true) => None,
            Some(false) => Some((Some(false), format!("it runs {shown}, which is not what the package {package} shipped"))),
            None if !named.run => None,
            None => Some((None, format!("it runs {shown}, which cannot be held against the package {package}"))),
        }
    }

    /// The path of a file without links.
    pub(super) fn real(&self, path: &Path) -> Option<PathBuf> {
        let file = self.root.open(path, OFlags::PATH).ok()?;
        self.root.path_of(file.as_fd())
    }

    /// The files that a command line names: its program, the script of an interpreter, and what else is a path.
    pub(super) fn named_by(&self, line: &CommandLine) -> Vec<Named> {
        let mut named = Vec::new();
        let program = Path::new(&line.program);
        if program.is_absolute() {
            named.push(Named { path: program.to_owned(), run: true });
        } else if !line.program.contains('/') {
            let there = FOLDERS.iter().map(|folder| Path::new(folder).join(program));
            let there = there.into_iter().find(|path| self.root.facts(path).is_ok_and(|facts| facts.is_file()));
            named.extend(there.map(|path| Named { path, run: true }));
        }
        let name = program.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let interprets = name == "env" || is_interpreter(name.as_bytes());
        let script = line.arguments.iter().position(|argument| !argument.starts_with('-')).filter(|_| interprets);
        for (at, argument) in line.arguments.iter().enumerate() {
            if Path::new(argument).is_absolute() && !argument.contains(char::is_whitespace) {
                named.push(Named { path: PathBuf::from(argument), run: script == Some(at) });
            } else {
                named.extend(named_in(argument));
            }
        }
        named
    }
}

/// The paths among the words of a text that a shell would read.
pub(super) fn named_in(text: &str) -> Vec<Named> {
    let ends = |letter: char| letter.is_whitespace() || ";|&(){}<>\"'`=,$".contains(letter);
    let words = text.split(ends).filter(|word| word.len() > 1 && word.starts_with('/'));
    words.take(MAX_NAMED).map(|word| Named { path: PathBuf::from(word), run: false }).collect()
}
