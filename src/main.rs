//! Reads the arguments, takes the role they name, and ends with its exit code.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use lrsh::cli::{self, Action, AgentAction, Cli};
use lrsh::host::{Home, start};
use lrsh::protocol::Problem;
use lrsh::shell::{self, Starter};

fn main() -> anyhow::Result<ExitCode> {
    let cli = Cli::parse();
    match &cli.action {
        Some(Action::Help { command }) => return Ok(cli::help(command.as_deref()).into()),
        Some(Action::Explain { platform, line }) => return Ok(cli::explain(line, *platform).into()),
        Some(Action::Check { platform, file }) => return Ok(cli::check(file, *platform).into()),
        Some(Action::Completions { shell }) => return Ok(cli::completions(*shell).into()),
        Some(Action::Complete(question)) => return Ok(cli::complete(question, cli.home().ok().as_ref()).into()),
        // The way back for who has no service, no session and no journal any more.
        Some(Action::Agent(AgentAction::Release)) => return Ok(cli::released(lrsh::agent::release_this_machine()).into()),
        Some(Action::Supervise) => {
            lrsh::agent::supervise()?;
            return Ok(ExitCode::SUCCESS);
        }
        _ => {}
    }
    let home = match cli.home() {
        Ok(home) => home,
        Err(error) => return Ok(cli::refuse(&error.to_string()).into()),
    };
    Ok(match cli.action {
        Some(Action::Paths { what, start }) => cli::paths(&home, what.as_deref(), start),
        Some(Action::Config) => cli::config(&home),
        Some(Action::Embedded) => match lrsh::embedded::run(&home) {
            Ok(()) => 0,
            // Whoever started it reads this, as long as it is not told in another way.
            Err(error) => cli::refuse(&error.to_string()),
        },
        _ => {
            let embedded = Embedded(home.clone());
            shell::run(cli.shell.options(home), Arc::new(embedded)).code()
        }
    }
    .into())
}

/// The embedded default: the background process of this home.
struct Embedded(Home);

impl Starter for Embedded {
    fn ensure(&self) -> Result<PathBuf, Problem> {
        start::ensure(&self.0)
            .map_err(|error| Problem::new("unreachable", format!("the background process cannot be started: {error}")))
    }
}
