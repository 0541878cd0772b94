//! `services`: what is set up to run, and whether it does.

use serde::Serialize;

use crate::agent::context::{Context, VerbResult};
use crate::agent::identity::ServiceIdentity;
use crate::agent::path::{lossy, uri};
use crate::agent::platform::{Service, StartType, Time};
use crate::protocol::SeenItem;

/// Every field of a row, in order. The last are there only where they are needed.
const KEYS: &[&str] = &[
    "service_name",
    "display_name",
    "current_state",
    "start_type",
    "service_type",
    "service_start_name",
    "binary_path",
    "path",
    "args",
    "process_id",
    "dependencies",
    "unit_file",
    "enabled",
    "unit_modified",
    "active_state",
    "load_state",
    "alias_of",
    "instances",
    "triggered_by",
    "runlevels",
    "drop_ins",
    "sha256",
    "reg_path",
    "service_dll",
    "unit_file_uri",
    "error",
];

/// How many are told as seen in one event.
const SEEN: usize = 512;

#[derive(Serialize)]
struct Row<'a> {
    service_name: &'a str,
    display_name: Option<&'a str>,
    current_state: Option<&'a str>,
    start_type: StartType,
    service_type: &'a str,
    service_start_name: Option<&'a str>,
    /// The whole command line; its program and its arguments follow.
    binary_path: Option<&'a str>,
    path: Option<&'a str>,
    args: Option<&'a str>,
    process_id: Option<u32>,
    dependencies: &'a [String],
    unit_file: Option<String>,
    enabled: Option<&'a str>,
    unit_modified: Option<Time>,
    active_state: Option<&'a str>,
    load_state: Option<&'a str>,
    alias_of: Option<&'a str>,
    instances: &'a [String],
    triggered_by: &'a [String],
    runlevels: &'a [String],
    drop_ins: Vec<String>,
    sha256: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reg_path: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_dll: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit_file_uri: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

pub(super) fn run(ctx: &mut Context) -> VerbResult {
    let found = ctx.agent.platform.services(&ctx.stop)?;
    ctx.table(KEYS)?;
    // First what was seen, so that a view that has enough rows cannot cut it off.
    for some in found.all.chunks(SEEN) {
        ctx.seen("service", some.iter().map(seen).collect())?;
    }
    for service in &found.all {
        ctx.row(&row(service))?;
    }
    found.doubts.into_iter().for_each(|doubt| ctx.problem(doubt));
    Ok(())
}

fn seen(service: &Service) -> SeenItem {
    let identity = ServiceIdentity::of(service);
    SeenItem { key: service.name.clone(), identity: serde_json::json!(identity) }
}

fn row(service: &Service) -> Row<'_> {
    Row {
        service_name: &service.name,
        display_name: service.description.as_deref(),
        current_state: service.state.as_deref(),
        start_type: service.start,
        service_type: &service.kind,
        service_start_name: service.user.as_deref(),
        binary_path: service.command.as_deref(),
        path: service.program.as_deref(),
        args: service.arguments.as_deref(),
        process_id: service.process_id,
        dependencies: &service.dependencies,
        unit_file: service.file.as_deref().map(lossy),
        enabled: service.enabled.as_deref(),
        unit_modified: service.modified,
        active_state: service.active.as_deref(),
        load_state: service.load.as_deref(),
        alias_of: service.alias_of.as_deref(),
        instances: &service.instances,
        triggered_by: &service.triggered_by,
        runlevels: &service.runlevels,
        drop_ins: service.drop_ins.iter().map(|(path, _)| lossy(path)).collect(),
        sha256: service.sha256.as_deref(),
        reg_path: service.reg_path.as_deref(),
        service_dll: service.service_dll.as_deref(),
        unit_file_uri: service.file.as_deref().and_then(uri),
        error: service.error.as_deref(),
    }
}
