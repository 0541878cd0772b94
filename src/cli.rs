//! The program's own arguments: which role it takes, and the faces that need no service (`explain`, `check`).

use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::Config;
use crate::grammar::{self, ErrorKind};
use crate::host::{Home, start};
use crate::protocol::{PlatformName, Problem, text};
use crate::shell::{self, Input};

mod complete;
pub mod page;
mod scripts;

pub use complete::{OuterShell, Question};
pub use scripts::script;

/// What `lrsh` is asked to do.
#[derive(Debug, Parser)]
#[command(name = "lrsh", version, about = "The live response shell: investigate and repair machines that may be compromised")]
#[command(long_about = page::beginning(), after_help = "`lrsh --help` says more.", after_long_help = page::rest())]
#[command(args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
pub struct Cli {
    /// What to do; without it, the shell.
    #[command(subcommand)]
    pub action: Option<Action>,
    /// How the shell is started.
    #[command(flatten)]
    pub shell: ShellArguments,
    /// Look at a mounted image or a tree of files instead of this machine
    #[arg(long, value_name = "DIR", global = true)]
    pub root: Option<PathBuf>,
    /// Let commands change what is below --root
    #[arg(long, global = true, requires = "root")]
    pub root_writable: bool,
}

impl Cli {
    /// The home that is meant.
    ///
    /// # Errors
    /// When no home is known, or the root is no folder.
    pub fn home(&self) -> std::io::Result<Home> {
        let home = Home::find()?;
        match &self.root {
            None => Ok(home),
            Some(root) => home.of_root(root, self.root_writable).map_err(|error| {
                let message = format!("--root {}: {}", text::visible(&root.display().to_string()), text::said(&error));
                std::io::Error::new(error.kind(), message)
            }),
        }
    }
}

/// The arguments of the shell itself.
#[derive(Debug, Args)]
pub struct ShellArguments {
    /// Script files to run, in one session
    #[arg(value_name = "SCRIPT")]
    files: Vec<PathBuf>,
    /// A line to run; as often as wanted
    #[arg(short = 'c', value_name = "LINE", allow_hyphen_values = true, conflicts_with = "files")]
    lines: Vec<String>,
    /// Run standard input line by line as it comes, without checking it as a whole first
    #[arg(long, conflicts_with_all = ["files", "lines"])]
    stream: bool,
    /// Go on behind a line that failed
    #[arg(long)]
    keep_going: bool,
    /// The device to connect to
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,
    /// Whether to use colour
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    color: When,
}

/// When something is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum When {
    /// Where a terminal can show it.
    Auto,
    /// In any case.
    Always,
    /// In no case.
    Never,
}

impl ShellArguments {
    /// What the shell is told.
    #[must_use]
    pub fn options(self, home: Home) -> shell::Options {
        let input = if !self.lines.is_empty() {
            Input::Lines(self.lines)
        } else if !self.files.is_empty() {
            Input::Files(self.files)
        } else {
            Input::Stdin { stream: self.stream }
        };
        let color = match self.color {
            When::Auto => None,
            When::Always => Some(true),
            When::Never => Some(false),
        };
        shell::Options { home, input, keep_going: self.keep_going, device: self.device, color }
    }
}

/// What `lrsh paths` knows.
const PLACES: [&str; 7] = ["home", "config", "history", "service", "agent", "log", "socket"];

/// Reads a platform's name; help and completion know the names there are.
fn platform() -> impl TypedValueParser<Value = PlatformName> {
    let names = [PlatformName::Windows, PlatformName::Macos, PlatformName::Linux].map(PlatformName::as_str);
    PossibleValuesParser::new(names).try_map(|name| name.parse::<PlatformName>())
}

