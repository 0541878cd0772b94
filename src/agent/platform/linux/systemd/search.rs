//! Finding units: the folders in their order, what shadows what, links, masks, drop-ins.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use rustix::fs::FileType;
use sha2::{Digest, Sha256};

use super::enablement::state_of;
use super::file;
use super::layer::{Layer, layers};
use super::name::{UnitKind, instance_of, is_template, kind_of, parts, template_of};
use super::unit::{DropIn, Loaded, Unit};
use crate::agent::context::{Stop, VerbError};
use crate::agent::digest::hex;
use crate::agent::path::reason;
use crate::agent::platform::linux::root::Root;

/// The most bytes of unit files that are read in all.
const MAX_BYTES: u64 = 256 * 1024 * 1024;
/// The longest chain of links.
const MAX_LINKS: usize = 32;

/// Whose units.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// The system's.
    System,
    /// Those that every user's manager has.
    User,
    /// Those that one user has added; the folder is the home.
    Home(PathBuf),
}

impl Scope {
    /// The folders that are searched, the most important first (systemd.unit(5), "Unit File Load Path").
    pub fn folders(&self) -> Vec<PathBuf> {
        let all = |folders: &[&str]| folders.iter().map(PathBuf::from).collect();
        match self {
            Self::System => all(&[
                "/etc/systemd/system.control",
                "/run/systemd/system.control",
                "/run/systemd/transient",
                "/run/systemd/generator.early",
                "/etc/systemd/system",
                "/etc/systemd/system.attached",
                "/run/systemd/system",
                "/run/systemd/system.attached",
                "/run/systemd/generator",
                "/usr/local/lib/systemd/system",
                "/usr/lib/systemd/system",
                "/lib/systemd/system",
                "/run/systemd/generator.late",
            ]),
            Self::User => all(&[
                "/etc/systemd/user",
                "/run/systemd/user",
                "/usr/local/share/systemd/user",
                "/usr/share/systemd/user",
                "/usr/local/lib/systemd/user",
                "/usr/lib/systemd/user",
                "/lib/systemd/user",
            ]),
            Self::Home(home) => {
                let own = [".config/systemd/user.control", ".config/systemd/user", ".local/share/systemd/user"];
                own.iter().map(|folder| home.join(folder)).collect()
            }
        }
    }

    /// The folders in which a link's target is a unit too, so that the link is only another name of it: a user's manager searches
    /// everybody's as well.
    fn searched(&self) -> Vec<PathBuf> {
        let mut folders = self.folders();
        if matches!(self, Self::Home(_)) {
            folders.extend(Self::User.folders());
        }
        folders
    }
}

/// All units of a scope.
#[derive(Debug, Default)]
pub struct Units {
    units: BTreeMap<String, Unit>,
    pulls: BTreeMap<String, Vec<Pull>>,
}

/// A link in a `.wants`, `.requires` or `.upholds` folder.
#[derive(Debug, Clone)]
pub struct Pull {
    /// The unit that it pulls in.
    pub unit: String,
    /// Where the link is.
    pub link: PathBuf,
}

impl Units {
    /// Reads all units of a scope.
    ///
    /// # Errors
    /// Only when told to stop: what cannot be read is said with the unit it is about.
    pub fn load(root: &Root, scope: &Scope, stop: &Stop) -> Result<Self, VerbError> {
        let layers = layers(root, scope);
        let searched = scope.searched();
        let mut units = Self::default();
        let mut seen = HashSet::new();
        let mut room = MAX_BYTES;
        for (at, layer) in layers.iter().enumerate() {
            for name in layer.entries.keys() {
                stop.check()?;
                let (Some(kind), true) = (kind_of(name), seen.insert(name.clone())) else { continue };
                let unit = read_unit(root, &layers, &searched, at, name, kind, &mut room);
                units.units.insert(name.clone(), unit);
            }
        }
        units.note_odd(&layers);
        units.note_pulls(&layers);
        for unit in units.units.values_mut() {
            unit.state = state_of(unit, &layers);
        }
        Ok(units)
    }

    /// Tells what is called like a unit and can be none: as a unit that cannot be read, or beside the one that systemd finds elsewhere.
    fn note_odd(&mut self, layers: &[Layer]) {
        for layer in layers {
            for (name, kind) in &layer.odd {
                let Some(unit_kind) = kind_of(name) else { continue };
                let path = layer.path.join(name);
                let what = match kind {
                    FileType::Directory => "a folder",
                    FileType::Fifo => "a FIFO",
                    FileType::Socket => "a socket",
                    _ => "a device",
                };
                let wrong = format!("{} is {what}: systemd passes it over", path.display());
                let unit = self.units.entry(name.clone()).or_insert_with(|| {
                    let mut unit = Unit::new(name, unit_kind, path);
                    unit.loaded = Loaded::Broken;
                    unit
                });
                unit.error.get_or_insert(wrong);
            }
        }
    }

