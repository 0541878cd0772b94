//! `getfile`, the device's side: opens the file and holds it, tells what it is, and serves its bytes until a reader has them.
//!
//! The first object tells the facts: `name`, `path`, `path_uri` (where it is not plain), `size` (`null` where only the end
//! tells it), `etag`, `notes`. A pattern that matches several files serves none: it answers with one object a match,
//! `{"match":{"name","path","path_uri","size"}}`, and completes; the shell then fetches each with a command of its own.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::agent::content::Content;
use crate::agent::context::{Context, VerbResult};
use crate::agent::path::{key, lossy, uri};
use crate::agent::platform::Process;
use crate::agent::serve::Serving;
use crate::agent::targets::Targets;
use crate::protocol::Problem;

/// What the analyst gets.
#[derive(Serialize)]
struct Offer<'a> {
    name: &'a str,
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_uri: Option<String>,
    size: Option<u64>,
    etag: &'a str,
    /// Bytes that take no room on the disk: the file has holes.
    sparse: bool,
    notes: &'a [String],
}

/// A file that a pattern matched.
#[derive(Serialize)]
struct Match {
    #[serde(rename = "match")]
    file: Matched,
}

#[derive(Serialize)]
struct Matched {
    name: String,
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_uri: Option<String>,
    size: u64,
}

pub(super) fn run(ctx: &mut Context) -> VerbResult {
    let targets = Targets::of(ctx, ctx.required("path")?)?;
    match targets.paths() {
        [one] => fetch(ctx, one),
        several => matches(ctx, several),
    }
}

fn fetch(ctx: &mut Context, path: &Path) -> VerbResult {
    let content = Content::open(&ctx.agent.root, path, ctx.flag("raw"))?;
    let image = image_of(ctx, path);
    let notes = notes(ctx, path, &content, image.as_ref());
    let name = image.as_ref().and_then(|image| image.1.file_name()).or(path.file_name());
    let name = name.map_or_else(|| "device".to_owned(), |name| name.to_string_lossy().into_owned());
    let (size, sparse) = (content.size, has_holes(&content));
    let serving = Serving::new(content, path, name.clone(), ctx.command.size_limit)?;
    let etag = serving.etag().to_owned();
    ctx.object(&Offer { name: &name, path: lossy(path), path_uri: uri(path), size, etag: &etag, sparse, notes: &notes })?;
    serving.run(ctx)
}

/// Tells the files among several paths; what is none is noted.
fn matches(ctx: &mut Context, paths: &[PathBuf]) -> VerbResult {
    let mut files = 0;
    for path in paths {
        ctx.stop.check()?;
        match ctx.agent.root.facts(path) {
            Ok(facts) if facts.is_file() => {
                files += 1;
                let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
                let file = Matched { name, path: lossy(path), path_uri: uri(path), size: facts.size };
                ctx.object(&Match { file })?;
            }
            Ok(_) => ctx.problem(
                Problem::new("not_a_file", format!("{}: it is no file, so it is left out", key(path))).at(lossy(path)),
            ),
            Err(error) => ctx.problem(crate::agent::path::problem(path, &error)),
        }
    }
    if files == 0 {
        return Err(Problem::new("not_found", "none of what matches is a file").into());
    }
    Ok(())
}

/// What ought to be known of how the file was come by.
fn notes(ctx: &Context, path: &Path, content: &Content, image: Option<&(Process, PathBuf)>) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some((process, image_path)) = image {
        let deleted = process.image.as_ref().is_some_and(|image| image.deleted);
        let state = if deleted { ", which is no longer there" } else { "" };
        notes.push(format!("the image that process {} runs: {}{state}", process.pid, key(image_path)));
    } else if ctx.agent.root.link_facts(path).is_ok_and(|facts| facts.is_link()) {
        let target = ctx.agent.root.read_link(path).map(|target| lossy(&target)).unwrap_or_default();
        notes.push(format!("a link to {target}, which was followed"));
    }
    if content.size.is_none() {
        notes.push("the kernel makes its content up as it is read: its size is known at the end".into());
    }
    if has_holes(content) {
        notes.push(format!("sparse: {} of its {} bytes are on the disk", content.facts.allocated, content.facts.size));
    }
    notes
}

/// Whether some of its bytes take no room on the disk; what the kernel makes up takes none at all.
fn has_holes(content: &Content) -> bool {
    let facts = &content.facts;
    content.size.is_some() && facts.is_file() && facts.allocated < facts.size && facts.compressed != Some(true)
}

/// The process whose image `/proc/PID/exe` is, and where that image is or was.
fn image_of(ctx: &Context, path: &Path) -> Option<(Process, PathBuf)> {
    let pid = path.strip_prefix("/proc").ok()?.parent()?;
    if path.file_name()?.as_bytes() != b"exe" || pid.components().count() != 1 {
        return None;
    }
    let pid = match pid.to_str()? {
        "self" => std::process::id(),
        pid => pid.parse().ok()?,
    };
    let process = ctx.agent.platform.process(pid).ok()??;
    let image = process.image.clone()?.path;
    Some((process, image))
}
