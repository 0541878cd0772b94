//! Where things are on a Windows disk: variables within paths, and the program at the head of a command line.

use std::path::PathBuf;

use crate::agent::platform::{Root, drive};

/// The variables that paths in the registry are written with, for the machine.
const VARIABLES: [(&str, &str); 9] = [
    ("systemroot", r"C:\Windows"),
    ("windir", r"C:\Windows"),
    ("systemdrive", "C:"),
    ("programfiles", r"C:\Program Files"),
    ("programfiles(x86)", r"C:\Program Files (x86)"),
    ("commonprogramfiles", r"C:\Program Files\Common Files"),
    ("programdata", r"C:\ProgramData"),
    ("allusersprofile", r"C:\ProgramData"),
    ("public", r"C:\Users\Public"),
];
/// The same for a user, below the profile's folder.
const OWN: [(&str, &str); 4] = [
    ("userprofile", ""),
    ("appdata", r"\AppData\Roaming"),
    ("localappdata", r"\AppData\Local"),
    ("temp", r"\AppData\Local\Temp"),
];

/// The text with its variables replaced, as far as they are known: those of a user only where the profile's folder is.
#[must_use]
pub fn expand(text: &str, profile: Option<&str>) -> String {
    let mut whole = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('%') {
        whole.push_str(before);
        let Some((name, after)) = behind.split_once('%') else {
            whole.push('%');
            rest = behind;
            continue;
        };
        let name = name.to_lowercase();
        let machine = VARIABLES.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        let own = || Some(format!("{}{}", profile?, OWN.iter().find(|(known, _)| *known == name)?.1));
        if let Some(value) = machine.or_else(own) {
            whole.push_str(&value);
            rest = after;
        } else {
            whole.push('%');
            rest = behind;
        }
    }
    whole + rest
}

/// A path of the disk as services and tasks write it: with variables, from `\SystemRoot`, or below the folder of Windows.
#[must_use]
pub fn path(root: &Root, text: &str) -> PathBuf {
    let text = expand(text.trim().trim_matches('"'), None);
    let windows = |rest: &str| drive::below(drive::resolve(r"C:\", "Windows"), rest);
    root.spelled(&drive::of_text(&text).unwrap_or_else(|| windows(&text)))
}

/// The program of a command line and its arguments. Where blanks are not quoted, Windows tries each of them as the end of the
/// program's name, and so does this; where none is there, the name ends where it looks like one.
#[must_use]
pub fn split(root: &Root, command: &str) -> (String, Option<String>) {
    let command = command.trim();
    let arguments = |rest: &str| Some(rest.trim().to_owned()).filter(|rest| !rest.is_empty());
    if let Some((program, rest)) = command.strip_prefix('"').and_then(|quoted| quoted.split_once('"')) {
        return (program.to_owned(), arguments(rest));
    }
    let ends = command.match_indices(' ').map(|(at, _)| at).chain([command.len()]).take(64);
    for end in ends {
        let (program, rest) = command.split_at_checked(end).unwrap_or((command, ""));
        let is_file = |text: &str| root.facts(&path(root, text)).is_ok_and(|facts| facts.is_file());
        if is_file(program) || is_file(&format!("{program}.exe")) {
            return (program.to_owned(), arguments(rest));
        }
    }
    let lower = command.to_ascii_lowercase();
    let ends =
        [".exe", ".sys", ".dll", ".com", ".bat", ".cmd"].into_iter().filter_map(|end| Some(lower.find(end)? + end.len()));
    let end = ends.filter(|&end| matches!(lower.as_bytes().get(end), None | Some(b' '))).min();
    let end = end.or_else(|| command.find(' ')).unwrap_or(command.len());
    let (program, rest) = command.split_at_checked(end).unwrap_or((command, ""));
    (program.to_owned(), arguments(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_replaced_where_they_are_known() {
        let check = |text: &str, wanted: &str| assert_eq!(expand(text, Some(r"C:\Users\max")), wanted);
        check(r"%SystemRoot%\System32\x.exe", r"C:\Windows\System32\x.exe");
        check(r"%APPDATA%\x %windir%", r"C:\Users\max\AppData\Roaming\x C:\Windows");
        check("100% of %unknown% is %1", "100% of %unknown% is %1");
        check("%", "%");
        assert_eq!(expand("%APPDATA%", None), "%APPDATA%");
    }

    #[test]
    fn a_program_ends_where_windows_ends_it() {
        let folder = tempfile::tempdir().unwrap();
        let windows = folder.path().join("WINDOWS/system32/CONFIG");
        std::fs::create_dir_all(&windows).unwrap();
        std::fs::write(windows.join("system"), "").unwrap();
        std::fs::create_dir_all(folder.path().join("Program Files/Some App")).unwrap();
        std::fs::write(folder.path().join("Program Files/Some App/run.exe"), "").unwrap();
        let root = Root::at(folder.path()).unwrap();
        assert!(root.is_windows());
        let check = |command: &str, program: &str, arguments: Option<&str>| {
            assert_eq!(split(&root, command), (program.to_owned(), arguments.map(ToOwned::to_owned)), "{command}");
        };
        check(r#""C:\a b\c.exe" -x "y z""#, r"C:\a b\c.exe", Some(r#"-x "y z""#));
        check(r"C:\program files\some app\run -k", r"C:\program files\some app\run", Some("-k"));
        check(r"C:\gone\a b.exe -k", r"C:\gone\a b.exe", Some("-k"));
        check(r"%windir%\x.exe", r"%windir%\x.exe", None);
        check("rundll32 a.dll,b", "rundll32", Some("a.dll,b"));
        check("", "", None);
        let shown = |text: &str| drive::shown(&path(&root, text)).unwrap();
        assert_eq!(shown(r"\SystemRoot\System32\x.sys"), r"C:\WINDOWS\system32\x.sys");
        assert_eq!(shown(r"system32\DRIVERS\x.sys"), r"C:\WINDOWS\system32\DRIVERS\x.sys");
        assert_eq!(shown(r"\??\C:\PROGRAM FILES\some app\RUN.exe"), r"C:\Program Files\Some App\run.exe");
    }
}
