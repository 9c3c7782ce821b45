//! Watches one run: time from the start of execution, memory of all processes together, output.

use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
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
    /// Its end.
    pub(crate) last_errors: Vec<u8>,
}

impl Run {
    fn not_started(why: &str) -> Run {
        let stderr = why.as_bytes().to_vec();
        Run { ending: Ending::NotStarted, stdout: Vec::new(), last_errors: stderr.clone(), stderr }
    }
}

/// How often a run is checked for its end.
pub(crate) const POLL: Duration = Duration::from_millis(1);
/// How often the memory of its processes together is measured; the peak of each one, the launcher knows at the end.
const MEMORY_EVERY: Duration = Duration::from_millis(15);
/// Bytes of standard error that are kept.
const KEPT_ERRORS: usize = 4096;

/// What is to be run.
pub(crate) struct Job<'a> {
    /// The launcher, with its arguments.
    pub(crate) command: Command,
    /// What the launcher hands over as files.
    pub(crate) files: &'a [SharedFile<'a>],
    /// What there is to read.
    pub(crate) input: &'a str,
    /// Ends what runs below the launcher.
    pub(crate) kill: Kill,
}

/// A file of a sandbox.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SharedFile<'a> {
    /// Its path within.
    pub(crate) path: &'a Path,
    pub(crate) content: &'a [u8],
}

impl<'a> SharedFile<'a> {
    /// The program that the interpreter in a sandbox is told to run.
    pub(crate) fn program(source: &'a str) -> SharedFile<'a> {
        SharedFile { path: Path::new("/program.py"), content: source.as_bytes() }
    }
}

/// Ends what runs below a launcher, which then ends by itself; whether there was something.
pub(crate) type Kill = fn(u32) -> bool;

/// Runs a job.
pub(crate) fn run(job: Job<'_>, limits: &Limits) -> Run {
    let Job { command, files, input, kill } = job;
    match spawn(command) {
        Ok(child) => watch(child, files, input, limits, kill),
        Err(error) => Run::not_started(&error.to_string()),
    }
}

/// Starts the launcher. It waits for the program on its standard input.
pub(crate) fn spawn(mut command: Command) -> io::Result<Child> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
}

