//! The command that had to look first (`-auto`): its answer is shown before that of the command which waits for it.

use std::sync::Arc;

use jiff::tz::TimeZone;
use tokio::sync::mpsc;

use super::foreground::written;
use super::words::say_end;
use super::{End, Heard, Job, Start};
use crate::error::{Failure, Outcome};
use crate::grammar::{OutputFormat, Reading, read};
use crate::protocol::{Body, CommandId, Status};
use crate::shell::view::{RenderSpec, Rendering, Screen, Target};

/// A prerequisite on its way to the screen.
pub(super) struct Prior {
    job: Arc<Job>,
    rendering: Rendering,
    heard: mpsc::Receiver<Heard>,
}

impl Prior {
    /// Begins to show the command that `job` waits for.
    pub(super) async fn begin(job: &Job, command: CommandId, screen: &Screen, zone: TimeZone) -> Outcome<Self> {
        let record = job.client.command(&job.session, &command.to_string()).await?;
        let Reading { invocation: Some(invocation), .. } = read(&record.raw_command_line, None) else {
            return Err(Failure::internal(format!("{}: this line is not understood", record.raw_command_line)));
        };
        let spec = RenderSpec::of(&invocation, zone).map_err(|problem| Failure::internal(problem.message))?;
        // What programs read, and what goes into a file, is the answer alone.
        let is_data = job.invocation.output.is_some_and(OutputFormat::is_data) || job.has_redirect;
        let target = if is_data { Target::Beside } else { Target::Screen };
        let rendering = Rendering::begin(screen, spec, target).map_err(|error| written(&error))?;
        screen.aside(&format!("[{}] {} (looks first)", record.number, record.raw_command_line));
        let start = Start {
            client: job.client.clone(),
            session: job.session.clone(),
            line: record.raw_command_line,
            invocation: Arc::new(invocation),
            directory: None,
            redirect: None,
            fetch: None,
            upload: None,
            kept: false,
            announce: Arc::new(|_| {}),
        };
        let job = start.attach(command);
        let heard = job.read(0).await;
        Ok(Self { job, rendering, heard })
    }

    /// What is heard of it next.
    pub(super) async fn next(&mut self) -> Option<Heard> {
        self.heard.recv().await
    }

    /// Shows what was heard.
    pub(super) fn show(&mut self, heard: &Heard, screen: &Screen) -> Outcome<()> {
        match heard {
            Heard::Event(event) => {
                if let Body::Progress(progress) = &event.body {
                    screen.progress(self.job.number(), &self.job.line, progress);
                }
                self.rendering.event(&event.body).map(|_| ()).map_err(|error| written(&error))
            }
            Heard::Note(note) => {
                screen.message(note);
                Ok(())
            }
            Heard::End(_) => Ok(()),
        }
    }

    /// It has ended.
    pub(super) fn end(self, end: &End, screen: &Screen) -> Outcome<()> {
        screen.progress_end(self.job.number());
        let status = match end {
            End::Completed(completed, _) => completed.status,
            End::Lost(_) => Status::Interrupted,
        };
        let summary = self.rendering.end(status).map_err(|error| written(&error))?;
        for note in summary.notes {
            screen.message(&note);
        }
        say_end(screen, &self.job, end);
        Ok(())
    }
}
