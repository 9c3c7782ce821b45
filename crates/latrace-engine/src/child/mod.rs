//! Child processes that never outlive this one, whatever ends it.
//!
//! A server or a trainer starts processes of its own, in sessions of their own, and leaves them behind when it is
//! killed. So each child runs under a supervisor: this binary once more, which ends all that runs below it as soon as
//! its standard input closes. The system closes it when this process ends, even by a kill.

mod supervisor;

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{self, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

pub use supervisor::{GRACE, hidden};

/// How often a child is looked at while it is waited for.
const POLL: Duration = Duration::from_millis(20);

/// How long a supervisor has, beyond the grace that it gives, to end what runs below it.
const MARGIN: Duration = Duration::from_secs(5);

/// Bytes at the end of a log that errors may quote, and the lines of them.
const TAIL_BYTES: u64 = 8192;
const TAIL_LINES: usize = 12;

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
    supervisor: Arc<Supervisor>,
}

/// All children that are not stopped, for [`stop_all`].
static RUNNING: Mutex<Vec<Weak<Supervisor>>> = Mutex::new(Vec::new());

impl Child {
    /// Starts a child.
    ///
    /// # Errors
    /// An empty command; a log that cannot be written; a system that starts no further process. That the program itself
    /// does not exist shows when [`Child::exited`] is asked.
    pub fn start(command: &ChildCommand) -> Result<Child> {
        let ChildCommand { name, argv, env, log } = command;
        anyhow::ensure!(!argv.is_empty(), "{name}: the command to start is empty");
        let output = open_log(log, argv)?;
        let this = std::env::current_exe().context("cannot find this program's own file")?;
        let mut process = Command::new(this);
        process.args(supervisor::arguments(argv)).stdin(Stdio::piped());
        process.stdout(output.try_clone().context("cannot share the log")?).stderr(output);
        for (variable, value) in env {
            match value {
                Some(value) => process.env(variable, value),
                None => process.env_remove(variable),
            };
        }
        let process = process.spawn().with_context(|| format!("cannot start {name}"))?;
        let supervisor = Arc::new(Supervisor(Mutex::new(process)));
        let mut running = lock(&RUNNING);
        running.retain(|known| known.strong_count() > 0);
        running.push(Arc::downgrade(&supervisor));
        Ok(Child { name: name.clone(), log: log.clone(), supervisor })
    }

    /// Its name in messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How it ended, in words, if it has.
    ///
    /// # Errors
    /// A system that cannot say.
    pub fn exited(&self) -> Result<Option<String>> {
        let ended =
            self.supervisor.ended().with_context(|| format!("cannot tell whether {} runs", self.name));
        Ok(ended?.map(in_words))
    }

    /// Waits for its end; gives whether it succeeded, and how it ended in words.
    ///
    /// # Errors
    /// As [`Child::exited`].
    pub fn wait(&self) -> Result<(bool, String)> {
        loop {
            if let Some(status) = self.supervisor.ended()? {
                return Ok((status.success(), in_words(status)));
            }
            sleep(POLL);
        }
    }

    /// The last lines of its log.
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

/// Ends all children, the last one first, as a program does that is itself told to end. How many there were.
pub fn stop_all() -> usize {
    let running: Vec<Arc<Supervisor>> = lock(&RUNNING).iter().filter_map(Weak::upgrade).collect();
    let alive = running.iter().rev().filter(|child| matches!(child.ended(), Ok(None)));
    alive.map(|child| child.stop()).count()
}

#[derive(Debug)]
struct Supervisor(Mutex<process::Child>);

impl Supervisor {
    fn ended(&self) -> std::io::Result<Option<ExitStatus>> {
        lock(&self.0).try_wait()
    }

    fn stop(&self) {
        // Its standard input closes: the sign to end.
        drop(lock(&self.0).stdin.take());
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
    writeln!(file, "$ {}", argv.join(" ")).with_context(cannot)?;
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
    Ok(lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n"))
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
}
