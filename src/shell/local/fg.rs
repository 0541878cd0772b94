//! `fg`: shows a command as it runs, or what a finished one said.

use std::sync::Arc;

use crate::error::{Exit, Failure, Outcome};
use crate::grammar::{Invocation, Reading, read};
use crate::shell::Shell;
use crate::shell::jobs::Job;
use crate::shell::view::{RedirectFile, Target};

pub(super) async fn run(shell: &mut Shell, invocation: &Invocation) -> Outcome<Exit> {
    let job = match invocation.params.get("command_id") {
        Some(which) => shell.job(which).await?,
        None => shell.jobs.latest().ok_or_else(|| Failure::here("no_job", "no job of this shell runs"))?,
    };
    let redirect = invocation.redirect.as_ref().map(RedirectFile::test).transpose();
    let redirect = redirect.map_err(|problem| Failure { exit: Exit::Failed, problem })?;
    shell.screen.typed(&job.line);
    match redirect {
        // The whole answer, also of one that was half shown.
        Some(file) => {
            job.unpark();
            shell.look_into(&job, Target::File(file)).await
        }
        None => shell.look(&job).await,
    }
}

impl Shell {
    /// The job behind a command of the session: this shell's own, or a second reader of any other.
    pub(super) async fn job(&mut self, which: &str) -> Outcome<Arc<Job>> {
        let own = which.parse::<u64>().ok();
        if let Some(job) = own.and_then(|number| self.jobs.all().into_iter().find(|job| job.number() == number)) {
            return Ok(job);
        }
        let session = self.attached().await?;
        let record = self.client.command(&session.session_id, which).await?;
        let record = self.continued(record).await?;
        if let Some(job) = self.jobs.of(record.command_id) {
            return Ok(job);
        }
        let Reading { invocation: Some(mut read), .. } = read(&record.raw_command_line, None) else {
            return Err(Failure::internal(format!("{}: this line is not understood any more", record.raw_command_line)));
        };
        // A redirect and the bytes of a file belong to the shell that typed the line.
        read.redirect = None;
        let mut start = self.start(&session, Arc::new(read), &record.raw_command_line);
        start.directory = None;
        start.announce = Arc::new(|_| {});
        Ok(start.attach(record.command_id))
    }
}
