//! The analyst's terminal: where lines come from, how they are sent, and how their answers are shown.
//!
//! One line's way: [`editor`] or [`script`] → grammar → [`local`] when the shell serves it alone, else [`client`] → a
//! [`jobs`] task → [`view`].

pub mod client;
pub mod editor;
mod feed;
pub mod jobs;
pub mod local;
mod pattern;
mod plain;
mod precheck;
mod run;
pub mod script;
mod session;
mod stuck;
mod surroundings;
pub mod view;

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::tz::TimeZone;

pub use self::client::Starter;
use self::client::{Client, Trace};
use self::editor::{Line, LineOutcome, LineSource, PromptFacts};
use self::jobs::{Attention, Jobs, Sight};
use self::session::{Attached, Now};
use self::surroundings::Around;
use self::view::{Screen, ScreenOptions, clean};
use crate::config::{Clock, Config};
use crate::error::{Exit, Failure, Outcome};
use crate::grammar::{Role, Row};
use crate::host::signals::{Asked, Signals};
use crate::host::terminal::Quiet;
use crate::host::{Home, terminal};
use crate::protocol::text::from_file_uri;

/// What `help` says to whoever has no session: of a command, or without one of all.
#[must_use]
pub fn help(row: Option<&Row>) -> String {
    local::help_text(None, row)
}

/// How a shell is started.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where things are kept.
    pub home: Home,
    /// Where lines come from.
    pub input: Input,
    /// A batch goes on behind a line that failed.
    pub keep_going: bool,
    /// The device that commands are for, instead of the only one there is.
    pub device: Option<String>,
    /// What the command line says of colour.
    pub color: Option<bool>,
}

/// Where lines come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Standard input: a person, if it is a terminal; else a batch.
    Stdin {
        /// A batch is run line by line as it comes, without reading it whole before.
        stream: bool,
    },
    /// Lines of the command line (`-c`).
    Lines(Vec<String>),
    /// Script files.
    Files(Vec<PathBuf>),
}

/// Runs a shell to its end.
#[must_use]
pub fn run(options: Options, starter: Arc<dyn Starter>) -> Exit {
    let interactive = matches!(options.input, Input::Stdin { stream: false }) && terminal::stdin_is_terminal();
    let screen = Screen::new(ScreenOptions { color: options.color, interactive, width: None });
    match start(options, starter, &screen, interactive) {
        Ok(exit) => exit,
        Err(failure) => {
            if failure.exit != Exit::BrokenPipe {
                screen.error(&failure.problem);
            }
            failure.exit
        }
    }
}

fn start(options: Options, starter: Arc<dyn Starter>, screen: &Screen, interactive: bool) -> Outcome<Exit> {
    let config = Config::load(&options.home.config_file())?;
    let streamed = matches!(options.input, Input::Stdin { stream: true });
    // A batch waits for one thing at a time: one thread spares every command two changes of thread. While a person types,
    // and while the next line of a stream is waited for, jobs go on beside it.
    let mut builder = if interactive || streamed {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(2);
        builder
    } else {
        tokio::runtime::Builder::new_current_thread()
    };
    let failed = |error: io::Error| Failure::internal(format!("the shell cannot be started: {error}"));
    let runtime = builder.enable_all().build().map_err(failed)?;
    let signals = runtime.block_on(async { Signals::listen(interactive) }).map_err(failed)?;
    let (kept, waited) = if interactive { (None, Some(signals)) } else { (Some(signals), None) };
    let trace = Trace::new(options.home.log(), screen.clone());
    let client = Client::new(starter, screen.clone(), trace);
    let mut shell = Shell {
        client,
        sight: Sight {
            screen: screen.clone(),
            zone: zone_of(config.time),
            signals: kept,
            attention: Attention::default(),
            group: None,
        },
        screen: screen.clone(),
        config,
        home: options.home,
        jobs: Jobs::default(),
        session: None,
        now: Now::default(),
        directory: Arc::new(Mutex::new("/".to_owned())),
        device: options.device,
        keep_going: options.keep_going,
        interactive,
        question: None,
        is_sure: false,
        finished: false,
        leaving: None,
    };
    let exit = match (interactive, options.input) {
        (true, _) => {
            terminal::remember();
            if let Some(signals) = waited {
                let end = EndAtThePrompt {
                    client: shell.client.clone(),
                    screen: shell.screen.clone(),
                    now: shell.now.clone(),
                    jobs: shell.jobs.clone(),
                    attention: shell.sight.attention.clone(),
                };
                runtime.spawn(end.at(signals));
            }
            interact(&mut shell, &runtime)
        }
        (false, input) => {
            stuck::watch(shell.client.clone(), shell.now.clone(), shell.jobs.clone());
            runtime.block_on(script::run(&mut shell, input))
        }
    };
    // Nothing is waited for any more: blocking threads may hang in a file system.
    runtime.shutdown_background();
    exit
}

