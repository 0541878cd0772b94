//! Event logs and the logs of services that are text, the newest first up to a size.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::json;

use super::{none, on_disk};
use crate::agent::collect::{Gathered, Gatherer};
use crate::agent::path::lossy;
use crate::agent::platform::{Facts, Root};
use crate::protocol::Problem;

/// Where event logs lie, now and before Windows Vista.
const EVENTS: [(&str, &str); 2] = [(r"Windows\System32\winevt\Logs", "evtx"), (r"Windows\System32\config", "evt")];
/// Other logs: a folder, and how their names end.
const OTHERS: [(&str, &str); 6] = [
    (r"Windows\inf", "log"),
    (r"Windows\debug", "log"),
    (r"Windows\System32\LogFiles\Firewall", "log"),
    (r"inetpub\logs\LogFiles\W3SVC1", "log"),
    (r"ProgramData\Microsoft\Windows Defender\Support", "log"),
    (r"ProgramData\ssh\logs", "log"),
];
/// What tells most comes first, whatever its age.
const FIRST: [&str; 5] =
    ["security", "system", "application", "microsoft-windows-powershell", "microsoft-windows-taskscheduler"];
const MAX_NAMES: usize = 10_000;
/// Of all logs together.
const MAX_ALL: u64 = 512 * 1024 * 1024;

struct Log {
    path: PathBuf,
    facts: Facts,
    kind: &'static str,
    first: usize,
}

pub(super) fn gather(to: &mut Gatherer) -> Gathered {
    let agent = Arc::clone(&to.agent);
    let mut logs: Vec<Log> =
        EVENTS.iter().flat_map(|(folder, ending)| logs_in(&agent.root, folder, ending, "events")).collect();
    logs.extend(OTHERS.iter().flat_map(|(folder, ending)| logs_in(&agent.root, folder, ending, "text")));
    logs.sort_by_key(|log| (log.first, std::cmp::Reverse(log.facts.modified)));
    let (mut room, mut left_out) = (MAX_ALL, 0);
    let taken = logs.iter().map(|log| match room.checked_sub(log.facts.size) {
        Some(rest) => {
            room = rest;
            true
        }
        None => {
            left_out += 1;
            false
        }
    });
    let taken: Vec<bool> = taken.collect();
    to.rows("logs", |rows| {
        for (log, taken) in logs.iter().zip(&taken) {
            rows.row(&json!({
                "path": lossy(&log.path), "type": log.kind, "size": log.facts.size, "created": log.facts.created,
                "modified": log.facts.modified, "taken": taken,
            }))?;
        }
        Ok(())
    })?;
    if left_out > 0 {
        let message = format!("{left_out} older logs are left out: they are more than {} MB in all", MAX_ALL >> 20);
        to.problem(Problem::new("limit", message))?;
    }
    for (log, _) in logs.iter().zip(&taken).filter(|(_, taken)| **taken) {
        to.raw(&log.path)?;
    }
    none(!logs.is_empty(), "event logs")
}

fn logs_in(root: &Root, folder: &str, ending: &str, kind: &'static str) -> Vec<Log> {
    let folder = on_disk(root, folder);
    let names = root.names(&folder, MAX_NAMES).unwrap_or_default();
    let found = names.into_iter().filter_map(|name| {
        let path = folder.join(&name);
        let facts = root.link_facts(&path).ok().filter(Facts::is_file)?;
        let fits = path.extension().is_some_and(|own| own.eq_ignore_ascii_case(ending));
        let lower = name.to_string_lossy().to_lowercase();
        let first = FIRST.iter().position(|first| lower.starts_with(first)).unwrap_or(FIRST.len());
        fits.then_some(Log { path, facts, kind, first })
    });
    found.collect()
}
