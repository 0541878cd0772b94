//! Named points at which a test ends the process as a crash would: `LRSH_FAULT=journal.intent.after_fsync:3:abort` at the third
//! time that the point is reached; `panic` and `hang` make only the thread that reaches it fail, or never come back. Without the
//! feature `faults` there is nothing of this in the program.

/// Every point. A test aborts at each, and fails when one is never reached.
pub const POINTS: &[&str] = &[
    "journal.intent.before_fsync",
    "journal.intent.after_fsync",
    "journal.close.before_fsync",
    "journal.close.after_fsync",
    "quarantine.after_rename",
    "quarantine.after_compare",
    "quarantine.after_seal",
    "quarantine.after_sync",
    "quarantine.after_copy",
    "quarantine.after_unlink",
    "putback.after_unseal",
    "putback.after_rename",
    "putback.after_sync",
    "putback.after_write",
    "putback.after_copy",
    "putback.after_link",
    "effect.before_told",
    "rewrite.after_write",
    "rewrite.after_exchange",
    "rewrite.after_rename",
    "rewrite.before_return",
    "rewrite.after_return",
    "line_back.after_write",
    "line_back.after_exchange",
    "journal.step.before_fsync",
    "journal.step.after_fsync",
    "evidence.after_folder",
    "evidence.after_file",
    "evidence.after_all",
    "journal.halt.before_fsync",
    "journal.halt.after_fsync",
    "process.after_halt",
    "journal.go_on.before_fsync",
    "journal.go_on.after_fsync",
    "process.after_kill",
    "service.after_manage",
    "service.after_disable",
    "service.after_mask",
    "journal.expire.before_fsync",
    "journal.expire.after_fsync",
    "journal.clock.before_fsync",
    "journal.clock.after_fsync",
    "collect.part",
    "collect.before_name",
    "collect.after_name",
];

/// A point. Does nothing unless `LRSH_FAULT` names it.
#[cfg(feature = "faults")]
pub fn point(name: &str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};
    static WANTED: OnceLock<Option<(String, u64, String)>> = OnceLock::new();
    static REACHED: AtomicU64 = AtomicU64::new(0);
    let wanted = WANTED.get_or_init(|| {
        let fault = std::env::var("LRSH_FAULT").ok()?;
        let mut parts = fault.split(':');
        Some((parts.next()?.to_owned(), parts.next()?.parse().ok()?, parts.next()?.to_owned()))
    });
    if let Some((wanted, count, action)) = wanted
        && wanted == name
        && REACHED.fetch_add(1, Ordering::SeqCst) + 1 == *count
    {
        match action.as_str() {
            "abort" => {
                tracing::error!(name, "aborting, as LRSH_FAULT asks");
                std::process::abort();
            }
            "panic" => std::panic::resume_unwind(Box::new(name.to_owned())),
            "hang" => loop {
                std::thread::park();
            },
            _ => {}
        }
    }
}

/// A point, in a program without them.
#[cfg(not(feature = "faults"))]
#[inline]
pub fn point(_name: &str) {}