    fn note_pulls(&mut self, layers: &[Layer]) {
        let mut instances: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for link in layers.iter().flat_map(|layer| &layer.links) {
            let Some((puller, folder)) = &link.puller else { continue };
            self.pulls.entry(puller.clone()).or_default().push(Pull { unit: link.name.clone(), link: folder.join(&link.name) });
            if let Some(template) = template_of(&link.name) {
                instances.entry(template).or_default().insert(link.name.clone());
            }
        }
        for (template, names) in instances {
            if let Some(unit) = self.units.get_mut(&template) {
                unit.instances = names.into_iter().collect();
            }
        }
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Unit> {
        self.units.values()
    }

    /// The unit of that name, aliases not followed.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Unit> {
        self.units.get(name)
    }

    /// The unit that a name means: aliases followed, an instance's template where it has no file of its own.
    #[must_use]
    pub fn resolve(&self, name: &str) -> Option<&Unit> {
        let mut name = name.to_owned();
        for _ in 0..MAX_LINKS {
            let unit = match self.units.get(&name) {
                Some(unit) => unit,
                None => self.units.get(&template_of(&name)?)?,
            };
            match &unit.loaded {
                Loaded::Alias(target) => name.clone_from(target),
                _ => return Some(unit),
            }
        }
        None
    }

    /// What the link folders of a unit pull in (`multi-user.target.wants/…`).
    #[must_use]
    pub fn pulled_by(&self, name: &str) -> &[Pull] {
        self.pulls.get(name).map_or(&[], Vec::as_slice)
    }

    /// The links of such folders that lead to a unit.
    pub fn links_to(&self, name: &str) -> impl Iterator<Item = &Pull> {
        self.pulls.values().flatten().filter(move |pull| pull.unit == name)
    }
}

fn read_unit(
    root: &Root,
    layers: &[Layer],
    searched: &[PathBuf],
    at: usize,
    name: &str,
    kind: UnitKind,
    room: &mut u64,
) -> Unit {
    let path = layers.get(at).map_or_else(PathBuf::new, |layer| layer.path.join(name));
    let below = layers.get(at + 1..).unwrap_or_default();
    let shadowed = below.iter().filter(|layer| layer.entries.contains_key(name)).map(|layer| layer.path.join(name)).collect();
    let mut unit = Unit::new(name, kind, path.clone());
    unit.shadowed = shadowed;
    unit.modified = root.link_facts(&path).ok().map(|facts| facts.modified);
    if layers.get(at).and_then(|layer| layer.entries.get(name)) == Some(&true) {
        (unit.loaded, unit.stands_for) = behind_link(root, layers, searched, &path);
    }
    if matches!(unit.loaded, Loaded::Alias(_)) {
        return unit;
    }
    match root.facts(&path) {
        Ok(facts) if facts.kind == FileType::CharacterDevice || (facts.is_file() && facts.size == 0) => {
            unit.loaded = Loaded::Masked;
            return unit;
        }
        Ok(facts) => unit.modified = Some(facts.modified),
        Err(_) if unit.loaded == Loaded::Masked => return unit,
        Err(_) => {}
    }
    match root.read(&path, file::MAX_FILE.min(*room)) {
        Ok(text) => {
            *room = room.saturating_sub(text.len() as u64);
            unit.sha256 = Some(sha256(&text));
            (unit.assignments, unit.error) = file::parse(&text, &Arc::new(path));
        }
        Err(error) => {
            unit.loaded = Loaded::Broken;
            unit.error = Some(reason(&error).1);
        }
    }
    add_drop_ins(root, layers, &mut unit, room);
    unit
}

