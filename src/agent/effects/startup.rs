//! `remediate startupfolder`: the file that starts something goes to quarantine.

use std::sync::Arc;

use super::file;
use super::seen;
use super::told::planned;
use crate::agent::context::{Context, VerbResult};
use crate::agent::identity::{FileIdentity, ItemIdentity};
use crate::agent::path::{key, problem};
use crate::agent::quarantine::Asked;
use crate::protocol::Problem;

const ENTITY: &str = "startupfolder";

/// Removes a start-up item.
///
/// # Errors
/// When it was not seen, is another than was seen, or cannot be removed.
pub fn remediate(ctx: &mut Context) -> VerbResult {
    let path = ctx.file_path(ctx.required("id")?)?;
    let target = key(&path);
    let agent = Arc::clone(&ctx.agent);
    let _one = agent.effects.one_at_a_time();
    let identity: ItemIdentity = seen(ctx, ENTITY, &target)?;
    let items = agent.platform.startup_items(&ctx.stop)?;
    let item = items.all.iter().find(|item| item.file == path).ok_or_else(|| {
        Problem::new("not_found", format!("{target} starts nothing (any more): `startupfolders` lists what does"))
            .at(target.clone())
    })?;
    if identity.sha256 != item.sha256 {
        let message = format!("{target}: it is not what was seen: its content is another; look again, or give -auto");
        return Err(Problem::new("changed", message).at(target).into());
    }
    let held = agent.root.hold(&path).map_err(|error| problem(&path, &error))?;
    file::refuse_protected(&agent, &held)?;
    let asked = Asked { used: agent.effects.used()?, hash: true, only_plan: ctx.flag("plan") };
    // Of a link what it leads to was hashed, and stays.
    let is = FileIdentity::new(&held.facts, item.sha256.clone().filter(|_| held.facts.is_file()));
    let change = file::removal(ctx, ENTITY, target, held, &is, asked)?;
    if ctx.flag("plan") { planned(ctx, &[change]) } else { agent.effects.carry_out(ctx, change) }
}
