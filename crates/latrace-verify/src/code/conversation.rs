//! A check and the program that it checks, each in a sandbox of its own: what one writes, the other reads.
//!
//! The check knows what to expect, so the program must not be able to look at it, change it, or hand it an
//! object that decides itself what it is equal to. Only text passes between them.

use std::io::{self, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::inside::check_code;
use super::limits::Limits;
use super::supervisor::{self, Clock, Ending, SharedFile, kill_namespace};

/// One of the two.
pub(crate) struct Side<'a> {
    /// Its launcher.
    pub(crate) command: Command,
    /// The program that it runs.
    pub(crate) source: &'a str,
    /// The line that it reads before what the other side writes.
    pub(crate) first: &'a str,
}

/// How the program and the check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Endings {
    pub(crate) program: Ending,
    pub(crate) check: Ending,
}

/// Runs both until the check has ended or one of them exceeds a limit, and ends both.
pub(crate) fn run(program: Side<'_>, check: Side<'_>, limits: &Limits) -> Endings {
    let not_started = Endings { program: Ending::NotStarted, check: Ending::NotStarted };
    let Ok(mut program_child) = supervisor::spawn(program.command) else { return not_started };
    let Ok(mut check_child) = supervisor::spawn(check.command) else {
        supervisor::end(&mut program_child);
        return not_started;
    };
    let overflow = AtomicBool::new(false);
    thread::scope(|scope| {
        let [(to_program, from_program), (to_check, from_check)] =
            [&mut program_child, &mut check_child].map(|child| (child.stdin.take(), child.stdout.take()));
        let errors = [&mut program_child, &mut check_child].map(|child| {
            let stderr = child.stderr.take();
            scope.spawn(move || stderr.map_or_else(Default::default, supervisor::read_errors).first)
        });
        scope.spawn(|| forward([program.source, program.first], from_check, to_program, limits, &overflow));
        scope.spawn(|| forward([check.source, check.first], from_program, to_check, limits, &overflow));
        let endings = supervise(&mut program_child, &mut check_child, limits, &overflow);
        let [of_program, of_check] = errors.map(|errors| errors.join().unwrap_or_default());
        Endings {
            program: supervisor::reconsidered(endings.program, &of_program, false),
            check: supervisor::reconsidered(endings.check, &of_check, false),
        }
    })
}

/// Gives one side its program and its first line, and then all that the other side writes.
fn forward(
    [source, first]: [&str; 2],
    from: Option<ChildStdout>,
    to: Option<ChildStdin>,
    limits: &Limits,
    overflow: &AtomicBool,
) {
    let (Some(mut from), Some(mut to)) = (from, to) else { return };
    // A side that has ended reads nothing more, which is no failure here: its end is seen elsewhere.
    let begun = supervisor::send_files(&mut to, &[SharedFile::program(source)])
        .and_then(|()| to.write_all(first.as_bytes()));
    // One byte more than may be is read, so that what is too much is known.
    let most = limits.output_mb << 20;
    let written = begun.and_then(|()| io::copy(&mut from.by_ref().take(most + 1), &mut to));
    overflow.fetch_or(written.is_ok_and(|written| written > most), Ordering::Relaxed);
}

fn supervise(program: &mut Child, check: &mut Child, limits: &Limits, overflow: &AtomicBool) -> Endings {
    let mut clocks = [Clock::start(limits), Clock::start(limits)];
    let unharmed = Ending::Exited(check_code::NO_REPLY);
    loop {
        if let Some(ending) = supervisor::ending_of(check, kill_namespace) {
            return Endings { program: end_of_program(program, ending, limits), check: ending };
        }
        if let Some(limit) = clocks[0].exceeded(program.id(), limits, overflow) {
            return Endings {
                check: supervisor::stop(check, unharmed, kill_namespace),
                program: supervisor::stop(program, limit, kill_namespace),
            };
        }
        if let Some(limit) = clocks[1].exceeded(check.id(), limits, overflow) {
            return Endings {
                check: supervisor::stop(check, limit, kill_namespace),
                program: supervisor::stop(program, unharmed, kill_namespace),
            };
        }
        thread::sleep(supervisor::POLL);
    }
}

/// How the program ended, once the check has; by us, if it has not by itself.
fn end_of_program(program: &mut Child, check: Ending, limits: &Limits) -> Ending {
    // Where it ended first, its launcher may need a moment to say so.
    let ended_first = check == Ending::Exited(check_code::NO_REPLY);
    let own = if ended_first { supervisor::ends_soon(program) } else { None };
    own.unwrap_or_else(|| supervisor::stop_waiting(program, limits))
}
