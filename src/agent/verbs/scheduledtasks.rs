//! `scheduledtasks`: what runs at a time.

use indexmap::IndexMap;
use jiff::Timestamp;
use serde::Serialize;

use crate::agent::context::{Context, VerbResult};
use crate::agent::identity::ItemIdentity;
use crate::agent::path::{key, lossy, uri};
use crate::agent::platform::{Task, Time};
use crate::protocol::{Problem, SeenItem};

/// Every field of a row, in order. The last are there only where they are needed.
const KEYS: &[&str] = &[
    "id",
    "is_enabled",
    "task",
    "schedule",
    "user",
    "command",
    "source",
    "next_run",
    "last_run",
    "kind",
    "environment",
    "modified",
    "source_uri",
    "error",
];

/// How many are told as seen in one event.
const SEEN: usize = 512;

/// A scheduled task as rows and `persistence` carry it.
#[derive(Serialize)]
pub(super) struct Row<'a> {
    pub(super) id: &'a str,
    pub(super) is_enabled: bool,
    pub(super) task: Definition<'a>,
    schedule: Option<&'a str>,
    user: Option<&'a str>,
    command: Option<&'a str>,
    /// The file, and the line behind a colon.
    source: Option<String>,
    next_run: Option<Timestamp>,
    last_run: Option<Timestamp>,
    kind: &'static str,
    environment: IndexMap<&'a str, &'a str>,
    modified: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_uri: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

/// The task as the reference service has it: the shape of a Windows task.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Definition<'a> {
    registration_info: RegistrationInfo<'a>,
    principals: Principals<'a>,
    actions: Actions<'a>,
}

#[derive(Serialize)]
struct RegistrationInfo<'a> {
    author: Option<&'a str>,
    uri: &'a str,
    description: Option<&'a str>,
}

#[derive(Serialize)]
struct Principals<'a> {
    principal: Principal<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Principal<'a> {
    user_id: Option<&'a str>,
    id: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Actions<'a> {
    context: Option<&'a str>,
    exec: Vec<Exec<'a>>,
    com_handler: Option<ComHandler<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ComHandler<'a> {
    class_id: &'a str,
    data: Option<&'a str>,
}

#[derive(Serialize)]
struct Exec<'a> {
    command: &'a str,
    arguments: Option<&'a str>,
}

pub(super) fn run(ctx: &mut Context) -> VerbResult {
    let mut found = ctx.agent.platform.tasks(&ctx.stop)?;
    if let Some(id) = ctx.param("task") {
        // Windows' own are typed without the backslash that they begin with, in any case.
        let own = ctx.agent.root.is_windows();
        let is = |task: &Task| {
            task.id == id
                || own && task.id.trim_start_matches('\\').to_lowercase() == id.trim_start_matches('\\').to_lowercase()
        };
        found.all.retain(is);
        if found.all.is_empty() {
            let message = format!("there is no scheduled task {id}: `scheduledtasks` without it lists their ids");
            return Err(Problem::new("not_found", message).about("task").into());
        }
    }
    ctx.table(KEYS)?;
    // First what was seen, so that a view that has enough rows cannot cut it off.
    for some in found.all.chunks(SEEN) {
        ctx.seen("scheduledtask", some.iter().map(seen).collect())?;
    }
    for task in &found.all {
        ctx.row(&row(task))?;
    }
    found.doubts.into_iter().for_each(|doubt| ctx.problem(doubt));
    Ok(())
}

fn seen(task: &Task) -> SeenItem {
    let source_file = task.file.as_deref().map(key);
    let identity = ItemIdentity { source_file, place: task.line, sha256: task.sha256.clone() };
    SeenItem { key: task.id.clone(), identity: serde_json::json!(identity) }
}

pub(super) fn row(task: &Task) -> Row<'_> {
    let user = task.user.as_deref();
    let com_handler = task.handler.as_ref().map(|(class_id, data)| ComHandler { class_id, data: data.as_deref() });
    let exec = task.programs.iter().map(|(command, arguments)| Exec { command, arguments: arguments.as_deref() });
    Row {
        id: &task.id,
        is_enabled: task.enabled,
        task: Definition {
            registration_info: RegistrationInfo {
                author: task.author.as_deref(),
                uri: task.uri.as_deref().unwrap_or(&task.id),
                description: task.description.as_deref(),
            },
            principals: Principals { principal: Principal { user_id: user, id: task.principal.as_deref() } },
            actions: Actions { context: task.context.as_deref(), exec: exec.collect(), com_handler },
        },
        schedule: task.schedule.as_deref(),
        user,
        command: task.command.as_deref(),
        source: task.file.as_deref().map(|file| match task.line {
            Some(line) => format!("{}:{line}", lossy(file)),
            None => lossy(file),
        }),
        next_run: task.next_run,
        last_run: task.last_run,
        kind: task.kind,
        environment: task.environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect(),
        modified: task.modified,
        source_uri: task.file.as_deref().and_then(uri),
        error: task.error.as_deref(),
    }
}
