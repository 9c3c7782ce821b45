//! The `latrace` command.

use std::process::ExitCode;

use clap::Parser;
use latrace::{cli, failure};

fn main() -> ExitCode {
    match cli::run(&cli::Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failure::report(&error),
    }
}
