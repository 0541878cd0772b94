//! `putfile`: a library file into the agent's working folder, checked by its SHA-256, until the device restarts.
//!
//! Its text is two lines, as the reference's; the object says the same: `message`, `path`, `sha256`.

use serde_json::json;
use sha2::{Digest, Sha256};

use crate::agent::context::{Context, VerbError, VerbResult};
use crate::agent::digest::hex;
use crate::agent::path::lossy;
use crate::protocol::{Problem, ProgressUnit, StreamName, check_library_name};

/// What it says when it has succeeded.
const MESSAGE: &str = "The file was uploaded to the device.";

pub(super) fn run(ctx: &mut Context) -> VerbResult {
    if let Some(root) = ctx.agent.root.folder() {
        let message = format!("putfile: this device is the tree below {}, in which nothing is changed", root.display());
        return Err(VerbError::failed("not_on_platform", message));
    }
    let (Some(file), Some(mut delivery)) = (ctx.command.library_file.clone(), ctx.delivery.take()) else {
        return Err(VerbError::failed("internal", "putfile: the service sent no library file"));
    };
    check_library_name(&file.name)?;
    if let Some(limit) = ctx.command.size_limit.filter(|&limit| file.size > limit) {
        let message = format!("{} has {} bytes, and this device takes at most {limit}", file.name, file.size);
        return Err(Problem::new("limit", message).about("putfile").into());
    }
    let agent = ctx.agent.clone();
    let mut part = agent.working.begin(ctx.command.command_id)?;
    let (mut hash, mut size) = (Sha256::new(), 0);
    while let Some(bytes) = delivery.blocking_recv() {
        let bytes = bytes?;
        size += bytes.len() as u64;
        if size > file.size {
            break;
        }
        hash.update(&bytes);
        part.add(&bytes)?;
        if let Err(VerbError::Stopped { .. }) = ctx.progress(size, Some(file.size), ProgressUnit::Bytes, "") {
            return Err(VerbError::Stopped { done: Vec::new(), not_done: vec![format!("{} was not put there", file.name)] });
        }
    }
    if size != file.size || hex(&hash.finalize()) != file.sha256 {
        let message = format!("{}: what came is not what the library holds; nothing was put there, try again", file.name);
        return Err(Problem::new("hash_differs", message).about(file.name).into());
    }
    let path = agent.working.place(&part, &file.name, ctx.flag("overwrite"), ctx.flag("keep"), &file.sha256)?;
    ctx.text(StreamName::Stdout, format!("{MESSAGE}\nPath: {}\n", lossy(&path)).as_bytes())?;
    ctx.object(&json!({ "message": MESSAGE, "path": lossy(&path), "sha256": file.sha256 }))
}
