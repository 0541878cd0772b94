//! One folder of the search path: its units, links, and drop-ins, read once.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use rustix::fs::FileType;

use super::search::Scope;
use crate::agent::platform::linux::folder::EntryBuffer;
use crate::agent::platform::linux::listing::MAX_NAMES;
use crate::agent::platform::linux::root::Root;

/// One folder of the search path.
#[derive(Debug)]
pub(super) struct Layer {
    pub(super) path: PathBuf,
    /// What in it may be units, and whether it is a link.
    pub(super) entries: BTreeMap<String, bool>,
    /// What is called like a unit and is neither file nor link: systemd passes it over.
    pub(super) odd: BTreeMap<String, FileType>,
    /// The drop-ins by the name they are for.
    pub(super) drop_ins: HashMap<String, Vec<String>>,
    /// Every link in it and in its link folders.
    pub(super) links: Vec<Link>,
    pub(super) by_name: HashMap<String, Vec<usize>>,
    pub(super) by_target: HashMap<String, Vec<usize>>,
}

#[derive(Debug)]
pub(super) struct Link {
    pub(super) name: String,
    pub(super) target: String,
    /// The unit whose link folder it lies in.
    pub(super) puller: Option<(String, PathBuf)>,
}

/// The folders of a scope that are there, the most important first.
pub(super) fn layers(root: &Root, scope: &Scope) -> Vec<Layer> {
    let mut known = HashSet::new();
    let mut layers = Vec::new();
    for path in scope.folders() {
        // Merged /usr gives one folder two names.
        let Ok(facts) = root.facts(&path) else { continue };
        if facts.is_folder() && known.insert((facts.dev, facts.inode)) {
            layers.push(Layer::read(root, path));
        }
    }
    layers
}

impl Layer {
    fn read(root: &Root, path: PathBuf) -> Self {
        let mut layer = Self {
            entries: BTreeMap::new(),
            odd: BTreeMap::new(),
            drop_ins: HashMap::new(),
            links: Vec::new(),
            by_name: HashMap::new(),
            by_target: HashMap::new(),
            path,
        };
        for (name, kind) in listed(root, &layer.path) {
            let inside = layer.path.join(&name);
            let folder = name.rsplit_once('.').and_then(|(unit, suffix)| {
                let is = suffix == "d" || matches!(suffix, "wants" | "requires" | "upholds");
                // The names of kinds (`service.d`) and prefixes (`foo-.service.d`) have drop-ins too.
                is.then(|| (unit.to_owned(), suffix.to_owned()))
            });
            if let (Some((unit, suffix)), FileType::Directory | FileType::Symlink) = (folder, kind) {
                let inner = listed(root, &inside);
                if suffix == "d" {
                    let files = inner
                        .into_iter()
                        .filter(|(name, kind)| name.as_bytes().ends_with(b".conf") && *kind != FileType::Directory);
                    layer.drop_ins.insert(unit, files.map(|(name, _)| name).collect());
                } else {
                    for (name, _) in inner.into_iter().filter(|(_, kind)| *kind == FileType::Symlink) {
                        layer.add_link(root, &inside, name, Some((unit.clone(), inside.clone())));
                    }
                }
                continue;
            }
            if kind == FileType::Symlink {
                layer.add_link(root, &layer.path.clone(), name.clone(), None);
            }
            if matches!(kind, FileType::RegularFile | FileType::Symlink) {
                layer.entries.insert(name, kind == FileType::Symlink);
            } else {
                layer.odd.insert(name, kind);
            }
        }
        layer
    }

    fn add_link(&mut self, root: &Root, folder: &Path, name: String, puller: Option<(String, PathBuf)>) {
        let Ok(target) = root.read_link(&folder.join(&name)) else { return };
        let target = target.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        self.by_name.entry(name.clone()).or_default().push(self.links.len());
        self.by_target.entry(target.clone()).or_default().push(self.links.len());
        self.links.push(Link { name, target, puller });
    }
}

/// The names in a folder that are text, and what they are.
fn listed(root: &Root, path: &Path) -> Vec<(String, FileType)> {
    let Ok(folder) = root.open_folder(path) else { return Vec::new() };
    let mut buffer = EntryBuffer::default();
    let mut entries = folder.entries(&mut buffer);
    let mut names = Vec::new();
    while let Some(Ok(entry)) = entries.next() {
        let Ok(name) = entry.name().to_str() else { continue };
        if entry.is_dots() || names.len() >= MAX_NAMES {
            continue;
        }
        let kind = match entry.kind() {
            FileType::Unknown => folder.facts(entry.name()).map_or(FileType::Unknown, |facts| facts.kind),
            kind => kind,
        };
        names.push((name.to_owned(), kind));
    }
    names.sort_by(|(one, _), (other, _)| one.cmp(other));
    names
}
