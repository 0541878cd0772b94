//! The image of a process or service: it goes only where nothing else needs it, and what it interprets is named.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::{Act, Acting};
use crate::agent::context::{Context, VerbError};
use crate::agent::identity::FileIdentity;
use crate::agent::interpreter::{Given, given, is_interpreter};
use crate::agent::journal::{Outcome, Step};
use crate::agent::path::{key, lossy, shown};
use crate::agent::platform::{Facts, Held, HeldProcess, Root, base_name};
use crate::agent::protection;
use crate::agent::quarantine::{Asked, Take, plan};
use crate::grammar::quoted;

/// What becomes of an image.
pub enum Image {
    /// It goes to quarantine.
    Goes(Box<Take>),
    /// It stays: why.
    Stays(String),
}

/// Decides on an image by the rule: it goes if no package owns it as shipped, no process but those that end uses it, it is no
/// interpreter (all else that it runs would go with it), and it is not protected. `-image` overrides all but the last.
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

/// The image of processes that end: it goes once all of them have.
pub struct TakeAfter {
    /// The image.
    pub take: Box<Take>,
    /// The processes that run it, by number.
    pub users: Vec<(u32, Arc<HeldProcess>)>,
}

impl Act for TakeAfter {
    fn step(&self) -> Step {
        self.take.step()
    }

    fn run(&mut self, on: &Acting<'_>) -> Outcome {
        let runs = self.users.iter().find(|(_, held)| !held.ended(Duration::ZERO).unwrap_or(false));
        match runs {
            Some((pid, _)) => Outcome::not_done(format!("its image stays: process {pid}, which runs it, has not ended")),
            None => self.take.run(on),
        }
    }
}

/// What an interpreter ran, and how that is removed, in words; `None` of any other program. Paths are looked for below each of
/// those folders.
#[must_use]
pub fn interpreted(root: &Root, image: &Path, arguments: &[&[u8]], folders: &[PathBuf]) -> Option<String> {
    let name = image.file_name()?.as_bytes();
    if !is_interpreter(name) {
        return None;
    }
    Some(match given(name, arguments) {
        Given::Script(script) => {
            let script = Path::new(OsStr::from_bytes(script));
            let places = folders.iter().map(|folder| folder.join(script));
            match places.into_iter().find(|path| root.facts(path).is_ok_and(|facts| facts.is_file())) {
                Some(path) => {
                    format!("it ran {0}, which stays: `remediate file {1}` removes it", shown(&path), quoted(&key(&path)))
                }
                None => format!("it ran {}, which is not found from its working folder: look for it", lossy(script)),
            }
        }
        Given::Named(name) => format!("it ran {} by that name, which stays", String::from_utf8_lossy(name)),
        Given::Code => "it ran code that stands on its command line".to_owned(),
        Given::Untold => "its command line does not tell what it ran".to_owned(),
    })
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
        [] if is_interpreter(base_name(path.as_os_str().as_bytes())) => Some("it is an interpreter".to_owned()),
        [] => None,
        [one] => Some(format!("process {one} uses it too")),
        [one, rest @ ..] => Some(format!("process {one} and {} others use it too", rest.len())),
    })
}
