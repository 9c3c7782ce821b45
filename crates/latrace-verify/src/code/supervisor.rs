//! Watches one run: time from the start of execution, memory of all processes together, output.

use std::io::{self, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::launcher;
use super::sandbox::{Limits, Sandbox};

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// By itself, with this code; above 128 by a signal.
    Exited(i32),
    TimeLimit,
    MemoryLimit,
    OutputLimit,
    /// By the filter of system calls.
    Blocked,
    /// The sandbox did not start.
    NotStarted,
}

/// What a run left.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) ending: Ending,
    pub(crate) stdout: Vec<u8>,
    /// The beginning of standard error.
    pub(crate) stderr: Vec<u8>,
}

/// Time between two looks at whether a run has ended.
const GLANCE: Duration = Duration::from_millis(1);
/// Time between two looks at its memory.
const MEMORY_EVERY: Duration = Duration::from_millis(15);
/// What is kept of standard error.
const KEPT_ERRORS: usize = 4096;

/// Runs `source` in the sandbox with `input` to read.
pub(crate) fn run(
    sandbox: &Sandbox,
    inside: &[String],
    source: &str,
    input: &str,
    limits: &Limits,
    slot: u32,
) -> Run {
    match spawn(sandbox, inside, limits, slot) {
        Ok(child) => watch(child, source, input, limits),
        Err(error) => {
            Run { ending: Ending::NotStarted, stdout: Vec::new(), stderr: error.to_string().into_bytes() }
        }
    }
}

/// Starts the launcher. It waits for the program on its standard input.
pub(crate) fn spawn(sandbox: &Sandbox, inside: &[String], limits: &Limits, slot: u32) -> io::Result<Child> {
    let (launcher, arguments) = sandbox.command(inside, limits, slot);
    Command::new(launcher)
        .args(arguments)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
}

/// Hands the launcher the program.
pub(crate) fn send_program(stdin: &mut impl Write, source: &str) -> io::Result<()> {
    stdin.write_all(&(source.len() as u64).to_le_bytes())?;
    stdin.write_all(source.as_bytes())
}

/// Ends a run that is no longer needed.
pub(crate) fn end(child: &mut Child) {
    stop(child, Ending::Exited(0));
}

/// The processes below a launcher, parents before children.
pub(crate) fn processes(launcher: u32) -> Vec<u32> {
    memory::descendants(launcher)
}

/// The memory that processes hold, in bytes; pages that several share are counted once.
pub(crate) fn memory_of(processes: &[u32]) -> u64 {
    processes.iter().map(|process| memory::proportional(*process)).sum()
}

fn watch(mut child: Child, source: &str, input: &str, limits: &Limits) -> Run {
    let (Some(mut stdin), Some(stdout), Some(stderr)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        let _ = child.kill();
        return Run { ending: Ending::NotStarted, stdout: Vec::new(), stderr: b"no pipes".to_vec() };
    };
    let overflow = AtomicBool::new(false);
    let most = usize::try_from(limits.output_mb << 20).unwrap_or(usize::MAX);
    thread::scope(|scope| {
        scope.spawn(move || {
            // A program need not read all its input.
            let _ = send_program(&mut stdin, source).and_then(|()| stdin.write_all(input.as_bytes()));
        });
        let output = scope.spawn(|| read_up_to(stdout, most, Some(&overflow)));
        let errors = scope.spawn(|| read_up_to(stderr, KEPT_ERRORS, None));
        let ending = supervise(&mut child, limits, &overflow);
        let (stdout, stderr) = (output.join().unwrap_or_default(), errors.join().unwrap_or_default());
        // What was printed last may only now be known to be too much.
        let ending = if overflow.load(Ordering::Relaxed) && ending == Ending::Exited(0) {
            Ending::OutputLimit
        } else {
            ending
        };
        let failed = failed_to_start(ending, &stderr);
        Run { ending: if failed { Ending::NotStarted } else { ending }, stdout, stderr }
    })
}

/// Waits for the end, or brings it about.
fn supervise(child: &mut Child, limits: &Limits, overflow: &AtomicBool) -> Ending {
    let started = Instant::now();
    let deadline = started + Duration::from_secs_f64(limits.time_s.clamp(0.0, 86_400.0));
    let mut memory_due = started + MEMORY_EVERY;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return ended(status),
            Ok(None) => {}
            Err(_) => return stop(child, Ending::NotStarted),
        }
        let now = Instant::now();
        if now >= deadline {
            return stop(child, Ending::TimeLimit);
        }
        if overflow.load(Ordering::Relaxed) {
            return stop(child, Ending::OutputLimit);
        }
        if now >= memory_due {
            memory_due = now + MEMORY_EVERY;
            if memory::is_above(child.id(), limits.memory_mb << 20) {
                return stop(child, Ending::MemoryLimit);
            }
        }
        thread::sleep(GLANCE);
    }
}

