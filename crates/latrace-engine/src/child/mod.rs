//! Child processes that never outlive this one, whatever ends it.
//!
//! A server or a trainer starts processes of its own, in sessions of their own, and leaves them behind when it is
//! killed. So each child runs under a supervisor: this binary once more, which ends all that runs below it as soon as
//! its standard input closes. The system closes it when this process ends, even by a kill.

mod brief;
mod programs;
mod shell;
mod supervisor;

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{self, Command, ExitStatus};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{park, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

pub use brief::run_briefly;
pub use programs::lacking;
pub use shell::shell_line;
pub use supervisor::{GRACE, hidden};

/// How often a child is looked at while it is waited for.
const POLL: Duration = Duration::from_millis(20);

/// How long a supervisor has, beyond the grace that it gives, to end what runs below it.
const MARGIN: Duration = Duration::from_secs(5);

/// How long a failed child's end is not reported: the signal that ended it may be on its way to us as well, as when a
/// batch system stops a job.
const SIGNAL_LAG: Duration = Duration::from_millis(300);

/// The environment variable with the key of servers that are given by URL. No child gets it.
pub const SERVER_KEY: &str = "LATRACE_SERVER_KEY";

/// Bytes at the end of a log in which errors look for what to quote, and the last lines that they quote.
const TAIL_BYTES: u64 = 1 << 18;
const TAIL_LINES: usize = 12;

/// What a line of a log begins with that says what was started.
const START: &str = "$ ";

/// What to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChildCommand {
    /// Its name in messages: "vllm, replica 0".
    pub name: String,
    /// The program and its arguments. They are visible to everyone on the machine: no secret may be among them.
    pub argv: Vec<String>,
    /// Environment variables to set, or to remove.
    pub env: Vec<(String, Option<String>)>,
    /// The file that its standard output and error are appended to. Its folder exists.
    pub log: PathBuf,
}

/// A running child. Dropping it ends it and all that it has started.
#[derive(Debug)]
pub struct Child {
    name: String,
    log: PathBuf,
    /// Whether a failure has been reported.
    is_reported: AtomicBool,
    supervisor: Arc<Supervisor>,
}

/// All children that are not stopped, for [`stop_all`].
static RUNNING: Mutex<Running> = Mutex::new(Running { children: Vec::new(), is_stopping: false });

struct Running {
    children: Vec<Weak<Supervisor>>,
    /// This process is about to end.
    is_stopping: bool,
}

impl Child {
    /// Starts a child; none once [`stop_all`] has begun, when it waits for the end of this process instead.
    ///
    /// # Errors
    /// An empty command; a log that cannot be written; a system that starts no further process. That the program itself
    /// does not exist shows when [`Child::exited`] is asked.
    pub fn start(command: &ChildCommand) -> Result<Child> {
        let ChildCommand { name, argv, env, log } = command;
        anyhow::ensure!(!argv.is_empty(), "{name}: the command to start is empty");
        let output = open_log(log, argv)?;
        let mut process = supervisor::command(argv);
        process.stdout(output.try_clone().context("cannot share the log")?).stderr(output);
        for (variable, value) in env {
            match value {
                Some(value) => process.env(variable, value),
                None => process.env_remove(variable),
            };
        }
        process.env_remove(SERVER_KEY);
        let supervisor = Supervisor::start(process).with_context(|| format!("cannot start {name}"))?;
        Ok(Child { name: name.clone(), log: log.clone(), is_reported: AtomicBool::new(false), supervisor })
    }

    /// Its name in messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How it ended, in words, if it has. Does not return if [`stop_all`] may have ended it.
    ///
    /// # Errors
    /// A system that cannot say.
    pub fn exited(&self) -> Result<Option<String>> {
        let ended =
            self.supervisor.ended().with_context(|| format!("cannot tell whether {} runs", self.name));
        Ok(ended?.map(|status| self.reported(status)).map(in_words))
    }

    /// Returns unless this process is ending, by a signal that may have been the child's end as well.
    fn reported(&self, status: ExitStatus) -> ExitStatus {
        // Relaxed: at worst, two threads wait.
        if !status.success() && !self.is_reported.swap(true, Ordering::Relaxed) {
            sleep(SIGNAL_LAG);
        }
        hold_if_stopping();
        status
    }

    /// Waits for its end; gives whether it succeeded, and how it ended in words.
    ///
    /// # Errors
    /// As [`Child::exited`].
    pub fn wait(&self) -> Result<(bool, String)> {
        loop {
            if let Some(status) = self.supervisor.ended()? {
                let status = self.reported(status);
                return Ok((status.success(), in_words(status)));
            }
            sleep(POLL);
        }
    }

    /// The last lines of its log, and before them the first error since its start: in Python, the last one often
    /// says no more than that there was another.
    pub fn last_lines(&self) -> String {
        tail(&self.log).unwrap_or_default()
    }

    /// The log.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Ends it and all that it has started, first by asking, after [`GRACE`] by force; gives when they have ended.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.supervisor.stop();
    }
}

/// Ends all children, as a program does that is itself told to end, and gives how many there were once they have
/// ended. From then on this process only ends: no child is started, and whoever would report the end of one waits
/// ([`hold_if_stopping`]).
pub fn stop_all() -> usize {
    let mut running = lock(&RUNNING);
    running.is_stopping = true;
    let children: Vec<Arc<Supervisor>> = running.children.iter().filter_map(Weak::upgrade).collect();
    drop(running);
    let alive = children.into_iter().filter(|child| matches!(child.ended(), Ok(None)));
    stop_supervisors(&alive.collect::<Vec<_>>())
}

