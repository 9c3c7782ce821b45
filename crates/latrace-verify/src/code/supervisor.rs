//! Watches one run: time from the start of execution, memory of all processes together, output.

use std::io::{self, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::launcher;
use super::limits::Limits;

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

impl Run {
    fn not_started(why: &str) -> Run {
        Run { ending: Ending::NotStarted, stdout: Vec::new(), stderr: why.as_bytes().to_vec() }
    }
}

/// How often a run is checked for its end.
pub(crate) const POLL: Duration = Duration::from_millis(1);
/// How often its memory is measured.
const MEMORY_EVERY: Duration = Duration::from_millis(15);
/// Bytes of standard error that are kept.
const KEPT_ERRORS: usize = 4096;

/// Runs `source` by the launcher's `command` with `input` to read.
pub(crate) fn run(command: Command, source: &str, input: &str, limits: &Limits) -> Run {
    match spawn(command) {
        Ok(child) => watch(child, source, input, limits),
        Err(error) => Run::not_started(&error.to_string()),
    }
}

/// Starts the launcher. It waits for the program on its standard input.
pub(crate) fn spawn(mut command: Command) -> io::Result<Child> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
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
    memory::total(processes, memory::proportional)
}

fn watch(mut child: Child, source: &str, input: &str, limits: &Limits) -> Run {
    let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (Some(stdin), Some(stdout), Some(stderr)) = pipes else {
        let _ = child.kill();
        return Run::not_started("no pipes");
    };
    let overflow = AtomicBool::new(false);
    let most = usize::try_from(limits.output_mb << 20).unwrap_or(usize::MAX);
    // Each pipe has a thread, or a full one would stop the program while we wait at another.
    thread::scope(|scope| {
        scope.spawn(|| send(stdin, source, input));
        let output = scope.spawn(|| read_up_to(stdout, most, Some(&overflow)));
        let errors = scope.spawn(|| read_up_to(stderr, KEPT_ERRORS, None));
        let ending = supervise(&mut child, limits, &overflow);
        let (stdout, stderr) = (output.join().unwrap_or_default(), errors.join().unwrap_or_default());
        let ending = reconsidered(ending, &stderr, overflow.load(Ordering::Relaxed));
        Run { ending, stdout, stderr }
    })
}

fn send(mut stdin: impl Write, source: &str, input: &str) {
    // A program need not read all its input, so a closed pipe is no failure.
    let _ = send_program(&mut stdin, source).and_then(|()| stdin.write_all(input.as_bytes()));
}

/// How a run ended, once all that it printed is known.
pub(crate) fn reconsidered(ending: Ending, stderr: &[u8], overflow: bool) -> Ending {
    match ending {
        // What was printed last may only now be known to be too much.
        Ending::Exited(0) if overflow => Ending::OutputLimit,
        other if failed_to_start(other, stderr) => Ending::NotStarted,
        other => other,
    }
}

/// Waits for the end, or brings it about.
fn supervise(child: &mut Child, limits: &Limits, overflow: &AtomicBool) -> Ending {
    let mut clock = Clock::start(limits);
    loop {
        // The end first: a program that was done in time is not late because we looked late.
        if let Some(ending) = ending_of(child) {
            return ending;
        }
        if let Some(limit) = clock.exceeded(child.id(), limits, overflow) {
            return stop(child, limit);
        }
        thread::sleep(POLL);
    }
}

/// How a run ended, if it has.
pub(crate) fn ending_of(child: &mut Child) -> Option<Ending> {
    match child.try_wait() {
        Ok(status) => status.map(ended),
        Err(_) => Some(stop(child, Ending::NotStarted)),
    }
}

/// When a run is too late, and when its memory is measured next.
pub(crate) struct Clock {
    deadline: Instant,
    memory_due: Instant,
}

impl Clock {
    pub(crate) fn start(limits: &Limits) -> Clock {
        let started = Instant::now();
        let time = Duration::from_secs_f64(limits.time_s.clamp(0.0, 86_400.0));
        Clock { deadline: started + time, memory_due: started + MEMORY_EVERY }
    }

    /// The limit that a run exceeds, if it does.
    pub(crate) fn exceeded(
        &mut self,
        launcher: u32,
        limits: &Limits,
        overflow: &AtomicBool,
    ) -> Option<Ending> {
        let now = Instant::now();
        if now >= self.deadline {
            return Some(Ending::TimeLimit);
        }
        if overflow.load(Ordering::Relaxed) {
            return Some(Ending::OutputLimit);
        }
        // Walking the processes costs more than a poll, so it is done less often.
        if now < self.memory_due {
            return None;
        }
        self.memory_due = now + MEMORY_EVERY;
        memory::is_above(launcher, limits.memory_mb << 20).then_some(Ending::MemoryLimit)
    }
}

