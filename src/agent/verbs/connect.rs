//! `connect`: the first command of a session, sent by the service itself. Its success says that the device answers.

use crate::agent::context::{Context, VerbResult};
use crate::protocol::Body;

pub(super) fn run(ctx: &mut Context) -> VerbResult {
    ctx.tell(&Body::Context { current_directory: ctx.agent.platform.name().start_directory().to_owned() })?;
    ctx.object(&serde_json::json!({ "device": ctx.agent.hello, "state": "connected" }))
}