/// Kills the namespace's first process, and with it all that runs there; bubblewrap and the launcher then end
/// by themselves and leave nothing for others to clear away. What does not end is killed.
fn stop(child: &mut Child, ending: Ending) -> Ending {
    const PATIENCE: Duration = Duration::from_secs(1);
    let bubblewraps = memory::children(child.id());
    let first: Vec<u32> = bubblewraps.iter().flat_map(|bubblewrap| memory::children(*bubblewrap)).collect();
    // Bubblewrap that has no namespace yet is killed itself.
    let last = if first.is_empty() { bubblewraps } else { first };
    for process in last.iter().filter_map(|id| Pid::from_raw(i32::try_from(*id).ok()?)) {
        let _ = kill_process(process, Signal::KILL);
    }
    let deadline = Instant::now() + PATIENCE;
    while !last.is_empty() && Instant::now() < deadline {
        if let Ok(Some(_)) = child.try_wait() {
            return ending;
        }
        thread::sleep(GLANCE);
    }
    let _ = child.kill();
    let _ = child.wait();
    ending
}

fn ended(status: ExitStatus) -> Ending {
    const BAD_CALL: i32 = 128 + 31;
    const PROCESSOR_TIME: i32 = 128 + 24;
    match status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)) {
        BAD_CALL => Ending::Blocked,
        PROCESSOR_TIME => Ending::TimeLimit,
        code => Ending::Exited(code),
    }
}

/// Whether the sandbox itself failed. A program that pretends this gains no verdict but "undetermined".
fn failed_to_start(ending: Ending, stderr: &[u8]) -> bool {
    match ending {
        Ending::Exited(code) if code == i32::from(launcher::FAILED_CODE) => {
            stderr.starts_with(launcher::FAILED.as_bytes())
        }
        Ending::Exited(1) => stderr.starts_with(b"bwrap: "),
        _ => false,
    }
}

/// Reads to the end and keeps the beginning; sets `overflow` once there is more than `most`.
fn read_up_to(mut pipe: impl Read, most: usize, overflow: Option<&AtomicBool>) -> Vec<u8> {
    let mut kept = Vec::new();
    let mut buffer = [0; 1 << 16];
    loop {
        match pipe.read(&mut buffer) {
            Ok(0) => return kept,
            Ok(length) => {
                let room = (most - kept.len()).min(length);
                kept.extend_from_slice(&buffer[..room]);
                if room < length
                    && let Some(overflow) = overflow
                {
                    overflow.store(true, Ordering::Relaxed);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return kept,
        }
    }
}

/// The memory of all processes below one.
mod memory {
    use std::fs;

    /// The most processes looked at.
    const MOST: usize = 4096;

    /// Whether what the launcher started holds more than `most` bytes. Pages that several share are counted
    /// once.
    pub(super) fn is_above(launcher: u32, most: u64) -> bool {
        let all = descendants(launcher);
        // Resident sizes count shared pages several times: only if they exceed the limit is the exact sum
        // worth its time.
        all.iter().map(|process| resident(*process)).sum::<u64>() > most
            && all.iter().map(|process| proportional(*process)).sum::<u64>() > most
    }

    pub(super) fn descendants(process: u32) -> Vec<u32> {
        let mut all = children(process);
        let mut at = 0;
        while at < all.len() && all.len() < MOST {
            all.extend(children(all[at]));
            at += 1;
        }
        all
    }

    pub(super) fn children(process: u32) -> Vec<u32> {
        let threads = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
        let lists = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
        lists
            .flat_map(|list| list.split_whitespace().filter_map(|id| id.parse().ok()).collect::<Vec<_>>())
            .collect()
    }

    fn resident(process: u32) -> u64 {
        const PAGE: u64 = 4096;
        let text = fs::read_to_string(format!("/proc/{process}/statm")).unwrap_or_default();
        text.split_whitespace()
            .nth(1)
            .and_then(|pages| pages.parse::<u64>().ok())
            .map_or(0, |pages| pages * PAGE)
    }

    /// Each page divided by the number of processes that share it; the resident size where that cannot be
    /// read.
    pub(super) fn proportional(process: u32) -> u64 {
        let text = fs::read_to_string(format!("/proc/{process}/smaps_rollup")).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
        line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok())
            .map_or_else(|| resident(process), |kilobytes| kilobytes << 10)
    }
}
