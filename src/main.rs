//! Reads the arguments, takes the role they name, and ends with its exit code.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use lrsh::cli::{self, Action, Cli};
use lrsh::host::{Home, start};
use lrsh::protocol::Problem;
use lrsh::shell::{self, Starter};

fn main() -> anyhow::Result<ExitCode> {
    let cli = Cli::parse();
    let home = || Home::find().map_err(|error| cli::refuse(&error.to_string()));
    Ok(ExitCode::from(match cli.action {
        Some(Action::Explain { platform, line }) => cli::explain(&line, platform),
        Some(Action::Check { platform, file }) => cli::check(&file, platform),
        Some(Action::Paths { what, start }) => {
            home().map_or_else(|code| code, |home| cli::paths(&home, what.as_deref(), start))
        }
        Some(Action::Embedded) => {
            lrsh::embedded::run(&Home::find()?)?;
            0
        }
        Some(Action::Completions { shell }) => cli::completions(shell),
        Some(Action::Complete(question)) => cli::complete(&question, Home::find().ok().as_ref()),
        Some(Action::Config) => home().map_or_else(|code| code, |home| cli::config(&home)),
        None => {
            let home = match home() {
                Ok(home) => home,
                Err(code) => return Ok(ExitCode::from(code)),
            };
            let embedded = Embedded(home.clone());
            shell::run(cli.shell.options(home), Arc::new(embedded)).code()
        }
    }))
}

/// The embedded default: the background process of this home.
struct Embedded(Home);

impl Starter for Embedded {
    fn ensure(&self) -> Result<PathBuf, Problem> {
        start::ensure(&self.0)
            .map_err(|error| Problem::new("unreachable", format!("the background process cannot be started: {error}")))
    }
}
