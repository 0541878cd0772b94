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

/// A name as Windows takes it: without dots and blanks at its end, and without the stream that every file has; `None` where that
/// is the name itself.
#[must_use]
pub fn plain_name(name: &OsStr) -> Option<&OsStr> {
    const STREAM: &[u8] = b"::$DATA";
    let bytes = name.as_bytes();
    let (file, stream) = bytes.split_at(bytes.len().saturating_sub(STREAM.len()));
    let file = if stream.eq_ignore_ascii_case(STREAM) { file } else { bytes };
    let end = file.iter().rposition(|byte| !matches!(byte, b'.' | b' '))?;
    let plain = file.get(..=end)?;
    (plain.len() < bytes.len()).then(|| OsStr::from_bytes(plain))
}

/// Why a path may not be there that is typed as Windows would take it, as a clause.
#[must_use]
pub fn hint(path: &Path) -> Option<String> {
    let shown = shown(path)?;
    let mut names = shown.split('\\').skip(1);
    if names.any(|name| name.contains(':')) {
        let streams = "what stands behind a colon is a stream of a file, and streams are there only where the mount shows them \
                       (ntfs-3g: streams_interface=windows)";
        return Some(streams.to_owned());
    }
    let variable = shown.split('%').nth(1).filter(|name| !name.is_empty() && shown.matches('%').count() > 1)?;
    Some(format!("%{variable}% is no variable that is known of a disk: name the folder itself"))
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
        Ok(other) if other.starts_with('\\') => (drive(other), rest),
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
            return Some(of_kernel(rest));
        }
    }
    if text == "~" || text.strip_prefix('~').is_some_and(slash) {
        return Some((top().join("Users"), text.strip_prefix('~')?));
    }
    if let Some(rest) = text.strip_prefix(r"\\").or(text.strip_prefix("//")) {
        return Some(network(rest));
    }
    if let Some((name, rest)) = text.get(1..).filter(|_| slash(text)).and_then(|rest| rest.split_once(['\\', '/']))
        && name.eq_ignore_ascii_case("Device")
    {
        // Which of them is the disk below the root nobody can know.
        let (volume, rest) = first(rest);
        if volume.get(..8).is_some_and(|start| start.eq_ignore_ascii_case("Harddisk")) {
            return Some((drive(&format!(r"\Device\{volume}")), rest));
        }
    }
    if let Some(rest) = strip(text, r"\SystemRoot").filter(|rest| rest.is_empty() || slash(rest)) {
        return Some((top().join("Windows"), rest));
    }
    if slash(text) {
        return Some((top(), text));
    }
    let name = text.get(..2).filter(|name| is_drive(name))?.to_ascii_uppercase();
    let rest = text.get(2..)?;
    // `C:x` is meant from where one is; where that is on another drive nobody can know.
    (name != DRIVE || slash(rest)).then(|| (drive(&name), rest))
}

/// The first name of a path, and what stands behind it.
fn first(text: &str) -> (&str, &str) {
    text.split_at(text.find(['\\', '/']).unwrap_or(text.len()))
}

/// What stands behind a beginning, in any case.
fn strip<'a>(text: &'a str, start: &str) -> Option<&'a str> {
    let (head, rest) = text.split_at_checked(start.len())?;
    head.eq_ignore_ascii_case(start).then_some(rest)
}

/// Where a path behind the prefix of the kernel's names starts.
fn of_kernel(text: &str) -> (PathBuf, &str) {
    let (name, rest) = first(text);
    let inner = rest.get(1..).unwrap_or_default();
    if name.eq_ignore_ascii_case("UNC") && !inner.is_empty() {
        return network(inner);
    }
    if name.eq_ignore_ascii_case("GLOBALROOT") {
        return absolute(rest).unwrap_or((top(), rest));
    }
    if strip(name, "Volume{").is_some() {
        // Without the question mark, which would make it a pattern.
        return (drive(&format!(r"\\.\{name}")), rest);
    }
    absolute(text).unwrap_or((top(), text))
}

/// Where a path of the network starts. This machine's own shares of its drives are those.
fn network(text: &str) -> (PathBuf, &str) {
    let (server, rest) = first(text);
    if matches!(server, "." | "?") {
        // The prefix of the kernel's names, with nothing behind it.
        return (top(), "");
    }
    let (share, below) = first(rest.get(1..).unwrap_or_default());
    let here = ["localhost", "127.0.0.1", "::1", "0--1.ipv6-literal.net"].iter().any(|name| name.eq_ignore_ascii_case(server));
    match share.as_bytes() {
        [letter, b'$'] if here && letter.is_ascii_alphabetic() => {
            (drive(&format!("{}:", char::from(letter.to_ascii_uppercase()))), below)
        }
        _ => (drive(&format!(r"\\{server}")), rest),
    }
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
        check(r"C:\", r"\\server\C$\x", r"\\server\C$\x");
        check(r"C:\", r"\\LOCALHOST\c$\x", r"C:\x");
        check(r"C:\", r"\\127.0.0.1\d$", r"D:\");
        check(r"C:\", r"\\?\UNC\localhost\C$\x", r"C:\x");
        check(r"C:\", r"\\?\unc\server\share", r"\\server\share");
        check(r"C:\", r"\SystemRoot\x", r"C:\Windows\x");
        check(r"C:\", r"\\?\Volume{4c1b02c1}\x", r"\\.\Volume{4c1b02c1}\x");
        check(r"C:\", r"\Device\HarddiskVolume3\x", r"\Device\HarddiskVolume3\x");
        check(r"C:\", r"\Devices\x", r"C:\Devices\x");
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
    fn names_end_where_windows_ends_them() {
        let check = |name: &str, plain: Option<&str>| assert_eq!(plain_name(OsStr::new(name)), plain.map(OsStr::new), "{name}");
        check("x", None);
        check("x. .", Some("x"));
        check("x::$Data", Some("x"));
        check("x.::$DATA", Some("x"));
        check("x:y", None);
        check("...", None);
        check("::$DATA", None);
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
