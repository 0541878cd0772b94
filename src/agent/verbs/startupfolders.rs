//! `startupfolders`: what is run or read when the device starts or somebody logs in.

use serde::Serialize;

use crate::agent::context::{Context, VerbResult};
use crate::agent::identity::ItemIdentity;
use crate::agent::path::{key, lossy, uri};
use crate::agent::platform::{StartupItem, Time};
use crate::protocol::SeenItem;

/// Every field of a row, in order. The last are there only where they are needed.
const KEYS: &[&str] = &[
    "filePath",
    "executablePath",
    "category",
    "user",
    "enabled",
    "command",
    "only_show_in",
    "modified",
    "sha256",
    "path_uri",
    "error",
];

/// How many are told as seen in one event.
const SEEN: usize = 512;

#[derive(Serialize)]
struct Row<'a> {
    #[serde(rename = "filePath")]
    file_path: String,
    #[serde(rename = "executablePath")]
    executable_path: Option<&'a str>,
    category: &'static str,
    user: Option<&'a str>,
    enabled: bool,
    command: Option<&'a str>,
    only_show_in: &'a [String],
    modified: Option<Time>,
    sha256: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_uri: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

pub(super) fn run(ctx: &mut Context) -> VerbResult {
    let found = ctx.agent.platform.startup_items(&ctx.stop)?;
    ctx.table(KEYS)?;
    // First what was seen, so that a view that has enough rows cannot cut it off.
    for some in found.all.chunks(SEEN) {
        ctx.seen("startupfolder", some.iter().map(seen).collect())?;
    }
    for item in &found.all {
        ctx.row(&row(item))?;
    }
    for doubt in found.doubts.into_iter().chain(ctx.agent.platform.doubts()) {
        ctx.problem(doubt);
    }
    Ok(())
}

fn seen(item: &StartupItem) -> SeenItem {
    let identity = ItemIdentity { source_file: Some(key(&item.file)), place: None, sha256: item.sha256.clone() };
    SeenItem { key: key(&item.file), identity: serde_json::json!(identity) }
}

fn row(item: &StartupItem) -> Row<'_> {
    Row {
        file_path: lossy(&item.file),
        executable_path: item.program.as_deref(),
        category: item.category.as_str(),
        user: item.user.as_deref(),
        enabled: item.enabled,
        command: item.command.as_deref(),
        only_show_in: &item.only_show_in,
        modified: item.modified,
        sha256: item.sha256.as_deref(),
        path_uri: uri(&item.file),
        error: item.error.as_deref(),
    }
}