/// Hands the launcher files: how many, and of each its path and its content behind their lengths.
pub(crate) fn send_files(stdin: &mut impl Write, files: &[SharedFile<'_>]) -> io::Result<()> {
    let length = |length: usize| (length as u64).to_le_bytes();
    stdin.write_all(&length(files.len()))?;
    let parts = files.iter().flat_map(|file| [file.path.as_os_str().as_bytes(), file.content]);
    for part in parts {
        stdin.write_all(&length(part.len()))?;
        stdin.write_all(part)?;
    }
    Ok(())
}

/// Ends a run that is no longer needed.
pub(crate) fn end(child: &mut Child) {
    stop(child, Ending::Exited(0), kill_namespace);
}

/// The processes below a launcher, parents before children.
pub(crate) fn processes(launcher: u32) -> Vec<u32> {
    memory::descendants(launcher)
}

/// The memory that processes hold, in bytes; pages that several share are counted once.
pub(crate) fn memory_of(processes: &[u32]) -> u64 {
    memory::total(processes, memory::proportional)
}

fn watch(mut child: Child, files: &[SharedFile<'_>], input: &str, limits: &Limits, kill: Kill) -> Run {
    let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (Some(stdin), Some(stdout), Some(stderr)) = pipes else {
        let _ = child.kill();
        return Run::not_started("no pipes");
    };
    let overflow = AtomicBool::new(false);
    let most = usize::try_from(limits.output_mb << 20).unwrap_or(usize::MAX);
    // Each pipe has a thread, or a full one would stop the program while we wait at another.
    thread::scope(|scope| {
        scope.spawn(|| send(stdin, files, input));
        let output = scope.spawn(|| read_up_to(stdout, most, &overflow));
        let errors = scope.spawn(|| read_errors(stderr));
        let ending = supervise(&mut child, limits, &overflow, kill);
        let (stdout, errors) = (output.join().unwrap_or_default(), errors.join().unwrap_or_default());
        let ending = reconsidered(ending, &errors.first, overflow.load(Ordering::Relaxed));
        Run { ending, stdout, stderr: errors.first, last_errors: errors.last }
    })
}

fn send(mut stdin: impl Write, files: &[SharedFile<'_>], input: &str) {
    // A program need not read all its input, so a closed pipe is no failure.
    let _ = send_files(&mut stdin, files).and_then(|()| stdin.write_all(input.as_bytes()));
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
fn supervise(child: &mut Child, limits: &Limits, overflow: &AtomicBool, kill: Kill) -> Ending {
    let mut clock = Clock::start(limits);
    loop {
        // The end first: a program that was done in time is not late because we looked late.
        if let Some(ending) = ending_of(child, kill) {
            return ending;
        }
        if let Some(limit) = clock.exceeded(child.id(), limits, overflow) {
            return stop(child, limit, kill);
        }
        thread::sleep(POLL);
    }
}

/// How a run ended, if it has.
pub(crate) fn ending_of(child: &mut Child, kill: Kill) -> Option<Ending> {
    match child.try_wait() {
        Ok(status) => status.map(ended),
        Err(_) => Some(stop(child, Ending::NotStarted, kill)),
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

/// Kills what runs below a launcher, which then ends by itself, after it has reaped that. What does not end is
/// killed.
pub(crate) fn stop(child: &mut Child, ending: Ending, kill: Kill) -> Ending {
    let own = end_below(child, kill);
    if own.is_none() {
        let _ = child.kill();
        let _ = child.wait();
    }
    match (ending, own) {
        // What was held for less time than there is between two looks, the launcher alone knows.
        (Ending::Exited(_), Some(Ending::MemoryLimit)) => Ending::MemoryLimit,
        _ => ending,
    }
}

/// Ends a program that waits for more to do. It has failed if one of its processes was ever above the limit of memory.
pub(crate) fn stop_waiting(child: &mut Child, limits: &Limits) -> Ending {
    // Looked at before: of what is killed with its namespace, the launcher does not learn the peak.
    let was_above = memory::was_above(child.id(), limits.memory_mb << 20);
    let ending = stop(child, Ending::Exited(0), kill_namespace);
    if was_above { Ending::MemoryLimit } else { ending }
}

/// Kills the first process of a launcher's namespace, and with it all that runs there.
pub(crate) fn kill_namespace(launcher: u32) -> bool {
    let bubblewraps = memory::children(launcher);
    let first: Vec<u32> = bubblewraps.iter().flat_map(|bubblewrap| memory::children(*bubblewrap)).collect();
    // Bubblewrap that has no namespace yet is killed itself.
    kill_each(if first.is_empty() { bubblewraps } else { first })
}

/// Kills what a launcher without a sandbox has started; it kills the rest itself.
pub(crate) fn kill_command(launcher: u32) -> bool {
    kill_each(memory::children(launcher))
}

fn kill_each(processes: Vec<u32>) -> bool {
    for process in processes.iter().filter_map(|id| Pid::from_raw(i32::try_from(*id).ok()?)) {
        let _ = kill_process(process, Signal::KILL);
    }
    !processes.is_empty()
}

/// Kills what runs below a launcher until that has ended by itself, which is how the run ended; none if it does not end.
fn end_below(child: &mut Child, kill: Kill) -> Option<Ending> {
    // Bubblewrap and the launcher need a moment to reap their children, on a busy machine seconds; killed at once, they
    // would leave that to us.
    const TO_REAP: Duration = Duration::from_secs(10);
    const TO_START: Duration = Duration::from_secs(1);
    let (begun, mut found) = (Instant::now(), false);
    while begun.elapsed() < if found { TO_REAP } else { TO_START } {
        // Again each time: a launcher that has only begun starts bubblewrap after the first look.
        found |= kill(child.id());
        if let Ok(Some(status)) = child.try_wait() {
            return Some(ended(status));
        }
        thread::sleep(POLL);
    }
    None
}

/// How a run ends, if it does so within a moment.
pub(crate) fn ends_soon(child: &mut Child) -> Option<Ending> {
    const PATIENCE: Duration = Duration::from_secs(1);
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(ended(status));
        }
        thread::sleep(POLL);
    }
    None
}

fn ended(status: ExitStatus) -> Ending {
    const BAD_CALL: i32 = 128 + 31;
    const PROCESSOR_TIME: i32 = 128 + 24;
    const MEMORY: i32 = launcher::MEMORY_CODE as i32;
    match status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)) {
        // SIGSYS from a filter and SIGXCPU from the limit on processor time.
        BAD_CALL => Ending::Blocked,
        PROCESSOR_TIME => Ending::TimeLimit,
        MEMORY => Ending::MemoryLimit,
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

/// What is kept of standard error.
#[derive(Default)]
pub(crate) struct Errors {
    pub(crate) first: Vec<u8>,
    last: Vec<u8>,
}

/// Reads standard error to its end, and keeps its beginning and its end.
pub(crate) fn read_errors(mut stderr: impl Read) -> Errors {
    let mut kept = Errors::default();
    let mut buffer = [0; 1 << 16];
    loop {
        match stderr.read(&mut buffer) {
            Ok(0) => return kept,
            Ok(length) => {
                let room = (KEPT_ERRORS - kept.first.len()).min(length);
                kept.first.extend_from_slice(&buffer[..room]);
                kept.last.extend_from_slice(&buffer[..length]);
                kept.last.drain(..kept.last.len().saturating_sub(KEPT_ERRORS));
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return kept,
        }
    }
}

/// Reads to the end and keeps the beginning; sets `overflow` once there is more than `most`.
fn read_up_to(mut pipe: impl Read, most: usize, overflow: &AtomicBool) -> Vec<u8> {
    let mut kept = Vec::new();
    let mut buffer = [0; 1 << 16];
    loop {
        match pipe.read(&mut buffer) {
            Ok(0) => return kept,
            Ok(length) => {
                // The rest is read and dropped, so that the writer never waits for us.
                let room = (most - kept.len()).min(length);
                kept.extend_from_slice(&buffer[..room]);
                overflow.fetch_or(room < length, Ordering::Relaxed);
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

    /// Whether a process below the launcher has ever held more than `most` bytes.
    pub(super) fn was_above(launcher: u32, most: u64) -> bool {
        descendants(launcher).into_iter().any(|process| peak(process) > most)
    }

    fn peak(process: u32) -> u64 {
        bytes(process, "status", "VmHWM:").unwrap_or(0)
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
        bytes(process, "smaps_rollup", "Pss:").unwrap_or_else(|| resident(process))
    }

    /// What a line of one of a process's files says in kilobytes.
    fn bytes(process: u32, file: &str, line: &str) -> Option<u64> {
        let text = fs::read_to_string(format!("/proc/{process}/{file}")).ok()?;
        let rest = text.lines().find_map(|text| text.strip_prefix(line))?;
        Some(rest.split_whitespace().next()?.parse::<u64>().ok()? << 10)
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
        let files = [SharedFile { path: Path::new("/a"), content: b"source" }];
        run(Job { command, files: &files, input: "input", kill: kill_namespace }, &limits)
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
        let lengths = [1, 2, 6].map(u64::to_le_bytes);
        let expected = [&lengths[0][..], &lengths[1], b"/a", &lengths[2], b"source", b"input"].concat();
        assert_eq!(run.stdout, expected);
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
        check("exit 122", LIMITS, Ending::MemoryLimit);
    }

    #[test]
    fn a_sandbox_that_fails_is_told_from_a_program_that_fails() {
        check("echo 'sandbox: no' >&2; exit 121", LIMITS, Ending::NotStarted);
        check("echo 'bwrap: no' >&2; exit 1", LIMITS, Ending::NotStarted);
        check("echo 'no' >&2; exit 121", LIMITS, Ending::Exited(121));
        check("echo 'no bwrap: ' >&2; exit 1", LIMITS, Ending::Exited(1));
        check("echo 'sandbox: no' >&2; exit 1", LIMITS, Ending::Exited(1));
        check("echo 'bwrap: no' >&2; exit 2", LIMITS, Ending::Exited(2));
        let command = Command::new("/nowhere/launcher");
        let nowhere = run(Job { command, files: &[], input: "", kill: kill_namespace }, &LIMITS);
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
    fn only_the_beginning_and_the_end_of_standard_error_are_kept() {
        let run = check("head -c 5000000 /dev/zero >&2; echo end >&2", LIMITS, Ending::Exited(0));
        assert_eq!((run.stderr.len(), run.last_errors.len()), (4096, 4096));
        assert!(run.last_errors.ends_with(b"\0end\n"));
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
