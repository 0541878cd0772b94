//! The paths that a place's pattern names on a device.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::agent::platform::linux::homes::User;
use crate::agent::platform::linux::root::Root;

/// The most names of one folder, and the most paths of one pattern.
const MAX_NAMES: usize = 10_000;
const MAX_PATHS: usize = 20_000;
/// How deep `**` goes.
const MAX_DEPTH: usize = 8;

/// The files that a pattern names, and whose home they lie in.
pub(super) fn files<'a>(root: &Root, pattern: &str, homes: &'a [User]) -> Vec<(PathBuf, Option<&'a User>)> {
    let bases: Vec<(PathBuf, Option<&User>)> = match pattern.strip_prefix("~/") {
        Some(_) => homes.iter().map(|user| (user.home.clone(), Some(user))).collect(),
        None => vec![(PathBuf::from("/"), None)],
    };
    let parts: Vec<&str> = pattern.trim_start_matches("~/").trim_start_matches('/').split('/').collect();
    let mut found = Vec::new();
    for (base, user) in bases {
        let mut paths = Vec::new();
        below(root, &base, &parts, &mut paths);
        found.extend(paths.into_iter().map(|path| (path, user)));
    }
    found
}

fn below(root: &Root, base: &Path, parts: &[&str], found: &mut Vec<PathBuf>) {
    let Some((part, rest)) = parts.split_first() else { return };
    if found.len() >= MAX_PATHS {
        return;
    }
    if *part == "**" {
        return all(root, base, MAX_DEPTH, found);
    }
    let names = match part.split_once('*') {
        None => vec![base.join(part)],
        Some((start, end)) => {
            let fits = |name: &OsStr| {
                let name = name.as_bytes();
                let rest = name.strip_prefix(start.as_bytes());
                !name.starts_with(b".") && rest.is_some_and(|rest| rest.ends_with(end.as_bytes()))
            };
            let names = root.names(base, MAX_NAMES).unwrap_or_default();
            names.into_iter().filter(|name| fits(name)).map(|name| base.join(name)).collect()
        }
    };
    for path in names {
        if rest.is_empty() {
            if found.len() < MAX_PATHS {
                found.push(path);
            }
        } else {
            below(root, &path, rest, found);
        }
    }
}

fn all(root: &Root, folder: &Path, depth: usize, found: &mut Vec<PathBuf>) {
    for name in root.names(folder, MAX_NAMES).unwrap_or_default() {
        let path = folder.join(name);
        if found.len() >= MAX_PATHS {
            return;
        }
        match root.link_facts(&path) {
            Ok(facts) if facts.is_folder() && depth > 0 => all(root, &path, depth - 1, found),
            Ok(facts) if !facts.is_folder() => found.push(path),
            _ => {}
        }
    }
}
