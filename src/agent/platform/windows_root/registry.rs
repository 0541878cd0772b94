//! The registry of a Windows that is switched off: which file holds which part of it, and what a typed path means there.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::doubts::{Doubt, Doubts};
pub use super::found::Found;
use super::found::broken;
use super::hive::{Hive, HiveError};
use super::places::expand;
use crate::agent::path::{lossy, problem, shown};
use crate::agent::platform::{Root, drive};
use crate::protocol::Problem;

/// Where the hives of the machine lie.
const CONFIG: &str = r"C:\Windows\System32\config";
/// The hives of the machine: the key that each is mounted at, which is its file's name too.
const MACHINE: [&str; 6] = ["COMPONENTS", "DRIVERS", "SAM", "SECURITY", "SOFTWARE", "SYSTEM"];
/// What its logs are called behind a hive's name; the last before Windows Vista.
pub const LOGS: [&str; 3] = [".LOG1", ".LOG2", ".LOG"];
const HKLM: &str = "HKEY_LOCAL_MACHINE";
const HKU: &str = "HKEY_USERS";
const HKCU: &str = "HKEY_CURRENT_USER";
/// Every root key and its short name.
const ROOTS: [(&str, &str); 5] =
    [(HKLM, "HKLM"), (HKU, "HKU"), (HKCU, "HKCU"), ("HKEY_CLASSES_ROOT", "HKCR"), ("HKEY_CURRENT_CONFIG", "HKCC")];
/// How many links lead on from each other before it is a loop.
const MAX_LINKS: u32 = 8;
/// The most users.
const MAX_USERS: usize = 10_000;

/// The registry of one disk. Hives are opened when they are asked for and held for as long as it lives: one command.
pub struct Registry<'a> {
    root: &'a Root,
    hives: RefCell<HashMap<PathBuf, Rc<Hive>>>,
    dirty: RefCell<BTreeSet<PathBuf>>,
    noted: Rc<Doubts>,
}

/// Somebody with a profile on the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// The security identifier; `None` where only the folder is there.
    pub sid: Option<String>,
    /// What the folder is called.
    pub name: String,
    /// The folder.
    pub folder: PathBuf,
}

/// What a path of the registry means.
pub enum Place {
    /// Above all hives: only other keys are there.
    Above {
        /// As it is shown.
        path: String,
        /// The full paths of the keys there.
        keys: Vec<String>,
    },
    /// A key of a hive.
    Key(Found),
}

/// Where a part of the registry lies.
struct Mount {
    path: String,
    file: PathBuf,
    rest: Vec<String>,
}

impl<'a> Registry<'a> {
    /// The registry of a disk.
    #[must_use]
    pub fn new(root: &'a Root) -> Self {
        Self { root, hives: RefCell::default(), dirty: RefCell::default(), noted: Rc::default() }
    }

