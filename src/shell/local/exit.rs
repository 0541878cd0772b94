//! `exit`: leaves the shell. Says once what would be cancelled; the second time it is.

use crate::error::{Exit, Outcome};
use crate::grammar::Invocation;
use crate::shell::Shell;
use crate::shell::jobs;

pub(super) async fn run(shell: &mut Shell, _invocation: &Invocation) -> Outcome<Exit> {
    if shell.is_interactive() {
        let running = shell.jobs.running();
        if !running.is_empty() && shell.warned.is_none() {
            shell.warned = Some("exit");
            for job in &running {
                shell.screen.message(&jobs::line_of(job, &jobs::state_of(job)));
            }
            let unsent = shell.jobs.unsent();
            if unsent > 0 {
                shell.screen.message(&format!("and {unsent} more that are still to be sent"));
            }
            shell.screen.message("these still run: exit again cancels them and leaves");
            return Ok(Exit::Done);
        }
        shell.cancel_and_leave().await;
        shell.leaving = Some(Exit::Done);
    } else {
        // As if the input had ended: its jobs are waited for, and what failed before counts.
        shell.finished = true;
    }
    Ok(Exit::Done)
}

impl Shell {
    /// Cancels what this shell has running, and leaves the session.
    pub(in crate::shell) async fn cancel_and_leave(&mut self) {
        self.jobs.end(&self.screen, |_| true).await;
        self.leave().await;
    }
}
