//! The `latrace` command.

use std::process::ExitCode;

use clap::Parser;
use latrace::cli;
use latrace_io::failure;

fn main() -> ExitCode {
    // Before the command line is parsed, whose grammar does not have the launcher's arguments.
    #[cfg(target_os = "linux")]
    if let Some(arguments) = launcher_arguments() {
        return latrace_verify::code::launcher::run(&arguments);
    }
    match cli::run(&cli::Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failure::report(&error, latrace_engine::hint_of),
    }
}

/// The launcher's arguments, if this process was started to set up a sandbox rather than as the command:
/// the binary re-executes itself, so that no second program has to be installed.
#[cfg(target_os = "linux")]
fn launcher_arguments() -> Option<Vec<std::ffi::OsString>> {
    let mut arguments = std::env::args_os().skip(1);
    (arguments.next()? == latrace_verify::code::launcher::ARGUMENT).then(|| arguments.collect())
}