    /// The disk.
    #[must_use]
    pub fn root(&self) -> &'a Root {
        self.root
    }

    /// What must be known of all that was read so far, each as a sentence: hives that were not written to their end, and whatever
    /// could not be read.
    #[must_use]
    pub fn doubts(&self) -> Vec<Problem> {
        let dirty = self.dirty.borrow();
        let said = dirty.iter().map(|file| {
            let shown = shown(file);
            let why = "the device stopped before it was written to its end, and its logs (.LOG1, .LOG2) are not there or do not \
                       fit it: its last changes are missing";
            Problem::new("hive_dirty", format!("{shown}: {why}")).at(lossy(file))
        });
        said.chain(self.noted.problems()).collect()
    }

    /// Notes what could not be read, or was left out, while something else was looked for.
    pub fn note(&self, place: &str, problem: Problem) {
        self.noted.note(place, problem);
    }

    /// What was noted after so many notes.
    #[must_use]
    pub fn noted_since(&self, count: usize) -> Vec<Doubt> {
        self.noted.since(count)
    }

    /// The names in a folder of the disk, at most so many; none where there is no such folder. What is left out is noted.
    #[must_use]
    pub fn names(&self, folder: &Path, most: usize) -> Vec<OsString> {
        match self.root.names(folder, most + 1) {
            Ok(mut names) => {
                if names.len() > most {
                    names.truncate(most);
                    let message = format!("{}: only the first {most} names in this folder are looked at", shown(folder));
                    self.note(&lossy(folder), Problem::new("limit", message).at(lossy(folder)));
                }
                names
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => {
                self.note(&lossy(folder), problem(folder, &error));
                Vec::new()
            }
        }
    }

    /// The hive in a file.
    ///
    /// # Errors
    /// When it is not there, is no hive, or cannot be read.
    pub fn hive(&self, file: &Path) -> Result<Rc<Hive>, Problem> {
        if let Some(known) = self.hives.borrow().get(file) {
            return Ok(Rc::clone(known));
        }
        let facts = self.root.facts(file).map_err(|error| problem(file, &error))?;
        if !facts.is_file() {
            return Err(broken(file, &HiveError::NoHive));
        }
        let opened = self.root.open_file(file).map_err(|error| problem(file, &error))?;
        let mut hive = Hive::of_file(opened).map_err(|error| broken(file, &error))?;
        if hive.is_dirty() {
            hive = hive.recover(self.logs(file));
        }
        let hive = Rc::new(hive);
        if hive.is_dirty() {
            self.dirty.borrow_mut().insert(file.to_owned());
        }
        self.hives.borrow_mut().insert(file.to_owned(), Rc::clone(&hive));
        Ok(hive)
    }

    /// The logs beside a hive, opened.
    fn logs(&self, file: &Path) -> Vec<std::fs::File> {
        let beside = LOGS.iter().map(|ending| {
            let mut name = file.as_os_str().to_owned();
            name.push(ending);
            self.root.spelled(Path::new(&name))
        });
        let files = beside.filter(|log| self.root.facts(log).is_ok_and(|facts| facts.is_file()));
        files.filter_map(|log| self.root.open_file(&log).ok()).collect()
    }

    /// A key of the machine: below `SOFTWARE` and the like; `None` where it is not there, or cannot be read, which is noted.
    #[must_use]
    pub fn machine(&self, path: &str) -> Option<Found> {
        self.key(&format!(r"{HKLM}\{path}")).ok().flatten()
    }

    /// The key at a path; `None` where it is not there.
    ///
    /// # Errors
    /// When its hive or a key on the way cannot be read; that is noted too.
    pub fn key(&self, path: &str) -> Result<Option<Found>, Problem> {
        match self.find(path) {
            Ok(Place::Key(found)) => Ok(Some(found)),
            Ok(Place::Above { .. }) => Ok(None),
            Err(why) if why.code == "not_found" => Ok(None),
            Err(why) => {
                self.note(path, why.clone());
                Err(why)
            }
        }
    }

    /// The subkeys of a key that can be read, each with its whole path; others are noted.
    #[must_use]
    pub fn below(&self, found: &Found) -> Vec<Found> {
        let keys = found.keys().unwrap_or_else(|why| {
            self.note(&found.path, why);
            Vec::new()
        });
        keys.into_iter().map(|key| found.with(key)).collect()
    }

    /// The subkey of that name; `None` where it is not there, or cannot be read, which is noted.
    #[must_use]
    pub fn down(&self, found: &Found, name: &str) -> Option<Found> {
        found.child(name).unwrap_or_else(|why| {
            self.note(&found.path, why);
            None
        })
    }

    /// What a typed path means.
    ///
    /// # Errors
    /// When there is no such key, its hive cannot be read, or only a running system has it.
    pub fn find(&self, typed: &str) -> Result<Place, Problem> {
        let mut path = typed.to_owned();
        for _ in 0..MAX_LINKS {
            let mount = match self.mount(&path)? {
                Ok(mount) => mount,
                Err(above) => return Ok(above),
            };
            match self.walk(mount, typed)? {
                Ok(found) => return Ok(Place::Key(found)),
                Err(link) => path = link,
            }
        }
        Err(Problem::new("link_loop", format!("{typed}: its links lead nowhere: too many of them, or a loop")))
    }

    /// Goes down from where a hive is mounted; `Err` within is the path that a link leads to.
    fn walk(&self, mount: Mount, typed: &str) -> Result<Result<Found, String>, Problem> {
        let Mount { path, file, rest } = mount;
        let hive = self.hive(&file)?;
        let key = hive.root().map_err(|error| broken(&file, &error))?;
        let mut found = Found { path, hive, file, key, doubts: Rc::clone(&self.noted) };
        let mut rest = rest.into_iter();
        while let Some(name) = rest.next() {
            let Some(child) = found.child(&name)? else {
                let message = format!("{typed}: there is no such key; {} is there, and has no {name}", found.path);
                return Err(Problem::new("not_found", message).about("path"));
            };
            let link = child.key.is_link.then(|| child.text("SymbolicLinkValue")).flatten();
            if let Some(link) = link.filter(|link| !link.is_empty()) {
                return Ok(Err(rest.fold(link, |link, name| format!(r"{link}\{name}"))));
            }
            found = child;
        }
        Ok(Ok(found))
    }

    /// The hive that a path lies in, and the way down from there; `Err` within is a place above all hives.
    fn mount(&self, typed: &str) -> Result<Result<Mount, Place>, Problem> {
        let mut names: Vec<&str> = typed.split('\\').filter(|name| !name.is_empty()).collect();
        // Some type the other slash. Names may hold it, those of the first keys do not.
        if let Some(first) = names.first().copied().filter(|first| first.contains('/')) {
            names.splice(..1, first.split('/').filter(|name| !name.is_empty()));
        }
        // As regedit copies it, and as links within hives write it.
        if names.first().is_some_and(|name| name.eq_ignore_ascii_case("Computer")) {
            names.remove(0);
        }
        let first = match names.as_slice() {
            [registry, part, ..] if registry.eq_ignore_ascii_case("REGISTRY") => {
                let root = if part.eq_ignore_ascii_case("USER") { HKU } else { HKLM };
                names.remove(0);
                root
            }
            [first, ..] => {
                let named = first.strip_suffix(':').unwrap_or(first);
                let is = |name: &str| name.eq_ignore_ascii_case(named);
                ROOTS.iter().find(|(long, short)| is(long) || is(short)).map(|(long, _)| *long).ok_or_else(|| no_root(typed))?
            }
            [] => return Err(no_root(typed)),
        };
        let names = names.get(1..).unwrap_or_default();
        match first {
            HKLM => self.of_machine(names),
            HKU => self.of_users(names),
            HKCU => {
                let user = self.only_user()?;
                let own = [&[user.as_str()], names].concat();
                self.of_users(&own)
            }
            "HKEY_CLASSES_ROOT" => self.of_machine(&[&["SOFTWARE", "Classes"], names].concat()),
            _ => self.of_machine(&[&["SYSTEM", "CurrentControlSet", "Hardware Profiles", "0001"], names].concat()),
        }
    }

    fn of_machine(&self, names: &[&str]) -> Result<Result<Mount, Place>, Problem> {
        let config = |name: &str| self.root.spelled(&drive::resolve(CONFIG, name));
        let Some((first, rest)) = names.split_first() else {
            let there = MACHINE.iter().filter(|name| self.root.facts(&config(name)).is_ok_and(|facts| facts.is_file()));
            let keys = there.map(|name| format!(r"{HKLM}\{name}")).collect();
            return Ok(Err(Place::Above { path: HKLM.to_owned(), keys }));
        };
        let Some(name) = MACHINE.iter().find(|name| name.eq_ignore_ascii_case(first)) else {
            let message = format!(r"{HKLM}\{first}: no file of a disk holds it: of {HKLM} there are {}", MACHINE.join(", "));
            return Err(Problem::new("not_found", message).about("path"));
        };
        let mut rest: Vec<String> = rest.iter().map(|&name| name.to_owned()).collect();
        if let Some(set) = rest.first_mut().filter(|set| *name == "SYSTEM" && set.eq_ignore_ascii_case("CurrentControlSet")) {
            *set = self.control_set()?;
        }
        Ok(Ok(Mount { path: format!(r"{HKLM}\{name}"), file: config(name), rest }))
    }

    /// The set that the device starts with: what `CurrentControlSet` leads to while it runs.
    fn control_set(&self) -> Result<String, Problem> {
        let select = self.key(&format!(r"{HKLM}\SYSTEM\Select"))?;
        let number = select.and_then(|select| select.number("Current")).unwrap_or(1);
        Ok(format!("ControlSet{number:03}"))
    }

    fn of_users(&self, names: &[&str]) -> Result<Result<Mount, Place>, Problem> {
        let profiles = self.profiles();
        let Some((&first, rest)) = names.split_first() else {
            let known = profiles.iter().map(|profile| profile.sid.as_ref().unwrap_or(&profile.name));
            let keys = std::iter::once(".DEFAULT").chain(known.map(String::as_str)).map(|name| format!(r"{HKU}\{name}"));
            return Ok(Err(Place::Above { path: HKU.to_owned(), keys: keys.collect() }));
        };
        let rest: Vec<String> = rest.iter().map(|&name| name.to_owned()).collect();
        if first.eq_ignore_ascii_case(".DEFAULT") || first == "S-1-5-18" {
            let file = self.root.spelled(&drive::resolve(CONFIG, "DEFAULT"));
            return Ok(Ok(Mount { path: format!(r"{HKU}\.DEFAULT"), file, rest }));
        }
        let (name, classes) = match first.len().checked_sub("_Classes".len()).and_then(|at| first.split_at_checked(at)) {
            Some((name, end)) if end.eq_ignore_ascii_case("_Classes") => (name, true),
            _ => (first, false),
        };
        let is = |known: &str| known.to_lowercase() == name.to_lowercase();
        let by_sid = profiles.iter().find(|profile| profile.sid.as_deref().is_some_and(is));
        let Some(profile) = by_sid.or_else(|| profiles.iter().find(|profile| is(&profile.name))) else {
            let names: Vec<&str> = profiles.iter().map(|profile| profile.name.as_str()).collect();
            let mut message =
                format!(r"{HKU}\{name}: nobody of that name or SID has a profile here: there are {}", names.join(", "));
            if let Some(doubt) = self.noted_since(0).first() {
                message.push_str(&format!("; not everybody may be known, since {}", doubt.problem.message));
            }
            return Err(Problem::new("not_found", message).about("path"));
        };
        let shown = profile.sid.as_ref().unwrap_or(&profile.name);
        // A user's classes lie in a file of their own, which the running system shows in two places.
        let below_classes = match rest.as_slice() {
            [software, classes, below @ ..]
                if software.eq_ignore_ascii_case("Software") && classes.eq_ignore_ascii_case("Classes") =>
            {
                Some(below.to_vec())
            }
            _ => None,
        };
        let mount = if classes || below_classes.is_some() {
            let file = drive::below(profile.folder.clone(), r"AppData\Local\Microsoft\Windows\UsrClass.dat");
            let path = format!(r"{HKU}\{shown}_Classes");
            Mount { path, file: self.root.spelled(&file), rest: below_classes.unwrap_or(rest) }
        } else {
            let file = self.root.spelled(&profile.folder.join("NTUSER.DAT"));
            Mount { path: format!(r"{HKU}\{shown}"), file, rest }
        };
        Ok(Ok(mount))
    }

    /// Who is meant by "the current user" where nobody is logged on: the only one there is.
    fn only_user(&self) -> Result<String, Problem> {
        let mut people = self.profiles();
        people.retain(|profile| {
            profile.sid.as_ref().is_none_or(|sid| sid.starts_with("S-1-5-21-") || sid.starts_with("S-1-12-"))
        });
        match people.as_slice() {
            [one] => Ok(one.sid.clone().unwrap_or_else(|| one.name.clone())),
            several => {
                let names: Vec<String> = several.iter().map(|profile| format!(r"{HKU}\{}", profile.name)).collect();
                let message = format!("{HKCU}: nobody is logged on to a disk; name a user instead: {}", names.join(", "));
                Err(Problem::new("no_current_user", message).about("path"))
            }
        }
    }

    /// Everybody with a profile: as the registry lists them, and whoever else has a hive below `C:\Users`.
    #[must_use]
    pub fn profiles(&self) -> Vec<Profile> {
        let mut profiles: Vec<Profile> = Vec::new();
        let list = self.machine(r"SOFTWARE\Microsoft\Windows NT\CurrentVersion\ProfileList");
        let mut listed = list.map(|list| self.below(&list)).unwrap_or_default();
        if listed.len() > MAX_USERS {
            listed.truncate(MAX_USERS);
            let message = format!("only the first {MAX_USERS} profiles of ProfileList are looked at");
            self.note("ProfileList", Problem::new("limit", message));
        }
        for found in listed {
            let Some(folder) = found.text("ProfileImagePath") else { continue };
            let folder = self.root.spelled(&drive::resolve(r"C:\", &expand(&folder, None)));
            let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            profiles.push(Profile { sid: Some(found.key.name.clone()), name, folder });
        }
        let users = self.root.spelled(&drive::resolve(r"C:\", "Users"));
        for name in self.names(&users, MAX_USERS) {
            let folder = users.join(&name);
            let known = profiles.iter().any(|profile| profile.folder == folder);
            let own = self.root.facts(&folder.join("NTUSER.DAT")).is_ok_and(|facts| facts.is_file());
            if !known && own {
                profiles.push(Profile { sid: None, name: name.to_string_lossy().into_owned(), folder });
            }
        }
        profiles
    }
}

fn no_root(typed: &str) -> Problem {
    let names: Vec<&str> = ROOTS.iter().map(|(long, _)| *long).collect();
    Problem::new("not_found", format!("{typed}: a path of the registry begins with one of {}", names.join(", "))).about("path")
}
