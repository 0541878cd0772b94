//! What shells, desktops and what converts text read: readline(3), mailcap(5), gconv-modules.

use super::{Told, each};

/// Folders that a package puts programs into.
const INSTALLED: [&str; 7] = ["/usr/bin/", "/usr/sbin/", "/usr/lib/", "/usr/libexec/", "/usr/share/", "/bin/", "/sbin/"];

/// Macros of readline's settings, which type for the user, and what these include.
#[must_use]
pub fn key_macros(text: &str) -> Told {
    each(text, |line| {
        if line.to_ascii_lowercase().starts_with("$include") {
            return Some(line.to_owned());
        }
        let value = match line.strip_prefix('"') {
            Some(rest) => rest.split_once("\":")?.1,
            None => line.split_once(':')?.1,
        };
        value.trim_start().starts_with(['"', '\'']).then(|| line.to_owned())
    })
}

/// Lines that name a file outside the folders that packages put programs into.
#[must_use]
pub fn programs_elsewhere(text: &str) -> Told {
    each(text, |line| {
        let ends = |letter: char| letter.is_whitespace() || "\"'=;|&()`".contains(letter);
        let mut files = line.split(ends).filter(|word| word.starts_with('/') && word.len() > 1);
        let is_odd = |file: &str| file.contains("/../") || !INSTALLED.iter().any(|folder| file.starts_with(folder));
        files.any(|file| is_odd(file) && !file.starts_with("/dev/null")).then(|| line.to_owned())
    })
}

/// Modules of iconv(3) that lie elsewhere than the others.
#[must_use]
pub fn converter_modules(text: &str) -> Told {
    each(text, |line| {
        let mut words = line.split_whitespace();
        let is_module = words.next() == Some("module");
        words.nth(2).is_some_and(|file| is_module && file.contains('/')).then(|| line.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::platform::linux::persistence::lines::tests::check;

    #[test]
    fn what_types_or_shows_for_a_user_is_told() {
        check(
            key_macros,
            "set bell-style none\n\"\\e[1~\": beginning-of-line\n\"\\r\": \"\\C-a/tmp/x;\\C-e\\n\"\nControl-o: \"> output\"\n$include /tmp/y",
            &[(3, "\"\\r\": \"\\C-a/tmp/x;\\C-e\\n\""), (4, "Control-o: \"> output\""), (5, "$include /tmp/y")],
        );
        check(
            programs_elsewhere,
            "text/html; /usr/bin/w3m %s; test=test -n \"$DISPLAY\"\ntext/plain; /tmp/x %s\n/usr/sbin/gdm3\nless '%s' > /dev/null\nx; /usr/local/bin/y",
            &[(2, "text/plain; /tmp/x %s"), (5, "x; /usr/local/bin/y")],
        );
        check(
            converter_modules,
            "module INTERNAL E// E 1\nmodule E// INTERNAL /tmp/x 1\nalias a b",
            &[(2, "module E// INTERNAL /tmp/x 1")],
        );
    }
}
