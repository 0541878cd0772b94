//! `collect`, the device's side: makes a package of everything that tells what happened here, and serves its bytes as `getfile`
//! does. The first object tells `name`, `path`, `size`, `etag`, `parts` and the names of those that `failed`.

use std::os::fd::AsFd;

use serde::Serialize;

use crate::agent::collect::{Place, collect, package_name};
use crate::agent::content::Content;
use crate::agent::context::{Context, VerbError, VerbResult};
use crate::agent::faults;
use crate::agent::path::{lossy, problem, uri};
use crate::agent::platform::{Facts, not_on_platform};
use crate::agent::serve::Serving;

#[derive(Serialize)]
struct Offer<'a> {
    name: &'a str,
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_uri: Option<String>,
    size: u64,
    etag: &'a str,
    parts: usize,
    failed: Vec<&'static str>,
    notes: Vec<String>,
}

pub(super) fn run(ctx: &mut Context) -> VerbResult {
    let parts = ctx.agent.platform.parts();
    if parts.is_empty() {
        return Err(not_on_platform(ctx.agent.platform.name(), "collect"));
    }
    let folder = ctx.param("output_folder").map(|typed| ctx.path(typed));
    if folder.is_some() && !ctx.agent.writable {
        let sentence =
            "-output_folder writes to the device, and this root was opened for looking; start lrsh with --root-writable";
        return Err(VerbError::failed("read_only", sentence));
    }
    let name = package_name(&ctx.agent.hello.name, ctx.command.command_id, jiff::Timestamp::now());
    let mut place = Place::of(ctx, &name, folder.as_deref())?;
    let collected = collect(ctx, &parts, &place)?;
    let (parts, failed): (usize, Vec<&str>) = (collected.parts.len(), collected.failed().collect());
    faults::point("collect.before_name");
    place.keep()?;
    faults::point("collect.after_name");
    let mut notes: Vec<String> = collected
        .parts
        .iter()
        .filter_map(|part| Some((part, part.errors.first()?)))
        .map(|(part, first)| match part.errors.len() {
            1 => format!("{}: {}", part.name, first.message),
            count => format!("{}: {} (and {} more in summary.json)", part.name, first.message, count - 1),
        })
        .collect();
    if folder.is_some() {
        notes.push(format!("it stays on the device: {}", lossy(place.path())));
    }
    let facts = Facts::of(collected.file.as_fd(), c"").map_err(|error| problem(place.path(), &error))?;
    let content = Content { size: Some(facts.size), facts, file: collected.file };
    let path = place.path().to_owned();
    let serving = Serving::new(content, &path, name.clone(), ctx.command.size_limit)?;
    let etag = serving.etag().to_owned();
    let offer =
        Offer { name: &name, path: lossy(&path), path_uri: uri(&path), size: facts.size, etag: &etag, parts, failed, notes };
    ctx.object(&offer)?;
    serving.run(ctx)
}
