//! A path as it is typed: where its last part begins, by the device's own separators.

use crate::protocol::PlatformName;
use crate::protocol::text::file_uri;

/// What is typed before the last part of a path (separator included), and that part.
pub(super) fn split(typed: &str, platform: Option<PlatformName>) -> (&str, &str) {
    let is_separator = |c: char| c == '/' || c == '\\' && platform == Some(PlatformName::Windows) && !is_uri(typed);
    typed.split_at_checked(typed.rfind(is_separator).map_or(0, |at| at + 1)).unwrap_or(("", typed))
}

/// Whether a folder needs no directory to stand in.
pub(super) fn is_absolute(folder: &str, platform: Option<PlatformName>) -> bool {
    let drive = folder.get(1..3).is_some_and(|rest| rest == ":\\" || rest == ":/");
    folder.starts_with(['/', '~'])
        || is_uri(folder)
        || platform == Some(PlatformName::Windows) && (drive || folder.starts_with('\\'))
}

/// Whether a path is typed in its exact form.
pub(super) fn is_uri(typed: &str) -> bool {
    typed.starts_with("file:///")
}

/// The separator that a folder is given: the one its path is typed with.
pub(super) fn separator(folder: &str, platform: Option<PlatformName>) -> char {
    let is_windows = platform == Some(PlatformName::Windows) && !is_uri(folder);
    if is_windows && !folder.ends_with('/') { '\\' } else { '/' }
}

/// A name as a `file:///` form writes it.
pub(super) fn encoded(name: &str) -> String {
    let uri = file_uri(format!("/{name}").as_bytes());
    uri.strip_prefix("file:///").unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_split_at_the_separators_of_its_device() {
        let check = |typed, platform, wanted| assert_eq!(split(typed, Some(platform)), wanted, "{typed}");
        check("/etc/pas", PlatformName::Linux, ("/etc/", "pas"));
        check("pas", PlatformName::Linux, ("", "pas"));
        check(r"/a\b", PlatformName::Linux, ("/", r"a\b"));
        check(r"C:\Windows\Sys", PlatformName::Windows, (r"C:\Windows\", "Sys"));
        check("C:/Windows/Sys", PlatformName::Windows, ("C:/Windows/", "Sys"));
        check("file:///tmp/ba%5C", PlatformName::Windows, ("file:///tmp/", "ba%5C"));
        assert_eq!(separator(r"C:\", Some(PlatformName::Windows)), '\\');
        assert_eq!(separator("C:/", Some(PlatformName::Windows)), '/');
        assert_eq!(separator("", Some(PlatformName::Linux)), '/');
        assert!(is_absolute(r"C:\", Some(PlatformName::Windows)) && !is_absolute("a/", Some(PlatformName::Linux)));
        assert_eq!(encoded("a b\n"), "a%20b%0A");
    }
}
