//! `exit`: leaves the shell. At a terminal it asks where jobs would be cancelled.

use crate::error::{Exit, Outcome};
use crate::grammar::Invocation;
use crate::shell::Shell;
use crate::shell::{Question, jobs};

pub(super) async fn run(shell: &mut Shell, _invocation: &Invocation) -> Outcome<Exit> {
    if shell.is_interactive() {
        let running = shell.jobs.running();
        if !running.is_empty() && !shell.is_sure {
            for job in &running {
                shell.screen.message(&jobs::line_of(job, &jobs::state_of(job)));
            }
            let runs = if running.len() == 1 { "1 job runs".to_owned() } else { format!("{} jobs run", running.len()) };
            let unsent = match shell.jobs.unsent() {
                0 => String::new(),
                unsent => format!(", and {unsent} more are still to be sent"),
            };
            // Where nothing can be typed any more, asking again would never end.
            shell.question = Some(Question { text: format!("{runs}{unsent}. Cancel and leave?"), at_end: true });
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
