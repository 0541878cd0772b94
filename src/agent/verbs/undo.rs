//! `undo`: puts back what was remediated.

use crate::agent::context::{Context, VerbResult};
use crate::agent::effects;

pub(super) fn run(ctx: &mut Context) -> VerbResult {
    if ctx.flag("session") {
        return effects::undo_session(ctx);
    }
    if let Some(number) = ctx.param("number").map(ToOwned::to_owned) {
        return effects::undo_one(ctx, &number);
    }
    let (entity, id) = (ctx.required("type")?.to_owned(), ctx.required("id")?.to_owned());
    effects::undo_target(ctx, &entity, &id)
}