/// A shell at work.
pub struct Shell {
    /// The way to the service.
    pub client: Client,
    /// The owner of the screen.
    pub screen: Screen,
    /// What the analyst has set.
    pub config: Config,
    /// Where things are kept.
    pub home: Home,
    /// This shell's jobs.
    pub jobs: Jobs,
    sight: Sight,
    session: Option<Attached>,
    /// What others than this loop must know of that session: the editor, and who ends the shell at a signal.
    now: Now,
    /// Where the shell stands on the device.
    directory: Arc<Mutex<String>>,
    device: Option<String>,
    keep_going: bool,
    interactive: bool,
    /// What is to be asked before the line that was just read is carried out.
    question: Option<Question>,
    /// The analyst was asked whether the line is meant, and said yes.
    is_sure: bool,
    /// `exit` was read: a batch takes no further line, and ends as one whose input has ended.
    finished: bool,
    /// The shell is to end.
    leaving: Option<Exit>,
}

/// What the analyst is asked before a line is carried out.
struct Question {
    /// It ends in a question mark.
    text: String,
    /// Whether the end of the input means yes.
    at_end: bool,
}

impl Question {
    /// Asks it. Yes is a word of its own: all else is no.
    fn is_answered_yes(&self, source: &mut dyn LineSource) -> bool {
        match source.ask(&format!("{} [y/N] ", self.text)) {
            Line::Text(answer) => ["y", "yes"].iter().any(|yes| answer.trim().eq_ignore_ascii_case(yes)),
            Line::End => self.at_end,
            Line::Interrupted | Line::Foreground => false,
        }
    }
}

impl Shell {
    /// Whether a person sits at it.
    #[must_use]
    pub fn is_interactive(&self) -> bool {
        self.interactive
    }

    /// The directory on the device that paths stand in.
    #[must_use]
    pub fn directory(&self) -> String {
        self.directory.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The clock of tables.
    #[must_use]
    pub fn zone(&self) -> TimeZone {
        zone_of(self.config.time)
    }

    fn prompt(&self, last: Option<LineOutcome>, isolation_left: Option<Duration>) -> PromptFacts {
        let session = self.session.as_ref().filter(|session| !session.is_closed());
        PromptFacts {
            analyst: session.map_or_else(local_user, |session| session.facts.analyst.clone()),
            device: session.map(|session| session.facts.device.title()),
            directory: shown(&self.directory()),
            jobs: self.jobs.running().len(),
            role: session.and_then(|session| partial_role(&session.facts.roles)),
            last,
            idle_left: None,
            isolation_left,
            width: self.screen.width().unwrap_or(0),
        }
    }
}

/// A directory as tables show names: one that has an exact form stands in it only on a line.
fn shown(directory: &str) -> String {
    match from_file_uri(directory) {
        Some(path) => clean::line(&String::from_utf8_lossy(&path)).into_owned(),
        None => directory.to_owned(),
    }
}

fn zone_of(clock: Clock) -> TimeZone {
    match clock {
        Clock::Local => TimeZone::system(),
        // The device's clock is told as UTC: every platform's verbs give instants.
        Clock::Utc | Clock::Device => TimeZone::UTC,
    }
}

/// What an analyst may do, where that is not everything.
fn partial_role(roles: &[String]) -> Option<String> {
    let is_full = [Role::Advanced, Role::Library, Role::Settings].iter().all(|role| role.is_held(roles));
    (!is_full && !roles.is_empty()).then(|| roles.join(", "))
}

/// The analyst before a service has said who it is.
fn local_user() -> String {
    std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).unwrap_or_else(|_| "analyst".to_owned())
}

