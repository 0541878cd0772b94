//! Where lines come from when a person types them: reedline, one file for each of its traits. No other module names it.
//!
//! The shell asks a [`LineSource`] for the next line and tells it how the last one went; what the editor must know of
//! session and device to colour, hint and complete, it asks of [`Surroundings`], which never make a key wait.

mod completer;
mod highlighter;
mod history;
mod prompt;
mod typed;
mod validator;

use std::time::Duration;

pub(super) use prompt::left as prompt_text;
pub use typed::Editor;

use crate::protocol::PlatformName;

/// Where lines come from.
pub trait LineSource: Send {
    /// Waits for the next line. Blocks its thread: never called within an async task.
    fn read(&mut self, prompt: &PromptFacts) -> Line;

    /// Tells how the line last read went, for the history.
    fn ended(&mut self, outcome: &LineOutcome);
}

/// What a [`LineSource`] yields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// A line to run.
    Text(String),
    /// Ctrl+Z at an empty prompt: the latest job comes to the foreground.
    Foreground,
    /// Ctrl+C: what was typed is dropped.
    Interrupted,
    /// Ctrl+D on an empty line, or the end of the input.
    End,
}

/// What the prompt says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PromptFacts {
    /// Who types.
    pub analyst: String,
    /// The device of the session, where there is one.
    pub device: Option<String>,
    /// The current directory on the device.
    pub directory: String,
    /// This shell's running jobs.
    pub jobs: usize,
    /// The role, only where it is not the full one.
    pub role: Option<String>,
    /// How the last line went, for the right side.
    pub last: Option<LineOutcome>,
    /// How long until the session ends by itself, where that is short.
    pub idle_left: Option<Duration>,
    /// How long the device stays cut off the network, while it is.
    pub isolation_left: Option<Duration>,
}

/// How a line went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LineOutcome {
    /// The device it ran on, where it ran on one.
    pub device: Option<String>,
    /// How long it took.
    pub duration: Duration,
    /// The exit code that a batch would end with; 0 is done.
    pub exit: u8,
    /// Why it failed, in a word or two: a status or an error's code.
    pub failure: Option<String>,
}

/// What the editor knows of the session without asking anybody: cheap, called at each key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// The kind of device, where there is a session.
    pub platform: Option<PlatformName>,
    /// The device's name.
    pub device: Option<String>,
    /// The current directory there.
    pub directory: String,
    /// The analyst's roles; empty where they are not known.
    pub roles: Vec<String>,
}

/// What only the device or the service can tell.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Wanted {
    /// The entries of this folder of the device: absolute, as it would be typed.
    Folder(String),
    /// Its processes: pid and name.
    Processes,
    /// Its services.
    Services,
    /// Its scheduled tasks.
    Tasks,
    /// Its start-up items.
    StartupItems,
    /// The library's files.
    Library,
    /// The devices.
    Devices,
    /// The session's commands: number and line.
    Commands,
    /// The device's effects that can be undone: number and what.
    Effects,
}

/// A value that could stand at the cursor.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Candidate {
    /// The value itself, without quotes, as the device or service names it; a path's last part for [`Wanted::Folder`].
    pub value: String,
    /// What it is.
    pub description: String,
    /// Whether it is a folder: nothing is put behind it, because more may follow.
    pub folder: bool,
}

/// Takes an answer to [`Surroundings::ask`]; an error says in a few words why there is none.
pub type Answer = Box<dyn FnOnce(Result<Vec<Candidate>, String>) + Send>;

/// What the shell does for the editor. Never blocks.
pub trait Surroundings: Send + Sync {
    /// What is known of the session.
    fn facts(&self) -> Facts;

    /// Asks for values and returns at once; the answer comes on any thread, or never.
    fn ask(&self, wanted: &Wanted, answer: Answer);
}
