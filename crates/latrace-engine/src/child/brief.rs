//! A command that is waited for, and that may also run while this process is ending.

use std::io::stderr;
use std::process::ExitStatus;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::{POLL, SERVER_KEY, Supervisor, hold_if_stopping, in_words, supervisor};

/// Runs a command of a shell, with more variables in its environment, until it ends or `limit` has passed: then it is
/// ended with all that it has started, as it is if this process is killed. What it prints goes to standard error.
///
/// Unlike a [`super::Child`] it may also be started once [`super::stop_all`] has begun, so that it can say that this
/// process was interrupted; one that was started before is ended like all others.
///
/// # Errors
/// A command that does not end in time or fails; a system that starts no further process.
pub fn run_briefly(script: &str, env: &[(&str, String)], limit: Duration) -> Result<()> {
    let argv = ["sh", "-c", script].map(str::to_owned);
    let mut process = supervisor::command(&argv);
    process.stdout(stderr());
    process.envs(env.iter().map(|(name, value)| (name, value))).env_remove(SERVER_KEY);
    let (supervisor, was_stopping) =
        Supervisor::start_at_any_time(process).context("cannot start a shell")?;
    // Ends it on every way out of here.
    let child = Ended(supervisor);
    let status = child.wait(limit)?;
    if !was_stopping {
        hold_if_stopping();
    }
    match status {
        Some(status) if status.success() => Ok(()),
        Some(status) => bail!("{}", in_words(status)),
        None => bail!("not finished after {} s", limit.as_secs()),
    }
}

/// A supervisor that is stopped when this is dropped.
struct Ended(Arc<Supervisor>);

impl Ended {
    /// How it ended; `None` if it has not after `limit`.
    fn wait(&self, limit: Duration) -> Result<Option<ExitStatus>> {
        let until = Instant::now() + limit;
        loop {
            match self.0.ended()? {
                None if Instant::now() <= until => sleep(POLL),
                ended => return Ok(ended),
            }
        }
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.stop();
    }
}
