//! The process between us and a child: it ends all that runs below it when its standard input closes, when it is told
//! to end, or when the child has ended.
//!
//! It is the subreaper of its descendants: whatever a child leaves behind becomes its own, in whatever session or
//! group, so that ending its children until it has none ends them all.

use std::ffi::{OsStr, OsString};
use std::io::{Read, stdin};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};
use std::{fs, io};

use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitOptions, WaitStatus, getpid, kill_process, set_child_subreaper,
    set_parent_process_death_signal, setsid, wait,
};

/// First argument of a supervisor; then the command.
const SUPERVISE: &str = "__supervise";

/// First argument of a process that becomes the command; then the command.
const BECOME: &str = "__become";

/// How long processes have to end when they are asked to, before they are killed.
pub const GRACE: Duration = Duration::from_secs(5);

/// How often descendants are looked at.
const POLL: Duration = Duration::from_millis(20);

/// Exit code of a command that cannot be started, as a shell has it.
const NOT_STARTED: u8 = 127;

/// This program, whatever has become of its file: a new version may be installed while a run is going on.
const OWN_PROGRAM: &str = "/proc/self/exe";

/// The process that supervises a command.
pub(super) fn command(argv: &[String]) -> Command {
    let mut process = own_program();
    process.arg(SUPERVISE).args(argv).stdin(Stdio::piped());
    process
}

/// This program once more, under its name.
fn own_program() -> Command {
    let mut process = Command::new(OWN_PROGRAM);
    process.arg0("latrace");
    process
}

/// Does the work of a supervisor if this process was started as one, and gives its exit code. A binary that starts
/// children calls this before it looks at its arguments itself.
pub fn hidden() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    let first = arguments.next()?;
    let command: Vec<OsString> = arguments.collect();
    match first.to_str() {
        Some(SUPERVISE) => Some(supervise(&command)),
        Some(BECOME) => Some(become_command(&command)),
        _ => None,
    }
}

/// Becomes the command, which is to die with the supervisor even if that is killed.
fn become_command(command: &[OsString]) -> ExitCode {
    let Some((program, arguments)) = command.split_first() else { return ExitCode::from(NOT_STARTED) };
    let failed = set_parent_process_death_signal(Some(Signal::KILL)).err().map(io::Error::from);
    // Returns only if it fails.
    let error = failed.unwrap_or_else(|| Command::new(program).args(arguments).exec());
    eprintln!("cannot start {}: {error}", program.display());
    ExitCode::from(NOT_STARTED)
}

fn supervise(command: &[OsString]) -> ExitCode {
    // Both fail only on systems that lack them, and the rest still holds: a Ctrl-C in the terminal would end us, and
    // processes that are left behind would be adopted by another.
    let _ = (setsid(), set_child_subreaper(Some(getpid())));
    let end = signs_to_end();
    match spawn(command) {
        Ok(child) => ExitCode::from(watch(child, &end)),
        Err(error) => {
            eprintln!("cannot start the command: {error}");
            ExitCode::from(NOT_STARTED)
        }
    }
}

/// Starts the command from this thread, which lives as long as the process: a death signal is sent when the *thread* ends.
fn spawn(command: &[OsString]) -> io::Result<Pid> {
    let mut process = own_program();
    let child = process.arg(OsStr::new(BECOME)).args(command).stdin(Stdio::null()).spawn()?;
    Ok(Pid::from_child(&child))
}

/// Gets a message when our standard input closes or we are told to end.
fn signs_to_end() -> Receiver<()> {
    let (sender, end) = channel();
    let closed: Sender<()> = sender.clone();
    thread::spawn(move || {
        // Nothing is ever written: it ends when the other side does.
        let _ = stdin().read_to_end(&mut Vec::new());
        let _ = closed.send(());
    });
    let _ = ctrlc::set_handler(move || {
        let _ = sender.send(());
    });
    end
}

/// Waits for the child's end or a sign to end; then ends everything. The child's exit code.
fn watch(child: Pid, end: &Receiver<()>) -> u8 {
    let mut code = None;
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((process, status))) if process == child => {
                code = Some(code_of(status));
                break;
            }
            // Left behind by the child, and ended.
            Ok(Some(_)) => continue,
            Ok(None) => {}
            Err(_) => break,
        }
        if !matches!(end.recv_timeout(POLL), Err(RecvTimeoutError::Timeout)) {
            break;
        }
    }
    end_all(child, &mut code);
    // Killed by us after a sign to end.
    code.unwrap_or(128 + Signal::KILL.as_raw() as u8)
}

/// Asks all children to end, and kills those that have not after [`GRACE`], and what they leave behind.
fn end_all(child: Pid, code: &mut Option<u8>) {
    each_child(Signal::TERM);
    let limit = Instant::now() + GRACE;
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((process, status))) => {
                if process == child {
                    *code = Some(code_of(status));
                }
            }
            Ok(None) => {
                if Instant::now() > limit {
                    each_child(Signal::KILL);
                }
                thread::sleep(POLL);
            }
            // No child is left.
            Err(Errno::CHILD) => return,
            Err(_) => thread::sleep(POLL),
        }
    }
}

fn each_child(signal: Signal) {
    for child in children() {
        // It may have ended meanwhile.
        let _ = kill_process(child, signal);
    }
}

/// This process's children; each thread has a list of its own.
fn children() -> Vec<Pid> {
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    let ids: Vec<i32> = lists
        .flat_map(|list| list.split_whitespace().filter_map(|id| id.parse().ok()).collect::<Vec<_>>())
        .collect();
    ids.into_iter().filter_map(Pid::from_raw).collect()
}

fn code_of(status: WaitStatus) -> u8 {
    let code = status.exit_status().or_else(|| Some(128 + status.terminating_signal()?));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}