/// The faces of the program beside the shell.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// List the commands of the shell, or explain one
    Help {
        /// The command
        command: Option<String>,
    },
    /// Say how a line is read, as JSON, without contacting anything
    Explain {
        /// The kind of device to read it for
        #[arg(long, value_parser = platform(), ignore_case = true)]
        platform: Option<PlatformName>,
        /// The line
        #[arg(allow_hyphen_values = true)]
        line: OsString,
    },
    /// Print where things are
    Paths {
        /// What; all without it
        #[arg(value_parser = PLACES)]
        what: Option<String>,
        /// Start the service first, if it does not run
        #[arg(long)]
        start: bool,
    },
    /// The background process; started by the shell
    #[command(hide = true)]
    Embedded,
    /// What a script hangs below; started by the agent
    #[command(hide = true)]
    Supervise,
    /// Print the settings that hold, as a config.toml
    Config,
    /// What needs no service: `lrsh agent release` ends the isolation of this machine
    #[command(subcommand)]
    Agent(AgentAction),
    /// Print the script that completes lrsh in another shell
    Completions {
        /// The shell
        shell: OuterShell,
    },
    /// Say what may stand at the cursor; asked by a completion script
    #[command(hide = true)]
    Complete(Question),
    /// Find every error in a script without running it
    Check {
        /// The kind of device to read it for
        #[arg(long, value_parser = platform(), ignore_case = true)]
        platform: Option<PlatformName>,
        /// The script, or - for standard input
        file: PathBuf,
    },
}

/// What `lrsh agent` can do by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub enum AgentAction {
    /// End the isolation of this machine, whoever began it
    Release,
}

/// `lrsh agent release`: says what came of it. The exit code: 0 when the machine is on the network, 1 when that cannot be had.
#[must_use]
pub fn released(outcome: Result<bool, Problem>) -> u8 {
    match outcome {
        Ok(true) => print("the isolation of this machine has ended\n"),
        Ok(false) => print("this machine is not isolated\n"),
        Err(problem) => {
            complain(&problem.message);
            1
        }
    }
}

/// `lrsh help`: prints what the shell's own `help` says to whoever has no session. The exit code: 0, or 2 when there is no such
/// command.
#[must_use]
pub fn help(command: Option<&str>) -> u8 {
    let asked = command.map_or_else(String::new, grammar::quoted);
    let reading = grammar::read(&format!("help {asked}"), None);
    if let Some(found) = reading.diagnostics.first() {
        let hint = found.hint.as_ref().map_or_else(String::new, |hint| format!("; {hint}"));
        complain(&format!("{}{hint}", found.message));
        return 2;
    }
    let named = reading.invocation.as_ref().and_then(|invocation| invocation.params.get("command"));
    print(&shell::help(named.and_then(|name| grammar::table().find(name))))
}

/// `lrsh explain`: prints the reading. The exit code: 0, or 2 when the line is not understood.
#[must_use]
pub fn explain(line: &OsStr, platform: Option<PlatformName>) -> u8 {
    let reading = match std::str::from_utf8(line.as_encoded_bytes()) {
        Ok(line) => grammar::read(line, platform),
        Err(error) => {
            let span = grammar::Span { start: error.valid_up_to(), end: error.valid_up_to() + 1 };
            let message = "the line is not UTF-8 from here on".to_owned();
            let found = grammar::Diagnostic { kind: ErrorKind::UnsupportedSyntax, message, span, hint: None };
            grammar::Reading { invocation: None, diagnostics: vec![found] }
        }
    };
    let code = if reading.diagnostics.is_empty() { 0 } else { 2 };
    print(&format!("{}\n", shell::view::harmless(&reading.explained().to_string()))).max(code)
}

/// `lrsh config`: prints the settings that hold.
#[must_use]
pub fn config(home: &Home) -> u8 {
    let told = Config::load(&home.config_file()).and_then(|config| {
        shell::editor::check_keys(&config.keys)?;
        config.to_toml()
    });
    match told {
        Ok(text) => print(&text),
        Err(failure) => {
            shell::view::Screen::new(shell::view::ScreenOptions::default()).error(&failure.problem);
            failure.exit.code()
        }
    }
}

/// `lrsh completions`: prints a shell's completion script.
#[must_use]
pub fn completions(shell: OuterShell) -> u8 {
    print(script(shell))
}

/// `lrsh complete`: prints what may stand at the cursor of another shell.
#[must_use]
pub fn complete(question: &Question, home: Option<&Home>) -> u8 {
    print(&complete::answer(question, home))
}

