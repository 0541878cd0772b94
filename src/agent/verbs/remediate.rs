//! `remediate`: removes a threat that this session has looked at, and only if it is still the same.

use crate::agent::context::{Context, VerbResult};
use crate::agent::effects;
use crate::agent::platform::not_on_platform;

pub(super) fn run(ctx: &mut Context) -> VerbResult {
    match ctx.required("type")? {
        "list" => effects::list(ctx),
        "file" => effects::remediate_file(ctx),
        "process" => effects::remediate_process(ctx),
        "scheduledtask" => effects::remediate_task(ctx),
        "service" => effects::remediate_service(ctx),
        "startupfolder" => effects::remediate_startup(ctx),
        other => Err(not_on_platform(ctx.agent.platform.name(), &format!("remediate {other}"))),
    }
}
