//! The `latrace` command.

use std::env::args_os;
#[cfg(target_os = "linux")]
use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;
use latrace::cli::{self, Cli};
use latrace::setting_flags::with_meant_setting;
use latrace_engine::child;
use latrace_io::failure;
#[cfg(target_os = "linux")]
use latrace_verify::code::launcher;

fn main() -> ExitCode {
    if let Some(code) = child::hidden() {
        return code;
    }
    // Before the command line is parsed, whose grammar does not have the launcher's arguments.
    #[cfg(target_os = "linux")]
    if let Some(arguments) = launcher_arguments() {
        return launcher::run(&arguments);
    }
    run(&Cli::try_parse().unwrap_or_else(|error| with_meant_setting(error, &arguments()).exit()))
}

/// The command line, as far as it is text.
fn arguments() -> Vec<String> {
    args_os().map(|argument| argument.to_string_lossy().into_owned()).collect()
}

fn run(cli: &Cli) -> ExitCode {
    let outcome = cli::run(cli);
    // An error then follows from the end of children, and what is kept is said by who ends them.
    child::hold_if_stopping();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failure::report(&error, latrace_engine::hint_of),
    }
}

/// The launcher's arguments, if this process was started to set up a sandbox rather than as the command:
/// the binary re-executes itself, so that no second program has to be installed.
#[cfg(target_os = "linux")]
fn launcher_arguments() -> Option<Vec<OsString>> {
    let mut arguments = args_os().skip(1);
    (arguments.next()? == launcher::ARGUMENT).then(|| arguments.collect())
}
