//! Paths of a mounted Windows disk: how they are typed and shown, and how they are kept.
//!
//! Within the agent such a path is one of the tree below `--root`, behind a first part that no file system can hold: the
//! drive's name and a zero byte (`/C:␀/Users/max`). So parents, names and joins are those of every other path, no path of
//! another kind of device can be taken for one, and a path that was not taken apart again opens nothing.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::protocol::text::{file_uri, from_file_uri, is_plain};

/// The drive that the disk below `--root` is.
pub const DRIVE: &str = "C:";
/// What stands behind the name of a drive.
const MARK: u8 = 0;

/// The top folder of the disk.
#[must_use]
pub fn top() -> PathBuf {
    drive(DRIVE)
}

/// The path that a typed one means in a directory: either slash separates, `C:` and nothing else is where the tree is, `.` and
/// `..` are resolved by name alone, `\\?\` and its kin are left out, `file:///C:/…` is exact. `~` is the folder of homes.
#[must_use]
pub fn resolve(directory: &str, typed: &str) -> PathBuf {
    if let Some(path) = exact(typed) {
        return path;
    }
    of_text(typed).unwrap_or_else(|| {
        let from = exact(directory).or_else(|| of_text(directory)).unwrap_or_else(top);
        below(from, typed.strip_prefix(DRIVE).or(typed.strip_prefix("c:")).unwrap_or(typed))
    })
}

/// The path that an absolute one from the disk itself names (`C:\x`, `\??\C:\x`, `\x`); `None` for a relative one.
#[must_use]
pub fn of_text(text: &str) -> Option<PathBuf> {
    absolute(text).map(|(start, rest)| below(start, rest))
}

/// A path below another, either slash between its names.
#[must_use]
pub fn below(mut path: PathBuf, text: &str) -> PathBuf {
    add(&mut path, text.split(['\\', '/']).map(OsStr::new));
    path
}

/// Where a path lies: its drive as it is shown, and what stands behind it in the tree; `None` for a path of another kind.
#[must_use]
pub fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let path = path.strip_prefix(b"/")?;
    let mark = path.iter().position(|&byte| byte == MARK)?;
    Some((path.get(..mark)?, path.get(mark + 1..)?))
}

/// The path of a place in the tree.
#[must_use]
pub fn at(below: &Path) -> PathBuf {
    top().join(below.strip_prefix("/").unwrap_or(below))
}

/// How such a path is shown: `C:\Users\max`, invalid bytes as U+FFFD; `None` for a path of another kind.
#[must_use]
pub fn shown(path: &Path) -> Option<String> {
    let (drive, below) = split(path.as_os_str().as_bytes())?;
    let mut text = String::from_utf8_lossy(drive).into_owned();
    let names = below.split(|&byte| byte == b'/').filter(|name| !name.is_empty());
    for name in names {
        text.push('\\');
        text.push_str(&String::from_utf8_lossy(name));
    }
    // A drive alone is where one happens to be on it: its top folder has the separator.
    if text.len() == drive.len() {
        text.push('\\');
    }
    Some(text)
}

/// The exact form, `file:///C:/…`, where [`shown`] would not name it or not show it harmlessly: names with a backslash too.
#[must_use]
pub fn uri(path: &Path) -> Option<String> {
    let (drive, below) = split(path.as_os_str().as_bytes())?;
    let exact = [b"/", drive, below].concat();
    (below.contains(&b'\\') || !is_plain(&exact)).then(|| file_uri(&exact))
}

/// Whether a name of the old kind (`PROGRA~1`, 8 characters and 3) is one that Windows makes of a long name. Which of several it
/// means is known to the disk alone, whose mount shows long names only.
#[must_use]
pub fn is_short_of(short: &str, long: &str) -> bool {
    let parts = |name: &str| match name.rsplit_once('.') {
        Some((stem, ending)) if !stem.is_empty() => (stem.to_owned(), ending.to_owned()),
        _ => (name.to_owned(), String::new()),
    };
    let made = |text: &str, length: usize| -> String {
        let letters = text.chars().filter(|c| !matches!(c, ' ' | '.'));
        let letters =
            letters.map(|c| if matches!(c, '+' | ',' | ';' | '=' | '[' | ']') { '_' } else { c.to_ascii_uppercase() });
        letters.take(length).collect()
    };
    let ((stem, ending), (long_stem, long_ending)) = (parts(short), parts(long));
    let Some((base, number)) = stem.rsplit_once('~') else { return false };
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let fits = |stem: &str, ending: &str| stem.chars().count() <= 8 && ending.chars().count() <= 3;
    let has_none = fits(&long_stem, &long_ending) && !long.contains([' ', '+', ',', ';', '=', '[', ']']);
    let length = 7_usize.saturating_sub(number.len()).min(6);
    is_number
        && fits(&stem, &ending)
        && !has_none
        && made(&long_stem, length) == base.to_ascii_uppercase()
        && made(&long_ending, 3) == ending.to_ascii_uppercase()
}

/// The path that its exact form names.
fn exact(text: &str) -> Option<PathBuf> {
    let bytes = from_file_uri(text)?;
    let below = bytes.strip_prefix(b"/").unwrap_or(&bytes);
    let (first, rest) = below.split_at(below.iter().position(|&byte| byte == b'/').unwrap_or(below.len()));
    let (mut path, rest) = match std::str::from_utf8(first) {
        Ok(name) if is_drive(name) => (drive(&name.to_ascii_uppercase()), rest),
        Ok(server) if server.starts_with(r"\\") => (drive(server), rest),
        _ => (top(), below),
    };
    add(&mut path, rest.split(|&byte| byte == b'/').map(OsStr::from_bytes));
    Some(path)
}