/// What a link in a unit folder means; of an instance's link to another template, the instance that it stands for.
///
/// As systemd has it (unit_file_resolve_symlink), a link is another name of a unit only when it leads to a folder that is searched for
/// units; what lies anywhere else is a unit of the link's own name.
fn behind_link(root: &Root, layers: &[Layer], searched: &[PathBuf], path: &Path) -> (Loaded, Option<String>) {
    let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
    let is_searched = |target: &Path| {
        let folder = target.parent();
        layers.iter().map(|layer| &layer.path).chain(searched).any(|one| folder == Some(one))
    };
    let mut target = path.to_path_buf();
    let mut alias = None;
    let mut elsewhere = false;
    let mut ended = false;
    for _ in 0..MAX_LINKS {
        let Ok(link) = root.read_link(&target) else {
            ended = true;
            break;
        };
        let folder = target.parent().unwrap_or(Path::new("/"));
        target = plain(&folder.join(link));
        if target == Path::new("/dev/null") {
            return (Loaded::Masked, None);
        }
        let base = target.file_name().and_then(OsStr::to_str).unwrap_or_default();
        elsewhere |= alias.is_none() && !is_searched(&target);
        if !elsewhere && base != name && alias.is_none() && kind_of(base).is_some() {
            alias = Some(base.to_owned());
        }
    }
    let there = root.facts(&target).is_ok();
    // The folder that a link names may be missing from a tree that has the unit all the same.
    let known = alias.as_ref().is_some_and(|alias| layers.iter().any(|layer| layer.entries.contains_key(alias)));
    if !ended || !(there || known) {
        return (Loaded::Broken, None);
    }
    let instance = parts(name).map(|(_, instance, _)| instance).filter(|instance| !instance.is_empty());
    let base = target.file_name().and_then(OsStr::to_str).unwrap_or_default();
    match (alias, instance) {
        // A link to a template by the name of an instance is an instance of it.
        (Some(alias), Some(instance)) if is_template(&alias) => (Loaded::File, instance_of(&alias, instance)),
        (Some(alias), _) => (Loaded::Alias(alias), None),
        (None, Some(instance)) if is_template(base) && elsewhere => {
            (Loaded::Linked(target.clone()), instance_of(base, instance))
        }
        (None, _) if elsewhere => (Loaded::Linked(target), None),
        (None, _) => (Loaded::File, None),
    }
}

/// A path without `.` and `..`, by name alone.
pub(in crate::agent::platform::linux) fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::from("/");
    for part in path.components() {
        match part {
            Component::Normal(name) => plain.push(name),
            Component::ParentDir => {
                plain.pop();
            }
            _ => {}
        }
    }
    plain
}

/// Drop-ins of a unit: those of its own name, of its template, of its prefixes, of its kind; in each folder, by the order of their
/// file names; a name in a more important folder hides the same name in others.
fn add_drop_ins(root: &Root, layers: &[Layer], unit: &mut Unit, room: &mut u64) {
    let mut chosen: BTreeMap<&str, PathBuf> = BTreeMap::new();
    for owner in drop_in_owners(&unit.name, unit.kind) {
        for layer in layers {
            for file in layer.drop_ins.get(&owner).into_iter().flatten() {
                chosen.entry(file).or_insert_with(|| layer.path.join(format!("{owner}.d")).join(file));
            }
        }
    }
    for path in chosen.into_values() {
        let facts = root.facts(&path);
        if facts.as_ref().is_ok_and(|facts| facts.kind == FileType::CharacterDevice || (facts.is_file() && facts.size == 0)) {
            continue;
        }
        let mut drop_in = DropIn { path: path.clone(), sha256: None };
        let wrong = match root.read(&path, file::MAX_FILE.min(*room)) {
            Ok(text) => {
                *room = room.saturating_sub(text.len() as u64);
                drop_in.sha256 = Some(sha256(&text));
                let (assignments, wrong) = file::parse(&text, &Arc::new(path.clone()));
                unit.assignments.extend(assignments);
                wrong
            }
            Err(error) => Some(reason(&error).1),
        };
        if let (None, Some(wrong)) = (&unit.error, wrong) {
            unit.error = Some(format!("{}: {wrong}", path.display()));
        }
        unit.drop_ins.push(drop_in);
    }
}

fn drop_in_owners(name: &str, kind: UnitKind) -> Vec<String> {
    let mut owners = vec![name.to_owned()];
    owners.extend(template_of(name));
    let suffix = kind.as_str();
    let (prefix, at) = match parts(name) {
        Some((prefix, _, _)) => (prefix, "@"),
        None => (name.strip_suffix(suffix).and_then(|name| name.strip_suffix('.')).unwrap_or(name), ""),
    };
    let dashes: Vec<usize> = prefix.match_indices('-').map(|(at, _)| at).collect();
    for dash in dashes.into_iter().rev() {
        if let Some(start) = prefix.get(..=dash).filter(|start| start.len() < prefix.len()) {
            owners.push(format!("{start}{at}.{suffix}"));
        }
    }
    owners.push(suffix.to_owned());
    owners
}

fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}
