//! `persistence`: everything that starts by itself, as one object of lists.

use indexmap::IndexMap;
use serde::Serialize;
use serde_json::Value;

use super::scheduledtasks;

use crate::agent::context::{Context, VerbResult};
use crate::agent::path::{lossy, uri};
use crate::agent::platform::startup_item::About;
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
    /// Whether the file, and what it runs, is as a package shipped it.
    shipped: Option<bool>,
    package: Option<&'a str>,
    technique: &'static str,
    user: Option<&'a str>,
    enabled: Option<bool>,
    /// The generator that writes it at each boot.
    #[serde(skip_serializing_if = "Option::is_none")]
    made_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_uri: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    #[serde(flatten)]
    own: Option<Own<'a>>,
}

/// What the command for its kind tells of it, under the names that it uses.
#[derive(Serialize)]
#[serde(untagged)]
enum Own<'a> {
    Startup {
        #[serde(rename = "filePath")]
        file_path: String,
        #[serde(rename = "executablePath")]
        executable_path: Option<&'a str>,
        category: &'static str,
    },
    Value {
        reg_path: &'a str,
        /// The last part of the key, and the value.
        display_name: String,
        value_name: Option<&'a str>,
        value_type: Option<&'a str>,
        value: &'a Value,
    },
    Task {
        id: &'a str,
        is_enabled: bool,
        task: Box<scheduledtasks::Definition<'a>>,
    },
}

pub(super) fn run(ctx: &mut Context) -> VerbResult {
    let found = ctx.agent.platform.persistent(&ctx.stop, &ctx.meter)?;
    let mut autoruns: IndexMap<&'static str, Vec<Entry<'_>>> = LISTS.into_iter().map(|list| (list, Vec::new())).collect();
    for one in &found.all {
        autoruns.entry(one.category).or_default().push(entry(one));
    }
    for doubt in found.doubts.iter().cloned().chain(ctx.agent.platform.doubts()) {
        ctx.problem(doubt);
    }
    ctx.object(&Answer { autoruns })
}

fn entry(one: &Persistent) -> Entry<'_> {
    Entry {
        location: match (&one.place, one.line) {
            (Some(place), _) => place.clone(),
            (None, Some(line)) => format!("{}:{line}", lossy(&one.file)),
            (None, None) => lossy(&one.file),
        },
        runs: one.runs.as_deref(),
        modified: one.modified,
        shipped: one.shipped,
        package: one.package.as_deref(),
        technique: one.technique,
        user: one.user.as_deref(),
        enabled: one.enabled,
        made_by: one.made_by.as_deref().map(lossy),
        path_uri: uri(&one.file),
        error: one.error.as_deref(),
        own: own(&one.about),
    }
}

fn own(about: &About) -> Option<Own<'_>> {
    match about {
        About::Nothing => None,
        About::Startup(item) => Some(Own::Startup {
            file_path: lossy(&item.file),
            executable_path: item.program.as_deref(),
            category: item.category.as_str(),
        }),
        About::Value(item) => {
            let key = item.path.rsplit('\\').next().unwrap_or_default();
            let name = item.name.as_deref();
            let display_name = format!("{key} -> {}", name.unwrap_or_default());
            let value_type = item.kind.as_deref();
            Some(Own::Value { reg_path: &item.path, display_name, value_name: name, value_type, value: &item.value })
        }
        About::Task(task) => {
            let scheduledtasks::Row { id, is_enabled, task, .. } = scheduledtasks::row(task);
            Some(Own::Task { id, is_enabled, task: Box::new(task) })
        }
    }
}
