//! `exit`: leaves the shell. Says once what would be cancelled; the second time it is.

use crate::error::{Exit, Outcome};
use crate::grammar::Invocation;
use crate::shell::Shell;
use crate::shell::jobs;

pub(super) async fn run(shell: &mut Shell, _invocation: &Invocation) -> Outcome<Exit> {
    if shell.is_interactive() {
        let running = shell.jobs.running();
        if !running.is_empty() && !shell.warned {
            shell.warned = true;
            for job in &running {
                shell.screen.message(&jobs::line_of(job, &jobs::state_of(job)));
            }
            shell.screen.message("these still run: exit again cancels them and leaves");
            return Ok(Exit::Done);
        }
        for job in running {
            if let Err(failure) = job.cancel().await {
                shell.screen.error(&failure.problem);
            }
        }
        shell.leave().await;
    }
    // A batch waits for its jobs and leaves the session at its end.
    shell.leaving = Some(Exit::Done);
    Ok(Exit::Done)
}