/// `lrsh check`: prints every error of a script as `file:line:column: kind: message`. The exit code: 0, or 2 when there is one.
#[must_use]
pub fn check(file: &std::path::Path, platform: Option<PlatformName>) -> u8 {
    let name = text::visible(&file.display().to_string());
    let mut bytes = Vec::new();
    let read = if name == "-" {
        std::io::stdin().read_to_end(&mut bytes).map(|_| ())
    } else {
        std::fs::read(file).map(|content| bytes = content)
    };
    if let Err(error) = read {
        return print(&format!("{name}: {error}\n")).max(2);
    }
    let mut found = String::new();
    let mut tell = |line: &grammar::ScriptLine, error: &grammar::Diagnostic| {
        let (row, column) = line.place(error.span.start);
        let said = text::visible(&error.message);
        found.push_str(&format!("{name}:{row}:{column}: {}: {said}\n", error.kind.as_str()));
    };
    match grammar::decode(&bytes) {
        Err(not_text) => tell(&not_text.line, &not_text.found),
        Ok(script) => {
            for line in grammar::script_lines(script) {
                let nothing = line.text.trim().is_empty() || line.text.trim_start().starts_with('#');
                let reading = grammar::read(&line.text, platform);
                let mut errors = reading.told();
                if errors.is_empty() {
                    errors.extend(reading.invocation.as_ref().and_then(grammar::Invocation::dropped));
                }
                errors.iter().filter(|error| error.kind != ErrorKind::Empty || !nothing).for_each(|error| tell(&line, error));
            }
        }
    }
    print(&found).max(if found.is_empty() { 0 } else { 2 })
}

/// `lrsh paths`: prints where things are. The exit code: 0, 2 for an unknown one, 4 for the socket of a service that is not there.
#[must_use]
pub fn paths(home: &Home, what: Option<&str>, start: bool) -> u8 {
    if start && let Err(error) = start::ensure(home) {
        complain(&error.to_string());
        return 4;
    }
    let socket = match start::running(home) {
        Ok(running) => running.map(|running| running.socket),
        Err(error) if what == Some("socket") => {
            complain(&error.to_string());
            return 4;
        }
        // The other paths are told all the same.
        Err(_) => None,
    };
    let all = [
        ("home", Some(home.data().to_owned())),
        ("config", Some(home.config_file())),
        ("history", Some(home.history_file())),
        ("service", Some(home.service())),
        ("agent", Some(home.agent())),
        ("log", Some(home.log())),
        ("socket", socket),
    ];
    match what {
        None => {
            let lines = all.map(|(name, path)| {
                let path = path.map_or_else(|| "(no service runs)".to_owned(), |path| path.display().to_string());
                format!("{name:8} {path}\n")
            });
            print(&lines.concat())
        }
        Some(what) => match all.iter().find(|(name, _)| *name == what) {
            Some((_, Some(path))) => print(&format!("{}\n", path.display())),
            Some((_, None)) => {
                complain("no service runs in this home; a shell starts it");
                4
            }
            None => {
                let names: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
                complain(&format!("there is no `{what}` among the paths: {}", names.join(", ")));
                2
            }
        },
    }
}

/// Says that the environment makes no sense. The exit code: 2.
#[must_use]
pub fn refuse(reason: &str) -> u8 {
    complain(reason);
    2
}

/// Says why there is no answer, where a script does not take it for one.
#[expect(clippy::disallowed_methods, reason = "cli holds stderr for what needs no shell")]
fn complain(reason: &str) {
    // There is nowhere else to say it.
    let _ = writeln!(std::io::stderr().lock(), "lrsh: {}", text::visible(reason));
}

/// Prints an answer. The exit code: 0, or 1 when it cannot be written.
#[expect(clippy::disallowed_methods, reason = "cli holds stdout for what needs no shell")]
fn print(text: &str) -> u8 {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => 0,
        // A reader that has gone away (`| head`) has what it wanted.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => 0,
        Err(error) => {
            complain(&format!("the answer cannot be written: {error}"));
            1
        }
    }
}