/// Where an absolute path starts, and what stands behind that.
fn absolute(text: &str) -> Option<(PathBuf, &str)> {
    let slash = |text: &str| text.starts_with(['\\', '/']);
    for prefix in [r"\\?\", r"\\.\", r"\??\", "//?/", "//./", "/??/"] {
        if let Some(rest) = text.strip_prefix(prefix) {
            return Some(absolute(rest).unwrap_or((top(), rest)));
        }
    }
    if text == "~" || text.strip_prefix('~').is_some_and(slash) {
        return Some((top().join("Users"), text.strip_prefix('~')?));
    }
    if let Some(rest) = text.strip_prefix(r"\\").or(text.strip_prefix("//")) {
        let server = rest.split(['\\', '/']).next().unwrap_or_default();
        if matches!(server, "." | "?") {
            // The prefix of the kernel's names, with nothing behind it.
            return Some((top(), ""));
        }
        return Some((drive(&format!(r"\\{server}")), rest.strip_prefix(server)?));
    }
    if slash(text) {
        return Some((top(), text));
    }
    let name = text.get(..2).filter(|name| is_drive(name))?.to_ascii_uppercase();
    let rest = text.get(2..)?;
    // `C:x` is meant from where one is; where that is on another drive nobody can know.
    (name != DRIVE || slash(rest)).then(|| (drive(&name), rest))
}

fn is_drive(name: &str) -> bool {
    matches!(name.as_bytes(), [letter, b':'] if letter.is_ascii_alphabetic())
}

fn drive(name: &str) -> PathBuf {
    let name = [b"/", name.as_bytes(), &[MARK]].concat();
    PathBuf::from(OsStr::from_bytes(&name))
}

/// Appends names; `..` goes no further up than the drive.
fn add<'a>(path: &mut PathBuf, names: impl Iterator<Item = &'a OsStr>) {
    for name in names {
        match name.as_bytes() {
            b"" | b"." => {}
            b".." => {
                if path.parent().is_some_and(|parent| parent != Path::new("/")) {
                    path.pop();
                }
            }
            _ => path.push(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_as_windows_reads_them_and_shown_as_it_shows_them() {
        let check = |directory: &str, typed: &str, wanted: &str| {
            let path = resolve(directory, typed);
            assert_eq!(shown(&path).unwrap(), wanted, "{typed} in {directory}");
            assert_eq!(resolve(r"C:\", wanted), path, "{wanted} means the same again");
        };
        check(r"C:\", r"C:\Users\max", r"C:\Users\max");
        check(r"C:\", "c:/Users//max/", r"C:\Users\max");
        check(r"C:\Users", "max", r"C:\Users\max");
        check(r"C:\Users", r"..\..\..\x", r"C:\x");
        check(r"C:\Users", r"\Windows", r"C:\Windows");
        check(r"C:\Users", "/", r"C:\");
        check(r"C:\Users", "C:", r"C:\Users");
        check(r"C:\Users", "c:max", r"C:\Users\max");
        check(r"C:\Users", "~", r"C:\Users");
        check(r"C:\", r"~\max", r"C:\Users\max");
        check(r"C:\", "~x", r"C:\~x");
        check(r"C:\Users", r"D:\x", r"D:\x");
        check(r"C:\", r"\\?\C:\x", r"C:\x");
        check(r"C:\", r"\??\c:\x", r"C:\x");
        check(r"C:\", r"\\server\share\x", r"\\server\share\x");
        check(r"C:\", "file:///c:/a/../b", r"C:\b");
        check("file:///C:/Users", "max", r"C:\Users\max");
    }

    #[test]
    fn short_names_are_those_that_windows_makes() {
        let check = |short: &str, long: &str, is: bool| assert_eq!(is_short_of(short, long), is, "{short} of {long}");
        check("PROGRA~1", "Program Files (x86)", true);
        check("progra~12", "Program Files", false);
        check("progr~12", "Program Files", true);
        check("SOMEAP~1", "Some App", true);
        check("A_B~1.TEX", "a+b.textfile", true);
        check("VERYLO~1.HTM", "very long name.v2.html", true);
        check("SHORT~1", "short", false);
        check("X~1", "x", false);
        check("~1", "long enough name", false);
        check("PROGRA~", "Program Files", false);
        check("PROGRA~1.EXE", "Program Files", false);
        check("ÄÖ~1", "ÄÖ~1", false);
    }

    #[test]
    fn what_is_not_plain_has_an_exact_form() {
        let odd = resolve(r"C:\", "file:///C:/a%5Cb/c%FF%0A");
        assert_eq!(uri(&odd).unwrap(), "file:///C:/a%5Cb/c%FF%0A");
        assert_eq!(resolve(r"C:\", &uri(&odd).unwrap()), odd);
        for bare in [r"\\.", r"\\?", "//.", "//?"] {
            assert_eq!(resolve(r"C:\", bare), top(), "{bare}");
        }
        let server = resolve(r"C:\", "\\\\a\u{1}\\b");
        assert_eq!(resolve(r"C:\", &uri(&server).unwrap()), server);
        assert_eq!(uri(&resolve(r"C:\", r"C:\Program Files\x")), None);
        assert_eq!((shown(Path::new("/C:/x")), uri(Path::new("/C:/x"))), (None, None));
        assert_eq!(split(resolve(r"C:\", r"C:\x\y").as_os_str().as_bytes()), Some((&b"C:"[..], &b"/x/y"[..])));
    }
}
