//! Under which name a device's file is kept here: never one that the device could have chosen to do harm.

use std::path::{Path, PathBuf};

use crate::protocol::text::{is_hostile, is_lone_mark};

/// Names are cut to this many bytes: room for ` (99).zip.part.json` within the 255 of most file systems.
const MAX_NAME: usize = 200;

/// A name that is harmless in any folder, on any system, and on any terminal.
#[must_use]
pub fn safe(name: &str) -> String {
    // Only what is behind the last separator: the rest is where it was, not what it is called.
    let base = name.rsplit(['/', '\\']).find(|part| !part.is_empty()).unwrap_or_default();
    let mut before = None;
    let lone = |before: &mut Option<char>, c: char| is_lone_mark(before.replace(c), c);
    let mut kept: String = base.chars().map(|c| if is_harmless(c) && !lone(&mut before, c) { c } else { '_' }).collect();
    // Windows drops blanks and dots at the end, and what is left could be another file's name.
    kept.truncate(kept.trim_end_matches([' ', '.']).len());
    while kept.len() > MAX_NAME {
        kept.pop();
    }
    if kept.is_empty() {
        kept.push_str("file");
    }
    let stem = kept.split('.').next().unwrap_or_default().trim_end().to_ascii_lowercase();
    if is_reserved(&stem) || kept.starts_with('-') {
        kept.insert(0, '_');
    }
    kept
}

fn is_harmless(c: char) -> bool {
    !is_hostile(c) && c != char::REPLACEMENT_CHARACTER && !matches!(c, ':' | '*' | '?' | '"' | '<' | '>' | '|')
}

/// Whether Windows takes a name for a device.
fn is_reserved(stem: &str) -> bool {
    let numbered =
        |kind| stem.strip_prefix(kind).is_some_and(|number| number.len() == 1 && number.bytes().all(|c| c.is_ascii_digit()));
    matches!(stem, "con" | "prn" | "aux" | "nul") || numbered("com") || numbered("lpt")
}

/// The names to try, in order: `a.txt`, `a (1).txt`, `a (2).txt`, …
pub fn candidates(folder: &Path, name: &str) -> impl Iterator<Item = PathBuf> {
    let path = Path::new(name);
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let extension = path.extension().map(|extension| format!(".{}", extension.to_string_lossy())).unwrap_or_default();
    let (folder, name) = (folder.to_owned(), name.to_owned());
    (0..1000).map(move |n| match n {
        0 => folder.join(&name),
        n => folder.join(format!("{stem} ({n}){extension}")),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hostile_names_become_harmless() {
        let check = |name: &str, kept: &str| assert_eq!(safe(name), kept, "{name:?}");
        check("auth.log", "auth.log");
        check(".bashrc", ".bashrc");
        check("über 文件.txt", "über 文件.txt");
        check("../../etc/passwd", "passwd");
        check("..\\..\\boot.ini", "boot.ini");
        check("..", "file");
        check("...", "file");
        check("", "file");
        check("a\nb\x1b[2J", "a_b_[2J");
        check("exe.\u{202e}txt", "exe._txt");
        check("a: b?.", "a_ b_");
        check("CON", "_CON");
        check("nul.txt", "_nul.txt");
        check("com1 .log", "_com1 .log");
        check("common", "common");
        check("-rf", "_-rf");
    }

    #[test]
    fn a_second_one_is_numbered() {
        let names: Vec<_> = candidates(Path::new("/d"), "a.tar.gz").take(3).collect();
        assert_eq!(names, [Path::new("/d/a.tar.gz"), Path::new("/d/a.tar (1).gz"), Path::new("/d/a.tar (2).gz")]);
    }

    proptest! {
        #[test]
        fn whatever_comes_stays_in_its_folder(name in any::<String>()) {
            let kept = safe(&name);
            prop_assert!(!kept.is_empty() && kept.len() <= MAX_NAME + 1);
            prop_assert!(!kept.contains(['/', '\\', '\0']) && kept != "." && kept != "..");
            prop_assert!(!kept.chars().any(is_hostile));
        }
    }
}
