//! Where lines come from when a person types them: reedline, one file for each of its traits. No other module names it.
//!
//! The shell asks a [`LineSource`] for the next line and tells it how the last one went; what the editor must know of
//! session and device to colour, hint and complete, it asks of [`Surroundings`], which never make a key wait.

mod aids;
mod answers;
mod completer;
mod highlighter;
mod hinter;
mod history;
mod keys;
mod menu;
mod offers;
mod past;
mod path;
mod pointed;
mod prompt;
mod typed;
mod validator;

use std::time::Duration;

pub use aids::{Aids, Shown};
pub(super) use history::{Entry, History};
pub use keys::check as check_keys;
pub(super) use prompt::left as prompt_text;
pub use typed::Editor;

use crate::grammar::Row;
use crate::protocol::PlatformName;

/// Where lines come from.
pub trait LineSource: Send {
    /// Waits for the next line. Blocks its thread: never called within an async task.
    fn read(&mut self, prompt: &PromptFacts) -> Line;

    /// Asks something that is answered with a word: no command, and not kept in the history. Blocks as [`LineSource::read`].
    fn ask(&mut self, question: &str) -> Line;

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
    /// The columns of the terminal; 0 where nothing bounds the prompt.
    pub width: usize,
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

/// What only the device, the service or a disk can tell.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Wanted {
    /// The entries of a folder of the device.
    Folder {
        /// The directory that a relative path stands in; the root where the path is absolute.
        directory: String,
        /// The folder, as it is typed up to its last separator; nothing is the directory itself.
        path: String,
        /// Only those whose name begins so, in any case: for folders of which not all is told.
        begins: String,
    },
    /// The entries of a folder of the analyst's machine.
    LocalFolder(String),
    /// The device's processes: pid and name.
    Processes,
    /// The names that its processes have.
    ProcessNames,
    /// What is in a key of its registry: other keys, which are folders, and values.
    Registry(String),
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
    /// What such effects were done to, of one type of entity.
    Targets(String),
}

/// A value that could stand at the cursor.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Candidate {
    /// The value itself, without quotes, as the device or service names it; a path's last part for a folder.
    pub value: String,
    /// A path's exact `file:///` form, where its name alone would not name it.
    pub exact: Option<String>,
    /// What it is.
    pub description: String,
    /// Whether more of it may follow: nothing is put behind a folder, or a link that may lead to one.
    pub is_open: bool,
    /// Whether it is a folder: a separator belongs to it.
    pub is_folder: bool,
    /// Whether it is under way: a command that runs.
    pub is_running: bool,
    /// What a script says of its parameters.
    pub usage: Option<String>,
}

/// What is known of a [`Wanted`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// The values, in the order they are offered in.
    pub candidates: Vec<Candidate>,
    /// Whether there are more of them.
    pub more: bool,
}

/// Takes an answer to [`Surroundings::ask`]; an error says in a few words why there is none.
pub type Answer = Box<dyn FnOnce(Result<Found, String>) + Send>;

/// What the shell does for the editor. Never blocks.
pub trait Surroundings: Send + Sync {
    /// What is known of the session.
    fn facts(&self) -> Facts;

    /// Asks for values and returns at once; the answer comes on any thread, or never.
    fn ask(&self, wanted: &Wanted, answer: Answer);

    /// How many jobs of this shell run now.
    fn jobs(&self) -> usize;

    /// How long until the session ends by itself, where that is soon.
    fn idle_left(&self) -> Option<Duration>;

    /// The help of a command, or without one the list of those that the analyst may run.
    fn help(&self, row: Option<&'static Row>) -> String;
}
