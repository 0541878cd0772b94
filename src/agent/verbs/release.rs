//! `release`: ends the isolation.

use crate::agent::context::{Context, VerbResult};
use crate::agent::effects;

pub(super) fn run(ctx: &mut Context) -> VerbResult {
    effects::release(ctx)
}
