//! What a newcomer does first, with nothing configured.

use crate::kit::shell::Home;

#[test]
fn it_needs_nothing_but_the_program() {
    let home = Home::new();
    let ran = home.batch("help\nprocesses\ndir /etc\nfileinfo /etc/passwd\nexit\n").run().code(0);
    let out = ran.out();
    for wanted in [
        "Looking\n",
        "  processes ",
        "memory (K)",
        &format!(" {} ", std::process::id()),
        "hostname",
        "\"/etc/passwd\"",
        &sha256("/etc/passwd"),
    ] {
        assert!(out.contains(wanted), "{wanted:?} is not in {out}");
    }
    // What is said beside the answers: one line, and nothing of it among the answers.
    assert_eq!(ran.err().lines().count(), 1, "{}", ran.err());
    assert!(ran.err().starts_with("connected to "), "{}", ran.err());
    assert!(!out.contains('\x1b') && !out.contains("connected to"));
    // Nothing is left to anyone else's eyes.
    for entry in walkdir(home.path()) {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::symlink_metadata(&entry).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{} is {mode:o}", entry.display());
    }
}

fn sha256(file: &str) -> String {
    use sha2::Digest;
    sha2::Sha256::digest(std::fs::read(file).unwrap()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Everything the program has made in a home.
fn walkdir(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        if entry.file_name() == "work" {
            continue;
        }
        if entry.path().is_dir() {
            found.extend(walkdir(&entry.path()));
        }
        found.push(entry.path());
    }
    found
}
