//! Reads the arguments, takes the role they name, and ends with its exit code.

use std::process::ExitCode;

use clap::Parser;
use lrsh::cli::{self, Action, Cli};

fn main() -> ExitCode {
    let cli = Cli::parse();
    ExitCode::from(match cli.action {
        Some(Action::Explain { platform, line }) => cli::explain(&line, platform),
        Some(Action::Check { platform, file }) => cli::check(&file, platform),
        None => 0,
    })
}
