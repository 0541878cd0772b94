//! `cd`: the device checks that a folder is there and may be entered; the shell that asked goes on in it.

use crate::agent::context::{Context, VerbResult};
use crate::agent::path::{key, problem};
use crate::protocol::{Body, Problem};

pub(super) fn run(ctx: &mut Context) -> VerbResult {
    let path = ctx.path(ctx.required("id")?);
    let facts = ctx.agent.root.facts(&path).map_err(|error| problem(&path, &error))?;
    let shown = key(&path);
    if !facts.is_folder() {
        return Err(Problem::new("not_a_folder", format!("{shown}: it is not a folder")).at(shown).into());
    }
    // To look at `.` in it is what needs the right to enter it.
    ctx.agent.root.facts(&path.join(".")).map_err(|error| problem(&path, &error))?;
    ctx.tell(&Body::Context { current_directory: shown })
}