/// Ends children together: one that is deaf to polite signals takes [`GRACE`].
pub fn stop_together(children: Vec<Child>) {
    let supervisors: Vec<Arc<Supervisor>> =
        children.iter().map(|child| Arc::clone(&child.supervisor)).collect();
    stop_supervisors(&supervisors);
}

fn stop_supervisors(supervisors: &[Arc<Supervisor>]) -> usize {
    supervisors.iter().for_each(|supervisor| supervisor.ask_to_end());
    supervisors.iter().for_each(|supervisor| supervisor.stop());
    supervisors.len()
}

/// Does not return if [`stop_all`] has begun: the process ends, and what fails because of that is no error to report.
pub fn hold_if_stopping() {
    drop(running_or_hold());
}

fn running_or_hold() -> MutexGuard<'static, Running> {
    loop {
        let running = lock(&RUNNING);
        if !running.is_stopping {
            return running;
        }
        drop(running);
        park();
    }
}

#[derive(Debug)]
struct Supervisor(Mutex<process::Child>);

impl Supervisor {
    fn start(process: Command) -> std::io::Result<Arc<Supervisor>> {
        Supervisor::start_among(&mut running_or_hold(), process)
    }

    /// The same, even once [`stop_all`] has begun, and whether it has.
    fn start_at_any_time(process: Command) -> std::io::Result<(Arc<Supervisor>, bool)> {
        let mut running = lock(&RUNNING);
        Ok((Supervisor::start_among(&mut running, process)?, running.is_stopping))
    }

    /// The list is held until the new one is in it, so that none is started behind the back of `stop_all`.
    fn start_among(running: &mut Running, mut process: Command) -> std::io::Result<Arc<Supervisor>> {
        let supervisor = Arc::new(Supervisor(Mutex::new(process.spawn()?)));
        running.children.retain(|known| known.strong_count() > 0);
        running.children.push(Arc::downgrade(&supervisor));
        Ok(supervisor)
    }

    fn ended(&self) -> std::io::Result<Option<ExitStatus>> {
        lock(&self.0).try_wait()
    }

    fn ask_to_end(&self) {
        // Its standard input closes: the sign to end.
        drop(lock(&self.0).stdin.take());
    }

    fn stop(&self) {
        self.ask_to_end();
        let limit = Instant::now() + GRACE + MARGIN;
        while matches!(self.ended(), Ok(None)) && Instant::now() < limit {
            sleep(POLL);
        }
        let mut process = lock(&self.0);
        // A supervisor that does not end is not waited for: only the system can be at fault.
        let _ = process.kill();
        let _ = process.wait();
    }
}

/// A panic elsewhere leaves nothing half done here.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn in_words(status: ExitStatus) -> String {
    // A shell's convention, which the supervisor follows for its own child.
    match (status.code(), status.signal()) {
        (Some(code), _) if code > 128 => format!("killed by signal {}", code - 128),
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}

/// Opens the log for appending, and notes what is started.
fn open_log(path: &Path, argv: &[String]) -> Result<File> {
    let cannot = || format!("cannot write {}", path.display());
    let mut file = OpenOptions::new().create(true).append(true).open(path).with_context(cannot)?;
    writeln!(file, "{START}{}", argv.join(" ")).with_context(cannot)?;
    Ok(file)
}

fn tail(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let size = fs::metadata(path)?.len();
    file.seek(SeekFrom::Start(size.saturating_sub(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let start = lines.iter().rposition(|line| line.starts_with(START)).unwrap_or(0);
    let (before, last) = lines[start..].split_at((lines.len() - start).saturating_sub(TAIL_LINES));
    let first_error = before.iter().find(|line| names_error(line));
    let quoted = first_error.into_iter().flat_map(|line| [*line, "…"]).chain(last.iter().copied());
    Ok(quoted.collect::<Vec<_>>().join("\n"))
}

/// Whether a line names an exception of Python: `ValueError: not enough memory`.
fn names_error(line: &str) -> bool {
    line.split_whitespace().any(|word| word.len() > "Error:".len() && word.ends_with("Error:"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_told_by_its_code_or_its_signal() {
        for (raw, expected) in [
            (0, "exit code 0"),
            (3 << 8, "exit code 3"),
            (9, "killed by signal 9"),
            (137 << 8, "killed by signal 9"),
        ] {
            assert_eq!(in_words(ExitStatus::from_raw(raw)), expected);
        }
    }

    #[test]
    fn the_last_lines_of_a_long_log_are_quoted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let lines: Vec<String> = (0..5000).map(|line| format!("line {line}\n")).collect();
        fs::write(&path, lines.concat() + "\n\n").unwrap();
        let last = tail(&path).unwrap();
        assert_eq!(
            (last.lines().count(), last.lines().next(), last.lines().last()),
            (12, Some("line 4988"), Some("line 4999"))
        );
        fs::write(&path, "one\n").unwrap();
        assert_eq!(tail(&path).unwrap(), "one");
    }

    #[test]
    fn the_first_error_since_the_start_is_quoted_before_the_last_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let start =
            "OSError: of another start\n$ server\nNo Error: here\n(pid=7) ValueError: 1 GiB is missing\n";
        let frames = "  File x, line 1\n".repeat(40);
        fs::write(&path, format!("{start}{frames}RuntimeError: see root cause above\n")).unwrap();
        let quoted = tail(&path).unwrap();
        let lines: Vec<&str> = quoted.lines().collect();
        assert_eq!(lines[..3], ["(pid=7) ValueError: 1 GiB is missing", "…", "  File x, line 1"]);
        assert_eq!((lines.len(), lines[13]), (14, "RuntimeError: see root cause above"));
        fs::write(&path, format!("{start}last\n")).unwrap();
        assert!(tail(&path).unwrap().ends_with("missing\nlast"), "an error among the last lines stands once");
    }
}
