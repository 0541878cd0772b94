//! The paths that a place's pattern names on a device.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::agent::platform::linux::homes::User;
use crate::agent::platform::linux::root::Root;
use crate::agent::platform::linux::unseen::Unseen;

/// The most paths of one pattern.
const MAX_PATHS: usize = 1_000_000;
/// How deep `**` goes.
const MAX_DEPTH: usize = 12;

/// The files that a pattern names, and whose home they lie in. As in a shell, `*` takes a leading dot only where the pattern has one
/// before it; `**` is everything below, `**.x` what of it ends so.
pub(super) fn files<'a>(
    root: &Root,
    unseen: &mut Unseen,
    pattern: &str,
    homes: &'a [User],
) -> Vec<(PathBuf, Option<&'a User>)> {
    expanded(pattern).iter().flat_map(|pattern| of_pattern(root, unseen, pattern, homes)).collect()
}

/// A pattern for each of the words within braces.
fn expanded(pattern: &str) -> Vec<String> {
    let parts = pattern.split_once('{').and_then(|(start, rest)| Some((start, rest.split_once('}')?)));
    let Some((start, (words, end))) = parts else { return vec![pattern.to_owned()] };
    words.split(',').flat_map(|word| expanded(&format!("{start}{word}{end}"))).collect()
}

/// Homes of the system's own users, in which nobody keeps anything.
const SYSTEM: [&str; 4] = ["/usr", "/bin", "/sbin", "/dev"];

fn of_pattern<'a>(root: &Root, unseen: &mut Unseen, pattern: &str, homes: &'a [User]) -> Vec<(PathBuf, Option<&'a User>)> {
    let is_home = |user: &&User| {
        let home = &user.home;
        !pattern.starts_with("~/*") || (home != Path::new("/") && !SYSTEM.iter().any(|folder| home.starts_with(folder)))
    };
    let bases: Vec<(PathBuf, Option<&User>)> = match pattern.strip_prefix("~/") {
        Some(_) => homes.iter().filter(is_home).map(|user| (user.home.clone(), Some(user))).collect(),
        None => vec![(PathBuf::from("/"), None)],
    };
    let parts: Vec<&str> = pattern.trim_start_matches("~/").trim_start_matches('/').split('/').collect();
    let mut found = Vec::new();
    for (base, user) in bases {
        let mut search = Search { root, unseen: &mut *unseen, paths: Vec::new() };
        search.below(&base, &parts);
        found.extend(search.paths.into_iter().map(|path| (path, user)));
    }
    found
}

/// The files that an absolute pattern of a configuration names.
pub(super) fn named(root: &Root, unseen: &mut Unseen, pattern: &Path) -> Vec<PathBuf> {
    let Some(pattern) = pattern.to_str().filter(|pattern| pattern.starts_with('/')) else { return Vec::new() };
    of_pattern(root, unseen, pattern, &[]).into_iter().map(|(path, _)| path).collect()
}

struct Search<'a> {
    root: &'a Root,
    unseen: &'a mut Unseen,
    paths: Vec<PathBuf>,
}

impl Search<'_> {
    fn below(&mut self, base: &Path, parts: &[&str]) {
        let Some((part, rest)) = parts.split_first() else { return };
        if let Some(end) = part.strip_prefix("**") {
            return self.all(base, end, MAX_DEPTH);
        }
        let paths = match part.split_once('*') {
            None => vec![base.join(part)],
            Some((start, end)) => {
                let fits = |path: &PathBuf| fits(path.file_name().unwrap_or_default(), start, end);
                self.unseen.paths(self.root, base).into_iter().filter(fits).collect()
            }
        };
        for path in paths {
            if rest.is_empty() {
                self.add(path);
            } else {
                self.below(&path, rest);
            }
        }
    }

    fn add(&mut self, path: PathBuf) {
        if self.paths.len() < MAX_PATHS {
            self.paths.push(path);
        } else {
            self.unseen.cut(path.parent().unwrap_or(&path));
        }
    }

    /// Everything below a folder whose name ends like that.
    fn all(&mut self, folder: &Path, end: &str, depth: usize) {
        for path in self.unseen.paths(self.root, folder) {
            let name = path.file_name().unwrap_or_default().as_bytes();
            let name = OsStr::from_bytes(name.strip_prefix(b".").unwrap_or(name));
            match self.root.link_facts(&path) {
                Ok(facts) if facts.is_folder() && depth > 0 => self.all(&path, end, depth - 1),
                Ok(facts) if facts.is_folder() => self.unseen.cut(&path),
                Ok(_) if fits(name, "", end) => self.add(path),
                Ok(_) => {}
                Err(error) => self.unseen.closed(self.root, &path, &error),
            }
        }
    }
}

/// Whether a name is what stands before a `*` and behind it, where there may be more of them.
fn fits(name: &OsStr, start: &str, end: &str) -> bool {
    let name = name.as_bytes();
    if name.starts_with(b".") && !start.starts_with('.') {
        return false;
    }
    let Some(mut rest) = name.strip_prefix(start.as_bytes()) else { return false };
    let (middle, last) = end.rsplit_once('*').unwrap_or(("", end));
    for piece in middle.split('*').filter(|piece| !piece.is_empty()) {
        let at = rest.windows(piece.len()).position(|window| window == piece.as_bytes());
        let Some(behind) = at.and_then(|at| rest.get(at + piece.len()..)) else { return false };
        rest = behind;
    }
    rest.ends_with(last.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_are_one_or_the_other() {
        let check = |pattern: &str, expected: &[&str]| assert_eq!(expanded(pattern), expected, "{pattern}");
        check("/etc/x", &["/etc/x"]);
        check("/{a,b/c}/*.{d,e}", &["/a/*.d", "/a/*.e", "/b/c/*.d", "/b/c/*.e"]);
        check("/x{,64}", &["/x", "/x64"]);
        check("/x{a", &["/x{a"]);
    }

    #[test]
    fn stars_fit_as_in_a_shell() {
        let check = |pattern: &str, name: &str, expected: bool| {
            let (start, end) = pattern.split_once('*').unwrap();
            assert_eq!(fits(OsStr::new(name), start, end), expected, "{pattern} {name}");
        };
        check("*", "a", true);
        check("*", ".a", false);
        check(".*", ".a", true);
        check(".*", "a", false);
        check("*.so*", "x.so.2", true);
        check("libnss_*.so*", "libnss_files.so.2", true);
        check("libnss_*.so*", "libnss.so", false);
        check("*.conf", "x.conf", true);
        check("*.conf", ".conf", false);
        check("a*a", "a", false);
        check("*", "", true);
    }
}
