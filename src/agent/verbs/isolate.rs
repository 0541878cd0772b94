//! `isolate`: cuts the device off the network, but for its loopback, what is allowed, and the analysts' own ways to it.

use crate::agent::context::{Context, VerbResult};
use crate::agent::effects;

pub(super) fn run(ctx: &mut Context) -> VerbResult {
    effects::isolate(ctx)
}
