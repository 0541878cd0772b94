//! Everything that starts by itself, as far as files show it: units, tasks, start-up items, and the places of a table; each with
//! the package that owns it and whether it is as shipped.

mod accounts;
mod behind;
mod files;
mod generated;
mod glob;
pub mod lines;
mod places;
mod setuid;
mod units;
mod web;

use std::cell::OnceCell;
use std::collections::HashMap;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{Builder, ScopedJoinHandle};

use super::dpkg::{Origin, PackageIndex, Packages};
use super::homes::{User, homes};
use super::root::Root;
use super::startup::startup_items;
use super::systemd::command_line;
use super::tasks::tasks;
use super::unseen::Unseen;
use crate::agent::context::{Meter, Stop, VerbError, VerbResult};
use crate::agent::platform::startup_item::{Persistent, StartupKind};
use crate::agent::platform::{thread_cpu_since, thread_cpu_time};
use behind::{Wrong, named_in};
use setuid::Walk;

/// The largest file whose lines are read, and the largest that is compared with what was shipped.
const MAX_TEXT: u64 = 4 * 1024 * 1024;
const MAX_COMPARED: u64 = 64 * 1024 * 1024;
/// Where packages keep what they copy into homes and /etc when they are set up: a copy that is still the same was shipped too.
const PATTERNS: [(&str, &[&str]); 9] = [
    (".bashrc", &["/etc/skel/.bashrc", "/usr/share/base-files/dot.bashrc"]),
    (".profile", &["/etc/skel/.profile", "/usr/share/base-files/dot.profile"]),
    (".bash_logout", &["/etc/skel/.bash_logout"]),
    (".zshrc", &["/etc/skel/.zshrc"]),
    ("profile", &["/usr/share/base-files/profile"]),
    ("environment", &["/usr/share/base-files/environment"]),
    ("modules", &["/usr/share/kmod/modules"]),
    ("sshd_config", &["/usr/share/openssh/sshd_config"]),
    ("master.cf", &["/usr/share/postfix/master.cf.dist"]),
];

/// Everything that starts by itself, list by list; and what could not be looked at.
///
/// # Errors
/// Only when told to stop: what cannot be read is said with the entry it is about.
pub fn persistent(
    root: &Root,
    packages: &Packages,
    stop: &Stop,
    meter: &Meter,
) -> Result<(Vec<Persistent>, Unseen), VerbError> {
    let homes = homes(root);
    let walk = || Walk::through(root, &homes, stop, meter);
    std::thread::scope(|scope| {
        // What takes long and waits for nothing goes on beside the rest, where there are threads for it.
        let beside = |name: &str| Builder::new().name(name.to_owned());
        let walking = beside("setuid").spawn_scoped(scope, || metered(meter, walk)).ok();
        let _ = beside("packages").spawn_scoped(scope, || metered(meter, || packages.index(root)));
        let mut search = Search::new(root, packages, stop, &homes);
        search.startup()?;
        search.tasks()?;
        units::units(&mut search)?;
        files::places(&mut search)?;
        accounts::accounts(&mut search)?;
        let walked = match walking.map(ScopedJoinHandle::join) {
            Some(Ok(walked)) => walked?,
            Some(Err(panic)) => resume_unwind(panic),
            None => walk()?,
        };
        search.unseen.add(walked.unseen);
        setuid::tell(&mut search, walked.found)?;
        web::web(&mut search, walked.scripts)?;
        Ok((search.found, search.unseen))
    })
}

/// What a thread beside the verb's own makes; what it cost goes to the meter.
fn metered<R>(meter: &Meter, work: impl FnOnce() -> R) -> R {
    let begun = thread_cpu_time();
    let made = work();
    meter.spent(thread_cpu_since(begun));
    made
}

struct Search<'a> {
    root: &'a Root,
    packages: &'a Packages,
    /// The packages as they were when they were first asked for.
    index: OnceCell<Arc<PackageIndex>>,
    stop: &'a Stop,
    homes: &'a [User],
    origins: HashMap<PathBuf, Origin>,
    /// What is wrong with files that others run, by path and whether they are what is run.
    behind: HashMap<(PathBuf, bool), Option<Wrong>>,
    /// Where in `found` a drop-in of units stands: its path, and whose units it changes.
    drop_ins: HashMap<(PathBuf, Option<String>), usize>,
    found: Vec<Persistent>,
    unseen: Unseen,
}

impl<'a> Search<'a> {
    fn new(root: &'a Root, packages: &'a Packages, stop: &'a Stop, homes: &'a [User]) -> Self {
        let (origins, behind, drop_ins) = (HashMap::new(), HashMap::new(), HashMap::new());
        let (index, found, unseen) = (OnceCell::new(), Vec::new(), Unseen::default());
        Self { root, packages, index, stop, homes, origins, behind, drop_ins, found, unseen }
    }

