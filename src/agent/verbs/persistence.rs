//! `persistence`: everything that starts by itself, as one object of lists.

use indexmap::IndexMap;
use serde::Serialize;

use crate::agent::context::{Context, VerbResult};
use crate::agent::path::{lossy, uri};
use crate::agent::platform::{Persistent, Time};

/// The lists, in order: each is there, empty or not.
const LISTS: [&str; 19] = [
    "startup_folders",
    "registry",
    "schedule_tasks",
    "services",
    "shell_profiles",
    "preload",
    "kernel_modules",
    "authorized_keys",
    "pam",
    "udev",
    "init",
    "at",
    "motd",
    "package_hooks",
    "web",
    "ssh",
    "network",
    "privileges",
    "other",
];

#[derive(Serialize)]
struct Answer<'a> {
    autoruns: IndexMap<&'static str, Vec<Entry<'a>>>,
}

#[derive(Serialize)]
struct Entry<'a> {
    /// The file, and the line behind a colon.
    location: String,
    runs: Option<&'a str>,
    modified: Option<Time>,
    /// Whether the file is as its package shipped it.
    shipped: Option<bool>,
    package: Option<&'a str>,
    technique: &'static str,
    user: Option<&'a str>,
    enabled: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_uri: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

pub(super) fn run(ctx: &mut Context) -> VerbResult {
    let found = ctx.agent.platform.persistent(&ctx.stop)?;
    let mut autoruns: IndexMap<&'static str, Vec<Entry<'_>>> = LISTS.into_iter().map(|list| (list, Vec::new())).collect();
    for one in &found {
        autoruns.entry(one.category).or_default().push(entry(one));
    }
    ctx.object(&Answer { autoruns })
}

fn entry(one: &Persistent) -> Entry<'_> {
    Entry {
        location: match one.line {
            Some(line) => format!("{}:{line}", lossy(&one.file)),
            None => lossy(&one.file),
        },
        runs: one.runs.as_deref(),
        modified: one.modified,
        shipped: one.shipped,
        package: one.package.as_deref(),
        technique: one.technique,
        user: one.user.as_deref(),
        enabled: one.enabled,
        path_uri: uri(&one.file),
        error: one.error.as_deref(),
    }
}
