//! `remediate file`: the file that was seen goes to quarantine.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use super::told::planned;
use super::{Change, seen};
use crate::agent::context::{Context, VerbError, VerbResult};
use crate::agent::dispatch::Shared;
use crate::agent::identity::FileIdentity;
use crate::agent::journal::{Kind, Quarantined, Shelf};
use crate::agent::path::{key, lossy, problem, shown, uri};
use crate::agent::platform::Held;
use crate::agent::protection;
use crate::agent::quarantine::{Asked, Take, plan, refuse_made_up};
use crate::agent::vital;
use crate::protocol::Problem;

/// Removes a file.
///
/// # Errors
/// When it was not seen, is not what was seen, is protected, or cannot be removed.
pub fn remediate(ctx: &mut Context) -> VerbResult {
    let path = ctx.file_path(ctx.required("id")?)?;
    let target = key(&path);
    let agent = Arc::clone(&ctx.agent);
    let _one = agent.effects.one_at_a_time();
    if path.parent().is_none() {
        return Err(Problem::new("protected", "/: it is never removed: it is the root of all files").at("/").into());
    }
    let held = agent.root.hold(&path).map_err(|error| problem(&path, &error))?;
    refuse_protected(&agent, &held)?;
    // Of what the kernel makes up nothing is seen: looking would not help.
    refuse_made_up(&held)?;
    let identity: FileIdentity = seen(ctx, "file", &target)?;
    let asked = Asked { used: agent.effects.used()?, hash: ctx.flag("hash"), only_plan: ctx.flag("plan") };
    let change = removal(ctx, "file", target, held, &identity, asked)?;
    if ctx.flag("plan") { planned(ctx, &[change]) } else { agent.effects.carry_out(ctx, change) }
}

/// Removes a file that its caller has looked at, by the same rules.
///
/// # Errors
/// When it is not what was looked at, is protected, or cannot be removed.
pub fn remove(ctx: &mut Context, path: &Path, identity: &FileIdentity) -> VerbResult {
    let agent = Arc::clone(&ctx.agent);
    let _one = agent.effects.one_at_a_time();
    let held = agent.root.hold(path).map_err(|error| problem(path, &error))?;
    refuse_protected(&agent, &held)?;
    let asked = Asked { used: agent.effects.used()?, hash: false, only_plan: false };
    let change = removal(ctx, "file", key(path), held, identity, asked)?;
    agent.effects.carry_out(ctx, change)
}

/// Refuses what must stay.
///
/// # Errors
/// When it is protected: why.
pub fn refuse_protected(agent: &Shared, held: &Held) -> Result<(), Problem> {
    match protection::of_file(agent, held) {
        None => Ok(()),
        Some(why) => {
            let path = lossy(&held.path);
            Err(Problem::new("protected", format!("{path}: it is never removed: {why}")).at(path))
        }
    }
}

/// The change that removes a held file, with a word on it where it is one that is hardly done without.
///
/// # Errors
/// When it is not what was seen, or cannot be removed.
pub fn removal(
    ctx: &Context,
    entity: &'static str,
    target: String,
    held: Held,
    seen: &FileIdentity,
    asked: Asked,
) -> Result<Change, VerbError> {
    let agent = &ctx.agent;
    let warning = vital::warning(ctx, &held)?;
    let take = plan(&agent.effects.quarantine, &agent.root, held, seen, asked)?;
    let mut change = change(agent, entity, target, take);
    change.notes.splice(0..0, warning);
    Ok(change)
}

/// The change that puts one held file into quarantine.
pub fn change(agent: &Shared, entity: &'static str, target: String, take: Take) -> Change {
    let mut notes = Vec::new();
    let kept = take.quarantined();
    match (kept.facts.kind, &kept.identity.sha256) {
        (Kind::Link, _) => notes.push(match kept.link_target() {
            Some(target) => format!("it is a link; what it leads to stays: {}", shown(&target)),
            None => "it is a link; what it leads to stays".to_owned(),
        }),
        (Kind::File, None) => notes.push("no hash of it was seen, so that none was compared".to_owned()),
        (Kind::File, Some(_)) if !kept.hashed => {
            notes.push("it is over 1 GB, so that its hash was not compared (-hash does)".to_owned());
        }
        _ => {}
    }
    if kept.facts.links > 1 {
        let names = match kept.facts.links {
            2 => "another name, which stays as it is".to_owned(),
            links => format!("{} other names, which stay as they are", links - 1),
        };
        notes.push(format!("it has {names}; a sealed copy is kept"));
    } else if kept.copied && kept.facts.kind == Kind::File && kept.shelf == Shelf::Own {
        notes.push("somebody has it open for writing, so that a sealed copy is kept too".to_owned());
    }
    let before = before(agent, kept);
    Change { entity, target, undoes: None, before, acts: vec![Box::new(take)], notes }
}

/// What is told of a file as it was.
pub fn before(agent: &Shared, kept: &Quarantined) -> Value {
    let names = agent.accounts.names(&agent.root);
    let path = crate::agent::path::of_key(&kept.path);
    let modified = jiff::Timestamp::from_nanosecond(i128::from(kept.identity.mtime_ns)).ok();
    let mut told = json!({
        "path": lossy(&path), "size": kept.identity.size, "sha256": kept.identity.sha256, "modified": modified,
        "mode": format!("{:04o}", kept.facts.mode), "owner": names.user(kept.facts.uid), "group": names.group(kept.facts.gid),
        "inode": kept.identity.inode, "links": kept.facts.links, "kind": kept.facts.kind,
    });
    if let (Some(uri), Some(told)) = (uri(&path), told.as_object_mut()) {
        told.insert("path_uri".to_owned(), json!(uri));
    }
    told
}
