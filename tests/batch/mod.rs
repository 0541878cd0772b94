//! Transcripts on the real program through the real background process, each in a home of its own.

mod codes;
mod curl;
mod first_minute;
mod hostile;
mod input;
mod jobs;
mod precheck;
mod redirect;
mod truth;
mod view;

/// Sends a process a signal: `INT`, `TERM`, …
fn signal(pid: u32, name: &str) {
    assert!(std::process::Command::new("kill").args(["-s", name, &pid.to_string()]).status().unwrap().success());
}

/// Looks again and again until it is so.
#[track_caller]
fn until(what: &str, is_so: impl Fn() -> bool) {
    let begun = std::time::Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < std::time::Duration::from_mins(1), "never seen: {what}");
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}