/// Kills the namespace's first process, and with it all that runs there; bubblewrap and the launcher then end
/// by themselves, after they have reaped what ran there. What does not end is killed.
pub(crate) fn stop(child: &mut Child, ending: Ending) -> Ending {
    let killed = kill_namespace(child.id());
    // Bubblewrap and the launcher need a moment to reap their children; killed at once, they would leave that
    // to us.
    if !killed || !ends_soon(child) {
        let _ = child.kill();
        let _ = child.wait();
    }
    ending
}

/// Whether there was something to kill.
fn kill_namespace(launcher: u32) -> bool {
    let bubblewraps = memory::children(launcher);
    let first: Vec<u32> = bubblewraps.iter().flat_map(|bubblewrap| memory::children(*bubblewrap)).collect();
    // Bubblewrap that has no namespace yet is killed itself.
    let last = if first.is_empty() { bubblewraps } else { first };
    for process in last.iter().filter_map(|id| Pid::from_raw(i32::try_from(*id).ok()?)) {
        let _ = kill_process(process, Signal::KILL);
    }
    !last.is_empty()
}

pub(crate) fn ends_soon(child: &mut Child) -> bool {
    const PATIENCE: Duration = Duration::from_secs(1);
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if let Ok(Some(_)) = child.try_wait() {
            return true;
        }
        thread::sleep(POLL);
    }
    false
}

