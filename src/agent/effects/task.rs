//! `remediate scheduledtask`: a line goes from its crontab, a file that is a task goes whole, a timer as a service does.

use std::sync::Arc;

use serde_json::json;

use super::file;
use super::service;
use super::told::planned;
use super::{Change, seen};
use crate::agent::context::{Context, VerbError, VerbResult};
use crate::agent::dispatch::Shared;
use crate::agent::identity::{FileIdentity, ItemIdentity};
use crate::agent::path::{key, lossy, problem};
use crate::agent::platform::Task;
use crate::agent::platform::services::is_managed;
use crate::agent::quarantine::{Asked, Rewrite};
use crate::protocol::Problem;

const ENTITY: &str = "scheduledtask";

/// Removes a task.
///
/// # Errors
/// When it was not seen, is another than was seen, or cannot be removed.
pub fn remediate(ctx: &mut Context) -> VerbResult {
    let id = ctx.required("id")?.to_owned();
    let agent = Arc::clone(&ctx.agent);
    let _one = agent.effects.one_at_a_time();
    let found = agent.platform.tasks(&ctx.stop)?;
    let identity: ItemIdentity = seen(ctx, ENTITY, &id)?;
    let task = found.all.iter().find(|task| task.id == id).ok_or_else(|| {
        Problem::new("not_found", format!("there is no scheduled task {id} (any more): `scheduledtasks` lists them"))
            .about("id")
    })?;
    let now = ItemIdentity { source_file: task.file.as_deref().map(key), place: task.line, sha256: task.sha256.clone() };
    if identity != now {
        let message = format!("{id}: it is not what was seen: {}; look again, or give -auto", difference(&identity, &now));
        return Err(Problem::new("changed", message).at(id).into());
    }
    let change = change(ctx, &agent, task)?;
    if ctx.flag("plan") { planned(ctx, &[change]) } else { agent.effects.carry_out(ctx, change) }
}

fn difference(seen: &ItemIdentity, now: &ItemIdentity) -> String {
    if seen.source_file != now.source_file {
        let word = |file: &Option<String>| file.clone().unwrap_or_else(|| "nowhere".to_owned());
        format!("it was described in {} and is in {}", word(&seen.source_file), word(&now.source_file))
    } else if seen.sha256 != now.sha256 {
        "what it says is another".to_owned()
    } else {
        "it stands in another line".to_owned()
    }
}

fn change(ctx: &Context, agent: &Arc<Shared>, task: &Task) -> Result<Change, VerbError> {
    let Some(path) = &task.file else {
        let message = format!("{}: no file describes it, so that it cannot be removed", task.id);
        return Err(Problem::new("not_found", message).at(task.id.clone()).into());
    };
    if task.kind == "timer" && task.id.starts_with("user:") {
        let message = format!("{}: it is a user's own timer; `remediate file {}` removes it", task.id, key(path));
        return Err(Problem::new("not_on_platform", message).at(task.id.clone()).into());
    }
    if task.kind == "timer" {
        let found = agent.platform.services(&ctx.stop)?;
        let unit = found.all.iter().find(|service| service.name == task.id);
        let unit =
            unit.ok_or_else(|| Problem::new("not_found", format!("there is no timer {}", task.id)).at(task.id.clone()))?;
        let change = service::change(ctx, agent, unit, is_managed(&agent.root))?;
        return Ok(Change { entity: ENTITY, ..change });
    }
    let held = agent.root.hold(path).map_err(|error| problem(path, &error))?;
    file::refuse_protected(agent, &held)?;
    let asked = Asked { used: agent.effects.used()?, hash: true, only_plan: ctx.flag("plan") };
    let (quarantine, root) = (&agent.effects.quarantine, &agent.root);
    let (Some(line), Some(sha256)) = (task.line, &task.sha256) else {
        let seen = FileIdentity::new(&held.facts, task.sha256.clone().filter(|_| held.facts.is_file()));
        return file::removal(ctx, ENTITY, task.id.clone(), held, &seen, asked);
    };
    let rewrite = Rewrite::plan(quarantine, root, held, line, sha256, asked)?;
    let before = json!({
        "id": task.id, "source": format!("{}:{line}", lossy(path)), "text": rewrite.rewritten().text, "schedule": task.schedule,
        "user": task.user, "command": task.command, "is_enabled": task.enabled,
    });
    let mut notes = vec!["the other lines of its file stay as they are".to_owned()];
    if rewrite.rewritten().file.facts.links > 1 {
        notes.push("other names of its file keep the line".to_owned());
    }
    Ok(Change { entity: ENTITY, target: task.id.clone(), undoes: None, before, acts: vec![Box::new(rewrite)], notes })
}