/// The loop at a terminal. The editor blocks this thread; jobs go on upon others.
fn interact(shell: &mut Shell, runtime: &tokio::runtime::Runtime) -> Outcome<Exit> {
    let failed = |error: io::Error| Failure::internal(format!("the terminal cannot be set up: {error}"));
    // Between two prompts too, so that what is typed meanwhile is kept as it was typed.
    let mut _quiet = None;
    let mut source: Box<dyn LineSource> = if shell.screen.can_be_drawn_on() {
        _quiet = Quiet::for_editor().map_err(failed)?;
        let around = Around::new(runtime.handle().clone(), shell);
        Box::new(editor::Editor::new(shell.screen.clone(), &shell.home, &shell.config, Arc::new(around))?)
    } else {
        Box::new(plain::Plain::new(shell.screen.clone(), &shell.home))
    };
    let mut last = None;
    loop {
        shell.screen.clear();
        let isolation_left = runtime.block_on(shell.isolation_left());
        let line = source.read(&shell.prompt(last.take(), isolation_left));
        let begun = Instant::now();
        let text = match line {
            Line::Text(text) => text,
            Line::Foreground => "fg".to_owned(),
            Line::Interrupted => continue,
            Line::End => "exit".to_owned(),
        };
        let device = shell.session.as_ref().map(|session| session.facts.device.title());
        let (mut exit, mut failure) = runtime.block_on(shell.line_or_signal(&text, None));
        if let Some(question) = shell.question.take()
            && question.is_answered_yes(source.as_mut())
        {
            shell.is_sure = true;
            (exit, failure) = runtime.block_on(shell.line_or_signal(&text, None));
            shell.is_sure = false;
        }
        // The line that connects by itself ran on the device it found; the one that leaves, on the device it left.
        let device = shell.session.as_ref().map(|session| session.facts.device.title()).or(device);
        let outcome = LineOutcome { device, duration: begun.elapsed(), exit: exit.code(), failure };
        source.ended(&outcome);
        shell.now.touch();
        last = Some(outcome);
        if let Some(exit) = shell.leaving {
            return Ok(exit);
        }
        if exit == Exit::BrokenPipe {
            // Nothing that is typed would be answered where anybody sees it.
            runtime.block_on(shell.cancel_and_leave());
            return Ok(exit);
        }
    }
}

/// What ends a shell that waits at its prompt: SIGTERM in order, SIGHUP as a terminal that was lost. While a command runs, its
/// wait hears the same signals and this does the same.
struct EndAtThePrompt {
    client: Client,
    screen: Screen,
    now: Now,
    jobs: Jobs,
    attention: Attention,
}

impl EndAtThePrompt {
    async fn at(self, mut signals: Signals) {
        loop {
            let exit = match signals.next().await {
                Asked::HangUp => {
                    // The commands go on; what came of their answers so far is kept.
                    self.jobs.give_up().await;
                    Exit::HungUp
                }
                Asked::Terminate => {
                    terminal::restore();
                    self.screen.clear();
                    if !self.attention.is_at_job() {
                        // Behind the prompt.
                        self.screen.message("");
                    }
                    self.jobs.end(&self.screen, |_| true).await;
                    self.attention.looked_away().await;
                    if let Some(session) = self.now.id() {
                        let _ = self.client.leave(&session).await;
                    }
                    Exit::Terminated
                }
                // Those are for the command that runs; at the prompt they are keys.
                Asked::Interrupt | Asked::Suspend => continue,
            };
            terminal::restore();
            std::process::exit(i32::from(exit.code()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn the_prompt_shows_an_odd_folder_as_tables_do() {
        assert_eq!(shown("/etc"), "/etc");
        assert_eq!(shown("file:///tmp/odd%0Aname%FF/%1Bx"), "/tmp/odd␊name\u{fffd}/\\x1bx");
    }
}
