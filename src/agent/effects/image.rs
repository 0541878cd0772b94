//! The image of a process or service: it goes only where nothing else needs it.

use std::path::Path;
use std::sync::Arc;

use crate::agent::context::{Context, VerbError};
use crate::agent::identity::FileIdentity;
use crate::agent::path::lossy;
use crate::agent::platform::{Facts, Held};
use crate::agent::protection;
use crate::agent::quarantine::{Asked, Take, plan};

/// What becomes of an image.
pub enum Image {
    /// It goes to quarantine.
    Goes(Box<Take>),
    /// It stays: why.
    Stays(String),
}

/// Decides on an image by the rule: it goes if no package owns it as shipped, no process but those that end uses it, and it is
/// not protected. `-image` overrides all but the last.
///
/// # Errors
/// When the command was asked to stop.
pub fn decide(ctx: &Context, held: Held, ending: &[u32]) -> Result<Image, VerbError> {
    let agent = Arc::clone(&ctx.agent);
    let shown = lossy(&held.path);
    let stays = |why: &str| Ok(Image::Stays(format!("image {shown} stays: {why}")));
    if !held.facts.is_file() {
        return stays("it is no regular file");
    }
    if let Some(why) = protection::of_file(&agent, &held) {
        return stays(&why);
    }
    if !ctx.flag("image")
        && let Some(why) = needed(ctx, &held.path, &held.facts, ending)?
    {
        return stays(&format!("{why} (-image removes it all the same)"));
    }
    let identity = FileIdentity::new(&held.facts, None);
    let asked = Asked { used: agent.effects.used().unwrap_or(u64::MAX), hash: false, only_plan: ctx.flag("plan") };
    match plan(&agent.effects.quarantine, &agent.root, held, &identity, asked) {
        Ok(take) => Ok(Image::Goes(Box::new(take))),
        Err(problem) => stays(&problem.message),
    }
}

/// Who needs an image.
fn needed(ctx: &Context, path: &Path, facts: &Facts, ending: &[u32]) -> Result<Option<String>, VerbError> {
    let origin = ctx.agent.platform.origin(path, &ctx.stop);
    if let Some(package) = origin.package {
        match origin.shipped {
            Some(true) => return Ok(Some(format!("package {package} owns it as shipped"))),
            None => return Ok(Some(format!("package {package} owns it"))),
            Some(false) => {}
        }
    }
    let users = ctx.agent.platform.users(path, facts, &ctx.stop)?.unwrap_or_default();
    let others: Vec<String> = users.iter().filter(|pid| !ending.contains(pid)).map(ToString::to_string).collect();
    Ok(match others.as_slice() {
        [] => None,
        [one] => Some(format!("process {one} uses it too")),
        [one, rest @ ..] => Some(format!("process {one} and {} others use it too", rest.len())),
    })
}