fn ended(status: ExitStatus) -> Ending {
    const BAD_CALL: i32 = 128 + 31;
    const PROCESSOR_TIME: i32 = 128 + 24;
    match status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)) {
        // SIGSYS from a filter and SIGXCPU from the limit on processor time.
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

/// The beginning of what a run writes to standard error, all of which is read.
pub(crate) fn beginning_of_errors(stderr: Option<ChildStderr>) -> Vec<u8> {
    stderr.map_or_else(Vec::new, |stderr| read_up_to(stderr, KEPT_ERRORS, None))
}

/// Reads to the end and keeps the beginning; sets `overflow` once there is more than `most`.
fn read_up_to(mut pipe: impl Read, most: usize, overflow: Option<&AtomicBool>) -> Vec<u8> {
    let mut kept = Vec::new();
    let mut buffer = [0; 1 << 16];
    loop {
        match pipe.read(&mut buffer) {
            Ok(0) => return kept,
            Ok(length) => {
                // The rest is read and dropped, so that the writer never waits for us.
                let room = (most - kept.len()).min(length);
                kept.extend_from_slice(&buffer[..room]);
                if let Some(overflow) = overflow.filter(|_| room < length) {
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
        total(&all, resident) > most && total(&all, proportional) > most
    }

    /// The memory of processes together, each measured by `size`.
    pub(super) fn total(processes: &[u32], size: fn(u32) -> u64) -> u64 {
        processes.iter().map(|process| size(*process)).sum()
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
        // Each thread has a list of its own children.
        let threads = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
        let lists = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
        let list = lists.collect::<Vec<_>>().join(" ");
        list.split_whitespace().filter_map(|id| id.parse().ok()).collect()
    }

    fn resident(process: u32) -> u64 {
        const PAGE: u64 = 4096;
        let text = fs::read_to_string(format!("/proc/{process}/statm")).unwrap_or_default();
        let pages = text.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok());
        pages.unwrap_or(0) * PAGE
    }

    /// Each page divided by the number of processes that share it; the resident size where that cannot be
    /// read.
    pub(super) fn proportional(process: u32) -> u64 {
        kilobytes(process).map_or_else(|| resident(process), |kilobytes| kilobytes << 10)
    }

    fn kilobytes(process: u32) -> Option<u64> {
        let text = fs::read_to_string(format!("/proc/{process}/smaps_rollup")).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
        line.split_whitespace().next()?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { time_s: 60.0, memory_mb: 64, output_mb: 1, processes: 16 };

    /// Runs a shell where a launcher would be.
    fn shell(script: &str, limits: Limits) -> Run {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        run(command, "source", "input", &limits)
    }

    #[track_caller]
    fn check(script: &str, limits: Limits, expected: Ending) -> Run {
        let run = shell(script, limits);
        assert_eq!(run.ending, expected, "{script}: {}", String::from_utf8_lossy(&run.stderr));
        run
    }

    #[test]
    fn the_program_and_then_its_input_are_handed_over() {
        let run = check("cat", LIMITS, Ending::Exited(0));
        assert_eq!(run.stdout, b"\x06\0\0\0\0\0\0\0sourceinput");
        // Nobody reads it: no failure.
        check("exec <&-; sleep 0.1", LIMITS, Ending::Exited(0));
    }

    #[test]
    fn an_end_is_told_by_its_code() {
        check("exit 0", LIMITS, Ending::Exited(0));
        check("exit 3", LIMITS, Ending::Exited(3));
        check("kill -KILL $$", LIMITS, Ending::Exited(128 + 9));
        check("kill -SYS $$", LIMITS, Ending::Blocked);
        check("exit 159", LIMITS, Ending::Blocked);
        check("kill -XCPU $$", LIMITS, Ending::TimeLimit);
        check("exit 152", LIMITS, Ending::TimeLimit);
    }

    #[test]
    fn a_sandbox_that_fails_is_told_from_a_program_that_fails() {
        check("echo 'sandbox: no' >&2; exit 121", LIMITS, Ending::NotStarted);
        check("echo 'bwrap: no' >&2; exit 1", LIMITS, Ending::NotStarted);
        check("echo 'no' >&2; exit 121", LIMITS, Ending::Exited(121));
        check("echo 'no bwrap: ' >&2; exit 1", LIMITS, Ending::Exited(1));
        check("echo 'sandbox: no' >&2; exit 1", LIMITS, Ending::Exited(1));
        check("echo 'bwrap: no' >&2; exit 2", LIMITS, Ending::Exited(2));
        let nowhere = run(Command::new("/nowhere/launcher"), "", "", &LIMITS);
        assert_eq!(nowhere.ending, Ending::NotStarted);
        assert!(!nowhere.stderr.is_empty());
    }

    #[test]
    fn output_may_fill_its_limit_and_no_more() {
        let most = 1 << 20;
        let run = check(&format!("head -c {most} /dev/zero"), LIMITS, Ending::Exited(0));
        assert_eq!(run.stdout.len(), most);
        let run = check(&format!("head -c {} /dev/zero", most + 1), LIMITS, Ending::OutputLimit);
        assert_eq!(run.stdout.len(), most);
        let wider = Limits { output_mb: 2, ..LIMITS };
        check(&format!("head -c {} /dev/zero", most + 1), wider, Ending::Exited(0));
        // One that would never end is ended, long before its time.
        let started = Instant::now();
        check("yes", LIMITS, Ending::OutputLimit);
        assert!(started.elapsed() < Duration::from_secs(30));
        // A program that failed has failed, however much it printed before.
        assert_eq!(reconsidered(Ending::Exited(3), b"", true), Ending::Exited(3));
        assert_eq!(reconsidered(Ending::Exited(0), b"", true), Ending::OutputLimit);
        assert_eq!(reconsidered(Ending::Exited(0), b"", false), Ending::Exited(0));
    }

    #[test]
    fn only_the_beginning_of_standard_error_is_kept() {
        let run =
            check("head -c 5000 /dev/zero >&2; head -c 5000000 /dev/zero >&2", LIMITS, Ending::Exited(0));
        assert_eq!(run.stderr.len(), 4096);
    }

    #[test]
    fn what_takes_too_long_is_ended() {
        for script in ["sleep 60", "sleep 60 & sleep 60", "trap '' TERM; while :; do :; done"] {
            let started = Instant::now();
            check(script, Limits { time_s: 0.3, ..LIMITS }, Ending::TimeLimit);
            assert!(started.elapsed() >= Duration::from_millis(300));
            assert!(started.elapsed() < Duration::from_secs(30));
        }
        check("sleep 0.2", Limits { time_s: 30.0, ..LIMITS }, Ending::Exited(0));
        check("sleep 60", Limits { time_s: -1.0, ..LIMITS }, Ending::TimeLimit);
    }

    #[test]
    fn memory_is_that_of_all_processes_below() {
        // `tail` keeps all of a line that never ends.
        check("tail -n 1 /dev/zero", LIMITS, Ending::MemoryLimit);
        check("(tail -n 1 /dev/zero & wait) & wait", LIMITS, Ending::MemoryLimit);
        let half = "head -c 50000000 /dev/zero | (tail -n 1 > /dev/null; sleep 0.2)";
        check(half, Limits { memory_mb: 256, ..LIMITS }, Ending::Exited(0));
    }

    #[test]
    fn processes_below_another_are_found_with_their_memory() {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "(sleep 60 & wait) & wait"]);
        let mut child = spawn(command).unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        while processes(child.id()).len() < 2 && Instant::now() < deadline {
            thread::sleep(POLL);
        }
        let found = processes(child.id());
        assert_eq!(found.len(), 2, "a shell below the shell, and its sleep");
        assert_eq!(memory::children(child.id()), [found[0]]);
        assert_eq!(memory::children(found[0]), [found[1]]);
        let bytes = memory_of(&found);
        assert!((1 << 12..64 << 20).contains(&bytes), "{bytes}");
        assert_eq!(memory_of(&[u32::MAX]), 0);
        kill_process(Pid::from_raw(i32::try_from(found[1]).unwrap()).unwrap(), Signal::KILL).unwrap();
        end(&mut child);
        assert!(child.try_wait().unwrap().is_some());
    }
}
