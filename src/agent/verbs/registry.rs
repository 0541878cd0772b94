//! `registry`: a key's values and subkeys, or one value.

use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use crate::agent::context::{Context, VerbResult};
use crate::agent::path::lossy;
use crate::agent::platform::{RegistryItem, Time};

/// Every field of a row, in order. The last is there only where it is needed.
const KEYS: &[&str] = &["reg_path", "value_name", "value_type", "value", "modified", "hive", "error"];

#[derive(Serialize)]
struct Row {
    reg_path: String,
    value_name: Option<String>,
    value_type: Option<String>,
    value: Value,
    /// When the key was last changed.
    modified: Option<Time>,
    hive: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

pub(super) fn run(ctx: &mut Context) -> VerbResult {
    let path = ctx.required("path")?.to_owned();
    let (agent, stop) = (Arc::clone(&ctx.agent), ctx.stop.clone());
    let mut begun = false;
    let mut tell = |item: RegistryItem| {
        if !begun {
            begun = true;
            ctx.table(KEYS)?;
        }
        ctx.row(&row(item))
    };
    let doubts = agent.platform.registry(&path, &stop, &mut tell)?;
    if !begun {
        ctx.table(KEYS)?;
    }
    for doubt in doubts {
        ctx.problem(doubt);
    }
    Ok(())
}

fn row(item: RegistryItem) -> Row {
    Row {
        reg_path: item.path,
        value_name: item.name,
        value_type: item.kind,
        value: item.value,
        modified: item.modified,
        hive: item.hive.as_deref().map(lossy),
        error: item.error,
    }
}