    fn index(&self) -> &PackageIndex {
        self.index.get_or_init(|| self.packages.index(self.root))
    }

    /// An entry about a file, with all that is known of the file.
    fn entry(&mut self, category: &'static str, technique: &'static str, file: &Path) -> Persistent {
        let origin = self.origin(file);
        Persistent {
            category,
            technique,
            modified: self.root.facts(file).or_else(|_| self.root.link_facts(file)).ok().map(|facts| facts.modified),
            file: file.to_owned(),
            package: origin.package,
            shipped: origin.shipped,
            ..Persistent::default()
        }
    }

    fn origin(&mut self, file: &Path) -> Origin {
        if let Some(known) = self.origins.get(file) {
            return known.clone();
        }
        let mut origin = self.index().origin(self.root, file, MAX_COMPARED, self.stop);
        if origin.package.is_none() {
            origin = self.copied(file).unwrap_or(origin);
        } else if let Some(real) = self.behind_link(file) {
            // A package's link is as good as what it leads to by now.
            let behind = self.origin(&real);
            if behind.shipped != Some(true) {
                origin.shipped = behind.shipped;
            }
        }
        // Where no packages are known there is no telling.
        if self.index().is_empty() {
            origin.shipped = None;
        }
        self.origins.insert(file.to_owned(), origin.clone());
        origin
    }

    /// Of a link to a file: that file.
    fn behind_link(&self, path: &Path) -> Option<PathBuf> {
        let is_link = self.root.link_facts(path).is_ok_and(|facts| facts.is_link());
        let to_file = is_link && self.root.facts(path).is_ok_and(|facts| facts.is_file());
        self.real(path).filter(|real| to_file && real != path)
    }

    /// Of a file that is still what a package's pattern for it is: the pattern's origin.
    fn copied(&self, file: &Path) -> Option<Origin> {
        let name = file.file_name()?.to_str()?;
        let (_, patterns) = PATTERNS.iter().find(|(known, _)| *known == name)?;
        let text = self.root.read(file, MAX_TEXT).ok()?;
        patterns.iter().map(Path::new).find_map(|pattern| {
            let same = self.root.read(pattern, MAX_TEXT).ok()? == text;
            let origin = same.then(|| self.index().origin(self.root, pattern, MAX_TEXT, self.stop))?;
            (origin.shipped == Some(true)).then_some(origin)
        })
    }

    fn startup(&mut self) -> VerbResult {
        let (items, unseen) = startup_items(self.root, self.stop)?;
        self.unseen.add(unseen);
        for item in items {
            self.stop.check()?;
            let (category, technique) = match item.category {
                StartupKind::Desktop => ("startup_folders", "T1547.013"),
                StartupKind::File(_) => ("startup_folders", "T1547.001"),
                StartupKind::Session => ("startup_folders", "T1037"),
                StartupKind::RcLocal | StartupKind::Init => ("init", "T1037.004"),
                StartupKind::ProfileD | StartupKind::ShellProfile | StartupKind::ShellFile => ("shell_profiles", "T1546.004"),
            };
            let mut entry = self.entry(category, technique, &item.file);
            entry.runs = item.command.or(item.program);
            entry.user = item.user;
            entry.enabled = Some(item.enabled);
            entry.error = item.error;
            let line = entry.runs.as_deref().and_then(command_line);
            let named = line.map(|line| self.named_by(&line)).unwrap_or_default();
            self.judge(&mut entry, named)?;
            self.found.push(entry);
        }
        Ok(())
    }

    fn tasks(&mut self) -> VerbResult {
        let (tasks, unseen) = tasks(self.root, self.stop)?;
        self.unseen.add(unseen);
        for task in tasks.all {
            self.stop.check()?;
            let Some(file) = task.file else { continue };
            let (category, technique) = match task.kind {
                "at" => ("at", "T1053.002"),
                "timer" => ("schedule_tasks", "T1053.006"),
                _ => ("schedule_tasks", "T1053.003"),
            };
            let mut entry = self.entry(category, technique, &file);
            entry.line = task.line;
            let named = match (task.kind, task.command.as_deref()) {
                ("timer", Some(command)) => command_line(command).map(|line| self.named_by(&line)).unwrap_or_default(),
                (_, command) => named_in(command.unwrap_or_default()),
            };
            entry.runs = task.command;
            entry.user = task.user;
            entry.enabled = Some(task.enabled);
            entry.error = task.error;
            self.judge(&mut entry, named)?;
            self.found.push(entry);
        }
        Ok(())
    }
}
