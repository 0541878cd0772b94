//! What is said of a job beside its answer.

use super::{End, Job, Jobs};
use crate::error::Exit;
use crate::protocol::{Receipt, Status, TIME_LIMIT};
use crate::shell::view::{Screen, clean};

/// Says how a job ended, where that is not what everybody expects.
pub(super) fn say_end(screen: &Screen, job: &Job, end: &End) {
    let (number, line) = (job.number(), clean::line(&job.line));
    match end {
        End::Lost(failure) if failure.exit == Exit::BrokenPipe => {}
        End::Lost(failure) => screen.error(&failure.problem),
        End::Completed(completed, _) => {
            for problem in completed.errors.iter().take(20) {
                screen.error(problem);
            }
            if completed.errors.len() > 20 {
                screen.message(&format!("and {} more errors: status {number} -output json", completed.errors.len() - 20));
            }
            match completed.status {
                Status::Expired => screen.message(&format!("[{number}] {line}: ended by its time limit")),
                Status::Interrupted if completed.errors.is_empty() => {
                    screen.message(&format!("[{number}] {line}: interrupted; a process that carried it ended"));
                }
                Status::Failed if completed.errors.is_empty() => screen.message(&format!("[{number}] {line}: failed")),
                _ => {}
            }
        }
    }
}

/// The line that tells of a job in the background, as the reference's shell writes it.
pub(in crate::shell) fn line_of(job: &Job, state: &str) -> String {
    format!("[{}]   ({state})   {}", job.number(), clean::line(&job.line))
}

/// How a job stands, in the word of such a line.
pub(in crate::shell) fn state_of(job: &Job) -> String {
    match job.facts().end {
        None if job.facts().status == Status::Pending => "Pending".to_owned(),
        None => "Running".to_owned(),
        Some(End::Lost(_)) => "Failed".to_owned(),
        Some(End::Completed(completed, _)) => {
            let word = completed.status.as_str();
            let mut letters = word.chars();
            letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
        }
    }
}

/// The line that tells of a job whose answer is not shown, and below it what went wrong first.
fn end_of(job: &Job) -> String {
    let why = match job.facts().end {
        Some(End::Lost(failure)) => Some(failure.problem.to_string()),
        Some(End::Completed(completed, _)) if completed.status != Status::Completed => {
            completed.errors.first().map(ToString::to_string)
        }
        _ => None,
    };
    let line = line_of(job, &state_of(job));
    why.map_or(line.clone(), |why| format!("{line}\n  {}", why.lines().next().unwrap_or_default()))
}

/// Says under which number a command's work goes on.
pub(in crate::shell) fn goes_on(before: u64, number: u64) -> String {
    format!("[{before}] goes on as [{number}]")
}

impl Jobs {
    /// Says what became of a job that nobody looks at, and what its work had to say: above the line being typed, where there
    /// is one.
    pub(in crate::shell) fn announce(&self, screen: &Screen, job: &Job) {
        if job.has_ended() {
            self.tell_end(job.command());
            screen.announce(&end_of(job));
        }
        for note in job.take_notes() {
            screen.announce(&note);
        }
    }
}

/// Says what became of a job as the shell leaves.
pub(super) fn say_left(screen: &Screen, job: &Job) {
    screen.message(&end_of(job));
    for note in job.take_notes() {
        screen.message(&note);
    }
}

pub(super) fn receipt_text(number: u64, receipt: &Receipt) -> String {
    let confirmed =
        if receipt.confirmed { "the device confirmed" } else { "the device has not confirmed and may still finish this" };
    let what = if receipt.by == TIME_LIMIT { "stopped by the time limit" } else { "cancelled" };
    let mut text = format!("[{number}] {what}; {confirmed}");
    for (title, list) in [("done", &receipt.done), ("not done", &receipt.not_done)] {
        if !list.is_empty() {
            text.push_str(&format!("\n  {title}: {}", list.join("; ")));
        }
    }
    text
}
