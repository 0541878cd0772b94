//! What a test needs beyond a Rust toolchain: packages, rights, a kernel's good will.
//!
//! Without it the test says so loudly and passes; under `.ci/run` (`LRSH_CI=1`), which installs what is needed, it fails.

use std::path::PathBuf;

/// Whether every one of these programs is on the path: `if !need(&["zsh", "tmux"]) { return; }`.
pub fn need(programs: &[&str]) -> bool {
    let missing: Vec<&str> = programs.iter().copied().filter(|program| find(program).is_none()).collect();
    missing.is_empty() || skip(&format!("{} not installed", missing.join(", ")))
}

/// Says why a test cannot run here; always `false`. Fails under `.ci/run`.
pub fn skip(why: &str) -> bool {
    let test = std::thread::current().name().unwrap_or("?").to_owned();
    assert!(std::env::var_os("LRSH_CI").is_none(), "{test} was skipped under .ci/run: {why}");
    eprintln!("SKIPPED {test}: {why}");
    false
}

/// How many rounds a series (kill -9, swaps, resumes) runs: `LRSH_SERIES`, or 10.
pub fn rounds() -> u32 {
    std::env::var("LRSH_SERIES").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(10)
}

/// Where a program is.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let sbin = ["/usr/sbin", "/sbin"].into_iter().map(PathBuf::from);
    std::env::split_paths(&path).chain(sbin).map(|folder| folder.join(program)).find(|file| file.is_file())
}
