//! Ctrl-C and SIGTERM, where a verb has started servers or trainers.

use std::env;
use std::io::{IsTerminal, Write, stderr};
use std::process::exit;

use anyhow::{Context, Result};
use latrace_engine::child;
use latrace_io::progress::place;

/// Exit code of a command that was told to stop, as a shell has it for Ctrl-C.
const INTERRUPTED: i32 = 130;

/// On Ctrl-C or SIGTERM, ends servers and trainers in order, says what is `kept`, and exits. Nothing has to be saved
/// then: what is finished is written as the work goes on.
pub(super) fn end_children_and_say(kept: String) -> Result<()> {
    end_children_say_and(kept, |_| ())
}

/// The same, with a last thing to do, which is told what is kept.
pub(super) fn end_children_say_and(kept: String, last: impl Fn(&str) + Send + 'static) -> Result<()> {
    ctrlc::set_handler(move || {
        child::stop_all();
        // Standard error may be closed, and `eprintln` would panic.
        let _ = writeln!(stderr(), "{}", stopped(&place(), &kept, stderr().is_terminal()));
        last(&kept);
        exit(INTERRUPTED);
    })
    .context("cannot watch for Ctrl-C")
}

/// What is said: where the work was, and what is kept. On a terminal, in place of a bar.
fn stopped(place: &str, kept: &str, is_terminal: bool) -> String {
    let (clear, space) =
        (if is_terminal { "\r\x1b[2K" } else { "" }, if place.is_empty() { "" } else { " " });
    format!("{clear}stopped{space}{place}; {kept}")
}

/// The command line of this process, as a shell takes it again.
pub(super) fn command_line() -> String {
    child::shell_line(&words())
}

/// The same without the folder of the program, which is elsewhere on other machines.
pub(super) fn portable_command_line() -> String {
    let mut words = words();
    if let Some(program) = words.first_mut() {
        "latrace".clone_into(program);
    }
    child::shell_line(&words)
}

fn words() -> Vec<String> {
    env::args_os().map(|word| word.to_string_lossy().into_owned()).collect()
}
