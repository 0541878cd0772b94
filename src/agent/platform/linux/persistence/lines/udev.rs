//! What rules of udev(7) run.

use super::{Told, each_of, joined};

/// Programs of udev(7)'s rules, and units that they start.
#[must_use]
pub fn udev_commands(text: &str) -> Told {
    each_of(joined(text, false).into_iter(), |line| {
        let runs: Vec<String> =
            pairs(line).into_iter().filter(|(key, value)| runs(key) && !value.is_empty()).map(|(_, value)| value).collect();
        (!runs.is_empty()).then(|| runs.join("; "))
    })
}

fn runs(key: &str) -> bool {
    matches!(key, "RUN" | "RUN{program}" | "PROGRAM" | "IMPORT{program}" | "ENV{SYSTEMD_WANTS}" | "ENV{SYSTEMD_USER_WANTS}")
}

/// The keys of a rule, their operators left out, and their values.
fn pairs(line: &str) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    let mut key = String::new();
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            // `e"…"` is a value in which a backslash means something.
            '"' => {
                let is_escaped = key.ends_with("=e");
                let mut value = String::new();
                while let Some(letter) = letters.next() {
                    match letter {
                        '"' => break,
                        '\\' if is_escaped || letters.peek() == Some(&'"') => value.extend(letters.next()),
                        letter => value.push(letter),
                    }
                }
                let name = key.trim_end_matches('e').trim_end_matches(['=', '+', ':', '-', '!']);
                pairs.push((name.to_owned(), value));
                key.clear();
            }
            ',' => key.clear(),
            letter if letter.is_whitespace() => {}
            letter => key.push(letter),
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::platform::linux::persistence::lines::tests::check;

    #[test]
    fn programs_are_told_in_every_spelling() {
        check(
            udev_commands,
            "ACTION==\"add\", RUN+=\"/tmp/x %k\", RUN{program}+=\"/y\"\nIMPORT{program}=\"z\"\nNAME=\"RUN\"",
            &[(1, "/tmp/x %k; /y"), (2, "z")],
        );
        check(
            udev_commands,
            "ACTION==\"add\", RUN+=e\"/tmp/a \\\"b\\\"\"\nACTION==\"add\", \\\n RUN += \\\n\"/tmp/c\"\n# RUN=\"d\"\nENV{SYSTEMD_WANTS}+=\"e.service\"",
            &[(1, "/tmp/a \"b\""), (2, "/tmp/c"), (6, "e.service")],
        );
        check(udev_commands, "RUN{builtin}+=\"kmod load\", RUN=\"\"\nRUN+=\"open", &[(2, "open")]);
    }
}
