//! Reads the arguments, takes the role they name, and ends with its exit code.

use std::process::ExitCode;

use clap::Parser;
use lrsh::cli::{self, Action, Cli};
use lrsh::error::Exit;
use lrsh::host::Home;

fn main() -> anyhow::Result<ExitCode> {
    let cli = Cli::parse();
    Ok(ExitCode::from(match cli.action {
        Some(Action::Explain { platform, line }) => cli::explain(&line, platform),
        Some(Action::Check { platform, file }) => cli::check(&file, platform),
        Some(Action::Paths { what, start }) => cli::paths(&Home::find()?, what.as_deref(), start),
        Some(Action::Embedded) => {
            lrsh::embedded::run(&Home::find()?)?;
            0
        }
        None => {
            lrsh::host::start::ensure(&Home::find()?)?;
            0
        }
    }))
        Some(Action::Config) => match Home::find() {
            Ok(home) => cli::config(&home),
            Err(_) => Exit::NotUnderstood.code(),
        },
        None => 0,
    })
}
